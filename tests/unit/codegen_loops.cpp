// Loops in compiled code: the evaluator's bits for every machine, number of threads and end of memory.
#include "codegen/compile.h"
#include "ir/evaluate.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/loop_graphs.h"
#include "tests/support/native_bits.h"
#include "tests/support/random_graph.h"
#include "tests/support/targets.h"

using namespace nnc;

namespace {

void check_everywhere(const Graph& graph, std::int64_t rows) {
  const Environment environment = test::random_environment(graph, rows, 1);
  const std::map<std::string, Tensor> expected = evaluate(graph, environment);
  for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
    for (const unsigned threads : {1u, 2u, 4u}) {
      LowerOptions options;
      options.machine = machine;
      options.rows = rows;
      options.threads = static_cast<int>(threads);
      options.fuse = options.layout = threads != 2;
      Program program = lower(graph, "step", options);
      // Too small to be worth a second thread; every other kernel is shared all the same, so that some wait for others.
      for (std::size_t i = 0; i < program.kernels.size(); ++i) {
        if (program.kernels[i].outer.empty() || (threads != 2 && i % 2 != 0)) continue;
        program.kernels[i].schedule.parallel = threads;
        test::place_work(program, program.kernels[i]);
      }
      test::check_native_bits(program, environment, expected, machine.name, threads);
    }
}

}  // namespace

TEST_CASE("loops have the evaluator's bits on every machine and for every number of threads", "[codegen]") {
  for (const auto& [name, written] : test::graphs_with_loops()) {
    INFO(name);
    check_everywhere(optimise(written), 7);
  }
}

TEST_CASE("loops of a few steps in a tiny net are its straight lines, with the evaluator's bits", "[codegen]") {
  for (const auto& [name, written] : test::graphs_with_loops()) {
    INFO(name);
    const Graph graph = optimise(written);
    for (const std::int64_t rows : {1, 7}) {
      const Environment environment = test::random_environment(graph, rows, 2);
      const std::map<std::string, Tensor> expected = evaluate(graph, environment);
      for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()}) {
        LowerOptions options;
        options.machine = machine;
        options.rows = rows;
        options.in_one_piece = true;
        const Program program = lower(graph, "step", options);
        if (name.starts_with("equations"))
          CHECK((program.kernels.size() == 1 && program.loops.empty() && program.arena_bytes == 0));
        else
          CHECK(!program.loops.empty());  // too much for one piece, or its sums go over more than rows
        test::check_native_bits(program, environment, expected, machine.name, 1);
      }
    }
  }
}

TEST_CASE("a kernel in a loop is counted once for every step", "[codegen]") {
  const auto flops = [](std::int64_t steps) {
    LowerOptions options;
    options.machine = machine_avx2();
    options.rows = 6;
    const Program program = lower(optimise(test::recurrent_step(false, steps)), "step", options);
    const auto compiled = compile(program, {.target = test::targets()[0], .level = CodegenLevel::less});
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < compiled->entry().kernel_count; ++i) sum += compiled->entry().kernels[i].flops;
    return sum;
  };
  // x W and h U forward, dz U' back, dW and dU over all steps; each product and sum is an operation.
  CHECK(flops(10) == 10 * 2 * 6 * (2 * 3 + 3 * 3 + 3 * 3 + 2 * 3 + 3 * 3));
  CHECK(flops(100) == 10 * flops(10));
}
