// Which kernels of a program are one function: those that differ only in where their buffers lie in their regions, and
// in the numbers of their random streams. The blocks of a deep network are compiled once, and so are the initial values
// of parameters of one shape.
#pragma once

#include "ir/program/program.h"

namespace nnc {

/// Kernels with the code of the first of them, and what the others are told.
struct SharedKernel {
  /// Buffers of the first kernel whose place in a region is further on, by the same number of bytes for all of them, in
  /// each of the others. Of feeds, outputs and scalars: their place in the list of these.
  struct Moved {
    Region region{};
    std::vector<BufferId> buffers;
    std::vector<std::int64_t> by;  ///< for each kernel; 0 for the first
  };
  struct Streams {
    std::uint64_t number = 0;            ///< of the first kernel
    std::vector<std::uint64_t> numbers;  ///< for each kernel
  };
  std::vector<std::size_t> kernels;  ///< in their order
  std::vector<Moved> moved;
  std::vector<Streams> streams;
};

/// All kernels of a program, each in one of these, in the order of the first ones.
std::vector<SharedKernel> shared_kernels(const Program& program);

}  // namespace nnc
