// Every example checks, prints as graphs that read back, and trains to the figure that its text promises.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "ir/text.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
namespace fs = std::filesystem;

/// Below examples/, in order.
std::vector<std::string> examples() {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(NNC_SOURCE_DIR "/examples"))
    if (entry.path().extension() == ".nn")
      found.push_back(fs::relative(entry.path(), NNC_SOURCE_DIR "/examples").string());
  std::sort(found.begin(), found.end());
  return found;
}

/// Names of a program's train blocks, as commands call them.
std::vector<std::string> train_blocks(const std::string& example) {
  std::vector<std::string> blocks;
  for (const std::string& line : nnc::test::text_lines(read_file(fs::path(NNC_SOURCE_DIR "/examples") / example))) {
    std::istringstream words(line);
    std::string word, model, on, data, as, name;
    if (words >> word >> model >> on >> data >> as >> name; word == "train" && on == "on")
      blocks.push_back(as == "as" ? name : model);
  }
  return blocks;
}

std::string path_of(const std::string& example) { return "'" NNC_SOURCE_DIR "/examples/" + example + "'"; }

json evaluated(const Scratch& scratch, const std::string& arguments) {
  const auto result = run_nnc("eval " + arguments + " --json", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  return json::parse(result.out.substr(0, result.out.find('\n')));
}

void train(const Scratch& scratch, const std::string& example) {
  const auto result = run_nnc("train " + path_of(example) + " --out run", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
}

}  // namespace

TEST_CASE(
    "every example says in its first three lines what it teaches, has a README with a command, and its tests pass",
    "[examples]") {
  const Scratch scratch;
  for (const std::string& example : examples()) {
    INFO(example);
    const fs::path file = fs::path(NNC_SOURCE_DIR "/examples") / example;
    const auto lines = nnc::test::text_lines(read_file(file));
    REQUIRE(lines.size() > 3);
    CHECK((lines[0].starts_with("# ") && lines[1].starts_with("# ")));
    CHECK(read_file(file.parent_path() / "README.md").find("    $ nnc ") != std::string::npos);
    CHECK(run_nnc("fmt --check " + path_of(example), scratch.path()).status == 0);
    const auto checked = run_nnc("check " + path_of(example), scratch.path());
    INFO(checked.err);
    CHECK(checked.status == 0);
    CHECK(checked.err.empty());
    if (read_file(file).find("\ntest \"") == std::string::npos) continue;
    const auto tested = run_nnc("test " + path_of(example), scratch.path());
    INFO(tested.out << tested.err);
    CHECK(tested.status == 0);
  }
}

TEST_CASE("the graphs of every example read back as they were printed, and the passes can be run on them",
          "[examples]") {
  for (const std::string& example : examples()) {
    const Scratch scratch;
    for (const std::string& block : train_blocks(example)) {
      INFO(example << " " << block);
      for (const std::string stage : {"graph", "grad", "opt"}) {
        INFO(stage);
        const auto emitted = run_nnc(
            "emit " + path_of(example) + " " + block + " --stage " + stage + " -o " + stage + ".ng", scratch.path());
        INFO(emitted.err);
        REQUIRE(emitted.status == 0);
        const auto again = run_nnc("opt " + stage + ".ng", scratch.path());
        INFO(again.err);
        REQUIRE(again.status == 0);
        const std::string printed = read_file(scratch.path() / (stage + ".ng"));
        CHECK(printed.size() > 100);
        CHECK(again.out == printed);
      }
      // The graph `grad`, run through the remaining passes by hand, is the graph `opt`.
      const auto passes = run_nnc("opt grad.ng --passes simplify,expand,fold_expanded,assign_order", scratch.path());
      INFO(passes.err);
      REQUIRE(passes.status == 0);
      const auto by_hand = nnc::parse_graph(passes.out),
                 at_once = nnc::parse_graph(read_file(scratch.path() / "opt.ng"));
      REQUIRE(std::holds_alternative<nnc::Graph>(by_hand));
      REQUIRE(std::holds_alternative<nnc::Graph>(at_once));
      CHECK(nnc::same_graph(std::get<nnc::Graph>(by_hand),
                            std::get<nnc::Graph>(at_once)));  // in whatever order it stands
    }
  }
}

TEST_CASE("linear regression finds the line through the servers", "[examples]") {
  const Scratch scratch;
  train(scratch, "linear/linear.nn");
  CHECK(evaluated(scratch, "run --split train").at("loss").get<double>() < 0.006);
}

TEST_CASE("softmax regression tells the flowers apart and predicts their names", "[examples]") {
  const Scratch scratch;
  train(scratch, "softmax/flowers.nn");
  CHECK(evaluated(scratch, "run --split test").at("acc").get<double>() >= 0.9);
  std::ofstream(scratch.path() / "new.csv") << "petal_length,petal_width\n1.4,0.2\n5.8,2.2\n";
  const auto predicted = run_nnc("predict run --input new.csv", scratch.path());
  INFO(predicted.err);
  REQUIRE(predicted.status == 0);
  CHECK(predicted.out == "species\ndaisy\ntulip\n");
}

TEST_CASE("two hidden units learn XOR", "[examples]") {
  const Scratch scratch;
  train(scratch, "xor/xor.nn");
  const json figures = evaluated(scratch, "run --split train");
  CHECK(figures.at("acc").get<double>() == 1.0);
  CHECK(figures.at("loss").get<double>() < 0.05);
}

TEST_CASE("the curve is learnt to within its noise", "[examples]") {
  const Scratch scratch;
  train(scratch, "curve/curve.nn");
  CHECK(evaluated(scratch, "run --split valid").at("mae").get<double>() < 0.045);
}

// The data take 3 columns of 8 bytes a row while they are read and 2 of 4 afterwards; beyond that, evaluation works in
// blocks, so sixty times the rows must not cost more.
TEST_CASE("evaluation of sixty times the rows takes the same memory apart from the data", "[examples]") {
  const Scratch scratch;
  const std::string program =
      "data rows {\n  train = csv(\"rows.csv\")\n  x: f32[2] = cols(\"a\", \"b\")\n  y: f32[1] = cols(\"y\")\n}\n"
      "model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(64) |> tanh |> Dense(64) |> tanh |> Dense(1) "
      "}\n"
      "train Net on rows {\n  let z = Net(x)\n  loss = mse(z, y)\n  metric mae = mae(z, y)\n  optimizer = sgd(lr = "
      "0.01)\n"
      "  epochs = 1\n}\n";
  std::string rows;
  for (int i = 0; i < 5000; ++i)
    rows += std::to_string(i % 7) + "," + std::to_string(i % 11) + "," + std::to_string(i % 3) + "\n";
  const auto write_rows = [&](int times) {
    std::ofstream file(scratch.path() / "rows.csv");
    file << "a,b,y\n";
    for (int i = 0; i < times; ++i) file << rows;
  };
  std::ofstream(scratch.path() / "rows.nn") << program;
  write_rows(1);
  REQUIRE(run_nnc("train rows.nn --out run", scratch.path()).status == 0);
  const auto peak_kib = [&](int times) {
    write_rows(times);
    const auto result = run_nnc("eval run --split train --json", scratch.path());
    REQUIRE(result.status == 0);
    return result.peak_kib;
  };
  const long small = peak_kib(1), large = peak_kib(60);
  const long text = 300000 * 6 / 1024, numbers = 300000 * (3 * 8 + 3 * 4) / 1024;
  INFO("peak of 5,000 rows: " << small << " KiB, of 300,000 rows: " << large << " KiB");
  CHECK(large - small <= text + numbers + 1024);
}
