// The processor's limit, measured beside what is measured against it: fused multiply-adds without a memory operand.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace nnc::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// FLOP/s of one thread with f32 fmas on `vector_bytes` wide registers (32 or 64), the best of several short runs.
inline double fma_peak(int vector_bytes) {
  constexpr std::int64_t rounds = 200'000, independent = 10;
  double best = 1e30;
  for (int run = 0; run < 20; ++run) {
    const double begin = seconds();
    std::int64_t count = rounds;
#define NNC_FMA(width, n) "vfmadd231ps %%" width "14, %%" width "15, %%" width #n "\n\t"
    // clang-format off: it never settles on this one
#define NNC_FMAS(width)                                                                                       \
  NNC_FMA(width, 0)                                                                                           \
  NNC_FMA(width, 1)                                                                                           \
  NNC_FMA(width, 2)                                                                                           \
  NNC_FMA(width, 3) NNC_FMA(width, 4) NNC_FMA(width, 5) NNC_FMA(width, 6) NNC_FMA(width, 7) NNC_FMA(width, 8) \
      NNC_FMA(width, 9)
// clang-format on
#define NNC_CLOBBERED \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm14", "xmm15"
    if (vector_bytes == 64)
      __asm__ volatile("1:\n\t" NNC_FMAS("zmm") "dec %0\n\tjnz 1b\n\tvzeroupper" : "+r"(count) : : NNC_CLOBBERED);
    else
      __asm__ volatile("1:\n\t" NNC_FMAS("ymm") "dec %0\n\tjnz 1b\n\tvzeroupper" : "+r"(count) : : NNC_CLOBBERED);
    best = std::min(best, seconds() - begin);
  }
  return 2.0 * independent * rounds * (vector_bytes / 4) / best;
}

}  // namespace nnc::bench
