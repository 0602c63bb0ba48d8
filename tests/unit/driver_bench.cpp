// nnc bench: what it says holds together. How fast anything is, is not for tests.
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::run_nnc;

const std::string example = NNC_SOURCE_DIR "/examples/mnist/mnist.nn";

}  // namespace

TEST_CASE("bench counts the work of every kernel, and its shares follow from its own figures") {
  const nnc::test::Scratch scratch;
  const auto result =
      run_nnc("bench '" + example + "' --rows 32 --threads 1 --seconds 0.02 --per-kernel --json", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  const json figures = json::parse(result.out);
  CHECK(figures["schema"] == "nnc.bench.1");
  CHECK(figures["entry"] == "step");
  CHECK(figures["batch"] == 32);
  CHECK(figures["threads"] == 1);
  // Forward, dW and, but for the first layer, dX: two FLOPs for each weight and row.
  const double weights = 784 * 256 + 256 * 128 + 128 * 10;
  CHECK(figures["flops"].get<double>() == 2 * 32 * (3 * weights - 784 * 256));
  const double seconds = figures["ns_undisturbed"].get<double>() * 1e-9,
               peak = figures["peak_gflops"].get<double>() * 1e9;
  CHECK(figures["ns"].get<double>() > 0);
  REQUIRE(seconds >= figures["ns"].get<double>() * 1e-9);
  CHECK(figures["ns_median"].get<double>() * 1e-9 >= seconds);
  CHECK(std::abs(figures["share_of_peak"].get<double>() - figures["flops"].get<double>() / peak / seconds) < 1e-3);
  double flops = 0, bytes = 0;
  for (const json& kernel : figures["kernels"]) {
    flops += kernel["flops"].get<double>();
    bytes += kernel["bytes"].get<double>();
    CHECK(kernel["ns"].get<double>() > 0);
    CHECK((kernel["bound"] == "compute" || kernel["bound"] == "memory"));
  }
  CHECK(flops == figures["flops"].get<double>());
  CHECK(bytes == figures["bytes"].get<double>());
}

TEST_CASE("bench runs what predict runs, in f64 too, and no data are read") {
  const nnc::test::Scratch scratch;
  const auto result =
      run_nnc("bench '" + example + "' --mode infer --rows 3 --dtype f64 --seconds 0.01", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  CHECK(result.out.starts_with("predict: 3 rows, f64, "));
  CHECK(run_nnc("bench '" + example + "' --rows 0", scratch.path()).status == 2);
  CHECK(run_nnc("bench nowhere.nn", scratch.path()).status == 2);
  CHECK(run_nnc("bench --help", scratch.path()).out.starts_with("Examples:\n  nnc bench "));
}
