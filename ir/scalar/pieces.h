// What the elementary functions share: constants of an operand's type, polynomials, powers of two made by shifts,
// signs. The functions are straight-line programs, so both sides of a condition are computed and a select takes one; a
// value that is not taken may be anything, a NaN too. Rounding to an integer is done by adding 1.5 * 2^(mantissa bits):
// the sum's low bits are the integer, and taking the number away again leaves the integer as a float.
#pragma once

#include <cassert>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "ir/scalar/builder.h"

namespace nnc::scalar {

/// The numbers that describe a float type.
struct Format {
  ScalarType integer;       ///< the integer type of the same width
  int mantissa;             ///< explicit bits of the mantissa
  std::uint64_t one;        ///< the bits of 1.0
  std::uint64_t sign;       ///< the bits of -0.0
  std::uint64_t sqrt_half;  ///< the bits of sqrt(1/2)
  int bias;                 ///< of the exponent
  double round;             ///< 1.5 * 2^mantissa
  double smallest_normal;
};

inline const Format& format_of(ScalarType type) {
  static constexpr Format f32{.integer = ScalarType::i32,
                              .mantissa = 23,
                              .one = 0x3f800000,
                              .sign = 0x80000000,
                              .sqrt_half = 0x3f3504f3,
                              .bias = 127,
                              .round = 0x1.8p23,
                              .smallest_normal = 0x1p-126};
  static constexpr Format f64{.integer = ScalarType::i64,
                              .mantissa = 52,
                              .one = 0x3ff0000000000000,
                              .sign = 0x8000000000000000,
                              .sqrt_half = 0x3fe6a09e667f3bcd,
                              .bias = 1023,
                              .round = 0x1.8p52,
                              .smallest_normal = 0x1p-1022};
  assert(type == ScalarType::f32 || type == ScalarType::f64);
  return type == ScalarType::f32 ? f32 : f64;
}

/// A constant of the type of `like`.
inline Scalar number(Scalar like, double value) { return like.builder->constant(value, like.type()); }
inline Scalar integer(Scalar like, std::uint64_t bits) { return like.builder->bits(bits, like.type()); }

/// c0 + x (c1 + x (c2 + ...)), each step rounded once.
inline Scalar polynomial(Scalar x, std::initializer_list<double> coefficients) {
  const double* c = coefficients.end();
  Scalar sum = number(x, *--c);
  while (c != coefficients.begin()) sum = fma(sum, x, number(x, *--c));
  return sum;
}

/// The same polynomial by pairs (Estrin's scheme): c0 + c1 x, c2 + c3 x, ... side by side, then those by pairs with
/// x^2, x^4, ... A few multiplications more, and a chain of operations as long as the logarithm of the degree.
inline Scalar polynomial_by_pairs(Scalar x, std::span<const double> coefficients) {
  std::vector<Scalar> terms;
  for (const double coefficient : coefficients) terms.push_back(number(x, coefficient));
  for (Scalar power = x; terms.size() > 1; power = power * power) {
    std::vector<Scalar> pairs;
    for (std::size_t i = 0; i < terms.size(); i += 2)
      pairs.push_back(i + 1 < terms.size() ? fma(terms[i + 1], power, terms[i]) : terms[i]);
    terms = std::move(pairs);
  }
  return terms[0];
}

/// min(x, limit) and max(x, limit) that pass a NaN on, and are one instruction of most machines.
inline Scalar at_most(Scalar x, double limit) { return select(less(number(x, limit), x), number(x, limit), x); }
inline Scalar at_least(Scalar x, double limit) { return select(less(x, number(x, limit)), number(x, limit), x); }

/// `magnitude`, not negative, with the sign of `x`; a NaN stays one, of either sign.
inline Scalar with_sign_of(Scalar magnitude, Scalar x) {
  const Format& format = format_of(x.type());
  const Scalar bits = bitcast(x, format.integer);
  const Scalar sign = int_and(bits, integer(bits, format.sign));
  return bitcast(int_or(bitcast(magnitude, format.integer), sign), x.type());
}

/// An integer n in two forms: n itself, and bits whose low part is n (those of n + round).
struct Rounded {
  Scalar n;
  Scalar bits;
};

/// round(a * b) for |a * b| < 2^(mantissa - 1).
inline Rounded round_product(Scalar a, double b) {
  const Format& format = format_of(a.type());
  const Scalar shifted = fma(a, number(a, b), number(a, format.round));
  return {shifted - number(a, format.round), bitcast(shifted, format.integer)};
}

/// 2^n of a float type from integer bits whose low part is n; n must be the exponent of a normal number. The higher
/// bits of n + round leave with the shift.
inline Scalar power_of_two(Scalar n_bits, ScalarType type) {
  const Format& format = format_of(type);
  return bitcast(int_add(shift_left(n_bits, format.mantissa), integer(n_bits, format.one)), type);
}

/// x * 2^n, rounded once where the result is subnormal: two factors, neither of which overflows or underflows.
inline Scalar scale(Scalar x, Scalar n_bits) {
  const Scalar half = shift_right(n_bits, 1);
  return x * power_of_two(half, x.type()) * power_of_two(int_sub(n_bits, half), x.type());
}

/// 2^n where it is a number of the type, subnormal too; 0 where it is less than the smallest.
inline Scalar any_power_of_two(Scalar n_bits, ScalarType type) {
  const Scalar half = shift_right(n_bits, 1);
  return power_of_two(half, type) * power_of_two(int_sub(n_bits, half), type);
}

// Pieces of one function that others are made of.

/// e^x of x that is not positive: exp with a limit less.
Scalar exp_of_negative(Scalar x);
/// (e^r - 1 - r) / r^2 for |r| <= log(2) / 2; relative to e^r within 2^-28 (f32), 2^-57 (f64).
Scalar exp_remainder(Scalar r);
/// log(1 + f) - f for f in [sqrt(1/2) - 1, sqrt(2) - 1] (f64: to 1/2); relative to log(1 + f) within 2^-27 (f32), 2^-62
/// (f64).
Scalar log_remainder(Scalar f);

/// x = m * 2^n with m in [sqrt(1/2), sqrt(2)), for x > 0 and finite; subnormal x too.
struct Decomposed {
  Scalar m, n;
};
Decomposed decompose(Scalar x);

}  // namespace nnc::scalar
