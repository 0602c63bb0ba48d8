// Training against an independent reference: the nets of a first course from given weights, over the rows in file
// order: 100 epochs of single rows, 1,000 in batches of 10 and in full batches (tests/reference/make_reference.py has
// the formulas and wrote the numbers).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::read_file;
using nnc::test::read_weights;
using nnc::test::run_nnc;
namespace fs = std::filesystem;

const fs::path reference_folder = NNC_SOURCE_DIR "/tests/reference";

struct Run {
  double loss = 0;
  std::map<std::string, std::vector<double>> weights;
};

/// The run of the reference, by nnc.
Run train(const json& reference, const json& expected, const std::string& dtype) {
  const nnc::test::Scratch scratch;
  const std::string file = (reference_folder / expected["net"].get<std::string>()).string();
  const std::string batch = expected["batch"].is_string() ? "full" : std::to_string(expected["batch"].get<int>());
  const auto result = run_nnc(
      "train '" + file + ".nn' --init '" + file + ".safetensors' --set batch_rows=" + (batch == "full" ? "95" : batch) +
          " --epochs " + std::to_string(reference["epochs"][batch].get<int>()) + " --dtype " + dtype + " --out run",
      scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  const std::string metrics = read_file(scratch.path() / "run/metrics.jsonl");
  const std::size_t last = metrics.rfind('\n', metrics.size() - 2);
  Run run;
  run.loss = json::parse(metrics.substr(last == std::string::npos ? 0 : last + 1)).at("train.loss");
  run.weights = read_weights(scratch.path() / "run/last.safetensors");
  return run;
}

/// Greatest |a - b| over the loss and all weights.
double distance(const Run& run, const json& reference) {
  double greatest = std::abs(run.loss - reference["train.loss"].get<double>());
  for (const auto& [name, expected] : reference["weights"].items()) {
    const std::vector<double>& values = run.weights.at(name);
    REQUIRE(values.size() == expected.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      greatest = std::max(greatest, std::abs(values[i] - expected[i].get<double>()));
  }
  return greatest;
}

json reference() {
  json read = json::parse(read_file(reference_folder / "reference.json"));
  REQUIRE(read["runs"].size() == 33);  // 11 nets, 3 batches
  return read;
}

}  // namespace

TEST_CASE("thousands of steps in f64 agree with the reference to 1e-11", "[reference]") {
  const json all = reference();
  for (const json& expected : all["runs"]) {
    INFO(expected["net"] << ", batch " << expected["batch"]);
    const Run run = train(all, expected, "f64");
    CHECK(std::abs(run.loss - expected["f64"]["train.loss"].get<double>()) <= 1e-11);
    for (const auto& [name, values] : expected["f64"]["weights"].items()) {
      INFO(name);
      REQUIRE(run.weights.at(name).size() == values.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double b = values[i];
        CHECK(std::abs(run.weights.at(name)[i] - b) <= 1e-11 * std::max(1.0, std::abs(b)));
      }
    }
  }
}

// How far one float32 run ends from f64 is what rounding happened to add up to: the order of a batch's rows, which
// means nothing, moves NumPy's distance by a factor of up to 2.5. What NumPy's float32 is, is the median over 17
// ways to write down the same arithmetic; and where NumPy itself goes further than twice that, so may we.
TEST_CASE("thousands of steps in f32 are no further from f64 than twice what NumPy's float32 is", "[reference]") {
  const json all = reference();
  for (const json& expected : all["runs"]) {
    INFO(expected["net"] << ", batch " << expected["batch"]);
    auto numpy = expected["f32_distances"].get<std::vector<double>>();
    REQUIRE(numpy.size() == 17);
    std::sort(numpy.begin(), numpy.end());
    CHECK(distance(train(all, expected, "f32"), expected["f64"]) <= std::max(2 * numpy[8], numpy[16]));
  }
}
