// Golden: programs whose data do not fit, with the messages that a user sees. Each tests/golden/data/NAME.nn is trained
// in its folder; what stderr says stands at its end in lines that begin with `#|`. NNC_BLESS=1 writes them anew.
#include <algorithm>
#include <fstream>
#include <vector>

#include "tests/support/command.h"
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
