// Training against an independent reference: four nets from given weights, 1,000 epochs over the rows in file order, in
// batches of 10 and in full batches (tests/reference/make_reference.py has the formulas and wrote the numbers).
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

Run train(const std::string& net, const std::string& batch_rows, const std::string& dtype) {
  const nnc::test::Scratch scratch;
  const std::string file = (reference_folder / net).string();
  const auto result = run_nnc("train '" + file + ".nn' --init '" + file +
                                  ".safetensors' --set batch_rows=" + batch_rows + " --dtype " + dtype + " --out run",
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

double distance(const json& a, const json& b) {
  Run run{a["train.loss"], {}};
  for (const auto& [name, values] : a["weights"].items()) run.weights[name] = values.get<std::vector<double>>();
  return distance(run, b);
}

}  // namespace

TEST_CASE("a thousand epochs in f64 agree with the reference to 1e-11", "[reference]") {
  const json reference = json::parse(read_file(reference_folder / "reference.json"));
  REQUIRE(reference["runs"].size() == 8);
  for (const json& expected : reference["runs"]) {
    const std::string net = expected["net"], batch = expected["batch"].is_string() ? "95" : "10";
    INFO(net << ", batch " << batch);
    const Run run = train(net, batch, "f64");
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

// How far one run ends is luck: NumPy's own two runs of a net differ by six. So a net's runs are judged together, by
// the further one, and all eight by their mean ratio, which is to be next to 1.
TEST_CASE("a thousand epochs in f32 are no further from f64 than twice what NumPy's float32 is", "[reference]") {
  const json reference = json::parse(read_file(reference_folder / "reference.json"));
  struct Farthest {
    double ours = 0, numpy = 0;
  };
  std::map<std::string, Farthest> nets;
  double log_ratios = 0;
  for (const json& expected : reference["runs"]) {
    const std::string net = expected["net"], batch = expected["batch"].is_string() ? "95" : "10";
    const double ours = distance(train(net, batch, "f32"), expected["f64"]);
    const double numpy = distance(expected["f32"], expected["f64"]);
    nets[net] = {std::max(nets[net].ours, ours), std::max(nets[net].numpy, numpy)};
    log_ratios += std::log(ours / numpy);
  }
  for (const auto& [net, farthest] : nets) {
    INFO(net);
    CHECK(farthest.ours <= 2 * farthest.numpy);
  }
  CHECK(std::exp(log_ratios / static_cast<double>(reference["runs"].size())) <= 1.25);
}
