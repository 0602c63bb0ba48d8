// newton, end to end: what is well posed is solved, what is singular is refused, and the message says what made it so.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::read_weights;
using nnc::test::run_nnc;
using nnc::test::Scratch;

/// A step of newton for a line through `rows` rows, by three columns of values a, b and u; the last is `third`.
nnc::test::CommandResult stepped(const Scratch& scratch, const std::string& dtype, int rows, const std::string& scale,
                                 const std::string& third, const std::string& target = "a + 2 * b") {
  std::string text =
      "data rows {\n  samples = ROWS\n  let a: DTYPE[1] = SCALE\n  let b: DTYPE[1] = SCALE\n"
      "  let u: DTYPE[1] = normal(0, 1)\n"
      "  x: DTYPE[3] = concat([a, b, THIRD])\n  y: DTYPE[1] = TARGET\n}\n"
      "model Line(x: DTYPE[batch, 3]) -> DTYPE[batch, 1] { return x |> Dense(1) }\n"
      "train Line on rows {\n  loss = half_mse(Line(x), y)\n  optimizer = newton()\n  batch_size = full\n  epochs = "
      "1\n}\n";
  for (const auto& [what, with] : std::vector<std::pair<std::string, std::string>>{
           {"ROWS", std::to_string(rows)}, {"SCALE", scale}, {"THIRD", third}, {"TARGET", target}, {"DTYPE", dtype}})
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
      text.replace(at, what.size(), with);
  std::ofstream(scratch.path() / "line.nn") << text;
  fs::remove_all(scratch.path() / "run");
  return run_nnc("train line.nn --out run --threads 1", scratch.path());
}

}  // namespace

TEST_CASE("newton refuses each column that others and a constant make up, whatever their scales and factors") {
  const Scratch scratch;
  struct Combination {
    std::string dtype;
    int rows;
    std::string scale, third, told;
  };
  for (const Combination& one : std::vector<Combination>{
           {"f64", 1000, "uniform(1, 120)", "2 * a + 2 * b + 2", "2 `x[0]` + 2 `x[1]` + 2"},
           {"f64", 1000, "uniform(1, 120)", "0.95 * a - 0.09 * b + 2.5", "0.95 `x[0]` - 0.09 `x[1]` + 2.5"},
           {"f64", 300, "100 + normal(0, 1)", "-2.8 * a + 1.31 * b - 1.7", "-2.8 `x[0]` + 1.31 `x[1]` - 1.7"},
           {"f64", 20, "normal(0, 1)", "1.8 * a + 32", "1.8 `x[0]` + 32"},
           {"f64", 60, "uniform(0, 100)", "a / 10000", "0.0001 `x[0]`"},
           {"f64", 60, "normal(0, 1)", "0 * a + 3", "3"},
           {"f64", 60, "normal(0, 1)", "0 * a", "0"},
           {"f64", 4000, "uniform(0, 1)", "20 - a", "-`x[0]` + 20"},
           {"f32", 60, "uniform(0, 1)", "1.7 * a + 0.27 * b - 0.5", "1.7 `x[0]` + 0.27 `x[1]` - 0.5"},
           {"f32", 1000, "uniform(0, 100)", "-0.4 * a + 2.25 * b + 1", "-0.4 `x[0]` + 2.25 `x[1]` + 1"},
           {"f32", 300, "100 + normal(0, 1)", "3 * a", "3 `x[0]`"},
       }) {
    INFO(one.dtype << " " << one.rows << " " << one.scale << ": " << one.third);
    const auto refused = stepped(scratch, one.dtype, one.rows, one.scale, one.third);
    INFO(refused.err);
    CHECK(refused.status == 3);
    if (one.dtype == "f64")
      CHECK_THAT(refused.err, Contains("the matrix is singular: `x[2]` is " + one.told + " in every row"));
    CHECK_THAT(refused.err, Contains("the matrix is singular: `x[2]` is "));
  }
}

// The third column is a + d u with d small: the matrix of second derivatives has the condition 4 / d^2.
TEST_CASE("newton solves what is well posed, up to a condition of 1e10 in f64 and of 1e4 in f32") {
  const Scratch scratch;
  for (const auto& [dtype, unit] : {std::pair<std::string, double>{"f64", 0x1p-53}, {"f32", 0x1p-24}})
    for (const int rows : {20, 1000})
      for (const double apart : dtype == "f64" ? std::vector{1e-1, 1e-3, 2e-5} : std::vector{1e-1, 2e-2}) {
        INFO(dtype << ", " << rows << " rows, " << apart);
        const auto solved =
            stepped(scratch, dtype, rows, "normal(0, 1)", fmt::format("a + {} * u", apart), "3 * a - b + 0.5 * u");
        INFO(solved.err);
        REQUIRE(solved.status == 0);
        const std::vector<double> w = read_weights(scratch.path() / "run/last.safetensors").at("Dense1.W");
        const double condition = 4 / (apart * apart), share = 0.5 / apart;  // 0.5 u is that much of (x[2] - x[0])
        CHECK(std::abs(w.at(2) - share) <= 50 * condition * unit * share);
        CHECK(std::abs(w.at(0) + w.at(2) - 3) <= 50 * condition * unit * 3);
      }
}

TEST_CASE("a column that is nearly another is told as that, and too few rows as too few") {
  const Scratch scratch;
  const auto near = stepped(scratch, "f64", 60, "normal(0, 1)", "a + 1e-9 * u");
  CHECK(near.status == 3);
  CHECK_THAT(near.err, Contains("the matrix is singular: `x[2]` differs from `x[0]` by no more than ") &&
                           Contains("e-09 in any row, and the square of that is lost in the rounding of f64") &&
                           !Contains("in every row"));
  const auto few = stepped(scratch, "f64", 2, "normal(0, 1)", "u");
  CHECK(few.status == 3);
  CHECK_THAT(few.err, Contains("`train` has 2 rows, and the weights of 3 columns and a constant need 4 at least") &&
                          Contains("help: more rows or fewer columns") && !Contains("in every row"));
  CHECK(stepped(scratch, "f64", 4, "normal(0, 1)", "u").status == 0);
}

TEST_CASE("newton without a solution ends with status 3 and says what gives it one") {
  const Scratch scratch;
  const auto train = [&](const std::string& penalty) {
    std::ofstream(scratch.path() / "flat.nn")
        << "data points {\n  samples = 20\n  u: f64[1] = normal(0, 1)\n  x: f64[2] = concat([u, 0 * u])\n"
           "  y: f64[1] = 3 * u\n}\n"  // one feature is always 0, so nothing says what its weight is
           "model Net(x: f64[batch, 2]) -> f64[batch, 1] { return x |> Dense(1) }\n"
           "train Net on points {\n  loss = half_mse(Net(x), y)"
        << penalty << "\n  optimizer = newton()\n  batch_size = full\n  epochs = 3\n}\n";
    fs::remove_all(scratch.path() / "run");
    return run_nnc("train flat.nn --out run", scratch.path());
  };
  const auto singular = train("");
  CHECK(singular.status == 3);
  CHECK_THAT(singular.err, Contains("training diverged: `Dense1.W` has an element that is nan in epoch 1, step 1") &&
                               Contains("has no solution where its matrix is not positive definite") &&
                               Contains("the matrix is singular: `x[1]` is 0 in every row") &&
                               !Contains("learning rate"));
  const std::string help = "1e-6 * sum([sum(square(w)) for w in params(Net)])";
  REQUIRE_THAT(singular.err, Contains("`" + help + "`"));
  CHECK(train(" + " + help).status == 0);
  CHECK(json_lines(read_file(scratch.path() / "run/metrics.jsonl")).back().at("train.loss") < 1e-5);
}

TEST_CASE("newton refuses a singular matrix and names the columns that make it so") {
  const Scratch scratch;
  std::ofstream rows(scratch.path() / "rows.csv");
  rows << std::setprecision(17) << "metres,weight,feet,y\n";
  for (int i = 0; i < 30; ++i)
    rows << i << "," << i * i % 7 << "," << 3.28084 * i + 0.5 * (i * i % 7) + 2 << "," << i % 5 << "\n";
  rows.close();
  std::ofstream(scratch.path() / "rows.nn")
      << "data rows {\n  train = csv(\"rows.csv\")\n  x: f64[3] = cols(\"metres\", \"weight\", \"feet\")\n"
         "  y: f64[1] = cols(\"y\")\n}\n"
         "model Net(x: f64[batch, 3]) -> f64[batch, 1] { return x |> Dense(1) }\n"
         "train Net on rows {\n  loss = half_mse(Net(x), y)\n  output z = Net(x)\n  optimizer = newton()\n"
         "  batch_size = full\n  epochs = 3\n}\n";
  const auto refused = run_nnc("train rows.nn --out run", scratch.path());
  CHECK(refused.status == 3);
  CHECK_THAT(refused.err,
             Contains("the matrix is singular: `feet` is 3.28084 `metres` + 0.5 `weight` + 2 in every row") &&
                 Contains("help: leave such a column out; or a penalty in the loss"));
}

// Logistic regression of classes that a line separates: every step halves the loss or better, for ever.
TEST_CASE("newton on a loss without a lowest point says that the weights grow without end") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "apart.nn")
      << "data points {\n  samples = 40\n  u: f64[1] = uniform(-1, 1)\n  y: f64[1] = f64(u > 0)\n}\n"
         "model Net(u: f64[batch, 1]) -> f64[batch, 1] { return u |> Dense(1, init = zeros) }\n"
         "train Net on points {\n  loss = binary_cross_entropy_logits(Net(u), y)\n  optimizer = newton()\n"
         "  batch_size = full\n  epochs = 1000\n}\n";
  const auto grown = run_nnc("train apart.nn --out run", scratch.path());
  CHECK(grown.status == 3);
  CHECK_THAT(grown.err, Contains("while the largest weight grew to ") && Contains("it has no lowest point") &&
                            !Contains("the matrix is singular"));
}

TEST_CASE("a step that makes NaN of the weights is told with its own epoch, and nothing is told of such weights") {
  const Scratch scratch;
  const auto run = [&](const std::string& every) {
    std::ofstream(scratch.path() / "rows.nn")
        << "data rows {\n  samples = 40\n  u: f64[1] = uniform(-1, 1)\n  y: f64[1] = f64(u > 0)\n}\n"
           "model Net(u: f64[batch, 1]) -> f64[batch, 1] { return u |> Dense(1, init = zeros) |> sigmoid }\n"
           "train Net on rows {\n  let p = Net(u)\n  loss = binary_cross_entropy(p, y)\n  metric acc = accuracy(p, y)\n"
           "  optimizer = newton()\n  batch_size = full\n  epochs = 200\n  check_every = "
        << every << "\n}\n";
    fs::remove_all(scratch.path() / "run");
    const auto result = run_nnc("train rows.nn --out run", scratch.path());
    CHECK(result.status == 3);
    for (const nlohmann::json& line : json_lines(read_file(scratch.path() / "run/metrics.jsonl")))
      for (const auto& [name, value] : line.items()) {
        INFO(line.dump());
        CHECK(!value.is_null());
      }
    CHECK_THAT(result.err, !Contains("acc nan"));
    return result.err;
  };
  for (const std::string every : {"1", "7"}) {
    const std::string said = run(every);
    INFO(said);
    const std::size_t at = said.find(" in epoch ");
    REQUIRE(at != std::string::npos);
    int epoch = 0, step = 0;
    REQUIRE(std::sscanf(said.c_str() + at, " in epoch %d, step %d", &epoch, &step) == 2);
    CHECK(epoch == step);  // a step an epoch
  }
}

// x^2 and x^4 by one weight each: the loss (w^2 - 1)^2 bends down at w = 0, and up at w = 1.
TEST_CASE("newton where the loss bends down says which weight's pivot is negative, and recommends no penalty") {
  const Scratch scratch;
  const auto train = [&](const std::string& up, const std::string& down) {
    std::ofstream(scratch.path() / "well.nn")
        << "data rows {\n  samples = 40\n  x: f64[1] = uniform(1, 2)\n  y: f64[1] = 1\n}\n"
           "model Net(x: f64[batch, 1]) -> f64[batch, 1] {\n  param a: f64[2] = " +
               up + "\n  param b: f64[3] = " + down +
               "\n  return x * (sum((a^2 - 1)^2) + sum((b^2 - 1)^2))\n}\n"
               "train Net on rows {\n  loss = mean(Net(x))\n  optimizer = newton()\n  batch_size = full\n  epochs = "
               "9\n}\n";
    fs::remove_all(scratch.path() / "run");
    return run_nnc("train well.nn --out run", scratch.path());
  };
  const auto refused = train("[1.1, 0.9]", "[1.2, 0, 1]");
  INFO(refused.err);
  CHECK(refused.status == 3);
  CHECK_THAT(refused.err, Contains("the matrix is indefinite: by `b[1]` the second derivative of the loss is -") &&
                              Contains("when the 3 weights before it are eliminated") &&
                              Contains("help: take gradient steps first") && !Contains("penalty") &&
                              !Contains("singular"));
  CHECK(train("[1.1, 0.9]", "[1.2, 1, 1]").status == 0);  // from where it bends up it goes down
}
