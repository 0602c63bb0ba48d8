// What this machine can do, measured where and when it is asked for: a figure measured beside another says what share
// of the possible was reached, which a data sheet cannot.
#pragma once

#include <cstddef>
#include <vector>

#include "ir/type.h"
#include "runtime/team.h"

namespace nnc {

/// Of a clock that only goes forward.
double seconds_now();

/// FLOP/s of all threads of the team together with fused multiply-adds (two FLOPs each) on registers of `vector_bytes`
/// (32 or 64) bytes, no memory touched; f32 or f64: of one run of about so many seconds.
double fma_peak(Team& team, int vector_bytes, DType dtype, double seconds);

/// What something took, and the peak of all threads (`fma_peak`) next to it in time: the greater of those before and
/// after, for a clock that went up or down in between must not make a share greater than it is.
struct Moment {
  double seconds = 0, peak = 0;
};

/// The middle time and the middle peak of that quarter of moments whose times are least. A processor's clock depends on
/// what it does, loops of fmas alone being faster than what reads memory too, and on what others do: the least time and
/// the greatest peak of a run are not of the same moment, and their ratio is what no program reaches.
Moment undisturbed(std::vector<Moment> moments);

/// Bytes a second, read and written together, when the team's threads copy blocks that take `bytes` bytes in all: what
/// memory of that size, caches with it, can give. The best of several runs.
double copy_bandwidth(Team& team, std::size_t bytes);

}  // namespace nnc
