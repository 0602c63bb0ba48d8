// Every contraction of the MNIST step, for a processor with 16 vector registers and for one with 32, on whatever
// machine this runs: the innermost loop is the tile's fmas, one load a vector and one broadcast a row, and nothing else
// that matters.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "driver/session.h"
#include "passes/pipeline.h"
#include "tests/support/assembly.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

/// Heights of a contraction's tiles: M split evenly.
std::set<int> heights(const Kernel& kernel) {
  const int most = kernel.schedule.tile_rows;
  const std::int64_t tiles = (kernel.core->m + most - 1) / most;
  std::set<int> rows{static_cast<int>(kernel.core->m / tiles)};
  if (kernel.core->m % tiles != 0) rows.insert(static_cast<int>(kernel.core->m / tiles) + 1);
  return rows;
}

/// Vectors of its tiles of columns: whole ones, and the last.
std::set<int> widths(const Kernel& kernel) {
  const std::int64_t lanes = kernel.schedule.lanes, width = lanes * kernel.schedule.tile_vectors;
  std::set<int> vectors;
  if (kernel.core->n >= width) vectors.insert(kernel.schedule.tile_vectors);
  if (kernel.core->n % width != 0) vectors.insert(static_cast<int>((kernel.core->n % width + lanes - 1) / lanes));
  return vectors;
}

/// Steps of k in a turn of its innermost loop.
int turn(const Kernel& kernel) {
  return static_cast<int>(std::gcd(kernel.core->k, std::int64_t{kernel.schedule.tile_steps}));
}

}  // namespace

TEST_CASE("the innermost loops of the MNIST step") {
  for (const char* cpu : {"znver3", "znver5"}) {
    Diagnostics diagnostics;
    const auto blocks = elaborate_file(NNC_SOURCE_DIR "/examples/mnist/mnist.nn", {}, diagnostics);
    REQUIRE(blocks.size() == 1);
    const TargetOrError target = target_named(cpu);
    REQUIRE(target.error.empty());
    const driver::Session session(blocks[0], {.host = target.host}, 128);
    const Program program = session.lower_graph(optimise(blocks[0].step), EntryKind::step, 128);
    int contractions = 0;
    for (const Kernel& kernel : program.kernels) {
      if (!kernel.core) continue;
      ++contractions;
      Program alone = program;
      alone.kernels = {kernel};
      const auto loops = test::innermost_loops(emit_assembly(alone, {.target = target.host.target}));
      CAPTURE(cpu, kernel.name, kernel.core->m, kernel.core->n, kernel.core->k);
      CHECK(loops.size() == heights(kernel).size() * widths(kernel).size());
      for (test::InnerLoop loop : loops) {
        INFO(fmt::format("fma {} vector loads {} broadcasts {} stack {} calls {}", loop.fma, loop.vector_loads,
                         loop.broadcasts, loop.stack, loop.calls));
        for (int* count : {&loop.fma, &loop.vector_loads, &loop.broadcasts}) {
          CHECK(*count % turn(kernel) == 0);
          *count /= turn(kernel);
        }
        CHECK(widths(kernel).contains(loop.vector_loads));
        CHECK(heights(kernel).contains(loop.broadcasts));
        CHECK(loop.fma == loop.vector_loads * loop.broadcasts);
        CHECK(loop.stack == 0);
        CHECK(loop.calls == 0);
      }
    }
    CHECK(contractions == 8);
  }
}
