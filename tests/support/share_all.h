// Programs of tests, whose kernels are mostly too small to be worth a thread: all threads share them all the same.
#pragma once

#include "ir/program/contraction.h"

namespace nnc::test {

/// Gives a kernel with a new schedule what its pieces work in, at the end of the arena.
inline void place_work(Program& program, Kernel& kernel) {
  kernel.work.reset();
  nnc::give_work(program, kernel);
  if (!kernel.work) return;
  Buffer& work = program.buffers[*kernel.work];
  work.offset = program.arena_bytes;
  program.arena_bytes += (work.bytes + line_bytes - 1) / line_bytes * line_bytes;
}

inline void share_all(Program& program, unsigned threads) {
  for (Kernel& kernel : program.kernels) {
    if (kernel.outer.empty()) continue;
    kernel.schedule.parallel = threads;
    // As the schedule does: of a stack with fewer products than threads, the tiles of each are shared.
    if (kernel.schedule.shared == Schedule::Shared::stack && kernel.outer[0] < threads)
      kernel.schedule.shared = Schedule::Shared::tiles;
    place_work(program, kernel);
  }
}

}  // namespace nnc::test
