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
#include "frontend/std/embedded.h"
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

/// What a declaration is called, and where its signature ends: at its body, or after it where there is none.
struct Head {
  std::string name;
  std::uint32_t end = 0;
};
Head head_of(const ast::Declaration& declaration) {
  struct Visitor {
    const ast::Declaration& declaration;
    Head with_body(const ast::Name& name, const ast::Block& body) { return {name.text, body.span.begin}; }
    Head operator()(const ast::Function& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Layer& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Optimizer& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Model& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Const& at) { return {at.name.text, declaration.span.end}; }
    Head operator()(const ast::Import&) { return {}; }
    Head operator()(const ast::Data&) { return {}; }
    Head operator()(const ast::Train&) { return {}; }
    Head operator()(const ast::Test&) { return {}; }
  };
  return std::visit(Visitor{declaration}, declaration.form);
}

/// Words with one blank between them.
std::string in_one_line(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string line;
  for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

/// For a cell of a table.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

/// A signature that was laid out over several lines, in one.
std::string signature_in_one_line(std::string_view text) {
  std::string line = in_one_line(text);
  for (const auto& [written, wanted] : {std::pair<std::string_view, std::string_view>{"( ", "("},
                                        {", )", ")"},
                                        {"[ ", "["},
                                        {", ]", "]"},
                                        {") (", ")("}})
    for (std::size_t at = 0; (at = line.find(written, at)) != std::string::npos;)
      line.replace(at, written.size(), wanted);
  return line;
}

struct Entry {
  std::string name, signature, doc;
};

std::vector<Entry> entries_of(const EmbeddedFile& file, Diagnostics& diagnostics) {
  const std::uint32_t number =
      diagnostics.add_file({.path = std::string(file.name), .text = std::string(file.text), .library = true});
  std::vector<Entry> entries;
  for (const ast::Declaration& declaration : parse(number, diagnostics).declarations) {
    const Head head = head_of(declaration);
    const std::string_view signature = file.text.substr(declaration.span.begin, head.end - declaration.span.begin);
    entries.push_back({head.name, signature_in_one_line(signature), in_one_line(declaration.doc)});
  }
  return entries;
}

const EmbeddedFile* file_named(std::string_view name) {
  for (const EmbeddedFile& file : embedded_library())
    if (file.name == name) return &file;
  return nullptr;
}

std::string as_document() {
  std::string text =
      "# The standard library\n\nMade from the signatures and `##` texts of `frontend/std/*.nn` (`NNC_BLESS=1 "
      "test_frontend`).\n"
      "Shapes: `...` is any number of leading axes, a capital letter an axis that is inferred.\n";
  Diagnostics diagnostics;
  for (const Kind& kind : kinds) {
    const EmbeddedFile* file = file_named(kind.file);
    REQUIRE(file != nullptr);
    text += fmt::format("\n## {}\n\n| signature | meaning |\n| --- | --- |\n", kind.title);
    for (const Entry& entry : entries_of(*file, diagnostics))
      text += fmt::format("| `{}` | {} |\n", cell(entry.signature), cell(entry.doc));
  }
  CHECK_FALSE(diagnostics.has_errors());
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
  Diagnostics diagnostics;
  CHECK(embedded_library().size() == std::size(kinds));
  for (const EmbeddedFile& file : embedded_library()) {
    INFO(file.name);
    CHECK(std::ranges::find(kinds, file.name, &Kind::file) != std::end(kinds));
    for (const Entry& entry : entries_of(file, diagnostics)) {
      INFO(entry.name);
      CHECK(entry.doc.ends_with("."));
    }
  }
  INFO(diagnostics.render(false));
  CHECK_FALSE(diagnostics.has_errors());
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
