// Random graphs: whatever the shapes, a program run by its definition gives the evaluator's bits, fused or not, in any
// layout, on any machine, for the program that chooses layouts and for those that obey.
//
// NNC_RANDOM_GRAPHS=N runs N graphs from NNC_RANDOM_FIRST on instead of the usual ones.
#include <fmt/format.h>

#include <exception>

#include "ir/text.h"
#include "passes/passes.h"
#include "tests/support/random_graph.h"
#include "tests/support/reduce_graph.h"
#include "tests/support/run_program.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

LowerOptions options_for(std::uint64_t seed, std::int64_t batch) {
  LowerOptions options;
  const Machine machines[] = {machine_avx512(), machine_avx2(), machine_four_lanes()};
  options.machine = machines[seed % 3];
  options.rows = batch;
  options.threads = 1 + static_cast<int>(seed % 4);
  options.fuse = seed % 5 != 0;
  options.layout = seed % 7 != 0;
  options.in_one_piece = seed % 2 == 0;
  return options;
}

/// What is wrong with the lowering of a graph, or empty.
std::string difference(const Graph& graph, std::uint64_t seed) {
  const std::int64_t batch = test::random_batch(seed);
  const Environment environment = test::random_environment(graph, batch, seed);
  try {
    const auto expected = evaluate(graph, environment);
    LowerOptions options = options_for(seed, batch);
    const Program first = lower(graph, "step", options);
    const VariableLayouts layouts = layouts_of(first);
    options.fuse = !options.fuse;
    options.in_one_piece = !options.in_one_piece;
    options.obey = &layouts;
    for (const Program& program : {first, lower(graph, "step", options)}) {
      if (const std::string problem = verify(program); !problem.empty()) return problem;
      const auto found = run_program(program, environment);
      for (const auto& [name, tensor] : expected)
        if (!found.contains(name) || !same_bits(found.at(name), tensor)) return "other bits in " + name;
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("random graphs keep their bits when lowered") {
  for (auto [seed, last] = test::random_seeds(100); seed < last; ++seed) {
    const Graph graph = assign_order(test::random_graph(seed));
    const std::string problem = difference(graph, seed);
    CHECK(problem == "");
    if (problem.empty()) continue;
    const std::uint64_t same_seed = seed;  // g++ 12 captures no structured binding
    const Graph small = test::reduce_failing(
        graph, [&](const Graph& smaller) { return !difference(assign_order(smaller), same_seed).empty(); });
    FAIL(fmt::format("seed {}: {}\nreduced: {}\n{}", seed, problem, difference(assign_order(small), seed),
                     print(assign_order(small))));
  }
}
