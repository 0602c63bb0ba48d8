// `scan`, `carry` and `solve` as they are written, and the recurrent layers of the library: elaborated, optimised and
// evaluated, against NumPy (the formulas of docs/library.md over the same numbers).
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "frontend/elaborate.h"
#include "ir/evaluate.h"
#include "passes/gradcheck.h"
#include "passes/pipeline.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using Catch::Matchers::Contains;
using Catch::Matchers::WithinAbs;

/// A program in f64 whose model M maps x [batch, 3, 2] to `type`, and which hands out z = M(x).
std::pair<std::vector<Elaborated>, std::string> tried(const std::string& declarations, const std::string& body,
                                                      const std::string& type) {
  static int count = 0;
  const auto path =
      std::filesystem::temp_directory_path() /
      fmt::format("nnc-recurrent-{}-{}.nn", std::chrono::steady_clock::now().time_since_epoch().count(), ++count);
  std::ofstream(path)
      << declarations
      << "\nlayer Idle()(x: float[...]) -> float[...] {\n  param p: float[] = zeros\n  return x + 0 * p\n}\n"
      << "model M(given: f32[batch, 3, 2]) -> " << type << " {\n  let x = given |> Idle()\n"
      << body << R"(
}
data d {
  samples = 4
  x: f32[3, 2] = uniform(-1, 1)
  y: f32[3, 2] = uniform(-1, 1)
}
train M on d {
  let z = M(x)
  output z = z
  loss = mean(square(z)) + 0 * mean(y)
  optimizer = sgd(lr = 1)
  epochs = 1
}
)";
  Diagnostics diagnostics;
  auto blocks =
      elaborate_file(path.string(), {.overrides = {}, .double_precision = true, .train_block = ""}, diagnostics);
  std::filesystem::remove(path);
  return {std::move(blocks), diagnostics.render(false)};
}

/// The parameter that every program has, so that there is something to train; it does nothing.
Environment nothing_idle() {
  Environment at;
  at.params["Idle1.p"] = Tensor::zeros(DType::f64, {});
  return at;
}

Elaborated elaborated(const std::string& declarations, const std::string& body,
                      const std::string& type = "f32[batch, 3, 2]") {
  auto [blocks, messages] = tried(declarations, body, type);
  INFO(messages);
  REQUIRE(blocks.size() == 1);
  return std::move(blocks[0]);
}
std::string messages(const std::string& declarations, const std::string& body) {
  return tried(declarations, body, "f32[batch, 3, 2]").second;
}

/// sin(1.7 k + shift) scale at element k.
Tensor waves(std::vector<std::int64_t> dims, double scale, double shift) {
  Tensor tensor = Tensor::zeros(DType::f64, std::move(dims));
  for (std::int64_t k = 0; k < tensor.count(); ++k)
    tensor.set(k, std::sin(static_cast<double>(k) * 1.7 + shift) * scale);
  return tensor;
}

void check_layer(const std::string& layer, int gates, bool second_bias, const std::vector<double>& expected) {
  const Elaborated block = elaborated("", fmt::format("return x |> {}(2)", layer));
  Environment at = nothing_idle();
  at.batch = 2;
  at.inputs["x"] = waves({2, 3, 2}, 1, 0.3);
  std::vector<std::string> paths{"W", "U", "b"};
  if (second_bias) paths.emplace_back("c");
  REQUIRE(block.variables.size() == 1 + paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const std::string path = fmt::format("{}1.Cell.{}", layer, paths[i]);
    CHECK(block.variables[1 + i].path == path);
    const std::int64_t width = 2 * (i == 3 ? 1 : gates);
    at.params[path] = waves(i < 2 ? std::vector<std::int64_t>{2, width} : std::vector<std::int64_t>{width}, 0.8,
                            static_cast<double>(i + 1));
  }
  const Tensor z = evaluate(optimise(block.predict), at).at("z");
  REQUIRE(z.dims == std::vector<std::int64_t>{2, 3, 2});
  for (std::size_t k = 0; k < expected.size(); ++k)
    CHECK_THAT(z.at(static_cast<std::int64_t>(k)), WithinAbs(expected[k], 1e-13));
  const GradcheckReport report = gradcheck_step(block.step);
  CHECK(report.checked >= 10);
  CHECK(report.failures.empty());
}

const std::string sum_cell =
    "layer Sum(start: float = 0)(x: float[..., C]) -> float[..., C] {\n"
    "  carry s: float[..., C] = constant(start)\n  update s = s + x\n  return s\n}\n";

}  // namespace

TEST_CASE("Rnn has the published numbers") {
  check_layer("Rnn", 1, false,
              {-0.363053148227047, -0.681232924462411, 0.463344309558399, -0.804721674521134, 0.758586331970856,
               -0.862142758369048, -0.20369201001883, -0.781224557374343, 0.769861157033768, -0.692404762093545,
               0.303936575473421, -0.955696631345041});
}

TEST_CASE("Lstm has the published numbers") {
  check_layer("Lstm", 4, false,
              {0.119120216378362, -0.171525198510739, -0.0513172763344667, -0.0711012213671906, 0.142056541379203,
               -0.268494401016957, -0.201945582247067, -0.0537988894645013, 0.0801424682112284, -0.196022349999106,
               -0.12220103766764, -0.205886153431497});
}

TEST_CASE("Gru has the published numbers") {
  check_layer("Gru", 3, true,
              {-0.257080482086674, -0.137892178331897, -0.411372478578657, -0.305500300286277, -0.421980951532249,
               -0.38069844769436, -0.294471595688312, -0.191535780659594, -0.155374994056712, -0.370544272995473,
               -0.349371158255278, -0.42730708967568});
}

TEST_CASE("a carry goes from step to step, begins where it says, and its results are stacked along axis 1") {
  const Elaborated block = elaborated(sum_cell, "return x |> scan(Sum(start = 10))");
  Environment at = nothing_idle();
  at.batch = 2;
  at.inputs["x"] = waves({2, 3, 2}, 1, 0);
  const Tensor x = at.inputs["x"], z = evaluate(optimise(block.predict), at).at("z");
  for (std::int64_t row = 0; row < 2; ++row)
    for (std::int64_t c = 0; c < 2; ++c) {
      double sum = 10;
      for (std::int64_t t = 0; t < 3; ++t) {
        sum += x.at(row * 6 + t * 2 + c);
        CHECK(z.at(row * 6 + t * 2 + c) == sum);
      }
    }
}

TEST_CASE("loops in loops, several results and whole arguments") {
  const std::string cells = sum_cell +
                            "layer Both()(x: float[..., C], by: float[..., C]) -> (float[..., C], float[..., C]) {\n"
                            "  carry s: float[..., C] = by\n  update s = s + x * by\n  return s, x - by\n}\n";
  const Elaborated block =
      elaborated(cells, "let w = mean(x, over = 1)\nlet a, b = x |> scan(Both(), w)\nreturn a + (b |> scan(Sum()))");
  Environment at = nothing_idle();
  at.batch = 1;
  at.inputs["x"] = waves({1, 3, 2}, 1, 0);
  const Tensor x = at.inputs["x"], z = evaluate(optimise(block.predict), at).at("z");
  for (std::int64_t c = 0; c < 2; ++c) {
    const double by = (x.at(c) + x.at(2 + c) + x.at(4 + c)) / 3;
    double s = by, total = 0;
    for (std::int64_t t = 0; t < 3; ++t) {
      s += x.at(t * 2 + c) * by;
      total += x.at(t * 2 + c) - by;
      CHECK_THAT(z.at(t * 2 + c), WithinAbs(s + total, 1e-14));
    }
  }
}

TEST_CASE("a state that a step updates goes from step to step and is committed once") {
  const std::string cell =
      "layer Count()(x: float[..., C]) -> float[..., C] {\n"
      "  state n: float[C] = zeros\n  update n = n + 1\n  return x * n\n}\n";
  const Elaborated block = elaborated(cell, "return x |> scan(Count())");
  Environment at = nothing_idle();
  at.batch = 1;
  at.inputs["x"] = waves({1, 3, 2}, 1, 0);
  at.inputs["y"] = at.inputs["x"];
  at.state["Count1.n"] = Tensor::zeros(DType::f64, {2});
  const auto made = evaluate(optimise(block.step), at);
  CHECK(made.at("update Count1.n").at(0) == 3);
}

TEST_CASE("every step has its own random draws") {
  const Elaborated block = elaborated(
      "layer Noise()(x: float[..., C]) -> float[..., C] {\n  let u: float[..., C] = random\n  return u + 0 * x\n}\n",
      "return x |> scan(Noise())");
  Environment at = nothing_idle();
  at.batch = 2;
  at.inputs["x"] = waves({2, 3, 2}, 1, 0);
  const Tensor z = evaluate(optimise(block.predict), at).at("z");
  for (std::int64_t i = 0; i < z.count(); ++i)
    for (std::int64_t j = 0; j < i; ++j) CHECK(z.at(i) != z.at(j));
}

TEST_CASE("what is no loop is refused in the user's words") {
  CHECK_THAT(messages(sum_cell, "return x |> Sum()"), Contains("`carry` stands in a layer that is scanned"));
  CHECK_THAT(messages("fn f(x: float[...]) -> float[...] { return x }", "return x |> scan(f)"),
             Contains("`scan` takes an instance of a layer"));
  CHECK_THAT(messages(sum_cell, "return x |> scan(Sum)"), Contains("`scan` takes an instance of a layer"));
  CHECK_THAT(messages(sum_cell, "return sum(x, over = [1, 2]) |> scan(Sum())"), Contains("goes along axis 1"));
  CHECK_THAT(messages(sum_cell, "return transpose(x, [1, 0, 2]) |> scan(Sum())"), Contains("goes along axis 1"));
  CHECK_THAT(messages("layer C()(x: float[..., C]) -> float[..., C] {\n  carry s: float[..., C] = x\n  return s\n}",
                      "return x |> scan(C())"),
             Contains("the first value of a carry cannot depend on a step"));
  CHECK_THAT(messages("layer C()(x: float[..., C]) -> float[..., C] {\n  update s = x\n  return x\n}",
                      "return x |> scan(C())"),
             Contains("s"));
}

TEST_CASE("solve gives the solution of a known system, and NaN where the matrix is not positive definite") {
  Environment at = nothing_idle();
  at.batch = 1;
  at.inputs["x"] = waves({1, 3, 2}, 0, 0);
  // The first column of x is 1, 2, 3; both are checked by multiplying back.
  const Elaborated block =
      elaborated("", "return x + solve([[4, 2, 0], [2, 5, 1], [0, 1, 3]], [[8, 4], [15, 2], [11, -9]])");
  const Tensor z = evaluate(optimise(block.predict), at).at("z");
  const double a[3][3] = {{4, 2, 0}, {2, 5, 1}, {0, 1, 3}}, b[3][2] = {{8, 4}, {15, 2}, {11, -9}};
  for (int i = 0; i < 3; ++i)
    for (int c = 0; c < 2; ++c) {
      double sum = 0;
      for (int k = 0; k < 3; ++k) sum += a[i][k] * z.at(k * 2 + c);
      CHECK_THAT(sum, WithinAbs(b[i][c], 1e-13));
    }
  for (int i = 0; i < 3; ++i) CHECK_THAT(z.at(i * 2), WithinAbs(i + 1, 1e-14));
  const Elaborated indefinite =
      elaborated("", "return x + solve([[1, 2, 0], [2, 1, 0], [0, 0, 1]], [[1, 1], [1, 1], [1, 1]])");
  CHECK(std::isnan(evaluate(optimise(indefinite.predict), at).at("z").at(0)));
  // The third row is the sum of the others but for rounding: 0.1 + 0.2 is not 0.3.
  const Elaborated singular =
      elaborated("", "return x + solve([[0.1, 0, 0.1], [0, 0.2, 0.2], [0.1, 0.2, 0.3]], [[1, 1], [1, 1], [1, 1]])");
  CHECK(std::isnan(evaluate(optimise(singular.predict), at).at("z").at(0)));
  // A thousandth of a millionth apart is no rounding in f64.
  const Elaborated nearly =
      elaborated("", "return x + solve([[1, 1, 0], [1, 1.000000001, 0], [0, 0, 1]], [[1, 1], [1, 1], [1, 1]])");
  CHECK_THAT(evaluate(optimise(nearly.predict), at).at("z").at(0), WithinAbs(1, 1e-6));
}
