// Golden: programs whose data do not fit, with the messages that a user sees. Each tests/golden/data/NAME.nn is trained
// in its folder; what stderr says stands at its end in lines that begin with `#|`. Each tests/golden/data/NAME.txt
// holds many cases, each a change of one small program or its files (see `Case`). NNC_BLESS=1 writes the messages anew.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

namespace fs = std::filesystem;
using nnc::test::read_file;

struct Golden {
  std::string program, expected;
};

Golden read_golden(const fs::path& path) {
  Golden golden;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("#|"))
      golden.program += line + "\n";
    else
      golden.expected += (line.size() > 3 ? line.substr(3) : "") + "\n";
  }
  return golden;
}

void bless(const fs::path& path, const std::string& program, const std::string& messages) {
  std::ofstream out(path);
  out << program;
  std::istringstream lines(messages);
  for (std::string line; std::getline(lines, line);) out << (line.empty() ? "#|" : "#| ") << line << "\n";
  WARN("blessed " << path.filename().string());
}

}  // namespace

TEST_CASE("data that do not fit are answered with file, line, column, what was expected and what was found",
          "[golden]") {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(NNC_SOURCE_DIR "/tests/golden/data"))
    if (entry.path().extension() == ".nn") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() >= 6);
  for (const fs::path& path : files) {
    INFO(path.filename().string());
    const nnc::test::Scratch scratch;
    for (const auto& entry : fs::directory_iterator(path.parent_path())) fs::copy(entry.path(), scratch.path());
    const auto result = nnc::test::run_nnc("train " + path.filename().string() + " --out run", scratch.path());
    CHECK(result.status == 1);
    CHECK_FALSE(fs::exists(scratch.path() / "run"));
    const Golden golden = read_golden(path);
    if (std::getenv("NNC_BLESS") != nullptr && result.err != golden.expected)
      bless(path, golden.program, result.err);
    else
      CHECK(result.err == golden.expected);
  }
}

namespace {

/// A case of a .txt file: a title behind `==`, then lines
///   file NAME TEXT             a file, in which \\n \\r \\0 \\\\ and \\xNN stand for bytes
///   npy NAME HEADER | TEXT     an NPY file: the header's dictionary and the elements' bytes
///   data LINE, train LINE      a line of the program, in place of the one with its name or behind the others
///   run ARGUMENTS              the command, unless it is `train rows.nn --out run`
/// and what the command says on stderr, each line behind `|`; its status first, unless it is 1.
struct Case {
  std::string text;  ///< all but what is expected
  std::string title, command = "train rows.nn --out run", expected;
  std::vector<std::string> data = {R"(train = csv("rows.csv"))", R"(x: f32[2] = cols("a", "b"))",
                                   R"(y: f32[1] = col("y"))"};
  std::vector<std::string> train = {"loss = mse(Net(x), y)", "optimizer = sgd(lr = 0.1)", "epochs = 1"};
  std::vector<std::pair<std::string, std::string>> files;

  std::string program() const {
    return fmt::format(
        "data rows {{\n  {}\n}}\nmodel Net(x: f32[batch, 2]) -> f32[batch, 1] {{ return x |> Dense(1) }}\n"
        "train Net on rows {{\n  {}\n}}\n",
        fmt::join(data, "\n  "), fmt::join(train, "\n  "));
  }
};

std::string unescaped(const std::string& text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      bytes += text[at];
      continue;
    }
    const char kind = text.at(++at);
    if (kind == 'x') {
      bytes += static_cast<char>(std::stoi(text.substr(at + 1, 2), nullptr, 16));
      at += 2;
    } else {
      bytes += kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind == '0' ? '\0' : kind;
    }
  }
  return bytes;
}

/// A version 1 file; the header is as long as it says.
std::string npy_of(const std::string& header, const std::string& elements) {
  std::string text = "\x93NUMPY";
  text += {'\1', '\0', static_cast<char>(header.size() + 1), '\0'};
  return text + header + "\n" + elements;
}

/// What a line of a block is about: the word that it begins with.
std::string subject(const std::string& line) { return line.substr(0, line.find_first_of(" (:=,")); }

void put(std::vector<std::string>& lines, const std::string& line) {
  const auto old =
      std::find_if(lines.begin(), lines.end(), [&](const std::string& l) { return subject(l) == subject(line); });
  if (old == lines.end())
    lines.push_back(line);
  else
    *old = line;
}

void read_line(Case& into, const std::string& line) {
  const std::size_t space = line.find(' ');
  const std::string kind = line.substr(0, space), rest = space == line.npos ? "" : line.substr(space + 1);
  const std::string name = rest.substr(0, rest.find(' ')), text = rest.substr(std::min(rest.size(), name.size() + 1));
  if (kind == "file") {
    into.files.emplace_back(name, unescaped(text));
  } else if (kind == "npy") {
    const std::size_t bar = text.find(" | ");
    into.files.emplace_back(name, npy_of(text.substr(0, bar), unescaped(text.substr(bar + 3))));
  } else if (kind == "data" || kind == "train") {
    put(kind == "data" ? into.data : into.train, rest);
  } else {
    REQUIRE(kind == "run");
    into.command = rest;
  }
}

std::vector<Case> read_cases(const fs::path& path) {
  std::vector<Case> cases;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("== ")) cases.emplace_back().title = line.substr(3);
    REQUIRE(!cases.empty());
    Case& into = cases.back();
    if (line.starts_with("|")) {
      into.expected += line.substr(std::min<std::size_t>(line.size(), 2)) + "\n";
      continue;
    }
    into.text += line + "\n";
    if (!line.empty() && !line.starts_with("==")) read_line(into, line);
  }
  return cases;
}

std::string answer_to(const Case& wrong) {
  const nnc::test::Scratch scratch;
  nnc::test::write_file(scratch.path() / "rows.nn", wrong.program());
  for (const auto& [name, text] : wrong.files) nnc::test::write_file(scratch.path() / name, text);
  const auto result = nnc::test::run_nnc(wrong.command, scratch.path());
  CHECK(result.out.empty());
  CHECK((result.status == 1 || result.status == 2));
  CHECK_FALSE(fs::exists(scratch.path() / "run"));
  return (result.status == 1 ? "" : fmt::format("status {}\n", result.status)) + result.err;
}

}  // namespace

TEST_CASE("every way in which a file or a setting can be wrong has its message", "[golden]") {
  const bool bless = std::getenv("NNC_BLESS") != nullptr;
  std::size_t count = 0;
  for (const char* name : {"csv.txt", "arrays.txt", "settings.txt"}) {
    const fs::path path = fs::path(NNC_SOURCE_DIR) / "tests/golden/data" / name;
    std::string blessed;
    for (const Case& wrong : read_cases(path)) {
      INFO(name << ": " << wrong.title);
      ++count;
      const std::string answer = answer_to(wrong);
      if (!bless) CHECK(answer == wrong.expected);
      std::istringstream lines(answer);
      std::string text = wrong.text;
      if (bless) {
        while (text.ends_with("\n\n")) text.pop_back();
        for (std::string line; std::getline(lines, line);) text += (line.empty() ? "|" : "| " + line) + "\n";
        blessed += text + "\n";
      }
    }
    if (bless && blessed != read_file(path)) {
      std::ofstream(path, std::ios::binary) << blessed;
      WARN("blessed " << name);
    }
  }
  CHECK(count >= 60);
}

TEST_CASE("a path that is not UTF-8 is refused before anything is written", "[golden]") {
  const nnc::test::Scratch scratch;
  const fs::path folder = scratch.path() / "M\xfcnchen";
  fs::create_directories(folder);
  nnc::test::write_file(folder / "rows.nn", Case{}.program());
  nnc::test::write_file(folder / "rows.csv", "a,b,y\n1,2,3\n4,5,6\n");
  for (const std::string command : {"train rows.nn", "train rows.nn --cv 2", "train rows.nn --out out"}) {
    const auto refused = nnc::test::run_nnc(command, folder);
    CHECK(refused.status == 2);
    CHECK_THAT(refused.err, Catch::Contains("a path is not UTF-8") && Catch::Contains("the byte 0xFC in `") &&
                                Catch::Contains("M\\xfcnchen"));
    CHECK_FALSE(fs::exists(folder / "runs"));
    CHECK_FALSE(fs::exists(folder / "out"));
  }
  CHECK(nnc::test::run_nnc("train rows.nn --dry-run", folder).status == 0);
  fs::rename(folder, scratch.path() / "München");
  CHECK(nnc::test::run_nnc("train rows.nn", scratch.path() / "München").status == 0);
}
