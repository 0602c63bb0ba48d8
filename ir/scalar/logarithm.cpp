// log, log1p and pow.
#include <limits>
#include <utility>

#include "ir/scalar/pieces.h"

namespace nnc::scalar {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// log(2) as a number with so many zeros at its end that n times it is exact, and the rest.
struct ExactLogOfTwo {
  double high, low;
};
ExactLogOfTwo exact_log_of_two(ScalarType type) {
  if (type == ScalarType::f32) return {0x1.63p-1, -0x1.bd0105c610ca8p-13};
  return {0x1.62e42feep-1, 0x1.a39ef35793c76p-33};
}

/// An unevaluated sum, |low| at most half an ulp of high.
struct Double {
  Scalar high, low;
};

/// The exact a + b for |a| >= |b| or a = 0.
Double sum_of_ordered(Scalar a, Scalar b) {
  const Scalar sum = a + b;
  return {sum, (a - sum) + b};
}

Double product(Scalar a, Scalar b) {
  const Scalar high = a * b;
  return {high, fma(a, b, -high)};
}

/// log(x) in f64 to about 2^-68 of its value, for finite x > 0. With s = (m - 1) / (m + 1),
/// log(m) = s (2 + 2/3 s^2 + s^4 T(s^2)): the first two terms are carried in two parts, T is small enough for one.
Double precise_log(Scalar x) {
  const auto [m, n] = decompose(x);
  const Scalar one = number(x, 1), two = number(x, 2);

  const Scalar f = m - one, denominator = m + one;
  const Scalar denominator_low = m - (denominator - one);
  const Scalar reciprocal = one / denominator;
  Double s{f * reciprocal, {}};
  s.low = fma(-s.high, denominator_low, fma(-s.high, denominator, f)) * reciprocal;

  Double z = product(s.high, s.high);
  z.low = fma(s.high + s.high, s.low, z.low);
  const Scalar tail = polynomial(z.high, {0x1.999999999999ap-2, 0x1.2492492492387p-2, 0x1.c71c71c73f7edp-3,
                                          0x1.745d173213b38p-3, 0x1.3b13b7e2baa1ep-3, 0x1.110faa01e862dp-3,
                                          0x1.e240d03d5e243p-4, 0x1.a794ea846718ap-4, 0x1.d9cce00eed733p-4});

  const Scalar third_high = number(x, 0x1.5555555555555p-1), third_low = number(x, 0x1.5555555555555p-55);  // 2/3
  Double u = product(z.high, third_high);
  u.low = fma(z.low, third_high, fma(z.high, third_low, u.low));
  const Double w = sum_of_ordered(u.high, z.high * z.high * tail);
  const Double v = sum_of_ordered(two, w.high);
  Double log_m = product(s.high, v.high);
  log_m.low = fma(s.low, v.high, fma(s.high, v.low + (w.low + u.low), log_m.low));

  const ExactLogOfTwo log2 = exact_log_of_two(x.type());
  const Double sum = sum_of_ordered(n * number(x, log2.high), log_m.high);
  return sum_of_ordered(sum.high, sum.low + fma(n, number(x, log2.low), log_m.low));
}

/// e^(p.high + p.low), p.low ignored where the result is 0 or infinite anyway (there it may be anything).
Scalar precise_exp(Double p) {
  const Scalar x = p.high;
  const Scalar limited = at_least(at_most(x, 710), -746);
  const Scalar low = select(less(abs(x), number(x, 746)), p.low, number(x, 0));
  const auto [n, n_bits] = round_product(limited, 0x1.71547652b82fep+0);
  Scalar r = fma(n, number(x, -0x1.62e42fefa39efp-1), limited);
  r = fma(n, number(x, -0x1.abc9e3b39803fp-56), r) + low;
  const Scalar one = number(x, 1);
  return scale(fma(r, fma(r, exp_remainder(r), one), one), n_bits);
}

/// |x|^y with the limits at 0 and infinity; NaN for 1^(±inf) and 0^0, which pow mends.
Scalar power_of_magnitude(Scalar a, Scalar y) {
  if (a.type() == ScalarType::f32) {
    const auto wide = [](Scalar v) { return convert(v, ScalarType::f64); };
    return convert(exp(wide(y) * log(wide(a))), ScalarType::f32);
  }
  const Scalar zero = number(a, 0);
  Double log_a = precise_log(a);
  log_a.high = select(less(a, number(a, infinity)), log_a.high, a);  // infinity, NaN
  log_a.high = select(equal(a, zero), number(a, -infinity), log_a.high);
  Double p = product(y, log_a.high);
  p.low = fma(y, log_a.low, p.low);
  return precise_exp(p);
}

/// Whether a >= 0 is an integer, for a below 2^mantissa: adding that leaves no bits for a fraction.
Scalar has_no_fraction(Scalar a) {
  const Scalar big = number(a, format_of(a.type()).round / 1.5);
  return equal((a + big) - big, a);
}

}  // namespace

Decomposed decompose(Scalar x) {
  const Format& format = format_of(x.type());
  const int lift = format.mantissa + 2;
  const double two_to_lift = static_cast<double>(std::uint64_t{1} << lift);
  const Scalar subnormal = less(x, number(x, format.smallest_normal));
  const Scalar normal = select(subnormal, x * number(x, two_to_lift), x);

  // Adding one - sqrt_half makes the exponent field count powers of two from sqrt(1/2).
  const Scalar bits = bitcast(normal, format.integer);
  const Scalar moved = int_add(bits, integer(bits, format.one - format.sqrt_half));
  const std::uint64_t fraction = (std::uint64_t{1} << format.mantissa) - 1;
  const Scalar m = bitcast(int_add(int_and(moved, integer(bits, fraction)), integer(bits, format.sqrt_half)), x.type());

  // The field as a float: it becomes the low bits of 2^mantissa, which is taken away again.
  const double two_to_mantissa = format.round / 1.5;
  const Scalar field = shift_right(moved, format.mantissa);
  const Scalar two_to_mantissa_bits = bitcast(number(x, two_to_mantissa), format.integer);
  const double bias = two_to_mantissa + format.bias;
  const Scalar n = bitcast(int_or(field, two_to_mantissa_bits), x.type()) -
                   select(subnormal, number(x, bias + lift), number(x, bias));
  return {m, n};
}

Scalar log_remainder(Scalar f) {
  if (f.type() == ScalarType::f32) {
    const Scalar p = polynomial(f, {0x1.555564p-2, -0x1.00023ep-2, 0x1.999864p-3, -0x1.54670cp-3, 0x1.23637ap-3,
                                    -0x1.0e6c58p-3, 0x1.02633ap-3, -0x1.2d32bep-4});
    return f * f * fma(f, p, number(f, -0.5));
  }
  // With s = f / (2 + f): log(1 + f) = log((1 + s) / (1 - s)) = 2 s + s R(s^2), and 2 s = f - s f.
  const Scalar s = f / (number(f, 2) + f), z = s * s;
  const Scalar r =
      z * polynomial(z, {0x1.5555555555555p-1, 0x1.9999999999d0bp-2, 0x1.249249243a16bp-2, 0x1.c71c724ab0f91p-3,
                         0x1.745ce1ff5010cp-3, 0x1.3b201bce58108p-3, 0x1.0f67f8f6b7891p-3, 0x1.0f07f224a4e02p-3});
  const Scalar half_square = number(f, 0.5) * f * f;
  return fma(s, half_square + r, -half_square);
}

// n log(2) + log(m). The sum n log(2) + f is kept exactly, in two parts, since f may be as large as a quarter of it.
Scalar log(Scalar x) {
  const auto [m, n] = decompose(x);
  const ExactLogOfTwo log2 = exact_log_of_two(x.type());
  const Scalar high = number(x, log2.high), low = number(x, log2.low);
  const Scalar f = m - number(x, 1);
  const Scalar sum = fma(n, high, f);
  const Scalar lost = fma(n, high, -sum) + f;
  const Scalar value = sum + (lost + fma(n, low, log_remainder(f)));

  const Scalar zero = number(x, 0);
  const Scalar at_end = select(less(x, number(x, infinity)), value, x);  // infinity, NaN
  const Scalar outside = select(equal(x, zero), number(x, -infinity), number(x, not_a_number));
  return select(less(zero, x), at_end, outside);
}

// log(u + c), u = 1 + x rounded and c what that lost. With u = m 2^n, the logarithm's f = m - 1 gets c 2^-n added,
// again in two parts; for n = 0 the sum is x itself.
Scalar log1p(Scalar x) {
  const Format& format = format_of(x.type());
  const Scalar zero = number(x, 0), one = number(x, 1);
  const Scalar u = one + x, x_of_u = u - one;
  const Scalar c = (one - (u - x_of_u)) + (x - x_of_u);
  const auto [m, n] = decompose(u);
  // The bits of u and m differ by n in the exponent. For great u, c changes nothing, and 2^-n may be none.
  const Scalar exponent = int_sub(bitcast(u, format.integer), bitcast(m, format.integer));
  const Scalar scale_down = bitcast(int_sub(integer(exponent, format.one), exponent), x.type());
  const Scalar scaled = select(less(u, number(x, 0x1p60)), c * scale_down, zero);
  const Scalar whole = m - one, f = whole + scaled, f_lost = (whole - f) + scaled;

  const ExactLogOfTwo log2 = exact_log_of_two(x.type());
  const Scalar high = number(x, log2.high), low = number(x, log2.low);
  const Scalar sum = fma(n, high, f);
  const Scalar lost = fma(n, high, -sum) + f;
  const Scalar rest = fma(n, low, fma(-f, f_lost, f_lost) + log_remainder(f));
  const Scalar value = sum + (lost + rest);

  const Scalar at_end = select(less(x, number(x, infinity)), value, x);  // infinity, NaN
  const Scalar outside = select(equal(x, -one), number(x, -infinity), number(x, not_a_number));
  return select(equal(x, zero), x, select(less(-one, x), at_end, outside));
}

// |x|^y by logarithm and exponential, then what IEEE 754 says of signs and of the cases without a limit.
Scalar pow(Scalar x, Scalar y) {
  const Format& format = format_of(x.type());
  const Scalar zero = number(x, 0), one = number(x, 1), inf = number(x, infinity);
  const Scalar a = abs(x), b = abs(y);
  const double two_to_mantissa = format.round / 1.5;

  const Scalar is_integer = logical_or(less_equal(number(x, two_to_mantissa), b), has_no_fraction(b));
  const Scalar may_be_odd = less(b, number(x, 2 * two_to_mantissa));
  const Scalar is_odd =
      logical_and(logical_and(is_integer, may_be_odd), logical_not(has_no_fraction(b * number(x, 0.5))));

  Scalar result = power_of_magnitude(a, y);
  const Scalar x_bits = bitcast(x, format.integer);
  const Scalar negative = less(x_bits, integer(x_bits, 0));
  result = select(logical_and(negative, is_odd), -result, result);
  const Scalar below_zero = logical_and(less(x, zero), less(-inf, x));
  result = select(logical_and(below_zero, logical_not(is_integer)), number(x, not_a_number), result);
  result = select(logical_and(equal(a, one), equal(b, inf)), one, result);
  return select(logical_or(equal(y, zero), equal(x, one)), one, result);
}

}  // namespace nnc::scalar
