// Views that choose elements, compiled: a load where a guard fails gives zero and touches nothing outside of its
// buffer. Parameters, inputs and the arena end at pages that no access may enter, before or behind them.
#include <fmt/format.h>

#include "codegen/compile.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/random_graph.h"
#include "tests/support/run_native.h"
#include "tests/support/targets.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

Graph parsed(const std::string& text) {
  const auto graph = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&graph)) FAIL("line " << error->line << ": " << error->message);
  REQUIRE(verify(std::get<Graph>(graph)) == "");
  return optimise(std::get<Graph>(graph));
}

/// The evaluator's bits, on every machine, however kernels are fused and buffers lie, for whole vectors and tails.
void check_bits(const std::string& text) {
  const Graph graph = parsed(text);
  for (const std::int64_t batch : {1, 5, 16}) {
    const Environment environment = test::random_environment(graph, batch, 7);
    const std::map<std::string, Tensor> expected = evaluate(graph, environment);
    for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
      for (const bool fuse : {false, true})
        for (const test::Guard guard : {test::Guard::behind, test::Guard::before}) {
          CAPTURE(machine.name, fuse, batch);
          LowerOptions options;
          options.machine = machine;
          options.rows = batch;
          options.threads = 2;
          options.fuse = options.layout = fuse;
          const Program program = lower(graph, "step", options);
          INFO(print(program));
          REQUIRE(verify(program) == "");
          const auto compiled = compile(program, {.target = test::targets()[0], .level = CodegenLevel::less});
          const auto found = test::run_native(compiled->entry(), environment, 2, guard);
          for (const auto& [name, tensor] : expected) {
            INFO(name);
            REQUIRE(found.contains(name));
            REQUIRE(same_bits(found.at(name), tensor));
          }
        }
  }
}

}  // namespace

TEST_CASE("sums over no elements are 0, whichever loop is vectorised", "[codegen]") {
  check_bits(R"(
%x = input "x" : f32[batch, 2, 0]
%y = input "y" : f32[batch, 0, 9]
result "rows" = sum(%x, [1, 2])
result "columns" = sum(%y, 1)
result "all" = sum(%x, [0, 1, 2])
)");
}

TEST_CASE("of a parameter without elements nothing is read", "[codegen]") {
  check_bits(R"(
%p = param "p" : f32[0, 1]
%q = param "q" : f32[0, 3]
result "r" = cos(dot(%p, %q, 0, 0))
result "s" = sum(%p, [0, 1])
)");
}

TEST_CASE("slices: backwards, with steps, of one element and of none", "[codegen]") {
  check_bits(R"(
%x = input "x" : f32[batch, 17]
%W = param "W" : f32[17, 6]
%one : f32[batch, 1] = slice(%x, [batch, 1], [0, 16])
%none : f32[batch, 0] = slice(%x, [batch, 0], [0, 0])
result "backwards" = slice(%x, [batch, 17], [0, 16], [1, -1])
result "steps" = exp(slice(%x, [batch, 6], [0, 1], [1, 3]))
result "joined" = concat(%none, %one, %one, 1)
result "sum" = sum(slice(%x, [batch, 5], [0, 12], [1, -3]), 1)
result "product" = dot(slice(%x, [batch, 9], [0, 16], [1, -2]), slice(%W, [9, 6], [0, 5], [2, -1]), 1, 0)
update "W" = %W - slice(%W, [17, 6], [16, 0], [-1, 1])
)");
}

TEST_CASE("pads: of every element type, between elements, of pads, of what is computed", "[codegen]") {
  check_bits(R"(
%x = input "x" : f32[batch, 5]
%d = input "d" : f64[batch, 3]
%i = input "i" : i32[batch, 4]
%W = param "W" : f32[5, 7]
%b = param "b" : f32[3]
%truth : bool[batch, 4] = %i < 3
result "i32" = pad(%i, [0, 2], [0, 17])
result "bool" = pad(%truth, [0, 1], [0, 3])
result "f64" = pad(%d, [0, 16], [0, 1])
result "between" = pad(%x, [0, 1], [0, 2], [0, 3])
result "computed" = pad(exp(%x), [0, 9], [0, 9])
result "pad of pad" = pad(pad(tanh(%x), [0, 1], [0, 1], [0, 1]) + 1, [0, 2], [0, 3], [0, 2])
result "alone" = pad(%b, [20], [0], [1])
result "rows" = sum(pad(%W, [3, 0], [0, 2]), 1)
result "product" = dot(pad(%x, [0, 1], [0, 1]), pad(%W, [1, 0], [1, 1]), 1, 0)
result "greatest" = reduce_max(pad(%x - 10, [0, 0], [0, 1]), 1)
result "one" = pad(slice(%x, [batch, 1], [0, 2]), [0, 8], [0, 8])
result "sliced" = slice(pad(%x, [0, 4], [0, 4], [0, 1]), [batch, 5], [0, 4], [1, 2])
result "index" = pad(pad(%i + 1, [0, 0], [0, 0], [0, 1]), [0, 1], [0, 0], [0, 2])
update "b" = %b - pad(slice(%b, [2], [0]), [1], [0])
)");
}

TEST_CASE("pieces side by side: of one, of many, of what is computed, of views", "[codegen]") {
  check_bits(R"(
%x = input "x" : f32[batch, 5]
%y = input "y" : f32[batch, 16]
%i = input "i" : i32[batch, 4]
%W = param "W" : f32[21, 3]
%one : f32[batch, 5] = concat(%x, 1)
%both : f32[batch, 21] = concat(%x, %y, 1)
result "one" = %one
result "both" = %both
result "product" = dot(%both, %W, 1, 0)
result "computed" = sum(concat(exp(%x), tanh(%y), %x * 2, 1), 1)
result "rows" = concat(transpose(%x, [1, 0]), transpose(%y, [1, 0]), transpose(%x, [1, 0]), 0)
result "numbers" = concat(%i, %i, slice(%i, [batch, 2], [0, 3], [1, -1]), 1)
result "inside" = reshape(concat(reshape(%y, [batch, 4, 4]), reshape(%y, [batch, 4, 4]), 1), [batch, 32])
update "W" = concat(slice(%W, [4, 3], [17, 0]), slice(%W, [17, 3], [0, 0]), 0)
)");
}

TEST_CASE("windows: as long as their axis, apart, overlapping, of pads; and sums of what they show", "[codegen]") {
  check_bits(R"(
%x = input "x" : f32[batch, 9, 3]
%i = input "i" : i32[batch, 7]
%K = param "K" : f32[9, 20]
%seen : f32[batch, 9, 3, 3] = window(pad(%x, [0, 1, 0], [0, 1, 0]), 1, 3)
result "whole" = window(%x, 1, 9)
result "apart" = window(%x, 1, 2, 4)
result "dilated" = sum(window(exp(%x), 1, 3, 2, 2), 2)
result "convolution" = dot(reshape(%seen, [batch, 9, 9]), %K, 2, 0)
result "sums" = overlap_add(%seen * %seen, 1, 11)
result "strided" = overlap_add(window(%x, 1, 4, 2, 2), 1, 9, 2, 2)
result "none between" = overlap_add(window(%x, 1, 1, 4), 1, 9, 4)
result "integers" = overlap_add(window(%i, 1, 3), 1, 7)
result "last" = overlap_add(window(transpose(%x, [0, 2, 1]), 2, 3, 2), 2, 9, 2)
)");
}

TEST_CASE("random numbers and indices under pads and windows are those of their own places", "[codegen]") {
  check_bits(R"(
%x = input "x" : f32[batch, 6]
%r = random 0x5 : f32[batch, 6]
%n = iota 1 : f32[batch, 6]
result "random" = pad(%r, [0, 1], [0, 1], [0, 2])
result "index" = %x + slice(pad(%n, [0, 0], [0, 0], [0, 1]), [batch, 6], [0, 5])
result "window" = window(%r * %n, 1, 2, 2)
result "sum" = overlap_add(reshape(%r + 1, [batch, 3, 2]), 1, 6, 2)
)");
}

TEST_CASE("a step of two convolutions and a pool, by gradients", "[codegen]") {
  check_bits(R"(
%x = input "x" : f32[batch, 6, 6, 2]
%K = param "K" : f32[18, 5]
%L = param "L" : f32[45, 3]
%seen : f32[batch, 6, 3, 6, 3, 2] = window(window(pad(%x, [0, 1, 1, 0], [0, 1, 1, 0]), 1, 3), 3, 3)
%h : f32[batch, 6, 6, 5] = tanh(dot(reshape(transpose(%seen, [0, 1, 3, 2, 4, 5]), [batch, 6, 6, 18]), %K, 3, 0))
%wide : f32[batch, 2, 3, 2, 3, 5] = window(window(%h, 1, 3, 2), 3, 3, 2)
%z : f32[batch, 2, 2, 3] = dot(reshape(transpose(%wide, [0, 1, 3, 2, 4, 5]), [batch, 2, 2, 45]), %L, 3, 0)
%m : f32[batch, 3] = reduce_max(%z, [1, 2])
%loss : f32 = sum(%m * %m, [0, 1])
result "loss" = %loss
update "K" = %K - grad(%loss, %K) * 0.125
update "L" = %L - grad(%loss, %L) * 0.125
)");
}

TEST_CASE("the second derivative of windows counts how many show an element", "[codegen]") {
  // f = sum over windows of the cubes: f' = 3 x^2 n and (sum of f')' = 6 x n, for n windows that show x.
  const std::string text = R"(
%x = param "x" : f64[6]
%w : f64[2, 3] = window(%x, 0, 3, 2)
%first : f64[6] = grad(sum(%w * %w * %w, [0, 1]), %x)
result "first" = %first
result "second" = grad(sum(%first, 0), %x)
)";
  check_bits(text);
  Environment environment;
  environment.params["x"] = Tensor::zeros(DType::f64, {6});
  for (std::int64_t i = 0; i < 6; ++i) environment.params["x"].set(i, static_cast<double>(i + 1));
  const auto found = evaluate(parsed(text), environment);
  const double windows[] = {1, 1, 2, 1, 1, 0};
  for (std::int64_t i = 0; i < 6; ++i) {
    const double x = static_cast<double>(i + 1);
    CHECK(found.at("first").at(i) == 3 * x * x * windows[i]);
    CHECK(found.at("second").at(i) == 6 * x * windows[i]);
  }
}
