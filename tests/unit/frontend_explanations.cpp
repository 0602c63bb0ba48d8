// Every code has a page; the program that the page shows first earns this code and no other, and the last one is right.
#include "frontend/explanations.h"

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "frontend/elaborate.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

/// A program as a page shows it, and the command line over it (`$ nnc check FILE --set a=1`, else `nnc check
/// example.nn`).
struct Shown {
  std::string command = "$ nnc check example.nn", program;
};

std::vector<Shown> programs_of(std::string_view page) {
  std::vector<Shown> result;
  std::istringstream lines{std::string(page)};
  bool open = false;
  std::string blanks;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) {
      blanks += "\n";
      continue;
    }
    const bool code = line.starts_with("    ");
    if (code && !open) result.emplace_back();
    if (code) line.erase(0, 4);
    if (code && line.starts_with("$ ")) {
      result.back().command = line;
    } else if (code) {
      result.back().program += (result.back().program.empty() ? "" : blanks) + line + "\n";
    }
    open = code;
    blanks.clear();
  }
  return result;
}

/// What stands for a byte that is not UTF-8 in a page that is.
std::string with_bytes(std::string text) {
  for (std::size_t at; (at = text.find("\\xE9")) != std::string::npos;) text.replace(at, 4, "\xE9");
  return text;
}

/// The codes that a shown program earns, and the messages.
std::pair<std::set<std::string>, std::string> answer_to(const Shown& shown) {
  const test::Scratch scratch;
  std::ofstream(scratch.path() / "example.nn", std::ios::binary) << with_bytes(shown.program);
  std::istringstream words(shown.command);
  ElaborateOptions options;
  std::string file;
  for (std::string word; words >> word;) {
    if (word.ends_with(".nn")) file = word;
    if (word == "--dtype=f64") options.double_precision = true;
    const std::size_t sign = word.find('=');
    if (sign != std::string::npos && word[0] != '-')
      options.overrides.emplace_back(word.substr(0, sign), word.substr(sign + 1));
  }
  Diagnostics diagnostics;
  elaborate_file((scratch.path() / file).string(), options, diagnostics);
  std::set<std::string> codes;
  for (const Diagnostic& diagnostic : diagnostics.all()) codes.insert(code_text(diagnostic.code));
  return {codes, diagnostics.render(false)};
}

}  // namespace

TEST_CASE("every code has a page whose wrong program earns exactly it, and whose mended program earns nothing") {
  for (const Code code : all_codes()) {
    INFO("frontend/explanations/" << code_text(code) << ".md");
    const std::string_view page = explanation(code);
    CHECK(page.size() > 80);
    const std::vector<Shown> programs = programs_of(page);
    REQUIRE(programs.size() >= 2);
    const auto [wrong, messages] = answer_to(programs.front());
    INFO(programs.front().program << messages);
    CHECK(wrong == std::set<std::string>{code_text(code)});
    INFO(programs.back().program);
    CHECK(answer_to(programs.back()).second == "");
  }
}

TEST_CASE("a code is found as people write it, and another one is answered with the nearest") {
  CHECK(code_named("E0301") == Code::shape_mismatch);
  CHECK(code_named("e301") == Code::shape_mismatch);
  CHECK(code_named("0301") == Code::shape_mismatch);
  CHECK(code_named("W0207") == Code::shadows_library);
  for (const char* none : {"", "E", "E03x1", "-301", "E9999", "99999999999999999999"}) CHECK(!code_named(none));
  CHECK(nearest_code("E0300") == Code::shape_mismatch);
  CHECK(nearest_code("E9999") == all_codes().back());
  CHECK(explained(Code::shape_mismatch).starts_with("E0301: shapes do not match\n\n"));
}

TEST_CASE("docs/errors.md is made of the pages") {
  const std::string path = NNC_SOURCE_DIR "/docs/errors.md";
  if (std::getenv("NNC_BLESS") != nullptr) std::ofstream(path, std::ios::binary) << errors_document();
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  CHECK(text.str() == errors_document());
}
