// Programs of tests, whose kernels are mostly too small to be worth a thread: all threads share them all the same.
#pragma once

#include "ir/program/program.h"

namespace nnc::test {

inline void share_all(Program& program, unsigned threads) {
  for (Kernel& kernel : program.kernels) {
    if (kernel.outer.empty()) continue;
    kernel.schedule.parallel = threads;
    // As the schedule does: of a stack with fewer products than threads, the tiles of each are shared.
    if (kernel.schedule.shared == Schedule::Shared::stack && kernel.outer[0] < threads)
      kernel.schedule.shared = Schedule::Shared::tiles;
  }
}

}  // namespace nnc::test
