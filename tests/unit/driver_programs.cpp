// Programs that must learn: every file of tests/programs is trained by the command, and reaches the figures that its
// own comments state. A comment line of such a file may say
//
//   # reaches: valid.loss < 0.01      a figure of the last line of metrics.jsonl against a number (< <= > >=); at least
//   one # command: --max-steps 500        more arguments for `nnc train` # needs: tabular/digits_train.csv a file of
//   the shared data sets, which the program finds as data/tabular/...
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::run_nnc;
using nnc::test::Scratch;
namespace fs = std::filesystem;

const fs::path programs = NNC_SOURCE_DIR "/tests/programs";

/// What stands after `# KEY:` on the lines of a file.
std::vector<std::string> stated(const fs::path& file, const std::string& key) {
  std::vector<std::string> values;
  const std::string start = "# " + key + ": ";
  for (const std::string& line : nnc::test::text_lines(nnc::test::read_file(file)))
    if (line.starts_with(start)) values.push_back(line.substr(start.size()));
  return values;
}

void check_figure(const std::string& claim, const json& figures) {
  INFO(claim << ", with " << figures.dump());
  std::istringstream words(claim);
  std::string name, comparison;
  double bound = 0;
  REQUIRE((words >> name >> comparison >> bound));
  REQUIRE(figures.contains(name));
  const double reached = figures.at(name);
  const std::map<std::string, bool> holds{
      {"<", reached < bound}, {"<=", reached <= bound}, {">", reached > bound}, {">=", reached >= bound}};
  REQUIRE(holds.contains(comparison));
  CHECK(holds.at(comparison));
}

void train(const fs::path& file) {
  const Scratch scratch;
  for (const auto& entry : fs::directory_iterator(programs))  // with the files that it may import
    if (entry.path().extension() == ".nn") fs::copy_file(entry.path(), scratch.path() / entry.path().filename());
  for (const std::string& needed : stated(file, "needs")) {
    const fs::path data = nnc::test::shared_data(file.filename().string());
    if (data.empty()) return;
    REQUIRE(fs::exists(data / needed));
    if (!fs::exists(scratch.path() / "data")) fs::create_directory_symlink(fs::absolute(data), scratch.path() / "data");
  }
  std::string arguments = "train " + file.filename().string() + " --out run";
  for (const std::string& more : stated(file, "command")) arguments += " " + more;
  const auto trained = run_nnc(arguments, scratch.path());
  INFO(arguments << "\n" << trained.err);
  REQUIRE(trained.status == 0);
  const std::vector<std::string> claims = stated(file, "reaches");
  REQUIRE(!claims.empty());
  const json last = nnc::test::json_lines(nnc::test::read_file(scratch.path() / "run/metrics.jsonl")).back();
  for (const std::string& claim : claims) check_figure(claim, last);
}

}  // namespace

TEST_CASE("every program of tests/programs that trains reaches the figures that it states", "[programs]") {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(programs))
    if (entry.path().extension() == ".nn" && !stated(entry.path(), "reaches").empty()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(!files.empty());
  for (const fs::path& file : files) {
    INFO(file.filename().string());
    train(file);
  }
}
