// The numbers behind the machines: a register tile is as large as accumulators, one vector of a row's factors and
// the vectors of a panel fit into the registers (14x2 + 2 + 1 of 32; 6x2 + 2 + 1 of 16).
// Where the units that add indices are those of the fmas (Intel's with 512 bits), a turn takes several steps.
#include "ir/machine.h"

namespace nnc {

Machine machine_avx512() {
  return {.name = "avx512",
          .vector_bytes = 64,
          .vector_registers = 32,
          .tile_rows = 14,
          .tile_vectors = 2,
          .short_vector_bytes = 32,
          .tile_steps = 4,
          .fetch_ahead = true,
          .copy_rows = true,
          .cut_products = true,
          .l1_bytes = 48 << 10,
          .l2_bytes = 1 << 20};
}

Machine machine_avx2() {
  return {.name = "avx2",
          .vector_bytes = 32,
          .vector_registers = 16,
          .tile_rows = 6,
          .tile_vectors = 2,
          .short_vector_bytes = 32,
          .l1_bytes = 32 << 10,
          .l2_bytes = 512 << 10};
}

Machine machine_sse2() {
  return {.name = "sse2",
          .vector_bytes = 16,
          .vector_registers = 16,
          .tile_rows = 6,
          .tile_vectors = 2,
          .short_vector_bytes = 16,
          .l1_bytes = 32 << 10,
          .l2_bytes = 256 << 10};
}

Machine machine_four_lanes() {
  return {.name = "four-lanes",
          .vector_bytes = 16,
          .vector_registers = 16,
          .tile_rows = 5,
          .tile_vectors = 2,
          .short_vector_bytes = 16,
          .tile_steps = 2,
          .fetch_ahead = true,
          .copy_rows = true,
          .cut_products = true,
          .l1_bytes = 1 << 10,  // so small that small contractions go in blocks
          .l2_bytes = 4 << 10};
}

}  // namespace nnc
