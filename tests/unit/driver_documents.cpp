// The documents tell the truth: every indented block of them is run as a user would. How a block says what it is stands
// in a comment at the end of docs/language.md.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <regex>
#include <sstream>
#include <vector>

#include "tests/support/command.h"
#include "tests/unit/catch.h"

namespace {

using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
namespace fs = std::filesystem;

struct Block {
  int line = 0;                    ///< of its first line in the document
  std::vector<std::string> marks;  ///< what the comments before it say: "body (x: f32[batch])", "wrong E0301"
  std::string text;                ///< without the indent

  /// What follows the word of a mark, or nothing where it is not marked so.
  std::optional<std::string> mark(const std::string& word) const {
    for (const std::string& text_of_mark : marks) {
      if (text_of_mark == word) return "";
      if (text_of_mark.starts_with(word + " ")) return text_of_mark.substr(word.size() + 1);
    }
    return std::nullopt;
  }
  bool is_answer() const { return text.starts_with("error[") || text.starts_with("warning["); }
  bool is_text() const { return mark("text").has_value() || text.starts_with("$ ") || is_answer(); }
};

bool blank(const std::string& line) { return line.find_first_not_of(' ') == std::string::npos; }

/// The indented blocks of a document, with the one-line comments that stand between them and the text before.
std::vector<Block> blocks_of(const fs::path& document) {
  std::vector<Block> result;
  std::ifstream in(document);
  std::vector<std::string> marks;
  bool after_blank = true, open = false, in_comment = false;
  int number = 0, blanks = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (in_comment) {
      in_comment = line.find("-->") == std::string::npos;
    } else if (blank(line)) {
      ++blanks;
      after_blank = true;
      continue;
    } else if (line.starts_with("    ") && (open || after_blank)) {
      if (!open) result.push_back({.line = number, .marks = std::exchange(marks, {}), .text = ""});
      if (open) result.back().text.append(static_cast<std::size_t>(blanks), '\n');
      result.back().text += line.substr(4) + "\n";
      open = after_blank = true;
      blanks = 0;
      continue;
    } else if (line.starts_with("<!-- ") && line.ends_with(" -->")) {
      marks.push_back(line.substr(5, line.size() - 9));
      open = false, after_blank = true, blanks = 0;
      continue;
    } else {
      marks.clear();
      in_comment = line.starts_with("<!--") && line.find("-->") == std::string::npos;
    }
    open = after_blank = false;
    blanks = 0;
  }
  return result;
}

bool has_line(const std::string& text, const std::string& begins) {
  return text.starts_with(begins) || text.find("\n" + begins) != std::string::npos;
}

/// A fragment is made a file by what its mark promises to stand around it.
std::string file_of(const Block& block, const std::string& before) {
  if (block.mark("continues")) return before + "\n" + block.text;
  if (const auto signature = block.mark("body")) {
    const bool types_itself = signature->find("->") != std::string::npos;
    return fmt::format("model Example{} {{\n{}{}}}\n", types_itself ? *signature : *signature + " -> f32[]", block.text,
                       types_itself ? "" : "return 0\n");
  }
  if (block.mark("data")) return fmt::format("data example {{\n{}}}\n", block.text);
  if (block.mark("train")) {
    const auto unless_given = [&](const std::string& key, const std::string& value) {
      return has_line(block.text, key) ? "" : fmt::format("{} = {}\n", key, value);
    };
    return fmt::format(
        "model Net(x: f32[batch, 2]) -> f32[batch, 1] {{ return x |> Dense(8) |> tanh |> Dense(1) }}\n"
        "data points {{\n  samples = 100\n  x: f32[2] = uniform(-1, 1)\n  y: f32[1] = sum(x, keep = true)\n"
        "  train, valid = split(0.8, 0.2)\n}}\n"
        "train Net on points {{\n{}{}{}{}}}\n",
        block.text, unless_given("loss", "mse(Net(x), y)"), unless_given("optimizer", "sgd(lr = 0.1)"),
        unless_given("epochs", "1"));
  }
  return block.text;
}

std::vector<std::string> codes_in(const std::string& messages) {
  static const std::regex code(R"(^(?:error|warning)\[([EW]\d{4})\])", std::regex::multiline);
  std::vector<std::string> result;
  for (auto it = std::sregex_iterator(messages.begin(), messages.end(), code); it != std::sregex_iterator(); ++it)
    result.push_back((*it)[1]);
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

/// Rows from files are not at hand; everything else can run.
bool reads_files(const std::string& program) {
  static const std::regex source(R"(\b(csv|idx|npy|npz)\()");
  return std::regex_search(program, source);
}

void check_right(const std::string& program, const fs::path& folder) {
  const auto checked = run_nnc("check example.nn", folder);
  INFO(checked.err);
  CHECK(checked.status == 0);
  CHECK(checked.err == "");
  if (checked.status != 0 || reads_files(program)) return;
  if (has_line(program, "train ")) {
    const auto trained = run_nnc("train example.nn --max-steps 1 --out run", folder);
    INFO(trained.err);
    CHECK(trained.status == 0);
  }
  if (has_line(program, "test \"")) {
    const auto tested = run_nnc("test example.nn", folder);
    INFO(tested.err);
    CHECK(tested.status == 0);
  }
}

void check_document(const std::string& name) {
  const Scratch scratch;
  std::string before, answer;
  int programs = 0;
  for (const Block& block : blocks_of(fs::path(NNC_SOURCE_DIR) / name)) {
    INFO(name << ":" << block.line << "\n" << block.text);
    if (block.is_answer() && !block.mark("text")) CHECK(block.text == answer);
    if (block.is_text()) continue;
    ++programs;
    const std::string program = file_of(block, before);
    const auto file = block.mark("file");
    const fs::path path = scratch.path() / (file ? *file : "example.nn");
    fs::remove_all(scratch.path() / "run");
    std::ofstream(path) << program;
    if (file) {
      CHECK(run_nnc("check '" + *file + "'", scratch.path()).err == "");
    } else if (const auto code = block.mark("wrong")) {
      answer = run_nnc("check example.nn", scratch.path()).err;
      answer.resize(std::min(answer.size(), answer.find("`nnc explain")));
      INFO(answer);
      CHECK(codes_in(answer) == std::vector<std::string>{*code});
    } else {
      check_right(program, scratch.path());
      before = program;
    }
  }
  CHECK(programs > 0);
}

}  // namespace

TEST_CASE("every example of the language's reference and of its questions does what is said of it", "[documents]") {
  check_document("docs/language.md");
  check_document("docs/questions.md");
}
