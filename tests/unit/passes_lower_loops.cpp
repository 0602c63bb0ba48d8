// Loops as they are lowered: serial loops over the kernels of a step, whose bits, size and memory are looked at here.
#include <algorithm>

#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/lowering.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/loop_graphs.h"
#include "tests/support/random_graph.h"
#include "tests/support/run_program.h"
#include "tests/unit/catch.h"

using namespace nnc;
using Catch::Matchers::Contains;

namespace {

Program lowered(const Graph& graph, const Machine& machine, std::int64_t rows, bool fuse, bool layout) {
  LowerOptions options;
  options.machine = machine;
  options.rows = rows;
  options.threads = 2;
  options.fuse = fuse;
  options.layout = layout;
  return lower(graph, "step", options);
}
Program lowered(const Graph& graph) { return lowered(graph, machine_avx2(), 6, true, true); }

std::int64_t lines_of(const std::string& text) { return std::ranges::count(text, '\n'); }

/// Bytes of the arena's buffers for one program of `steps` steps; the last value of the cell alone is asked for.
std::uint64_t arena_of_last_value(std::int64_t steps) {
  return lowered(with_outputs(optimise(test::recurrent_step(false, steps)), {"loss"})).arena_bytes;
}

}  // namespace

TEST_CASE("loops keep their bits when lowered") {
  for (const auto& [name, written] : test::graphs_with_loops()) {
    const Graph graph = optimise(written);
    for (const std::int64_t rows : {1, 7}) {
      const Environment environment = test::random_environment(graph, rows, 3);
      const std::map<std::string, Tensor> expected = evaluate(graph, environment);
      for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
        for (const bool fuse : {false, true})
          for (const bool layout : {false, true}) {
            const Program program = lowered(graph, machine, rows, fuse, layout);
            INFO(print(program));
            CAPTURE(name, machine.name, fuse, layout, rows);
            REQUIRE(verify(program) == "");
            CHECK(!program.loops.empty());
            const std::map<std::string, Tensor> found = run_program(program, environment);
            CHECK(found.size() == expected.size());
            for (const auto& [output, tensor] : expected) {
              INFO(output);
              REQUIRE(found.contains(output));
              REQUIRE(same_bits(found.at(output), tensor));
            }
          }
    }
  }
}

TEST_CASE("a loop's steps one after the other have the loop's bits") {
  for (const auto& [name, written] : test::graphs_with_loops()) {
    INFO(name);
    const Graph graph = optimise(written);
    const std::optional<Graph> straight = unrolled(graph, 10'000);
    REQUIRE(straight);
    REQUIRE(verify(*straight) == "");
    CHECK(std::ranges::none_of(straight->nodes, [](const Node& node) { return node.op == Op::scan; }));
    CHECK(!unrolled(graph, graph.nodes.size()));
    for (const std::int64_t rows : {1, 7}) {
      const Environment environment = test::random_environment(graph, rows, 4);
      const std::map<std::string, Tensor> found = evaluate(*straight, environment);
      for (const auto& [output, tensor] : evaluate(graph, environment)) {
        INFO(output);
        CHECK(same_bits(found.at(output), tensor));
      }
    }
  }
}

TEST_CASE("programs that obey a training step's layouts find parameters that loops read") {
  const auto layers = test::graphs_with_loops().back();
  const Graph graph = optimise(layers.second);
  const Environment environment = test::random_environment(graph, 5, 3);
  VariableLayouts layouts;
  for (const Slot& slot : lowered(graph).params)
    layouts.layouts.emplace_back(slot.name, Layout{.kind = Layout::Kind::panels, .strides = {}, .panel = 16});
  std::erase_if(layouts.layouts, [](const auto& layout) { return layout.first != "M"; });
  LowerOptions options;
  options.machine = machine_avx2();
  options.rows = 5;
  options.obey = &layouts;
  const Program program = lower(graph, "step", options);
  REQUIRE(verify(program) == "");
  for (const auto& [name, tensor] : run_program(program, environment))
    CHECK(same_bits(tensor, evaluate(graph, environment).at(name)));
}

TEST_CASE("a program is as long for a thousand steps as for ten") {
  for (const bool again : {false, true}) {
    const Program few = lowered(optimise(test::recurrent_step(again, 10)));
    const Program many = lowered(optimise(test::recurrent_step(again, 1000)));
    REQUIRE(verify(many) == "");
    CHECK(few.kernels.size() == many.kernels.size());
    CHECK(few.loops.size() == many.loops.size());
    CHECK(lines_of(print(few)) == lines_of(print(many)));
    for (const SerialLoop& loop : many.loops) CHECK(loop.steps == 1000);
  }
}

TEST_CASE("what is the same at every step is computed before the loop") {
  const Program program = lowered(optimise(test::recurrent_step(false, 10)));
  const auto transpose = std::ranges::find_if(program.kernels, [](const Kernel& k) { return k.name == "transpose"; });
  REQUIRE(transpose != program.kernels.end());  // of U, for the gradient of h
  CHECK(loops_around(program, static_cast<std::size_t>(transpose - program.kernels.begin())).empty());
}

TEST_CASE("steps share memory; all values of a carry are kept where the gradient reads them") {
  // x [steps, 6, 2] and h [steps + 1, 6, 3] in f64: nothing else grows.
  const std::uint64_t a_step = 6 * (2 + 3) * 8;
  CHECK(arena_of_last_value(1010) - arena_of_last_value(10) <= 1000 * a_step + 128);
  // With the gradient four more [steps, 6, 3]: x W and h U, the loss's gradient by all h, and dz.
  const auto training = [](std::int64_t steps) {
    return lowered(optimise(test::recurrent_step(false, steps))).arena_bytes;
  };
  CHECK(training(1010) - training(10) <= 1000 * (a_step + 4 * 6 * 3 * 8) + 128);
}

TEST_CASE("a broken loop is refused") {
  const Program good = lowered(optimise(test::recurrent_step(false, 10)), machine_avx2(), 6, false, true);
  REQUIRE(verify(good) == "");
  REQUIRE(good.loops.size() == 2);
  const auto broken = [&](auto&& change) {
    Program bad = good;
    change(bad);
    return verify(bad);
  };
  const auto part_of_loop = [&](Program& bad) -> Buffer& {
    return *std::ranges::find_if(bad.buffers, [](const Buffer& b) { return b.part && b.part->loop; });
  };
  CHECK_THAT(broken([](Program& bad) { bad.loops[0].end = bad.loops[0].first; }), Contains("no kernel or no step"));
  CHECK_THAT(broken([](Program& bad) { bad.loops[1].first = bad.loops[0].first + 1; }), Contains("leaves loop 0"));
  CHECK_THAT(broken([](Program& bad) { std::swap(bad.loops[0], bad.loops[1]); }), Contains("out of order"));
  CHECK_THAT(broken([&](Program& bad) { part_of_loop(bad).part->row = 1000; }), Contains("is no part of"));
  CHECK_THAT(broken([&](Program& bad) { part_of_loop(bad).part->loop = 1; }), Contains("used outside of its loop"));
  CHECK_THAT(broken([&](Program& bad) { part_of_loop(bad).bytes = 1 << 20; }), Contains("is no part of"));
  // What one step makes lies where another step's row of a stack does.
  CHECK_THAT(broken([&](Program& bad) {
               const BufferId stack = part_of_loop(bad).part->of;
               for (std::size_t kernel = bad.loops[0].first; kernel < bad.loops[0].end; ++kernel)
                 for (const Store& store : bad.kernels[kernel].stages.back().stores)
                   if (!bad.buffers[store.to.buffer].part)
                     bad.buffers[store.to.buffer].offset = bad.buffers[stack].offset;
             }),
             Contains("share memory"));
}
