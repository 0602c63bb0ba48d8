// The same networks as scikit-learn's, on the same rows of real data sets, reach the figures that it reaches
// (tests/reference/sklearn.json, made by make_sklearn.py).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// One hidden layer, ReLU, Adam; of every five rows the last is for testing where there is no file for that.
std::string program(const json& set, const fs::path& data) {
  const auto text = [&](const char* key) { return set.at(key).get<std::string>(); };
  const std::string target = text("target");
  const bool classes = text("kind") == "classes";
  const std::string train = (data / text("train")).string();
  const std::string header = nnc::test::text_lines(nnc::test::read_file(train)).at(0);
  const auto features = std::count(header.begin(), header.end(), ',');
  const std::string rows = text("test").empty() ? fmt::format("train, test = split(csv(\"{}\"), every = 5)", train)
                                                : fmt::format("train = csv(\"{}\")\n  test = csv(\"{}\")", train,
                                                              (data / text("test")).string());
  const json& outputs = set.at("outputs");
  return fmt::format(
      "data rows {{\n  {}\n  x: f32[{}] = standardize(cols(except = \"{}\"))\n  {}\n}}\n"
      "model Net(x: f32[batch, {}]) -> f32[batch, {}] {{ return x |> Dense({}) |> relu |> Dense({}) }}\n"
      "train Net on rows {{\n  let z = Net(x)\n  loss = {}\n  metric score = {}\n  optimizer = adam(lr = {})\n"
      "  batch_size = {}\n  epochs = {}\n  check_every = 1000\n}}\n",
      rows, features, target,
      classes ? fmt::format("y: i32[] = col(\"{}\")", target)
              : fmt::format("y: f32[1] = standardize(col(\"{}\"))", target),
      features, outputs.get<int>(), set.at("hidden").get<int>(), outputs.get<int>(),
      classes ? "softmax_cross_entropy(z, y)" : "half_mse(z, y)", classes ? "accuracy(z, y)" : "r2(z, y)",
      set.at("rate").get<double>(), set.at("batch").get<int>(), set.at("epochs").get<int>());
}

double score(const fs::path& folder, int seed) {
  const std::string run = "run" + std::to_string(seed);
  const auto trained =
      nnc::test::run_nnc(fmt::format("train net.nn --threads 1 --seed {} --out {}", seed, run), folder);
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const auto evaluated = nnc::test::run_nnc("eval " + run + " --split test --json", folder);
  REQUIRE(evaluated.status == 0);
  return nnc::test::json_lines(evaluated.out).at(0).at("score");
}

}  // namespace

// The median of n seeds may lie below that of scikit-learn's ten by no more than twice the deviation of one of its
// seeds over the root of n: what chance does to such a median. Five seeds say enough where they are close together.
TEST_CASE("on eight real data sets networks reach what scikit-learn's reach", "[real-data]") {
  const fs::path data = nnc::test::shared_data("scikit-learn");
  if (data.empty()) return;
  const json reference = json::parse(nnc::test::read_file(NNC_SOURCE_DIR "/tests/reference/sklearn.json"));
  CHECK(reference.at("sets").size() == 8);
  for (json set : reference.at("sets")) {
    const std::string name = set.at("name");
    set["outputs"] = set.at("kind") == "number" ? 1 : name == "digits" ? 10 : name == "iris" || name == "wine" ? 3 : 2;
    const nnc::test::Scratch scratch;
    nnc::test::write_file(scratch.path() / "net.nn", program(set, data));
    const double deviation = set.at("deviation");
    const int seeds = deviation > 0.02 ? 41 : 5;
    std::vector<double> scores;
    for (int seed = 1; seed <= seeds; ++seed) scores.push_back(score(scratch.path(), seed));
    std::sort(scores.begin(), scores.end());
    const double median = set.at("median"), chance = 2 * deviation / std::sqrt(seeds);
    const double reached = scores[scores.size() / 2];
    INFO(name << ": " << reached << ", scikit-learn " << median << " and " << chance << " by chance");
    if (std::getenv("NNC_SHOW") != nullptr) fmt::print("{} {:.4f} {:.4f} {:.4f}\n", name, reached, median, chance);
    constexpr double written = 0.5e-6;  // the reference has six digits
    CHECK(reached >= median - chance - written);
  }
}
