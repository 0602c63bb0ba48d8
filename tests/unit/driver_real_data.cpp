// The main job on real data, by the command alone: house prices and iris from CSV, handwritten digits from IDX files.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::read_weights;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::text_lines;
using nnc::test::write_file;
namespace fs = std::filesystem;

std::string house_program(const fs::path& data, const std::string& y, int epochs) {
  return "data house {\n  let rows = csv(\"" + (data / "seeds/ch05_house_price.csv").string() +
         "\")\n  train = rows\n  x: f32[2] = minmax(cols(\"distance_km\", \"area_m2\"))\n  y: f32[1] = " + y +
         "\n}\nmodel House(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1, init = zeros) }\n"
         "train House on house {\n  let z = House(x)\n  loss = half_mse(z, y)\n  output price = " +
         (y.starts_with("cols") ? "z" : "undo(z, y)") +
         "\n"
         "  optimizer = sgd(lr = 0.01)\n  batch_size = 10\n  epochs = " +
         std::to_string(epochs) + "\n}\n";
}

struct HouseResult {
  double loss = 0, price = 0;
  std::vector<double> w, b;
};

HouseResult train_house(const fs::path& data, const std::string& y, int epochs) {
  const Scratch scratch;
  write_file(scratch.path() / "house.nn", house_program(data, y, epochs));
  write_file(scratch.path() / "one.csv", "area_m2,distance_km\n93,15\n");  // columns are found by name, in any order
  auto trained = run_nnc("train house.nn --out run", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  auto evaluated = run_nnc("eval run --split train --json", scratch.path());
  INFO(evaluated.err);
  REQUIRE(evaluated.status == 0);
  auto predicted = run_nnc("predict run --input one.csv --format jsonl", scratch.path());
  INFO(predicted.err);
  REQUIRE(predicted.status == 0);
  const json price = json_lines(predicted.out).at(0).at("price");
  const auto weights = read_weights(scratch.path() / "run/last.safetensors");
  return {json_lines(evaluated.out).at(0).at("loss"), price.is_array() ? price.at(0) : price, weights.at("Dense1.W"),
          weights.at("Dense1.b")};
}

}  // namespace

// data/seeds/README.md, row "5.4 min-max x": loss 380.5935, W -40.2326 399.3639, B 244.3912, z(15, 93) = 486.143.
// The order of the rows is drawn and the rate stays at 0.01, so a run ends near the minimum, not in it. Forty runs of
// an independent implementation (NumPy, f64, other orders) have standard deviations of 0.12 in W, 0.22 in B and 0.38 in
// the price, and a loss of 0.06 +- 0.063 above that of least squares, 380.5928; the tolerances are three of these.
TEST_CASE("house price with min-max features reaches the published loss, weights and price", "[real-data]") {
  const fs::path data = nnc::test::shared_data("house price, row 5.4");
  if (data.empty()) return;
  const HouseResult r = train_house(data, "cols(\"price_wan\")", 500);
  CHECK(r.loss > 380.5927);
  CHECK(r.loss < 380.5928 + 0.06 + 3 * 0.063);
  CHECK(std::abs(r.w.at(0) - -40.2326) < 0.36);
  CHECK(std::abs(r.w.at(1) - 399.3639) < 0.36);
  CHECK(std::abs(r.b.at(0) - 244.3912) < 0.67);
  CHECK(std::abs(r.price - 486.143) < 1.14);
}

// Row "5.6 min-max x and y": loss 0.0015664, W -0.08149 0.81022, B 0.12802, price 486.336 (spread of an independent
// implementation: 2e-4 in W and B, 1.3e-7 in the loss, 0.29 in the price).
TEST_CASE("house price with min-max features and target undoes the scaling of its prediction", "[real-data]") {
  const fs::path data = nnc::test::shared_data("house price, row 5.6");
  if (data.empty()) return;
  const HouseResult r = train_house(data, "minmax(cols(\"price_wan\"))", 200);
  CHECK(std::abs(r.loss - 0.0015664) < 1e-6);
  CHECK(std::abs(r.w.at(0) - -0.08149) < 4e-4);
  CHECK(std::abs(r.w.at(1) - 0.81022) < 4e-4);
  CHECK(std::abs(r.b.at(0) - 0.12802) < 4e-4);
  CHECK(std::abs(r.price - 486.336) < 0.6);
}

// data/tabular/README.md, row iris: 150 flowers, means 5.8433 3.0540 of the first two columns.
TEST_CASE("iris from CSV: the fitted means are the published ones, and a softmax regression tells the species apart",
          "[real-data]") {
  const fs::path data = nnc::test::shared_data("iris");
  if (data.empty()) return;
  const Scratch scratch;
  write_file(
      scratch.path() / "iris.nn",
      "data iris {\n  train = csv(\"" + (data / "tabular/iris.csv").string() +
          "\")\n  x: f32[4] = standardize(cols(\"sepal_length\", \"sepal_width\", \"petal_length\", \"petal_width\"))\n"
          "  y: i32[] = col(\"y\")\n}\n"
          "model Iris(x: f32[batch, 4]) -> f32[batch, 3] { return x |> Dense(3) }\n"
          "train Iris on iris {\n  let z = Iris(x)\n  loss = softmax_cross_entropy(z, y)\n  metric acc = accuracy(z, "
          "y)\n"
          "  optimizer = sgd(lr = 0.5)\n  batch_size = 10\n  epochs = 200\n}\n");
  auto trained = run_nnc("train iris.nn --out run", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const std::vector<double> means = read_weights(scratch.path() / "run/last.safetensors").at("data.x.mean");
  CHECK(std::abs(means.at(0) - 5.8433) < 1e-4);
  CHECK(std::abs(means.at(1) - 3.0540) < 1e-4);
  auto evaluated = run_nnc("eval run --split train --json", scratch.path());
  REQUIRE(evaluated.status == 0);
  CHECK(json_lines(evaluated.out).at(0).at("acc").get<double>() >= 0.96);
}

/// Of 10,000 lines of predicted digits, the share that equals the labels of an IDX file.
double share_right(const fs::path& predicted, const fs::path& label_file) {
  const auto digits = text_lines(read_file(predicted));
  const std::string labels = read_file(label_file);
  REQUIRE(digits.size() == 10001);
  REQUIRE(labels.size() == 8 + 10000);
  CHECK(digits[0] == "digit");
  int right = 0;
  for (int i = 0; i < 10000; ++i) right += std::stoi(digits[i + 1]) == static_cast<unsigned char>(labels[8 + i]);
  return right / 10000.0;
}

TEST_CASE("MNIST: five epochs of a 784-256-128-10 network reach 97.5%, and eval and predict say the same",
          "[real-data]") {
  const fs::path data = nnc::test::shared_data("MNIST");
  if (data.empty()) return;
  const Scratch scratch;
  const std::string program = NNC_SOURCE_DIR "/examples/mnist/mnist.nn";
  const fs::path elsewhere = scratch.path() / "elsewhere", labels = scratch.path() / "labels";
  fs::create_directories(elsewhere);
  REQUIRE(
      std::system(("gzip -dc '" + (data / "mnist/t10k-labels-idx1-ubyte.gz").string() + "' > '" + labels.string() + "'")
                      .c_str()) == 0);
  const auto evaluated = [&](const std::string& run, const std::string& split) {
    const auto result = run_nnc("eval ../" + run + " --split " + split + " --json", elsewhere);
    INFO(result.err);
    REQUIRE(result.status == 0);
    return json_lines(result.out).at(0);
  };
  std::vector<double> accuracy;
  for (int seed = 1; seed <= 3; ++seed) {
    const std::string run = "run" + std::to_string(seed);
    auto trained = run_nnc("train '" + program + "' --data '" + (data / "mnist").string() + "' --seed " +
                               std::to_string(seed) + " --out " + run,
                           scratch.path());
    INFO(trained.err);
    REQUIRE(trained.status == 0);

    // What training found of the split it watches, eval finds again to the last digit, from another folder.
    const json last = json_lines(read_file(scratch.path() / run / "metrics.jsonl")).back(),
               again = evaluated(run, "train");
    CHECK(again.at("acc").get<double>() == last.at("train.acc").get<double>());

    // The classes that predict writes, counted against the labels, are the accuracy that eval prints.
    accuracy.push_back(evaluated(run, "test").at("acc"));
    auto predicted = run_nnc("predict ../" + run + " --input '" + (data / "mnist/t10k-images-idx3-ubyte.gz").string() +
                                 "' --output digits.csv --format csv",
                             elsewhere);
    INFO(predicted.err);
    REQUIRE(predicted.status == 0);
    CHECK(share_right(elsewhere / "digits.csv", labels) == accuracy.back());
  }
  INFO("accuracies " << accuracy[0] << " " << accuracy[1] << " " << accuracy[2]);
  std::sort(accuracy.begin(), accuracy.end());
  CHECK(accuracy[1] >= 0.975);
}
