#include "runtime/measure.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>

#include "runtime/dense_array.h"

namespace nnc {

namespace {

constexpr std::int64_t rounds = 100'000, independent = 10;

#define NNC_FMA(width, n) "vfmadd231ps %%" width "14, %%" width "15, %%" width #n "\n\t"
#define NNC_FMAS(width) \
  NNC_FMA(width, 0)     \
  NNC_FMA(width, 1)     \
  NNC_FMA(width, 2)     \
  NNC_FMA(width, 3)     \
  NNC_FMA(width, 4)     \
  NNC_FMA(width, 5) NNC_FMA(width, 6) NNC_FMA(width, 7) NNC_FMA(width, 8) NNC_FMA(width, 9)
#define NNC_CLEAR(n) "vxorps %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n\t"
#define NNC_CLEARED \
  NNC_CLEAR(0)      \
  NNC_CLEAR(1)      \
  NNC_CLEAR(2)      \
  NNC_CLEAR(3)      \
  NNC_CLEAR(4)      \
  NNC_CLEAR(5)      \
  NNC_CLEAR(6) NNC_CLEAR(7) NNC_CLEAR(8) NNC_CLEAR(9) NNC_CLEAR(14) NNC_CLEAR(15)
#define NNC_CLOBBERED \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm14", "xmm15"

/// Ten independent chains: as many as hide the latency of two units of five cycles. An f64 fma takes as long as one of
/// f32 and does half as much. All registers begin as 0: a subnormal number that somebody left in one costs some
/// processors more than a hundred cycles an fma.
void fma_32_bytes(const nnc_call*) {
  std::int64_t count = rounds;
  __asm__ volatile(NNC_CLEARED "1:\n\t" NNC_FMAS("ymm") "dec %0\n\tjnz 1b\n\tvzeroupper"
                   : "+r"(count)
                   :
                   : NNC_CLOBBERED);
}
void fma_64_bytes(const nnc_call*) {
  std::int64_t count = rounds;
  __asm__ volatile(NNC_CLEARED "1:\n\t" NNC_FMAS("zmm") "dec %0\n\tjnz 1b\n\tvzeroupper"
                   : "+r"(count)
                   :
                   : NNC_CLOBBERED);
}

/// Each thread copies its half-block back and forth: call->arena holds `step` bytes for each.
void copy_share(const nnc_call* call) {
  const std::size_t half = call->step / 2;
  std::byte* from = static_cast<std::byte*>(call->arena) + call->thread * call->step;
  for (std::uint64_t i = 0; i < call->row_offset; ++i) {
    std::memcpy(from + half, from, half);
    __asm__ volatile("" : : "r"(from) : "memory");
  }
}

double best_time(Team& team, nnc_function function, const nnc_call& call, int runs) {
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < runs; ++run) {
    const double begin = seconds_now();
    team.run(function, call, team.size());
    best = std::min(best, seconds_now() - begin);
  }
  return best;
}

}  // namespace

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double fma_peak(Team& team, int vector_bytes, DType dtype) {
  const double flops = 2.0 * independent * rounds * vector_bytes / static_cast<double>(size_of(dtype)) * team.size();
  return flops / best_time(team, vector_bytes == 64 ? fma_64_bytes : fma_32_bytes, {}, 20);
}

double fma_peak(int vector_bytes, DType dtype) {
  Team alone(1);
  return fma_peak(alone, vector_bytes, dtype);
}

double copy_bandwidth(Team& team, std::size_t bytes) {
  const std::size_t each = std::max<std::size_t>(bytes / static_cast<std::size_t>(team.size()) / 128, 32) * 128;
  Bytes memory(each * static_cast<std::size_t>(team.size()));
  nnc_call call{};
  call.arena = memory.data();
  call.step = each;
  call.row_offset = std::max<std::uint64_t>((std::uint64_t{4} << 20) / each, 1);
  const double moved = static_cast<double>(memory.size()) * static_cast<double>(call.row_offset);
  return moved / best_time(team, copy_share, call, 12);
}

}  // namespace nnc
