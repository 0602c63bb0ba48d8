// Divisions by a number that many share are by its reciprocal, and give the bits of a division: for divisors and
// quotients of all kinds, next to halves of units above all, and for numbers that only a division can take.
#include <bit>
#include <limits>

#include "codegen/compile.h"
#include "tests/support/programs.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

constexpr std::int64_t blocks = 256, lanes = 16;

/// out = x / y for all x, and a few sums that make the stage as long as one that is worth a reciprocal.
template <class T>
struct Division {
  Draft draft;
  BufferId x, y, out, more;

  Division() {
    const std::int64_t count = blocks * lanes;
    x = draft.row_major(Region::arena, dtype_of<T>, {count});
    y = draft.row_major(Region::arena, dtype_of<T>, {1});
    out = draft.row_major(Region::arena, dtype_of<T>, {count});
    more = draft.row_major(Region::arena, dtype_of<T>, {count});
    Stage stage;
    Access single{y, {AffineRow{0, {0}}}};
    stage.body = body({{scalar_of<T>, access(x, {0}, 1)}, {scalar_of<T>, single}}, [](auto v) {
      const Scalar sum = v[0] + v[1];
      return std::vector<Scalar>{v[0] / v[1], (sum + v[0]) * sum + v[1]};
    });
    stage.stores = {{access(out, {0}, 1), 0}, {access(more, {0}, 1), 1}};
    Kernel kernel;
    kernel.name = "division";
    kernel.outer = {count};
    kernel.stages = {stage};
    kernel.schedule.vector = Schedule::Vector::outer;
    kernel.schedule.lanes = static_cast<int>(lanes);
    draft.program.kernels = {kernel};
  }
};

template <class T>
bool same_number(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0 || (std::isnan(a) && std::isnan(b));
}

/// Numbers whose quotient is near the middle between two floats: of a divisor's multiples of odd halves of units.
template <class T>
T near_halfway(T y, std::mt19937_64& random) {
  std::uniform_real_distribution<T> from_one(1, 2);
  const T quotient = from_one(random), unit = std::nextafter(quotient, T{2}) - quotient;
  const long double middle = (static_cast<long double>(quotient) + unit / 2.0L) * y;
  const T x = static_cast<T>(middle);
  return random() % 2 == 0 ? x : std::nextafter(x, random() % 2 == 0 ? T{0} : std::numeric_limits<T>::infinity());
}

template <class T>
T any_bits(std::mt19937_64& random) {
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<T>(static_cast<std::uint32_t>(random()));
  else
    return std::bit_cast<T>(random());
}

/// Quotients that are another float before their last step.
constexpr std::pair<float, float> hard[] = {
    {0x1p+0F, 0x1.fffffep+0F}, {0x1.ccccc4p+0F, 0x1.fffff6p-10F}, {0x1.d39bf6p+0F, 0x1.ef8e5ep+0F}};

/// Half the vectors hold numbers that a reciprocal may meet, the others a few that it may not.
template <class T>
std::vector<T> numerators(T y, std::mt19937_64& random) {
  const T big = std::numeric_limits<T>::max(), small = std::numeric_limits<T>::denorm_min();
  const std::vector<T> odd{T{0}, -T{0}, std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN(), big,
                           -big, small, std::numeric_limits<T>::min()};
  std::vector<T> x;
  for (std::int64_t block = 0; block < blocks; ++block)
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      T value = near_halfway(y, random);
      if (random() % 2 == 0) value = std::ldexp(value, static_cast<int>(random() % 160) - 80);
      if (random() % 2 == 0) value = -value;
      if (random() % 16 == 0) value = T{0};
      if (random() % 16 == 0) value = static_cast<T>(hard[random() % std::size(hard)].first);
      if (block % 2 == 0 && random() % 8 == 0) value = odd[random() % odd.size()];
      if (block % 4 == 0 && random() % 8 == 0) value = any_bits<T>(random);
      x.push_back(value);
    }
  return x;
}

template <class T>
void check_division() {
  Division<T> division;
  const auto compiled = compile(division.draft.program, {.target = detect_host().target});
  Arena memory(division.draft.program);
  std::mt19937_64 random(7);
  std::vector<T> divisors{T(3),     T(10), T(0.1), T(0.001), T(1) - T(0.999), T(1),    T(0.5), T(1000),
                          T(0.003), T(0),  T(-3),  T(1e20),  T(1e-20),        T(2000), T(-0.0)};
  divisors.push_back(std::numeric_limits<T>::infinity());
  divisors.push_back(std::numeric_limits<T>::quiet_NaN());
  divisors.push_back(std::numeric_limits<T>::denorm_min());
  for (T at : {T(1), T(2), T(4)})
    for (int far = 0; far < 4; ++far, at = std::nextafter(at, T{0})) divisors.push_back(at);
  for (const auto& [x, y] : hard) divisors.push_back(static_cast<T>(y));
  std::uniform_real_distribution<T> fraction(0, 1);
  while (divisors.size() < 200) divisors.push_back(fraction(random));
  for (const T y : divisors) {
    const std::vector<T> x = numerators(y, random);
    std::copy(x.begin(), x.end(), memory.at<T>(division.x));
    *memory.at<T>(division.y) = y;
    memory.run(compiled->entry());
    int wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) wrong += !same_number(memory.at<T>(division.out)[i], x[i] / y);
    CAPTURE(y);
    CHECK(wrong == 0);
  }
}

}  // namespace

TEST_CASE("quotients by a reciprocal are those of a division", "[codegen]") {
  check_division<float>();
  check_division<double>();
}

TEST_CASE("where many share a divisor, vectors of 64 bytes meet its reciprocal", "[codegen]") {
  Division<float> division;
  const CompileOptions options{.target = detect_host().target};
  CHECK(emit_llvm(division.draft.program, options).find("quotient") != std::string::npos);
  Kernel& kernel = division.draft.program.kernels[0];
  kernel.schedule.lanes = 8;  // of which processors divide fast enough
  CHECK(emit_llvm(division.draft.program, options).find("quotient") == std::string::npos);
  kernel.schedule.lanes = 16;
  kernel.outer = {lanes};  // for which it does not pay
  CHECK(emit_llvm(division.draft.program, options).find("quotient") == std::string::npos);
}
