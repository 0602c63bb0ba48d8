// What the names mean that a program need not declare: those of the library, by its own signatures and `##` lines, and
// the words of the language, by the lines here. `nnc explain NAME` and docs/library.md show them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nnc {

enum class WordKind : std::uint8_t {
  function,       ///< of the language itself: exp, reshape, step, ...
  train_setting,  ///< what stands on the left in a train block, and its words metric and output
  data_word,      ///< what only a data block knows, and `undo`
  word            ///< what begins a declaration or a statement, and what stands inside of others
};

struct Word {
  std::string_view name;
  std::string_view text;  ///< how it is written, a colon, and what it means
};
std::span<const Word> words_of(WordKind kind);

/// A declaration of the library.
struct LibraryEntry {
  std::string_view file;  ///< "layers.nn"
  std::string name, signature, doc;
};
/// In the order of the files, overloads one by one.
std::vector<LibraryEntry> library_entries();

}  // namespace nnc
