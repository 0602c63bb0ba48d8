// The standard library as a user sees it: it has nothing to warn of, everything in it is documented, and
// docs/library.md is its signatures and texts. NNC_BLESS=1 writes that document.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/ast.h"
#include "frontend/format.h"
#include "frontend/parser.h"
#include "frontend/primitives.h"
#include "frontend/std/embedded.h"
#include "frontend/train_block.h"
#include "frontend/words.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

const std::string document = std::string(NNC_SOURCE_DIR) + "/docs/library.md";

struct Kind {
  std::string_view file, title;
};
constexpr Kind kinds[] = {
    {"layers.nn", "Layers"},
    {"functions.nn", "Functions"},
    {"losses.nn", "Losses"},
    {"metrics.nn", "Metrics"},
    {"optimizers.nn", "Optimizers and averagers"},
    {"schedules.nn", "Schedules"},
    {"initializers.nn", "Initializers"},
};

/// For a cell of a table.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

std::string as_document() {
  std::string text =
      "# The standard library\n\nMade from the signatures and `##` texts of `frontend/std/*.nn` (`NNC_BLESS=1 "
      "test_frontend`).\n"
      "Shapes: `...` is any number of leading axes, a capital letter an axis that is inferred.\n";
  for (const Kind& kind : kinds) {
    text += fmt::format("\n## {}\n\n| signature | meaning |\n| --- | --- |\n", kind.title);
    for (const LibraryEntry& entry : library_entries())
      if (entry.file == kind.file) text += fmt::format("| `{}` | {} |\n", cell(entry.signature), cell(entry.doc));
  }
  return text;
}

}  // namespace

TEST_CASE("docs/library.md is what the library says of itself") {
  const std::string made = as_document();
  if (std::getenv("NNC_BLESS") != nullptr) std::ofstream(document) << made;
  std::ifstream stream(document, std::ios::binary);
  std::ostringstream committed;
  committed << stream.rdbuf();
  CHECK(committed.str() == made);
}

TEST_CASE("every file of the library is a kind of the document, and every declaration is documented") {
  CHECK(embedded_library().size() == std::size(kinds));
  for (const LibraryEntry& entry : library_entries()) {
    INFO(entry.file << ": " << entry.name);
    CHECK(std::ranges::find(kinds, entry.file, &Kind::file) != std::end(kinds));
    CHECK(entry.doc.ends_with("."));
  }
}

TEST_CASE("every function of the language and every setting has a line that shows how it is written") {
  std::vector<std::string> functions, settings;
  primitive_names(functions);
  train_setting_names(settings);
  for (const auto& [kind, names] :
       {std::pair{WordKind::function, functions}, std::pair{WordKind::train_setting, settings}}) {
    std::vector<std::string> told;
    for (const Word& word : words_of(kind)) told.emplace_back(word.name);
    for (const std::string& name : names) {
      INFO(name);
      CHECK(std::ranges::find(told, name) != told.end());
    }
    CHECK(told.size() == names.size());
  }
  for (const WordKind kind : {WordKind::function, WordKind::train_setting, WordKind::data_word, WordKind::word})
    for (const Word& word : words_of(kind)) {
      INFO(word.text);
      const std::size_t colon = word.text.find(": ");
      REQUIRE(colon != std::string_view::npos);
      CHECK(word.text.substr(0, colon).find(word.name) != std::string_view::npos);
      CHECK(word.text.ends_with("."));
    }
}

TEST_CASE("the library is laid out as nnc fmt lays out") {
  Diagnostics diagnostics;
  for (const EmbeddedFile& file : embedded_library()) {
    INFO(file.name);
    const std::uint32_t number =
        diagnostics.add_file({.path = std::string(file.name), .text = std::string(file.text), .library = true});
    CHECK(format(number, diagnostics) == std::string(file.text));
  }
}
