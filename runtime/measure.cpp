#include "runtime/measure.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>

#include "runtime/dense_array.h"

namespace nnc {

namespace {

constexpr double rounds_per_second = 6e8;  // about, on any processor of these years
/// A processor that begins with denser work is slower than it is afterwards for the first 10 us or so.
constexpr double seconds_of_change = 3e-5;
constexpr std::int64_t independent = 10;

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
  NNC_CLEAR(6) NNC_CLEAR(7) NNC_CLEAR(8) NNC_CLEAR(9)
#define NNC_CLOBBERED \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm14", "xmm15"

/// Numbers as sums of products meet them: of 0 alone a processor is sometimes faster.
alignas(64) constexpr float factors[2][16] = {{0.61F, -0.37F, 0.83F, -0.29F, 0.47F, -0.91F, 0.53F, -0.71F, 0.43F,
                                               -0.67F, 0.97F, -0.31F, 0.59F, -0.79F, 0.23F, -0.41F},
                                              {-0.73F, 0.89F, 0.19F, -0.57F, 0.33F, 0.69F, -0.87F, 0.27F, -0.51F, 0.93F,
                                               0.39F, -0.63F, 0.77F, 0.21F, -0.49F, 0.81F}};

/// Ten independent chains, call->row_offset times: as many as hide the latency of two units of five cycles. An f64 fma
/// takes as long as one of f32 and does half as much. All registers begin as numbers that are known: a subnormal one
/// that somebody left in one costs some processors more than a hundred cycles an fma.
#define NNC_FMA_LOOP(width)                                                              \
  __asm__ volatile(NNC_CLEARED "vmovaps (%1), %%" width "14\n\tvmovaps 64(%1), %%" width \
                               "15\n\t"                                                  \
                               "1:\n\t" NNC_FMAS(width) "dec %0\n\tjnz 1b\n\tvzeroupper" \
                   : "+r"(count)                                                         \
                   : "r"(factors)                                                        \
                   : NNC_CLOBBERED)
void fma_32_bytes(const nnc_call* call) {
  std::uint64_t count = call->row_offset;
  NNC_FMA_LOOP("ymm");
}
void fma_64_bytes(const nnc_call* call) {
  std::uint64_t count = call->row_offset;
  NNC_FMA_LOOP("zmm");
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

double fma_peak(Team& team, int vector_bytes, DType dtype, double seconds) {
  const nnc_function loop = vector_bytes == 64 ? fma_64_bytes : fma_32_bytes;
  nnc_call call{};
  call.row_offset = static_cast<std::uint64_t>(seconds_of_change * rounds_per_second);
  team.run(loop, call, team.size());
  call.row_offset = static_cast<std::uint64_t>(seconds * rounds_per_second);
  const double fmas = static_cast<double>(independent * team.size()) * static_cast<double>(call.row_offset);
  const double flops = 2 * fmas * vector_bytes / static_cast<double>(size_of(dtype));
  return flops / best_time(team, loop, call, 1);
}

Moment undisturbed(std::vector<Moment> moments) {
  if (moments.empty()) return {};
  std::ranges::sort(moments, {}, &Moment::seconds);
  moments.resize((moments.size() + 3) / 4);
  const std::size_t middle = moments.size() / 2;
  const double seconds = moments[middle].seconds;
  std::ranges::sort(moments, {}, &Moment::peak);
  return {seconds, moments[middle].peak};
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
