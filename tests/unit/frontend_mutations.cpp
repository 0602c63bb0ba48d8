// Programs that were damaged at random are answered with messages or with graphs that verify: never with a crash, never
// with silence, never slowly.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "frontend/elaborate.h"
#include "frontend/lexer.h"
#include "ir/text.h"
#include "tests/support/cpu_time.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::vector<std::string> programs() {
  const std::filesystem::path root = NNC_SOURCE_DIR;
  std::vector<std::string> result;
  for (const char* folder : {"examples", "tests/reference", "tests/golden/errors"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder))
      if (entry.path().extension() == ".nn") result.push_back(read(entry.path()));
  std::sort(result.begin(), result.end());  // the folder's order is not the same everywhere
  return result;
}

std::vector<Span> tokens_of(const std::string& text, Diagnostics& diagnostics) {
  const std::uint32_t file = diagnostics.add_file({.path = "mutant", .text = text});
  std::vector<Span> result;
  for (const Token& token : tokenize(file, diagnostics).tokens) result.push_back(token.span);
  return result;
}

/// One token is removed, replaced by another of some program, or gets one before it; or one byte changes.
void mutate(std::string& text, const std::vector<std::string>& words, std::mt19937& random) {
  Diagnostics diagnostics;
  const std::vector<Span> tokens = tokens_of(text, diagnostics);
  const Span at = tokens[random() % tokens.size()];
  const std::string& word = words[random() % words.size()];
  switch (random() % 4) {
    case 0:
      text.erase(at.begin, at.end - at.begin);
      break;
    case 1:
      text.replace(at.begin, at.end - at.begin, word);
      break;
    case 2:
      text.insert(at.begin, " " + word + " ");
      break;
    case 3:
      if (!text.empty()) text[random() % text.size()] = static_cast<char>(random() % 256);
      break;
  }
}

}  // namespace

TEST_CASE("a damaged program is answered with messages or with graphs that verify") {
  const std::vector<std::string> originals = programs();
  REQUIRE(originals.size() > 10);
  std::vector<std::string> words;
  for (const std::string& text : originals) {
    Diagnostics diagnostics;
    for (const Span& span : tokens_of(text, diagnostics)) words.emplace_back(diagnostics.text(span));
  }
  const auto path = std::filesystem::temp_directory_path() / fmt::format("nnc_mutant_{}.nn", getpid());
  std::mt19937 random(20261121);
  int elaborated = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string text = originals[random() % originals.size()];
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) mutate(text, words, random);
    std::ofstream(path, std::ios::binary) << text;
    INFO("mutant " << i << ":\n" << text);
    Diagnostics diagnostics;
    const double start = nnc::test::cpu_seconds();
    const auto blocks = elaborate_file(path.string(), {}, diagnostics);
    CHECK(diagnostics.render(false).empty() == diagnostics.all().empty());
    CHECK(nnc::test::cpu_seconds() - start < 5.0);
    if (diagnostics.has_errors()) CHECK(blocks.empty());
    for (const Elaborated& block : blocks)
      for (const Graph* graph : {&block.init, &block.fit, &block.feed, &block.step, &block.evaluate, &block.predict})
        CHECK(verify(*graph) == "");
    elaborated += !blocks.empty();
  }
  std::filesystem::remove(path);
  CHECK(elaborated > 0);
}

namespace {

/// Whether a slip with this token is one of typing: names are left alone, since of those nobody knows what was meant.
bool is_mark_or_word(const std::string& text, const Token& token) {
  if (token.kind == TokenKind::end_of_file) return false;
  constexpr std::string_view words[] = {"data", "train", "on", "layer", "model"};
  return token.kind != TokenKind::name ||
         std::ranges::find(words, std::string_view(text).substr(token.span.begin, token.span.end - token.span.begin)) !=
             std::end(words);
}

}  // namespace

TEST_CASE("a single deleted token is one error") {
  const std::filesystem::path folder = std::filesystem::path(NNC_SOURCE_DIR) / "tests/programs";
  const auto path = std::filesystem::temp_directory_path() / fmt::format("nnc_deleted_{}.nn", getpid());
  std::string several;
  int deletions = 0, exceptions = 0;
  for (const char* name : {"vae.nn", "lstm.nn", "gan.nn", "newton.nn"}) {
    const std::string text = read(folder / name);
    Diagnostics original;
    const std::uint32_t file = original.add_file({.path = name, .text = text});
    std::size_t place = 0;
    for (const Token& token : tokenize(file, original).tokens) {
      if (!is_mark_or_word(text, token) || place++ % 3 != 0) continue;  // a third of them, which is quick
      std::string mutant = text;
      mutant.erase(token.span.begin, token.span.end - token.span.begin);
      std::ofstream(path, std::ios::binary) << mutant;
      Diagnostics diagnostics;
      elaborate_file(path.string(), {}, diagnostics);
      ++deletions;
      if (diagnostics.error_count() < 2) continue;
      ++exceptions;
      const auto [line, column] = original.position(file, token.span.begin);
      several += fmt::format("{}:{}:{} without {}\n{}\n", name, line, column, original.text(token.span),
                             diagnostics.render(false));
    }
  }
  std::filesystem::remove(path);
  INFO(several);
  CHECK(deletions > 200);
  CHECK(exceptions * 40 < deletions);
}
