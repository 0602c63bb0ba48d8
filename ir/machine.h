// The machine as a value. Schedules are chosen from these fields and from nothing else: there is no branch on an
// instruction set anywhere, so any machine can compile the schedule of any other for its own instructions.
#pragma once

#include <cstdint>
#include <string>

namespace nnc {

/// Of a line of memory, which caches hold and threads take from one another as a whole, on every machine.
constexpr std::int64_t line_bytes = 64;

struct Machine {
  std::string name;             ///< "avx512", "avx2", "sse2", "four-lanes": for printing
  int vector_bytes = 32;        ///< width of a vector register
  int vector_registers = 16;    ///< architectural vector registers
  int tile_rows = 6;            ///< MR: rows of a register tile of a contraction
  int tile_vectors = 2;         ///< NR: vectors of a register tile; a panel is this many vectors wide
  int short_vector_bytes = 32;  ///< width for a few elements: wider vectors take longer to divide and to rearrange
  int tile_steps = 1;           ///< steps of k in a turn of the innermost loop, where k is a multiple
  bool fetch_ahead = false;     ///< whether fetching what later tiles meet costs less than it gains
  bool copy_rows = false;       ///< whether rows of Xᵀ are copied though they stay in the second cache
  bool cut_products = false;    ///< whether products whose tile fills the first cache go by parts of their sums
  std::int64_t l1_bytes = 32 << 10, l2_bytes = 512 << 10;

  /// Lanes of a vector of elements of `bytes` bytes.
  int lanes(std::size_t bytes) const { return vector_bytes / static_cast<int>(bytes); }
  int panel(std::size_t bytes) const { return tile_vectors * lanes(bytes); }
};

/// The machines that schedules are made for: 16 lanes and 32 registers; 8 lanes and 16; 4 lanes and 16, with a
/// made-up one that has tiny caches beside it.
Machine machine_avx512();
Machine machine_avx2();
Machine machine_sse2();
Machine machine_four_lanes();

/// What LLVM generates instructions for: a CPU name it knows ("znver3") with a feature string.
struct Target {
  std::string cpu;
  std::string features;
};

}  // namespace nnc
