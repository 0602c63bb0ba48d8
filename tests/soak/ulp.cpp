// The accuracy of the elementary functions, shown and not sampled: for f32 every one of the 2^32 inputs against libm in
// f64, with range, oddness and monotonicity; for f64, and for pow, many samples against long double. silu and gelu,
// which are x times such a function, for f32 where that is a normal number.
//
//   ulp [FUNCTION...] [--samples N]        exit status 1 where a bound is exceeded
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/scalar_functions.h"

namespace {

using namespace nnc;
using nnc::test::ElementaryFunction;

constexpr std::size_t chunk = 1 << 16;

struct Worst {
  double error = 0, at = 0, at_y = 0;
  void take(double e, double x, double y = 0) {
    if (e > error) *this = {e, x, y};
  }
};

/// What a function must obey beside its accuracy; counts of violations.
struct Violations {
  std::uint64_t range = 0, odd = 0, monotonic = 0;
  std::uint64_t total() const { return range + odd + monotonic; }
};

template <class T>
std::vector<T> run(const ScalarProgram& program, const std::vector<T>& x, const std::vector<T>& y = {}) {
  std::vector<T> result(x.size());
  std::vector<const void*> inputs{x.data()};
  if (!y.empty()) inputs.push_back(y.data());
  void* results[] = {result.data()};
  interpret(program, inputs, results, static_cast<std::int64_t>(x.size()));
  return result;
}

template <class T>
bool in_range(const ElementaryFunction& f, T value) {
  if (std::isnan(value) || (f.low == 0 && f.high == 0)) return true;
  return value >= static_cast<T>(f.low) && value <= static_cast<T>(f.high);
}

/// All inputs of one sign, in order of magnitude.
void exhaust_sign(const ElementaryFunction& f, const ScalarProgram& program, bool negative, Worst& worst,
                  Violations& bad) {
  std::vector<float> x(chunk), mirrored(chunk);
  float previous = 0;
  bool has_previous = false;
  for (std::uint64_t begin = 0; begin < (std::uint64_t{1} << 31); begin += chunk) {
    for (std::size_t i = 0; i < chunk; ++i) {
      const auto bits = static_cast<std::uint32_t>(begin + i);
      x[i] = std::bit_cast<float>(negative ? bits | 0x80000000U : bits);
      mirrored[i] = -x[i];
    }
    const std::vector<float> value = run(program, x);
    const std::vector<float> opposite = f.odd && negative ? run(program, mirrored) : std::vector<float>{};
    for (std::size_t i = 0; i < chunk; ++i) {
      worst.take(test::ulp_error(value[i], f.fast(x[i])), x[i]);
      if (!in_range(f, value[i])) ++bad.range;
      if (!opposite.empty() && !std::isnan(value[i]) &&
          std::bit_cast<std::uint32_t>(value[i]) != std::bit_cast<std::uint32_t>(-opposite[i]))
        ++bad.odd;
      if (f.direction == 0 || std::isnan(value[i])) continue;
      const bool rises = (f.direction > 0) != negative;
      if (has_previous && (rises ? value[i] < previous : value[i] > previous)) ++bad.monotonic;
      previous = value[i];
      has_previous = true;
    }
  }
}

/// A small generator of our own, so that samples are the same everywhere (SplitMix64).
struct Random {
  std::uint64_t state = 1;
  std::uint64_t bits() {
    std::uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53; }
};

/// A third of all bit patterns, a third where functions curve, a third in between.
template <class T>
T sample(Random& random) {
  switch (random.bits() % 3) {
    case 0:
      if constexpr (sizeof(T) == 4)
        return std::bit_cast<float>(static_cast<std::uint32_t>(random.bits()));
      else
        return std::bit_cast<double>(random.bits());
    case 1:
      return static_cast<T>(random.uniform(-2, 2));
    default:
      return static_cast<T>(random.uniform(-800, 800));
  }
}

/// An exponent for x with a result that is neither always zero nor infinite.
template <class T>
T sample_exponent(Random& random, T x) {
  const double log = std::log(std::abs(static_cast<double>(x)));
  if (random.bits() % 4 == 0) return static_cast<T>(std::floor(random.uniform(-20, 20)));
  if (!std::isfinite(log) || log == 0) return sample<T>(random);
  return static_cast<T>(random.uniform(-1.02, 1.02) * (sizeof(T) == 4 ? 100 : 740) / log);
}

template <class T>
void sample_all(const ElementaryFunction& f, const ScalarProgram& program, std::uint64_t samples, Worst& worst,
                Violations& bad) {
  Random random;
  std::vector<T> x(chunk), y;
  for (std::uint64_t done = 0; done < samples; done += chunk) {
    for (T& v : x) v = sample<T>(random);
    if (f.arity == 2) {
      y.resize(chunk);
      for (std::size_t i = 0; i < chunk; ++i) {
        if (random.bits() % 8 != 0) x[i] = std::abs(x[i]);
        y[i] = sample_exponent(random, x[i]);
      }
    } else if (f.direction != 0) {
      std::sort(x.begin(), x.end(), [](T a, T b) { return !std::isnan(a) && (std::isnan(b) || a < b); });
    }
    const std::vector<T> value = run(program, x, y);
    for (std::size_t i = 0; i < chunk; ++i) {
      const double second = f.arity == 2 ? static_cast<double>(y[i]) : 0;
      const long double exact = f.wide(x[i], second);
      if constexpr (sizeof(T) == 4)
        worst.take(test::ulp_error(value[i], static_cast<double>(exact)), x[i], second);
      else
        worst.take(test::ulp_error(value[i], exact), x[i], second);
      if (!in_range(f, value[i])) ++bad.range;
      if (f.direction != 0 && i > 0 && value[i] < value[i - 1] && !std::isnan(value[i])) ++bad.monotonic;
    }
  }
}

bool report(const ElementaryFunction& f, const char* how, const ScalarProgram& program, double bound,
            const Worst& worst, const Violations& bad) {
  const bool good = worst.error <= bound && bad.total() == 0;
  fmt::print(
      "{:<9} {:<13} {:>4} opcodes  worst {:.4f} ulp at {:a}{}  bound {}  out of range {}, not odd {}, "
      "not monotonic {}  {}\n",
      f.name, how, program.code.size(), worst.error, worst.at, f.arity == 2 ? fmt::format(", {:a}", worst.at_y) : "",
      bound, bad.range, bad.odd, bad.monotonic, good ? "ok" : "FAILED");
  std::fflush(stdout);
  return good;
}

bool examine(const ElementaryFunction& f, std::uint64_t samples) {
  bool good = true;
  {
    const ScalarProgram program = test::program_of(f, ScalarType::f32);
    Worst worst;
    Violations bad;
    if (f.arity == 1) {
      exhaust_sign(f, program, false, worst, bad);
      exhaust_sign(f, program, true, worst, bad);
    } else {
      sample_all<float>(f, program, samples, worst, bad);
    }
    good &= report(f, f.arity == 1 ? "f32 all" : "f32 samples", program, f.bound_f32, worst, bad);
  }
  const ScalarProgram program = test::program_of(f, ScalarType::f64);
  Worst worst;
  Violations bad;
  sample_all<double>(f, program, samples, worst, bad);
  good &= report(f, "f64 samples", program, f.bound_f64, worst, bad);
  return good;
}

/// The library's x times a function of x, from `least` on: below, the function's value is no normal number.
struct Product {
  const char* name;
  const char* function;
  float least;
};
constexpr Product products[] = {{"silu", "logistic", -87.0F}, {"gelu", "normal_cdf", -12.9F}};
constexpr double bound_of_products = 2;

bool examine(const Product& product) {
  const ElementaryFunction& f = *nnc::test::scalar_function(product.function);
  const ScalarProgram program = test::program_of(f, ScalarType::f32);
  Worst worst;
  std::vector<float> x(chunk);
  for (std::uint64_t begin = 0; begin < (std::uint64_t{1} << 32); begin += chunk) {
    for (std::size_t i = 0; i < chunk; ++i) x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(begin + i));
    if (x[0] < product.least) continue;  // and those that follow are further out
    const std::vector<float> value = run(program, x);
    for (std::size_t i = 0; i < chunk; ++i)
      if (x[i] >= product.least)
        worst.take(test::ulp_error(x[i] * value[i], static_cast<double>(x[i]) * f.fast(x[i])), x[i]);
  }
  ElementaryFunction shown;
  shown.name = product.name;
  return report(shown, "f32 all", program, bound_of_products, worst, {});
}

}  // namespace

int main(int count, char** arguments) {
  std::uint64_t samples = 100'000'000;
  std::vector<std::string> names;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--samples") == 0 && i + 1 < count)
      samples = std::stoull(arguments[++i]);
    else
      names.emplace_back(arguments[i]);
  }
  bool good = true;
  const auto asked = [&](const std::string& name) {
    return names.empty() || std::ranges::find(names, name) != names.end();
  };
  for (const std::string& name : names)
    if (nnc::test::scalar_function(name) == nullptr &&
        std::ranges::find(products, name, &Product::name) == std::end(products)) {
      fmt::print(stderr, "ulp: no function '{}'\n", name);
      return 2;
    }
  for (const ElementaryFunction& f : nnc::test::scalar_functions())
    if (asked(f.name)) good &= examine(f, samples);
  for (const Product& product : products)
    if (asked(product.name)) good &= examine(product);
  return good ? 0 : 1;
}
