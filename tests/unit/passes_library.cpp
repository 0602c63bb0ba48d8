// The library's layers, optimizers and schedules as they train: the step graph of a small program, optimised and
// evaluated, against the cited formulas written out here.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "frontend/elaborate.h"
#include "ir/evaluate.h"
#include "passes/pipeline.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using Catch::Matchers::WithinAbs;

/// A program over two columns x and w of two numbers each, in f64: `loss = ...`, `optimizer = ...`.
Elaborated elaborated(const std::string& declarations, const std::string& model, const std::string& items) {
  static int count = 0;
  const auto path =
      std::filesystem::temp_directory_path() /
      fmt::format("nnc-library-{}-{}.nn", std::chrono::steady_clock::now().time_since_epoch().count(), ++count);
  std::ofstream(path) << declarations << "\nmodel M(x: f32[batch, 2]) -> f32[batch, 2] {\n  return " << model << "\n}\n"
                      << R"(data d {
  train = table(a = [1, 3], b = [2, 6], c = [1, 0], e = [0, 0])
  x: f32[2] = cols("a", "b")
  w: f32[2] = cols("c", "e")
}
train M on d {
  let z = M(x)
  output z = z
  epochs = 1
)" << items << "\n}\n";
  Diagnostics diagnostics;
  auto blocks =
      elaborate_file(path.string(), {.overrides = {}, .double_precision = true, .train_block = ""}, diagnostics);
  std::filesystem::remove(path);
  INFO(diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  return std::move(blocks[0]);
}

Tensor rows(std::vector<double> values, std::vector<std::int64_t> dims) {
  Tensor tensor = Tensor::zeros(DType::f64, std::move(dims));
  for (std::size_t i = 0; i < values.size(); ++i) tensor.set(static_cast<std::int64_t>(i), values[i]);
  return tensor;
}

/// Initial parameters and states.
Environment start(const Elaborated& block) {
  Environment environment;
  const auto made = evaluate(block.init, environment, true);
  for (const Variable& variable : block.variables)
    (variable.is_state ? environment.state : environment.params)[variable.path] = made.at("update " + variable.path);
  return environment;
}

void take(const Elaborated& block, const std::map<std::string, Tensor>& made, Environment& environment) {
  for (const Variable& variable : block.variables)
    if (const auto next = made.find("update " + variable.path); next != made.end())
      (variable.is_state ? environment.state : environment.params)[variable.path] = next->second;
}

}  // namespace

TEST_CASE("batch normalisation has the published numbers, in training and in inference") {
  const Elaborated block = elaborated("", "x |> BatchNorm()", "loss = sum(z * w)\noptimizer = sgd(lr = 0)");
  const Graph step = optimise(block.step);
  Environment environment = start(block);
  environment.batch = 4;
  environment.inputs["x"] = rows({1, 2, 3, 6, 5, 4, 7, 8}, {4, 2});
  environment.params["BatchNorm1.scale"] = rows({2, 0.5}, {2});
  environment.params["BatchNorm1.shift"] = rows({1, -1}, {2});
  const auto picked = [&](std::vector<double> mask) {
    environment.inputs["w"] = rows(std::move(mask), {4, 2});
    return evaluate(step, environment);
  };
  CHECK_THAT(picked({1, 0, 0, 0, 0, 0, 0, 0}).at("loss").at(0), WithinAbs(-1.68327889, 1e-8));
  const auto made = picked({0, 1, 0, 0, 0, 0, 0, 0});
  CHECK_THAT(made.at("loss").at(0), WithinAbs(-1.67081972, 1e-8));
  // Mean 4, 5; unbiased variance 20/3 both; momentum 0.9 from 0 and 1.
  CHECK_THAT(made.at("update BatchNorm1.mu").at(0), WithinAbs(0.4, 1e-15));
  CHECK_THAT(made.at("update BatchNorm1.mu").at(1), WithinAbs(0.5, 1e-15));
  CHECK_THAT(made.at("update BatchNorm1.var").at(0), WithinAbs(0.9 + 0.1 * 20 / 3, 1e-15));
  environment.state["BatchNorm1.mu"] = rows({4, 5}, {2});
  environment.state["BatchNorm1.var"] = rows({20.0 / 3, 20.0 / 3}, {2});
  environment.batch = 1;
  environment.inputs["x"] = rows({1, 2}, {1, 2});
  const Tensor z = evaluate(optimise(block.predict), environment).at("z");
  CHECK_THAT(z.at(0), WithinAbs(-1.32378826, 1e-8));
  CHECK_THAT(z.at(1), WithinAbs(-1.58094707, 1e-8));
}

TEST_CASE("batch normalisation by the plain average reads the step in training only") {
  const Elaborated block =
      elaborated("", "x |> BatchNorm(momentum = epoch_average())", "loss = sum(z * w)\noptimizer = sgd(lr = 0)");
  Environment environment = start(block);
  environment.batch = 1;
  environment.inputs["w"] = rows({0, 0}, {1, 2});
  environment.scalars = {{"epoch", 2}, {"steps_per_epoch", 3}, {"total_steps", 9}};
  const Graph step = optimise(block.step);
  for (int i = 1; i <= 3; ++i) {
    environment.scalars["step"] = 3 + i;
    environment.inputs["x"] = rows({10.0 * i, 1}, {1, 2});
    take(block, evaluate(step, environment), environment);
    CHECK_THAT(environment.state["BatchNorm1.mu"].at(0), WithinAbs(5.0 * (i + 1), 1e-12));
  }
}

TEST_CASE("rows are normalised by their own mean or root mean square") {
  const auto first_row = [](const std::string& layer) {
    const Elaborated block = elaborated("", "x |> " + layer, "loss = sum(z * w)\noptimizer = sgd(lr = 0)");
    Environment environment = start(block);
    environment.inputs["x"] = rows({1, 4}, {1, 2});
    return evaluate(optimise(block.predict), environment).at("z");
  };
  CHECK_THAT(first_row("LayerNorm()").at(1), WithinAbs(1.5 / std::sqrt(2.25 + 1e-5), 1e-14));
  CHECK_THAT(first_row("RMSNorm()").at(1), WithinAbs(4 / std::sqrt(8.5 + 1e-6), 1e-14));
}

TEST_CASE("dropout keeps the mean in training and is the identity in inference") {
  const Elaborated block =
      elaborated("layer Idle()(x: float[...]) -> float[...] {\n  param p: float[] = zeros\n  return x + 0 * p\n}\n",
                 "x |> Idle() |> Dropout(0.4)", "loss = mean(z)\noptimizer = sgd(lr = 0)");
  Environment environment;
  environment.batch = 10000;
  environment.params["Idle1.p"] = rows({0}, {});
  environment.seed = 3;
  environment.inputs["x"] = rows(std::vector<double>(20000, 1), {10000, 2});
  const double mean = evaluate(optimise(block.step), environment).at("loss").at(0);
  // The mean of 20,000 draws of 0 or 1/0.6; five standard errors.
  CHECK_THAT(mean, WithinAbs(1, 5 * std::sqrt(0.4 / 0.6 / 20000)));
  CHECK(mean != 1);
  CHECK(evaluate(optimise(block.predict), environment).at("z") == environment.inputs["x"]);
}

TEST_CASE("optimizers follow their formulas") {
  struct Case {
    std::string optimizer;
    std::function<double(double p, double g, double t, double& m, double& v)> next;
  };
  const std::vector<Case> cases = {
      {"sgd(0.1)", [](double p, double g, double, double&, double&) { return p - 0.1 * g; }},
      {"momentum(0.1)",
       [](double p, double g, double, double&, double& v) {
         v = 0.9 * v + g;
         return p - 0.1 * v;
       }},
      {"nesterov(0.1, beta = 0.8)",
       [](double p, double g, double, double&, double& v) {
         v = 0.8 * v + g;
         return p - 0.1 * (g + 0.8 * v);
       }},
      {"rmsprop(0.1)",
       [](double p, double g, double, double&, double& v) {
         v = 0.99 * v + 0.01 * g * g;
         return p - 0.1 * g / (std::sqrt(v) + 1e-8);
       }},
      {"adagrad(0.1)",
       [](double p, double g, double, double&, double& v) {
         v = v + g * g;
         return p - 0.1 * g / (std::sqrt(v) + 1e-10);
       }},
      {"adam(0.1)",
       [](double p, double g, double t, double& m, double& v) {
         m = 0.9 * m + 0.1 * g;
         v = 0.999 * v + 0.001 * g * g;
         return p - 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
       }},
      {"adamw(0.1, weight_decay = 0.2)",
       [](double p, double g, double t, double& m, double& v) {
         m = 0.9 * m + 0.1 * g;
         v = 0.999 * v + 0.001 * g * g;
         return p - 0.1 * 0.2 * p -
                0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
       }},
  };
  const std::string layer =
      "layer Shift()(x: float[..., C]) -> float[..., C] {\n  param p: float[C] = [1, -2]\n  return x * p\n}";
  for (const Case& one : cases) {
    INFO(one.optimizer);
    // loss = 3 p0², so g = 6 p0, and nothing for p1.
    const Elaborated block = elaborated(layer, "x |> Shift()", "loss = 3 * sum(w * z^2)\noptimizer = " + one.optimizer);
    const Graph step = optimise(block.step);
    Environment environment = start(block);
    environment.inputs["x"] = rows({1, 1}, {1, 2});
    environment.inputs["w"] = rows({1, 0}, {1, 2});
    double p = 1, m = 0, v = 0;
    for (int t = 1; t <= 20; ++t) {
      environment.scalars["step"] = t;
      take(block, evaluate(step, environment), environment);
      p = one.next(p, 6 * p, t, m, v);
      REQUIRE_THAT(environment.params["Shift1.p"].at(0), WithinAbs(p, 1e-11 * std::max(1.0, std::abs(p))));
    }
    if (one.optimizer.find("adamw") == std::string::npos) CHECK(environment.params["Shift1.p"].at(1) == -2);
  }
}

TEST_CASE("schedules are functions of the step") {
  const std::string layer =
      "layer Shift()(x: float[..., C]) -> float[..., C] {\n  param p: float[C] = [0, 0]\n  return x + p\n}";
  // The gradient is 1, so the parameter falls by the rate.
  const auto rate = [&](const std::string& schedule, double step, double epoch) {
    const Elaborated block =
        elaborated(layer, "x |> Shift()", fmt::format("loss = sum(w * z)\noptimizer = sgd({})", schedule));
    Environment environment = start(block);
    environment.inputs["x"] = rows({1, 1}, {1, 2});
    environment.inputs["w"] = rows({1, 0}, {1, 2});
    environment.scalars = {{"step", step}, {"epoch", epoch}, {"steps_per_epoch", 10}, {"total_steps", 100}};
    return -evaluate(optimise(block.step), environment).at("update Shift1.p").at(0);
  };
  CHECK_THAT(rate("cosine(1, to = 0.1, warmup = 20)", 5, 1), WithinAbs(0.25, 1e-14));
  CHECK_THAT(rate("cosine(1, to = 0.1, warmup = 20)", 60, 6), WithinAbs(0.55, 1e-14));
  CHECK_THAT(rate("cosine(1, to = 0.1)", 100, 10), WithinAbs(0.1, 1e-14));
  CHECK_THAT(rate("exponential(2, factor = 0.5)", 21, 3), WithinAbs(0.5, 1e-14));
  CHECK_THAT(rate("step_decay(2, factor = 0.5, every = 3)", 60, 6), WithinAbs(1, 1e-14));
  CHECK_THAT(rate("step_decay(2, factor = 0.5, every = 3)", 61, 7), WithinAbs(0.5, 1e-14));
  CHECK_THAT(rate("one_cycle(1)", 30, 3), WithinAbs(1, 1e-14));
  CHECK_THAT(rate("one_cycle(1)", 15, 2), WithinAbs((1 + 0.04) / 2, 1e-14));
  CHECK_THAT(rate("one_cycle(1)", 100, 10), WithinAbs(0.04e-4, 1e-14));
  CHECK_THAT(rate("warmup(2, 10)", 5, 1), WithinAbs(1, 1e-14));
  CHECK_THAT(rate("warmup(2, 10)", 50, 1), WithinAbs(2, 1e-14));
}

TEST_CASE("gradients and weights are values") {
  // z = 3x, so d sum(z^2)/dx = 18 x, and its own derivative by p is 36 p x^2 ... with p = 3.
  const std::string layer =
      "layer Scale()(x: float[..., C]) -> float[..., C] {\n  param p: float[C] = [3, 3]\n  return x * p\n}";
  const Elaborated block =
      elaborated(layer, "x |> Scale()",
                 "let g = grad(sum(z^2), x)\nloss = sum(g * w) + 0.5 * sum([sum(square(p)) for p in "
                 "params(M)])\noptimizer = sgd(1)");
  Environment environment = start(block);
  environment.inputs["x"] = rows({2, 5}, {1, 2});
  environment.inputs["w"] = rows({1, 0}, {1, 2});
  const auto made = evaluate(optimise(block.step), environment);
  // g = 2 p² x = 36 for the first; the penalty is 9. d/dp: 4 p x + p = 24 + 3.
  CHECK_THAT(made.at("loss").at(0), WithinAbs(45, 1e-13));
  CHECK_THAT(made.at("update Scale1.p").at(0), WithinAbs(3 - 27, 1e-12));
  CHECK_THAT(made.at("update Scale1.p").at(1), WithinAbs(3 - 3, 1e-12));
}

TEST_CASE("orthogonal weights are orthogonal, whichever side is longer") {
  for (const auto& [rows, columns] : {std::pair{6, 6}, {7, 3}, {3, 7}, {40, 40}, {1, 4}}) {
    INFO(rows << " x " << columns);
    const std::string layer = fmt::format(
        "layer Probe()(x: float[..., C]) -> float[..., C] {{\n  param W: float[1, {}, {}] = orthogonal\n"
        "  return x * sum(W)\n}}",
        rows, columns);
    const Elaborated block = elaborated(layer, "x |> Probe()", "loss = sum(z * w)\noptimizer = sgd(1)");
    const Tensor weights = start(block).params.at("Probe1.W");
    const bool tall = rows >= columns;
    const int short_side = std::min(rows, columns), long_side = std::max(rows, columns);
    const auto element = [&](int i, int k) { return weights.at(tall ? k * columns + i : i * columns + k); };
    for (int i = 0; i < short_side; ++i)
      for (int j = 0; j < short_side; ++j) {
        double product = 0;
        for (int k = 0; k < long_side; ++k) product += element(i, k) * element(j, k);
        CHECK_THAT(product, WithinAbs(i == j ? 1 : 0, 1e-12));
      }
  }
}
