// The elementary functions: special values, symmetry, and accuracy on samples from all bit patterns. tests/soak/ulp.cpp
// goes through every f32.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/scalar_functions.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using nnc::test::ElementaryFunction;

template <class T>
constexpr ScalarType type_of = sizeof(T) == 4 ? ScalarType::f32 : ScalarType::f64;

template <class T>
std::vector<T> run(const ElementaryFunction& f, const std::vector<T>& x, const std::vector<T>& y = {}) {
  std::vector<T> value(x.size());
  const void* inputs[] = {x.data(), y.data()};
  void* results[] = {value.data()};
  interpret(test::program_of(f, type_of<T>), std::span(inputs, f.arity), results, static_cast<std::int64_t>(x.size()));
  return value;
}

template <class T>
T value_of(const char* name, T x, T y = 0) {
  const ElementaryFunction* f = test::scalar_function(name);
  REQUIRE(f != nullptr);
  return run<T>(*f, {x}, {y})[0];
}

/// Numbers spread over all bit patterns by a multiplicative step, infinities and NaNs among them.
template <class T>
std::vector<T> all_over(std::size_t count) {
  std::vector<T> x;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t bits = i * 0x9e3779b97f4a7c15U;
    if constexpr (sizeof(T) == 4)
      x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits >> 32)));
    else
      x.push_back(std::bit_cast<double>(bits));
  }
  return x;
}

/// Evenly from low to high.
template <class T>
std::vector<T> between(double low, double high, std::size_t count) {
  std::vector<T> x;
  for (std::size_t i = 0; i < count; ++i)
    x.push_back(static_cast<T>(low + (high - low) * static_cast<double>(i) / static_cast<double>(count)));
  return x;
}

template <class T>
void check_unary(const ElementaryFunction& f, const std::vector<T>& x, double bound) {
  const std::vector<T> value = run(f, x);
  double worst = 0;
  T at = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double error = 0;
    if constexpr (sizeof(T) == 4)
      error = test::ulp_error(value[i], f.fast(x[i]));
    else
      error = test::ulp_error(value[i], f.wide(x[i], 0));
    if (error > worst) {
      worst = error;
      at = x[i];
    }
    if (f.low != 0 || f.high != 0)
      if (!std::isnan(value[i])) REQUIRE((value[i] >= static_cast<T>(f.low) && value[i] <= static_cast<T>(f.high)));
  }
  INFO(f.name << (sizeof(T) == 4 ? " f32" : " f64") << ", worst at " << at);
  CHECK(worst <= bound);

  if (f.odd) {
    std::vector<T> minus = x;
    for (T& v : minus) v = -v;
    const std::vector<T> opposite = run(f, minus);
    for (std::size_t i = 0; i < x.size(); ++i)
      REQUIRE(((std::isnan(value[i]) && std::isnan(opposite[i])) ||
               (opposite[i] == -value[i] && std::signbit(opposite[i]) != std::signbit(value[i]))));
  }
}

template <class T>
void check_monotonic(const ElementaryFunction& f, std::vector<T> x) {
  std::erase_if(x, [](T v) { return std::isnan(v); });
  std::sort(x.begin(), x.end());
  const std::vector<T> value = run(f, x);
  T highest = -std::numeric_limits<T>::infinity();
  for (const T v : value) {
    if (std::isnan(v)) continue;  // log below 0
    REQUIRE(v >= highest);
    highest = v;
  }
}

TEST_CASE("elementary functions keep their bounds on samples") {
  for (const ElementaryFunction& f : test::scalar_functions()) {
    if (f.arity != 1) continue;
    for (const auto& x : {all_over<float>(1 << 20), between<float>(-20, 20, 1 << 17), between<float>(-1, 1, 1 << 17)}) {
      check_unary(f, x, f.bound_f32);
      if (f.direction == 1) check_monotonic(f, x);
    }
    for (const auto& x :
         {all_over<double>(1 << 18), between<double>(-40, 40, 1 << 16), between<double>(-1, 1, 1 << 16)}) {
      check_unary(f, x, f.bound_f64);
      if (f.direction == 1) check_monotonic(f, x);
    }
  }
}

/// x times a function as the library writes it, where the function is a normal number: a subnormal one has few digits.
template <class T>
void check_product(const char* name, double from, double bound) {
  const ElementaryFunction& product = *test::scalar_function(name);
  for (const std::vector<T>& x : {between<T>(from, 40, 1 << 17), between<T>(-1, 1, 1 << 17)}) {
    const std::vector<T> value = run(product, x);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto exact = static_cast<long double>(x[i]) * product.wide(x[i], 0);
      if constexpr (sizeof(T) == 4)
        worst = std::max(worst, test::ulp_error(x[i] * value[i], static_cast<double>(exact)));
      else
        worst = std::max(worst, test::ulp_error(x[i] * value[i], exact));
    }
    INFO("x " << name << ", " << sizeof(T) << " bytes");
    CHECK(worst <= bound);
  }
}

TEST_CASE("gelu and silu keep their bounds on samples") {
  check_product<float>("normal_cdf", -12.9, 2);
  check_product<double>("normal_cdf", -37.5, 2);
  check_product<float>("logistic", -87, 2);
  check_product<double>("logistic", -708, 2);
}

TEST_CASE("sin and cos of arguments next to multiples of a quarter turn") {
  for (const char* name : {"sin", "cos"}) {
    const ElementaryFunction& f = *test::scalar_function(name);
    std::vector<float> x;
    std::vector<double> wide;
    for (int k = -2000; k <= 2000; ++k) {
      const double turn = k * 1.5707963267948966;
      x.push_back(static_cast<float>(turn));
      wide.push_back(turn);
      wide.push_back(std::nextafter(turn, 1e9));
    }
    // The f32 and the f64 closest to a multiple of pi/2 relative to their size, and the ends of the ranges.
    x.insert(x.end(), {0x1.f886d4p-1F, 16367173.0F * 0x1p+72F, std::numeric_limits<float>::max(), 0x1p-149F});
    wide.insert(wide.end(), {6381956970095103.0 * 0x1p+797, std::numeric_limits<double>::max(), 0x1p-1074, 0x1p1023});
    check_unary(f, x, f.bound_f32);
    check_unary(f, wide, f.bound_f64);
  }
}

template <class T>
void check_pow(double span, double bound) {
  const ElementaryFunction& f = *test::scalar_function("pow");
  std::vector<T> x = all_over<T>(1 << 17), y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % 4 != 0) x[i] = std::abs(x[i]);
    if (i % 16 == 1) x[i] = T{1} + (x[i] < 1 ? -1 : 1) * std::numeric_limits<T>::epsilon() * static_cast<T>(i);
    const double log = std::log(std::abs(static_cast<double>(x[i])));
    const double part = static_cast<double>(i * 0x9e3779b9U % (1 << 20)) * 0x1p-19 - 1;
    y.push_back(static_cast<T>(i % 4 == 0 ? std::floor(part * 12) : part * span / log));
  }
  const std::vector<T> value = run(f, x, y);
  double worst = 0;
  T at_x = 0, at_y = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double error = 0;
    const long double exact = f.wide(x[i], y[i]);
    if constexpr (sizeof(T) == 4)
      error = test::ulp_error(value[i], static_cast<double>(exact));
    else
      error = test::ulp_error(value[i], exact);
    if (error > worst) {
      worst = error;
      at_x = x[i];
      at_y = y[i];
    }
  }
  INFO("pow(" << at_x << ", " << at_y << ")");
  CHECK(worst <= bound);
}

TEST_CASE("pow keeps its bounds on samples") {
  check_pow<float>(105, 2);
  check_pow<double>(750, 2);
}

template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

/// The table of IEEE 754-2019, 9.2.1; std::pow of C's Annex F has the same, and is compared with.
template <class T>
void check_pow_specials() {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T most = std::numeric_limits<T>::max(), least = std::numeric_limits<T>::denorm_min();
  const T odd_limit = static_cast<T>(std::uint64_t{2} << (std::numeric_limits<T>::digits - 1));  // odd numbers end here
  const T one = 1, below_one = std::nextafter(one, T{0}), above_one = std::nextafter(one, T{2});
  std::vector<T> values{0,
                        T(0.5),
                        1,
                        2,
                        3,
                        T(2.5),
                        T(1) / 3,
                        10,
                        inf,
                        most,
                        least,
                        odd_limit,
                        odd_limit - 1,
                        odd_limit / 2 - 1,
                        odd_limit / 2 + 1,
                        below_one,
                        above_one,
                        nan};
  for (std::size_t i = values.size(); i-- > 0;) values.push_back(-values[i]);
  for (const T x : values)
    for (const T y : values) {
      const T value = value_of<T>("pow", x, y), expected = std::pow(x, y);
      INFO("pow(" << x << ", " << y << ") = " << value << ", expected " << expected);
      if (std::isnan(expected) || std::isinf(expected) || expected == 0 || expected == 1 || expected == -1)
        CHECK(same(value, expected));
      else
        CHECK(std::abs(value - expected) <= 2 * std::abs(expected) * std::numeric_limits<T>::epsilon());
    }
}

TEST_CASE("pow has IEEE 754's special cases") {
  check_pow_specials<float>();
  check_pow_specials<double>();
}

template <class T>
void check_specials() {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN(),
          tiny = T{0} + std::numeric_limits<T>::denorm_min();
  for (const ElementaryFunction& f : test::scalar_functions()) {
    if (f.arity != 1) continue;
    INFO(f.name);
    CHECK(std::isnan(run<T>(f, {nan})[0]));
    CHECK(std::isnan(run<T>(f, {-nan})[0]));
  }
  CHECK(value_of<T>("exp", 0) == 1);
  CHECK(value_of<T>("exp", inf) == inf);
  CHECK(same(value_of<T>("exp", -inf), T{0}));
  CHECK(value_of<T>("exp", std::numeric_limits<T>::max()) == inf);
  CHECK(same(value_of<T>("exp", std::numeric_limits<T>::lowest()), T{0}));

  CHECK(same(value_of<T>("log", 1), T{0}));
  CHECK(value_of<T>("log", 0) == -inf);
  CHECK(value_of<T>("log", T{-0.0}) == -inf);
  CHECK(std::isnan(value_of<T>("log", -1)));
  CHECK(std::isnan(value_of<T>("log", -tiny)));
  CHECK(std::isnan(value_of<T>("log", -inf)));
  CHECK(value_of<T>("log", inf) == inf);
  CHECK(value_of<T>("log", tiny) == static_cast<T>(std::log(static_cast<long double>(tiny))));

  CHECK(value_of<T>("expm1", inf) == inf);
  CHECK(value_of<T>("expm1", -inf) == -1);
  CHECK(value_of<T>("expm1", std::numeric_limits<T>::max()) == inf);
  CHECK(value_of<T>("log1p", inf) == inf);
  CHECK(value_of<T>("log1p", -1) == -inf);
  CHECK(std::isnan(value_of<T>("log1p", std::nextafter(T{-1}, T{-2}))));
  CHECK(std::isnan(value_of<T>("log1p", -inf)));
  CHECK(value_of<T>("erf", inf) == 1);
  CHECK(value_of<T>("erf", -inf) == -1);
  CHECK(value_of<T>("normal_cdf", inf) == 1);
  CHECK(same(value_of<T>("normal_cdf", -inf), T{0}));
  CHECK(value_of<T>("normal_cdf", T{0}) == T(0.5));
  CHECK(value_of<T>("normal_cdf", T{-0.0}) == T(0.5));
  CHECK(value_of<T>("tanh", inf) == 1);
  CHECK(value_of<T>("tanh", -inf) == -1);
  for (const char* name : {"tanh", "sin", "expm1", "log1p"}) {
    CHECK(same(value_of<T>(name, T{0}), T{0}));
    CHECK(same(value_of<T>(name, T{-0.0}), T{-0.0}));
    CHECK(same(value_of<T>(name, -tiny), -tiny));
    CHECK(same(value_of<T>(name, tiny), tiny));
  }
  CHECK(same(value_of<T>("erf", T{0}), T{0}));
  CHECK(same(value_of<T>("erf", T{-0.0}), T{-0.0}));
  CHECK(value_of<T>("cos", 0) == 1);
  CHECK(value_of<T>("cos", T{-0.0}) == 1);
  for (const char* name : {"sin", "cos"}) {
    CHECK(std::isnan(value_of<T>(name, inf)));
    CHECK(std::isnan(value_of<T>(name, -inf)));
  }
  CHECK(value_of<T>("logistic", 0) == T(0.5));
  CHECK(value_of<T>("logistic", inf) == 1);
  CHECK(same(value_of<T>("logistic", -inf), T{0}));
  CHECK(value_of<T>("softplus", inf) == inf);
  CHECK(same(value_of<T>("softplus", -inf), T{0}));
  CHECK(value_of<T>("softplus", T{1000}) == 1000);
}

TEST_CASE("elementary functions at zeros, infinities and NaNs") {
  check_specials<float>();
  check_specials<double>();
}

TEST_CASE("subnormal results are rounded once") {
  // e^x for the smallest results: next to 2^-149, and half of it, where the result turns to 0.
  CHECK(value_of<float>("exp", -103.0F) == 0x1p-149F);
  CHECK(value_of<float>("exp", -104.0F) == 0.0F);
  CHECK(value_of<double>("exp", -745.0) == 0x1p-1074);
  CHECK(value_of<double>("exp", -746.0) == 0.0);
  CHECK(value_of<float>("logistic", -103.0F) == 0x1p-149F);
  CHECK(value_of<float>("softplus", -103.0F) == 0x1p-149F);
  CHECK(value_of<float>("normal_cdf", -14.1F) == 0x1p-149F);
  CHECK(value_of<float>("normal_cdf", -14.3F) == 0.0F);
}

}  // namespace
