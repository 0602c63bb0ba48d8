// Computed indices in compiled code: a table's training step is the same for every number of threads, whatever the
// machine, and ids far outside touch nothing beside the table (regions end at pages that may not be touched).
#include <limits>

#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/native_bits.h"
#include "tests/support/random_graph.h"

using namespace nnc;

namespace {

Graph parsed(const std::string& text) {
  const auto graph = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&graph)) FAIL("line " << error->line << ": " << error->message);
  return std::get<Graph>(graph);
}

void check_everywhere(const Graph& graph, const Environment& environment) {
  const auto expected = evaluate(graph, environment);
  for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
    for (const int threads : {1, 2, 3, 7})
      test::check_native_bits(test::lowered_for(graph, machine, environment.batch, threads), environment, expected,
                              machine.name, static_cast<unsigned>(threads));
}

}  // namespace

TEST_CASE("a table's training step has the evaluator's bits for every number of threads") {
  for (const std::string width : {"1", "5", "48", "100"}) {
    const Graph graph = parsed("%W = param \"W\" : f32[7, " + width + "]\n%i = input \"i\" : i32[batch, 3]\n" +
                               "%x : f32[batch, 3, " + width + "] = gather(%W, %i)\n" + "%d : f32[7, " + width +
                               "] = scatter_add(%x * %x, %i, 7)\n%n : f32[7, " + width +
                               "] = %W - %d * 0.125\nupdate \"W\" = %n\nresult \"rows\" = %x\n");
    check_everywhere(graph, test::random_environment(graph, 300, 1));
  }
}

TEST_CASE("ids far outside a table read and write nothing beside it") {
  const Graph graph = parsed(
      "%W = param \"W\" : f32[3, 33]\n%v = param \"v\" : f32[3]\n%i = input \"i\" : i32[batch]\n"
      "%x : f32[batch, 33] = gather(%W, %i)\n%y : f32[batch] = gather(%v, %i)\n"
      "%n : f32[3, 33] = scatter_add(%x, %i, 3)\n%m : f32[3] = scatter_add(%y, %i, 3)\n"
      "update \"W\" = %n\nupdate \"v\" = %m\nresult \"x\" = %x\nresult \"y\" = %y\n");
  Environment environment = test::random_environment(graph, 21, 1);
  constexpr double least = std::numeric_limits<std::int32_t>::lowest(), most = std::numeric_limits<std::int32_t>::max();
  const double far[] = {least, most, -1, 3, 1e6, -1e6, 1};
  for (std::int64_t row = 0; row < 21; ++row) environment.inputs.at("i").set(row, far[row % 7]);
  check_everywhere(graph, environment);
}

TEST_CASE("stacks of products have the evaluator's bits on every machine and for every number of threads") {
  const Graph graph = parsed(
      "%q = input \"q\" : f32[batch, 19, 2, 5]\n%k = input \"k\" : f32[batch, 19, 2, 5]\n"
      "%s : f32[batch, 2, 19, 19] = dot[serial](%q, %k, 3, 3, [0, 2], [0, 2])\n"
      "%t : f32[batch, 2, 19, 19] = tanh(%s)\n"
      "%o : f32[batch, 2, 19, 5] = dot[serial](%t, %k, 3, 1, [0, 1], [0, 2])\n"
      "%d : f32[batch, 2, 19, 5] = dot[serial](%t, %k, 2, 1, [0, 1], [0, 2])\n"
      "result \"o\" = %o\nresult \"d\" = %d\nresult \"s\" = %s\n");
  for (const std::int64_t batch : {1, 3}) check_everywhere(graph, test::random_environment(graph, batch, 2));
}

TEST_CASE("rows are copied for whole sums at every size of the second cache, also one that no tile fits") {
  for (const std::string sizes : {"3, 64", "5, 57"})
    for (const std::int64_t rows : {191, 192, 511, 512, 513}) {
      const std::size_t comma = sizes.find(',');
      const std::string in = sizes.substr(0, comma), out = sizes.substr(comma + 2);
      const Graph graph = optimise(parsed("%x = input \"x\" : f32[batch, " + in + "]\n%z = input \"z\" : f32[batch, " +
                                          out + "]\n%g : f32[" + sizes + "] = dot(%x, %z, 0, 0)\nresult \"g\" = %g\n"));
      const Environment environment = test::random_environment(graph, rows, 1);
      const auto expected = evaluate(graph, environment);
      for (const std::int64_t cache : {4 << 10, 40 << 10, 300 << 10})
        for (Machine machine : {machine_four_lanes(), machine_avx512()}) {
          machine.l2_bytes = cache;
          for (const int threads : {1, 3})
            test::check_native_bits(test::lowered_for(graph, machine, rows, threads), environment, expected,
                                    machine.name, static_cast<unsigned>(threads));
        }
    }
}
