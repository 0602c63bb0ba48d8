// Errors and warnings as values: a stable code, one line in the user's words, spans with labels, notes and help. Each is
// declared once (diagnostics.def) and rendered in rustc's layout by `render`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nnc {

/// A source text that diagnostics point into. Files are numbered in the order in which they are added.
struct SourceFile {
  std::string path;
  std::string text;
  bool library = false;  ///< part of the standard library: its frames are notes, never the primary place
};

/// A range of bytes of a file.
struct Span {
  std::uint32_t file = 0;
  std::uint32_t begin = 0, end = 0;
};

enum class Code : std::uint16_t {
#define NNC_DIAGNOSTIC(number, name, severity, title) name,
#include "frontend/diagnostics.def"
#undef NNC_DIAGNOSTIC
};

enum class Severity : std::uint8_t { error, warning };

struct Label {
  Span span;
  std::string text;
};

struct Diagnostic {
  Code code{};
  std::string message;         ///< one line, in the user's words: "shapes do not match in `+`"
  Span primary;
  std::string primary_label;   ///< beside the carets; may be empty
  std::vector<Label> labels;   ///< further underlined places
  std::vector<std::string> notes;  ///< lines after `= `: "left:  x: f32[batch, 256] ..."
  std::string help;            ///< how to mend it, or empty
};

class Diagnostics {
 public:
  std::uint32_t add_file(SourceFile file);
  const SourceFile& file(std::uint32_t id) const { return files_[id]; }
  void report(Diagnostic diagnostic);
  bool has_errors() const;
  const std::vector<Diagnostic>& all() const { return diagnostics_; }
  /// All diagnostics as text, in order of place; `color` adds terminal colours.
  std::string render(bool color) const;
  /// Line and column (from 1, columns in code points) of a byte.
  std::pair<std::uint32_t, std::uint32_t> position(std::uint32_t file, std::uint32_t offset) const;

 private:
  std::vector<SourceFile> files_;
  std::vector<Diagnostic> diagnostics_;
};

/// "E0301" and the like; the number's hundreds say the phase: 00 lexer, 01 parser, 02 names, 03 shapes and types,
/// 04 layers and state, 05 training, 06 data, 09 not built yet.
std::string code_text(Code code);
Severity severity_of(Code code);

}  // namespace nnc
