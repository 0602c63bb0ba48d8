// What this machine can do, measured where and when it is asked for: a figure measured beside another says what share
// of the possible was reached, which a data sheet cannot.
#pragma once

#include <cstddef>

#include "ir/type.h"
#include "runtime/team.h"

namespace nnc {

/// Of a clock that only goes forward.
double seconds_now();

/// FLOP/s of all threads of the team together with fused multiply-adds (two FLOPs each) on registers of `vector_bytes`
/// (32 or 64) bytes, no memory touched; f32 or f64. The best of several runs of about so many seconds: as long as what
/// they are compared with, since a processor is faster for a moment than it can be for longer.
double fma_peak(Team& team, int vector_bytes, DType dtype, double seconds, int runs);

/// Bytes a second, read and written together, when the team's threads copy blocks that take `bytes` bytes in all: what
/// memory of that size, caches with it, can give. The best of several runs.
double copy_bandwidth(Team& team, std::size_t bytes);

}  // namespace nnc
