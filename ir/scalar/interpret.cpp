// The interpreter: blocks of elements, one loop an instruction, so that the cost of dispatch is spread over a block.
// Results are those of IEEE 754 in every build: the loops below are plain C++, compiled without contraction, a second
// time for processors with fused multiply-add, where std::fma is one instruction instead of a call.
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "ir/scalar/builder.h"

namespace nnc {

namespace {

constexpr int block = 128;  // elements; a value's block of f64 is 1 KiB, so programs of some 30 values stay in L1
constexpr int step = 16;    // loops run over whole multiples: what they compute past the end is never stored

#define NNC_INLINE [[gnu::always_inline]] inline

template <class R, class A, class F>
NNC_INLINE void map(R* __restrict r, const A* a, int count, F f) {
  for (int i = 0; i < count; i += step)
    for (int j = 0; j < step; ++j) r[i + j] = f(a[i + j]);
}

template <class R, class A, class F>
NNC_INLINE void map(R* __restrict r, const A* a, const A* b, int count, F f) {
  for (int i = 0; i < count; i += step)
    for (int j = 0; j < step; ++j) r[i + j] = f(a[i + j], b[i + j]);
}

template <class T>
NNC_INLINE void map_fma(T* __restrict r, const T* a, const T* b, const T* c, int count) {
  for (int i = 0; i < count; i += step)
    for (int j = 0; j < step; ++j) r[i + j] = std::fma(a[i + j], b[i + j], c[i + j]);
}

template <class T>
NNC_INLINE void map_select(T* __restrict r, const std::uint8_t* a, const T* b, const T* c, int count) {
  for (int i = 0; i < count; i += step)
    for (int j = 0; j < step; ++j) r[i + j] = a[i + j] != 0 ? b[i + j] : c[i + j];
}

// IEEE 754-2019: a NaN operand gives a NaN (the sum is one), and -0 is below +0.
template <class T>
NNC_INLINE T ieee_maximum(T a, T b) {
  if (a > b) return a;
  if (b > a) return b;
  if (a == b) return std::signbit(a) ? b : a;
  return a + b;
}
template <class T>
NNC_INLINE T ieee_minimum(T a, T b) {
  if (a < b) return a;
  if (b < a) return b;
  if (a == b) return std::signbit(a) ? a : b;
  return a + b;
}

// Outside the range, where programs may not convert, this gives what x86 gives; it is only reached by lanes past the
// end.
template <class I, class F>
NNC_INLINE I truncated(F x) {
  constexpr F limit = sizeof(I) == 4 ? static_cast<F>(0x1p31) : static_cast<F>(0x1p63);
  return x >= -limit && x < limit ? static_cast<I>(x) : std::numeric_limits<I>::min();
}

/// The values of one block: one buffer an instruction, all of the same size so that any type fits.
class Values {
 public:
  explicit Values(std::size_t instructions) : storage_(instructions * block * sizeof(std::uint64_t) / sizeof(Line)) {}
  std::byte* at(std::size_t id) {
    return reinterpret_cast<std::byte*>(storage_.data()) + id * block * sizeof(std::uint64_t);
  }
  template <class T>
  T* as(std::size_t id) {
    return reinterpret_cast<T*>(at(id));
  }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> storage_;
};

/// f of one element or two, which are floats of the instruction's type.
template <class F>
NNC_INLINE void run_float1(const ScalarInstruction& x, ScalarId id, Values& v, int n, F f) {
  const ScalarId a = x.operands[0];
  return x.type == ScalarType::f32 ? map(v.as<float>(id), v.as<float>(a), n, f)
                                   : map(v.as<double>(id), v.as<double>(a), n, f);
}
template <class F>
NNC_INLINE void run_float2(const ScalarInstruction& x, ScalarId id, Values& v, int n, F f) {
  const ScalarId a = x.operands[0], b = x.operands[1];
  return x.type == ScalarType::f32 ? map(v.as<float>(id), v.as<float>(a), v.as<float>(b), n, f)
                                   : map(v.as<double>(id), v.as<double>(a), v.as<double>(b), n, f);
}

/// f of two integers of the instruction's type; on unsigned ones, since arithmetic wraps.
template <class F>
NNC_INLINE void run_integer(const ScalarInstruction& x, ScalarId id, Values& v, int n, F f) {
  using U32 = std::uint32_t;
  using U64 = std::uint64_t;
  const ScalarId a = x.operands[0], b = x.operands[1];
  return x.type == ScalarType::i32 ? map(v.as<U32>(id), v.as<U32>(a), v.as<U32>(b), n, f)
                                   : map(v.as<U64>(id), v.as<U64>(a), v.as<U64>(b), n, f);
}

/// f(element, distance) of integers; the distance is a constant, the same in all lanes.
template <class U, class F>
NNC_INLINE void run_shift_of(const ScalarInstruction& x, ScalarId id, Values& v, int n, F f) {
  constexpr U mask = sizeof(U) * 8 - 1;
  const int distance = static_cast<int>(v.as<U>(x.operands[1])[0] & mask);
  map(v.as<U>(id), v.as<U>(x.operands[0]), n, [distance, f](U p) { return f(p, distance); });
}
template <class F>
NNC_INLINE void run_shift(const ScalarInstruction& x, ScalarId id, Values& v, int n, F f) {
  return x.type == ScalarType::i32 ? run_shift_of<std::uint32_t>(x, id, v, n, f)
                                   : run_shift_of<std::uint64_t>(x, id, v, n, f);
}

/// f of two elements of one type, a truth.
template <class F>
NNC_INLINE void run_compare(const ScalarInstruction& x, ScalarType type, ScalarId id, Values& v, int n, F f) {
  auto* r = v.as<std::uint8_t>(id);
  const ScalarId a = x.operands[0], b = x.operands[1];
  const auto truth = [f](auto p, auto q) { return static_cast<std::uint8_t>(f(p, q)); };
  switch (type) {
    case ScalarType::f32:
      return map(r, v.as<float>(a), v.as<float>(b), n, truth);
    case ScalarType::f64:
      return map(r, v.as<double>(a), v.as<double>(b), n, truth);
    case ScalarType::i32:
      return map(r, v.as<std::int32_t>(a), v.as<std::int32_t>(b), n, truth);
    case ScalarType::i64:
      return map(r, v.as<std::int64_t>(a), v.as<std::int64_t>(b), n, truth);
    case ScalarType::boolean:
      return map(r, v.as<std::uint8_t>(a), v.as<std::uint8_t>(b), n, truth);
  }
}

template <class A>
NNC_INLINE void run_convert_from(const ScalarInstruction& x, ScalarId id, Values& v, int n) {
  const A* a = v.as<A>(x.operands[0]);
  constexpr bool from_float = std::is_floating_point_v<A>;
  switch (x.type) {
    case ScalarType::f32:
      return map(v.as<float>(id), a, n, [](A p) { return static_cast<float>(p); });
    case ScalarType::f64:
      return map(v.as<double>(id), a, n, [](A p) { return static_cast<double>(p); });
    case ScalarType::i32:
      if constexpr (from_float)
        return map(v.as<std::int32_t>(id), a, n, [](A p) { return truncated<std::int32_t>(p); });
      else
        return map(v.as<std::uint32_t>(id), a, n, [](A p) { return static_cast<std::uint32_t>(p); });
    case ScalarType::i64:
      if constexpr (from_float)
        return map(v.as<std::int64_t>(id), a, n, [](A p) { return truncated<std::int64_t>(p); });
      else
        return map(v.as<std::int64_t>(id), a, n, [](A p) { return static_cast<std::int64_t>(p); });
    case ScalarType::boolean:
      assert(false);
  }
}

NNC_INLINE void run_convert(const ScalarInstruction& x, ScalarType from, ScalarId id, Values& v, int n) {
  switch (from) {
    case ScalarType::f32:
      return run_convert_from<float>(x, id, v, n);
    case ScalarType::f64:
      return run_convert_from<double>(x, id, v, n);
    case ScalarType::i32:
      return run_convert_from<std::int32_t>(x, id, v, n);
    case ScalarType::i64:
      return run_convert_from<std::int64_t>(x, id, v, n);
    case ScalarType::boolean:
      return run_convert_from<std::uint8_t>(x, id, v, n);
  }
}

/// A function of i64, by programs of its own.
void run_function(const ScalarFunction& function, const ScalarInstruction& x, ScalarId id, Values& v, int n) {
  using Block = std::array<std::int64_t, block>;
  const auto pointers = [](std::vector<Block>& blocks) {
    std::vector<void*> made;
    for (Block& values : blocks) made.push_back(values.data());
    return made;
  };
  std::vector<const void*> operands;
  for (int i = 0; i < operand_count(x.op); ++i) operands.push_back(v.at(x.operands[i]));
  std::vector<Block> now(function.first.results.size()), next(now.size());
  interpret(function.first, operands, pointers(now), n);
  for (int i = 0; i < function.steps; ++i) {
    const std::vector<void*> from = pointers(now);
    interpret(function.step, {from.begin(), from.end()}, pointers(next), n);
    now.swap(next);
  }
  const std::vector<void*> values = pointers(now);
  std::vector<const void*> all(values.begin(), values.end());
  all.insert(all.end(), operands.begin(), operands.end());
  void* result = v.at(id);
  interpret(function.last, all, {&result, 1}, n);
}

NNC_INLINE void run_instruction(const ScalarProgram& program, ScalarId id, Values& v, int n) {
  const ScalarInstruction& x = program.code[id];
  const auto type_of_first = [&] { return program.code[x.operands[0]].type; };
  switch (x.op) {
    case ScalarOp::input:
    case ScalarOp::constant:
      return;  // filled by the caller
    case ScalarOp::add:
      return run_float2(x, id, v, n, [](auto p, auto q) { return p + q; });
    case ScalarOp::sub:
      return run_float2(x, id, v, n, [](auto p, auto q) { return p - q; });
    case ScalarOp::mul:
      return run_float2(x, id, v, n, [](auto p, auto q) { return p * q; });
    case ScalarOp::div:
      return run_float2(x, id, v, n, [](auto p, auto q) { return p / q; });
    case ScalarOp::fma: {
      const ScalarId a = x.operands[0], b = x.operands[1], c = x.operands[2];
      return x.type == ScalarType::f32
                 ? map_fma(v.as<float>(id), v.as<float>(a), v.as<float>(b), v.as<float>(c), n)
                 : map_fma(v.as<double>(id), v.as<double>(a), v.as<double>(b), v.as<double>(c), n);
    }
    case ScalarOp::sqrt:
      return run_float1(x, id, v, n, [](auto p) { return std::sqrt(p); });
    case ScalarOp::neg:
      return run_float1(x, id, v, n, [](auto p) { return -p; });
    case ScalarOp::abs:
      return run_float1(x, id, v, n, [](auto p) { return std::fabs(p); });
    case ScalarOp::minimum:
      return run_float2(x, id, v, n, [](auto p, auto q) { return ieee_minimum(p, q); });
    case ScalarOp::maximum:
      return run_float2(x, id, v, n, [](auto p, auto q) { return ieee_maximum(p, q); });
    case ScalarOp::equal:
      return run_compare(x, type_of_first(), id, v, n, [](auto p, auto q) { return p == q; });
    case ScalarOp::less:
      return run_compare(x, type_of_first(), id, v, n, [](auto p, auto q) { return p < q; });
    case ScalarOp::less_equal:
      return run_compare(x, type_of_first(), id, v, n, [](auto p, auto q) { return p <= q; });
    case ScalarOp::select: {
      const auto* condition = v.as<std::uint8_t>(x.operands[0]);
      const ScalarId b = x.operands[1], c = x.operands[2];
      switch (size_of(x.type)) {
        case 1:
          return map_select(v.as<std::uint8_t>(id), condition, v.as<std::uint8_t>(b), v.as<std::uint8_t>(c), n);
        case 4:
          return map_select(v.as<std::uint32_t>(id), condition, v.as<std::uint32_t>(b), v.as<std::uint32_t>(c), n);
        default:
          return map_select(v.as<std::uint64_t>(id), condition, v.as<std::uint64_t>(b), v.as<std::uint64_t>(c), n);
      }
    }
    case ScalarOp::logical_and:
    case ScalarOp::logical_or:
    case ScalarOp::logical_not: {
      auto* r = v.as<std::uint8_t>(id);
      const auto* a = v.as<std::uint8_t>(x.operands[0]);
      const auto* b = v.as<std::uint8_t>(x.operands[1]);
      using U8 = std::uint8_t;
      if (x.op == ScalarOp::logical_and) return map(r, a, b, n, [](U8 p, U8 q) { return static_cast<U8>(p & q); });
      if (x.op == ScalarOp::logical_or) return map(r, a, b, n, [](U8 p, U8 q) { return static_cast<U8>(p | q); });
      return map(r, a, n, [](U8 p) { return static_cast<U8>(p ^ 1); });
    }
    case ScalarOp::int_add:
      return run_integer(x, id, v, n, [](auto p, auto q) { return p + q; });
    case ScalarOp::int_sub:
      return run_integer(x, id, v, n, [](auto p, auto q) { return p - q; });
    case ScalarOp::int_mul:
      return run_integer(x, id, v, n, [](auto p, auto q) { return p * q; });
    case ScalarOp::int_and:
      return run_integer(x, id, v, n, [](auto p, auto q) { return p & q; });
    case ScalarOp::int_or:
      return run_integer(x, id, v, n, [](auto p, auto q) { return p | q; });
    case ScalarOp::int_xor:
      return run_integer(x, id, v, n, [](auto p, auto q) { return p ^ q; });
    case ScalarOp::shift_left:
      return run_shift(x, id, v, n, [](auto p, int by) { return p << by; });
    case ScalarOp::shift_right:
      return run_shift(x, id, v, n, [](auto p, int by) { return p >> by; });
    case ScalarOp::shift_right_signed:
      return run_shift(x, id, v, n, [](auto p, int by) {
        return static_cast<decltype(p)>(static_cast<std::make_signed_t<decltype(p)>>(p) >> by);
      });
    case ScalarOp::bitcast:
      std::memcpy(v.at(id), v.at(x.operands[0]), static_cast<std::size_t>(n) * size_of(x.type));
      return;
    case ScalarOp::convert:
      return run_convert(x, type_of_first(), id, v, n);
    case ScalarOp::philox:
      return run_function(*function_of(x.op), x, id, v, n);
  }
}

NNC_INLINE void run_block(const ScalarProgram& program, Values& v, int n) {
  for (std::size_t id = 0; id < program.code.size(); ++id) run_instruction(program, static_cast<ScalarId>(id), v, n);
}

void run_block_portable(const ScalarProgram& program, Values& v, int n) { run_block(program, v, n); }

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void run_block_fma(const ScalarProgram& program, Values& v, int n) {
  run_block(program, v, n);
}
bool has_fma() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
void run_block_fma(const ScalarProgram& program, Values& v, int n) { run_block(program, v, n); }
bool has_fma() { return false; }
#endif

void fill_constant(const ScalarInstruction& x, std::byte* to) {
  const std::size_t size = size_of(x.type);
  for (int i = 0; i < block; ++i) std::memcpy(to + i * size, &x.bits, size);  // little-endian, as all our targets
}

}  // namespace

std::size_t size_of(ScalarType type) {
  switch (type) {
    case ScalarType::f32:
    case ScalarType::i32:
      return 4;
    case ScalarType::f64:
    case ScalarType::i64:
      return 8;
    case ScalarType::boolean:
      return 1;
  }
  assert(false);
  return 0;
}

void interpret(const ScalarProgram& program, std::span<const void* const> inputs, std::span<void* const> results,
               std::int64_t count) {
  static_assert(std::endian::native == std::endian::little);
  assert(inputs.size() == program.inputs.size() && results.size() == program.results.size());
  const auto run = has_fma() ? run_block_fma : run_block_portable;

  Values values(program.code.size());
  for (std::size_t id = 0; id < program.code.size(); ++id)
    if (program.code[id].op == ScalarOp::constant) fill_constant(program.code[id], values.at(id));

  for (std::int64_t begin = 0; begin < count; begin += block) {
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(block, count - begin));
    for (std::size_t id = 0; id < program.code.size(); ++id) {
      const ScalarInstruction& x = program.code[id];
      if (x.op != ScalarOp::input) continue;
      const std::size_t size = size_of(x.type);
      std::memcpy(values.at(id), static_cast<const std::byte*>(inputs[x.bits]) + begin * size, n * size);
    }
    run(program, values, static_cast<int>((n + step - 1) / step * step));
    for (std::size_t i = 0; i < results.size(); ++i) {
      const std::size_t size = size_of(program.code[program.results[i]].type);
      std::memcpy(static_cast<std::byte*>(results[i]) + begin * size, values.at(program.results[i]), n * size);
    }
  }
}

}  // namespace nnc
