#include "tests/support/scalar_functions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace nnc::test {

namespace {

using Wide = long double;

Wide wide_logistic(Wide x, Wide) {
  const Wide e = std::exp(-std::abs(x));
  return (x < 0 ? e : 1) / (1 + e);
}
double fast_logistic(double x) {
  const double e = std::exp(-std::abs(x));
  return (x < 0 ? e : 1) / (1 + e);
}
/// erfc(-x / sqrt 2) / 2. Far out a rounding of x / sqrt 2 would be a thousand of the result: it is made good by the
/// derivative.
Wide wide_normal_cdf(Wide x, Wide) {
  constexpr Wide high = 0.7071067811865475244L, low = 1.8950325588932570797e-20L;
  const Wide t = -x * high, lost = std::fma(-x, high, -t) - x * low;
  const Wide value = std::erfc(t);
  if (!std::isfinite(t)) return value / 2;
  return (value - 2 * std::numbers::inv_sqrtpi_v<Wide> * std::exp(-t * t) * lost) / 2;
}
double fast_normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752); }
Wide wide_softplus(Wide x, Wide) { return std::fmax(x, Wide{0}) + std::log1p(std::exp(-std::abs(x))); }
double fast_softplus(double x) {
  if (std::isnan(x)) return x;
  return std::fmax(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

const std::array<ElementaryFunction, 12> functions{{
    {.name = "exp",
     .unary = scalar::exp,
     .wide = [](Wide x, Wide) { return std::exp(x); },
     .fast = [](double x) { return std::exp(x); },
     .direction = 1,
     .high = std::numeric_limits<double>::infinity()},
    {.name = "expm1",
     .unary = scalar::expm1,
     .wide = [](Wide x, Wide) { return std::expm1(x); },
     .fast = [](double x) { return std::expm1(x); },
     .direction = 1,
     .low = -1,
     .high = std::numeric_limits<double>::infinity()},
    {.name = "log",
     .unary = scalar::log,
     .wide = [](Wide x, Wide) { return std::log(x); },
     .fast = [](double x) { return std::log(x); },
     .direction = 1},
    {.name = "log1p",
     .unary = scalar::log1p,
     .wide = [](Wide x, Wide) { return std::log1p(x); },
     .fast = [](double x) { return std::log1p(x); },
     .direction = 1},
    {.name = "tanh",
     .unary = scalar::tanh,
     .wide = [](Wide x, Wide) { return std::tanh(x); },
     .fast = [](double x) { return std::tanh(x); },
     .odd = true,
     .direction = 1,
     .low = -1,
     .high = 1},
    {.name = "sin",
     .unary = scalar::sin,
     .wide = [](Wide x, Wide) { return std::sin(x); },
     .fast = [](double x) { return std::sin(x); },
     .odd = true,
     .low = -1,
     .high = 1},
    {.name = "cos",
     .unary = scalar::cos,
     .wide = [](Wide x, Wide) { return std::cos(x); },
     .fast = [](double x) { return std::cos(x); },
     .low = -1,
     .high = 1},
    {.name = "erf",
     .unary = scalar::erf,
     .wide = [](Wide x, Wide) { return std::erf(x); },
     .fast = [](double x) { return std::erf(x); },
     .odd = true,
     .direction = 1,
     .low = -1,
     .high = 1},
    {.name = "normal_cdf",
     .unary = scalar::normal_cdf,
     .wide = wide_normal_cdf,
     .fast = fast_normal_cdf,
     .bound_f32 = 1.25,
     .low = 0,
     .high = 1},
    {.name = "logistic",
     .unary = scalar::logistic,
     .wide = wide_logistic,
     .fast = fast_logistic,
     .bound_f32 = 1,
     .direction = 1,
     .low = 0,
     .high = 1},
    {.name = "softplus",
     .unary = scalar::softplus,
     .wide = wide_softplus,
     .fast = fast_softplus,
     .bound_f32 = 2,  // not monotonic: where e^-|x| is next to 1, its rounding is as coarse as the result's
     .high = std::numeric_limits<double>::infinity()},
    {.name = "pow",
     .arity = 2,
     .binary = scalar::pow,
     .wide = [](Wide x, Wide y) { return std::pow(x, y); },
     .bound_f32 = 2},
}};

template <class Value, class Exact>
double error_in_ulp(Value value, Exact exact) {
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(value) || std::isnan(exact)) return std::isnan(value) && std::isnan(exact) ? 0 : wrong;
  if (exact == 0) return value == 0 && std::signbit(value) == std::signbit(exact) ? 0 : wrong;

  // One step beyond the greatest number counts as the number that would follow it.
  using Limits = std::numeric_limits<Value>;
  const auto finite = [](Exact x) {
    return std::isinf(x) ? std::copysign(std::ldexp(Exact{1}, Limits::max_exponent), x) : x;
  };
  if (std::isinf(value) && std::abs(exact) < static_cast<Exact>(Limits::max()) / 2) return wrong;
  if (std::isinf(exact) && std::abs(value) < Limits::max() / 2) return wrong;
  if (std::isinf(value) && std::isinf(static_cast<Value>(exact))) return value == static_cast<Value>(exact) ? 0 : wrong;
  const Exact wide = finite(static_cast<Exact>(value)), target = finite(exact);
  const int exponent = std::clamp(target == 0 ? Limits::min_exponent : std::ilogb(target) + 1, Limits::min_exponent,
                                  Limits::max_exponent);
  return static_cast<double>(std::abs(wide - target) / std::ldexp(Exact{1}, exponent - Limits::digits));
}

}  // namespace

std::span<const ElementaryFunction> scalar_functions() { return functions; }

const ElementaryFunction* scalar_function(const std::string& name) {
  const auto found = std::find_if(functions.begin(), functions.end(), [&](const auto& f) { return f.name == name; });
  return found == functions.end() ? nullptr : &*found;
}

ScalarProgram program_of(const ElementaryFunction& function, ScalarType type) {
  ScalarBuilder builder;
  const Scalar x = builder.input(type);
  const Scalar result = function.arity == 1 ? function.unary(x) : function.binary(x, builder.input(type));
  return std::move(builder).finish(std::span(&result, 1));
}

double ulp_error(float value, double exact) { return error_in_ulp(value, exact); }
double ulp_error(double value, long double exact) { return error_in_ulp(value, exact); }

}  // namespace nnc::test
