// Multiplication and addition with one rounding on processors that have no instruction for it: the emulation against
// std::fma, on triples that are made to be hard: sums that nearly cancel, that lie in or next to the middle between two
// numbers, that are denormal, that overflow, and any bits at all.
#include <bit>
#include <cmath>
#include <limits>

#include "tests/support/programs.h"
#include "tests/support/random.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

constexpr std::int64_t count = 1 << 18;

template <class T>
struct Triples {
  std::vector<T> a, b, c;
};

template <class T>
T any_bits(nnc::test::Random& random) {
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<float>(static_cast<std::uint32_t>(random.bits()));
  else
    return std::bit_cast<double>(random.bits());
}

/// A number with few bits set, so that products end where a sum must be rounded.
template <class T>
T sparse(nnc::test::Random& random, int low, int high) {
  T value = T(1) + std::ldexp(T(1), -random.between(1, std::numeric_limits<T>::digits - 1));
  if (random.chance(0.5)) value -= std::ldexp(T(1), -random.between(1, std::numeric_limits<T>::digits - 1));
  return std::ldexp(random.chance(0.5) ? value : -value, random.between(low, high));
}

template <class T>
Triples<T> triples() {
  using Limits = std::numeric_limits<T>;
  nnc::test::Random random(sizeof(T));
  Triples<T> made;
  for (std::int64_t i = 0; i < count; ++i) {
    T a = any_bits<T>(random), b = any_bits<T>(random), c = any_bits<T>(random);
    const int kind = random.below(8), half = Limits::max_exponent / 2;
    if (kind < 6) a = sparse<T>(random, -half - 30, half + 10), b = sparse<T>(random, -half - 30, half + 10);
    if (kind < 3) a = static_cast<T>(random.uniform(-2, 2)), b = static_cast<T>(random.uniform(-2, 2));
    const T product = a * b;
    if (kind == 0) c = -product;                                                     // what the product lost
    if (kind == 1) c = std::nextafter(-product, random.chance(0.5) ? T(2) : -T(2));  // and a little more
    if (kind == 2 || kind == 3)  // half a unit in the last place of the product, or of c
      c = std::ldexp(product, random.between(-2, 2) * Limits::digits + random.between(-2, 2));
    if (kind == 4) c = std::ldexp(sparse<T>(random, 0, 1), std::ilogb(product) + random.between(-60, 60));
    if (kind == 5)
      c = random.chance(0.5) ? T(0) : random.chance(0.5) ? -T(0) : sparse<T>(random, -2 * half, 2 - 2 * half);
    made.a.push_back(a), made.b.push_back(b), made.c.push_back(c);
  }
  return made;
}

/// Elements where a * b + c, compiled for `cpu`, is another number than std::fma's.
template <class T>
std::size_t differences(const std::string& cpu, int lanes, CodegenLevel level) {
  const Triples<T> in = triples<T>();
  nnc::test::Draft draft;
  ScalarBuilder builder;
  Stage stage;
  std::vector<BufferId> inputs;
  std::vector<Scalar> values;
  for (int i = 0; i < 3; ++i) {
    inputs.push_back(draft.row_major(Region::arena, dtype_of<T>, {count}));
    stage.body.inputs.push_back(access(inputs.back(), {0}, 1));
    values.push_back(builder.input(scalar_of<T>));
  }
  const BufferId result = draft.row_major(Region::output, dtype_of<T>, {count});
  const Scalar sum = fma(values[0], values[1], values[2]);
  stage.body.program = std::move(builder).finish(std::span(&sum, 1));
  stage.stores.push_back({access(result, {0}, 1), 0});
  Kernel kernel;
  kernel.name = "fma";
  kernel.outer = {count};
  kernel.stages = {stage};
  kernel.schedule.vector = lanes > 1 ? Schedule::Vector::outer : Schedule::Vector::none;
  kernel.schedule.lanes = lanes;
  draft.program.kernels = {kernel};
  Arena memory(draft.program);
  const std::vector<T>* columns[] = {&in.a, &in.b, &in.c};
  for (std::size_t i = 0; i < 3; ++i) std::memcpy(memory.at<T>(inputs[i]), columns[i]->data(), count * sizeof(T));
  std::vector<T> expected;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    expected.push_back(std::fma(in.a[i], in.b[i], in.c[i]));
  const auto compiled = compile(draft.program, {.target = target_named(cpu).host.target, .level = level});
  memory.run(compiled->entry());
  return count_different(memory.at<T>(result), expected.data(), static_cast<std::size_t>(count));
}

}  // namespace

TEST_CASE("without an instruction for it, multiplying and adding is still rounded once", "[codegen]") {
  for (const CodegenLevel level : {CodegenLevel::none, CodegenLevel::less, CodegenLevel::aggressive}) {
    CHECK(differences<float>("x86-64", 4, level) == 0);
    CHECK(differences<double>("x86-64", 2, level) == 0);
  }
  CHECK(differences<float>("x86-64", 1, CodegenLevel::less) == 0);
  CHECK(differences<float>("x86-64", 16, CodegenLevel::less) == 0);
  CHECK(differences<double>("x86-64", 1, CodegenLevel::less) == 0);
  CHECK(differences<double>("x86-64", 16, CodegenLevel::less) == 0);
  CHECK(differences<float>("x86-64-v2", 4, CodegenLevel::less) == 0);
  CHECK(differences<double>("x86-64-v2", 8, CodegenLevel::less) == 0);
}

TEST_CASE("a sum with +0 that is multiplied needs no emulation", "[codegen]") {
  nnc::test::Draft draft;
  const BufferId x = draft.row_major(Region::arena, DType::f32, {count});
  const BufferId y = draft.row_major(Region::output, DType::f32, {count});
  Kernel kernel;
  kernel.outer = {count};
  kernel.stages.resize(1);
  kernel.stages[0].body = body({{ScalarType::f32, access(x, {0}, 1)}}, [](std::span<const Scalar> values) {
    ScalarBuilder& builder = *values[0].builder;
    const Scalar rate = builder.constant(0.01, ScalarType::f32), zero = builder.constant(0, ScalarType::f32);
    return std::vector{rate * (zero + values[0])};
  });
  kernel.stages[0].stores.push_back({access(y, {0}, 1), 0});
  kernel.schedule.vector = Schedule::Vector::outer;
  kernel.schedule.lanes = 4;
  draft.program.kernels = {kernel};
  const CompileOptions plain{.target = target_named("x86-64").host.target};
  CHECK(emit_llvm(draft.program, plain).find("@fma") == std::string::npos);
  CHECK(emit_llvm(draft.program, {.target = target_named("x86-64-v3").host.target}).find("@llvm.fma") !=
        std::string::npos);
  Arena memory(draft.program);
  nnc::test::Random random(7);
  std::vector<float> expected;
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = i < 2 ? (i == 0 ? 0.F : -0.F) : any_bits<float>(random);
    memory.at<float>(x)[i] = value;
    expected.push_back(0.01F * (0.F + value));
  }
  memory.run(compile(draft.program, plain)->entry());
  CHECK(count_different(memory.at<float>(y), expected.data(), static_cast<std::size_t>(count)) == 0);
}
