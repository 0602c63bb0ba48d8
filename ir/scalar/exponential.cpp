// exp and what is made of it: expm1, tanh, erf, normal_cdf, logistic, softplus. The bounds stated are measured: for f32
// over all inputs (tests/soak/ulp.cpp), for f64 on samples.
#include "ir/scalar/pieces.h"

namespace nnc::scalar {

namespace {

constexpr double log2_e = 0x1.71547652b82fep+0;

/// log(2) as the nearest number of the type and the rest.
struct Log2 {
  double high, low;
};
Log2 log_2(ScalarType type) {
  if (type == ScalarType::f32) return {0x1.62e43p-1, -0x1.05c610ca86c39p-29};
  return {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
}

// (e^r - 1 - r) / r^2 for f64.
constexpr double remainder_f64[] = {
    0x1.000000000000bp-1,  0x1.555555555550fp-3,  0x1.55555555502a0p-5,  0x1.1111111122b4ap-7,  0x1.6c16c1852c01cp-10,
    0x1.a01a014498ae6p-13, 0x1.a01997c656a0fp-16, 0x1.71deec62e8918p-19, 0x1.28af42a60c9fap-22, 0x1.add773f1864b3p-26};

}  // namespace

Scalar exp_remainder(Scalar r) {
  if (r.type() == ScalarType::f32)
    return polynomial(r, {0x1.fffff8p-2, 0x1.55548ep-3, 0x1.555b96p-5, 0x1.123bdp-7, 0x1.685352p-10});
  return polynomial_by_pairs(r, remainder_f64);
}

namespace {

/// e^x = 2^n (sum + tail), where the sum is the nearest number to 1 + x - n log(2), and the low bits of n_bits are n.
struct PowerOfE {
  Scalar sum, tail, n_bits;
};

// What e^(high + low) has more than `sum`, of whose rounding `lost` is left over. In a net of few units and one row, a
// step is one chain of operations from exp to exp, so nothing in this one waits for what can be added beside it: the
// powers of `high` do not wait for `low`, which is multiplied by e^high as far as its third power; the last pair of
// the polynomial is joined beside the product of the others.
Scalar tail_f64(Scalar high, Scalar low, Scalar sum, Scalar lost) {
  std::vector<Scalar> pairs;
  for (std::size_t i = 0; i < std::size(remainder_f64); i += 2)
    pairs.push_back(fma(number(high, remainder_f64[i + 1]), high, number(high, remainder_f64[i])));
  const Scalar square = high * high, fourth = square * square, eighth = fourth * fourth;
  const Scalar first_eight = fma(fma(pairs[3], square, pairs[2]), fourth, fma(pairs[1], square, pairs[0]));
  const Scalar remainder = fma(square, first_eight, eighth * (square * pairs[4]));
  return (lost + low * fma(square, pairs[0], sum)) + remainder;
}

/// x = n log(2) + high + low, and the low bits of n_bits are n.
struct Reduced {
  Scalar high, low, n_bits;
};

// From -104 on (f64: -746) e^x is 0. The limit lies where each of the two factors that make 2^n has become 0, not only
// their product: a product that vanishes costs some processors a hundred cycles, and a masked attention has many. In
// f64 nothing waits for the limit: beyond it, where n is no number of any use, r becomes 0 and n the limit's.
Reduced reduced(Scalar x) {
  const bool f32 = x.type() == ScalarType::f32;
  const Log2 log2 = log_2(x.type());
  const Scalar limited = f32 ? at_least(x, -176.0) : x;
  const auto [n, n_bits] = round_product(limited, log2_e);
  const Scalar high = fma(n, number(x, -log2.high), limited), low = n * number(x, -log2.low);
  if (f32) return {high, low, n_bits};
  const Scalar beyond = less(x, number(x, -1418.0)), zero = number(x, 0);
  const Scalar n_limited = at_least(bitcast(n_bits, x.type()), format_of(x.type()).round - 2046);
  return {select(beyond, zero, high), select(beyond, zero, low), bitcast(n_limited, n_bits.type())};
}

// x = n log(2) + r, and e^x = 2^n e^r. r has two parts, the first exact: n times the nearest number to log(2) differs
// from x by few bits. e^r = 1 + r + ... is added with what 1 + r loses, so that only the last addition rounds by much.
PowerOfE power_of_e(Scalar x) {
  const auto [high, low, n_bits] = reduced(x);
  const Scalar one = number(x, 1);
  if (x.type() == ScalarType::f32) {
    const Scalar r = high + low, small = fma(r * r, exp_remainder(r), low);
    const Scalar sum = one + high, lost = (one - sum) + high;
    return {sum, lost + small, n_bits};
  }
  const Scalar sum = one + high;
  return {sum, tail_f64(high, low, sum, (one - sum) + high), n_bits};
}

}  // namespace

// This exp is within 0.78 ulp (f64: 0.81), which what is made of it (softmax) needs to stay within its own bounds. The
// upper limit lies just beyond that where the result is infinite, which it becomes by itself.
Scalar exp_of_negative(Scalar x) {
  const PowerOfE e = power_of_e(x);
  return scale(e.sum + e.tail, e.n_bits);
}

Scalar exp(Scalar x) { return exp_of_negative(at_most(x, x.type() == ScalarType::f32 ? 89.0 : 710.0)); }

// 2 (2^(n-1) e^r - 1/2), with e^r in two parts as in exp and what the subtraction loses added to the second. Half of
// the value is computed first because 2^n overflows before e^x - 1 does. Below the lower limit the
// result is -1; the smallest numbers are their own result, which half of a subnormal number would not say.
// For f32 the remainder has a term more, since here it is relative to e^r - 1.
Scalar expm1(Scalar x) {
  const bool f32 = x.type() == ScalarType::f32;
  const Log2 log2 = log_2(x.type());
  const Scalar one = number(x, 1), half = number(x, 0.5);
  const Scalar limited = at_least(at_most(x, f32 ? 89.0 : 710.0), f32 ? -18.0 : -40.0);
  const auto [n, n_bits] = round_product(limited, log2_e);
  const Scalar high = fma(n, number(x, -log2.high), limited), low = n * number(x, -log2.low);
  const Scalar r = high + low;
  const Scalar remainder =
      f32 ? polynomial(r, {0.5, 0x1.555556p-3, 0x1.5554f0p-5, 0x1.110fe2p-7, 0x1.6d43a6p-10, 0x1.a28f04p-13})
          : exp_remainder(r);
  const Scalar small = fma(r * r, remainder, low);
  const Scalar sum = one + high, lost = (one - sum) + high;

  const Scalar power = power_of_two(int_sub(n_bits, integer(n_bits, 1)), x.type());
  const Scalar e = power * sum;
  const Scalar difference = e - half, taken = difference - e;
  const Scalar error = (e - (difference - taken)) - (half + taken);
  const Scalar value = difference + fma(power, lost + small, error);
  return select(less(abs(x), number(x, 0x1p-60)), x, value + value);
}

// For small |x| an odd polynomial; beyond, 1 - 2 / (e^2|x| + 1), where the denominator 2^n e^r + 1 is one fma because
// 2^n + 1 and 2^n r are exact. The result is at most 1 because what is taken from 1 is positive.
Scalar tanh(Scalar x) {
  const bool f32 = x.type() == ScalarType::f32;
  const Scalar a = abs(x), one = number(x, 1);

  const Scalar limited = at_most(a, f32 ? 10.0 : 20.0);
  const Scalar twice = limited + limited;
  const auto [n, n_bits] = round_product(twice, log2_e);
  const Scalar r = fma(n, number(x, -log_2(x.type()).high), twice);
  const Scalar power = power_of_two(n_bits, x.type());
  const Scalar denominator = fma(power * r, fma(r, exp_remainder(r), one), power + one);
  const Scalar large = one - number(x, 2) / denominator;

  const Scalar square = a * a;
  const Scalar p = f32 ? polynomial(square, {-0x1.55554ep-2, 0x1.110f34p-3, -0x1.b9c98ep-5, 0x1.62eb34p-6,
                                             -0x1.0ebca2p-7, 0x1.52342ap-9, -0x1.dc9ec8p-12})
                       : polynomial(square, {-0x1.5555555555548p-2, 0x1.1111111110112p-3, -0x1.ba1ba1b943442p-5,
                                             0x1.664f485499567p-6, -0x1.226e2f91adbcep-7, 0x1.d6d2e20edec11p-9,
                                             -0x1.7d96808dfa0efp-10, 0x1.34dd8f9b07bbcp-11, -0x1.ef2a9e58f5162p-13,
                                             0x1.79af7f0c722a8p-14, -0x1.e1fca9b17964fp-16, 0x1.6c38fdd9682abp-18});
  const Scalar small = fma(a * square, p, a);

  return with_sign_of(select(less(a, number(x, f32 ? 0.9 : 0.66)), small, large), x);
}

// For small |x| an odd polynomial x + x P(x^2); beyond, 1 - e^Q(|x| - c), where Q is a polynomial for the logarithm of
// 1 - erf. c is near the limit between the two, where the rounding of Q matters most, and so that f32 has Q(0) almost
// exactly. From the upper limit on the result is 1.
Scalar erf(Scalar x) {
  const bool f32 = x.type() == ScalarType::f32;
  const Scalar a = abs(x);

  const Scalar u = at_most(a, f32 ? 4.0 : 5.95) - number(x, f32 ? 0.9453125 : 1.0);
  const Scalar q =
      f32 ? polynomial(u, {-0x1.b5327cp+0, -0x1.46086cp+1, -0x1.ac16ccp-1, -0x1.66999cp-5, 0x1.574f4ep-7,
                           -0x1.fc07e8p-10, 0x1.9e7c0ap-13})
          : polynomial(
                u, {-0x1.d97fbf27aa2a1p+0,  -0x1.51c9b0006c23cp+1,  -0x1.afabc11a29027p-1,  -0x1.5477f09c90d32p-5,
                    0x1.48c9d406e13f2p-7,   -0x1.033f68ef1c2f9p-9,  0x1.f1b485cdb80efp-13,  0x1.b8c4538783462p-16,
                    -0x1.c7690803883ffp-16, 0x1.4192a803d488ep-17,  -0x1.1011529a8dafcp-19, 0x1.dced034580164p-24,
                    0x1.03bd8fe1ded99p-23,  -0x1.173c636a86bd9p-24, 0x1.5c96972b3337ep-26,  -0x1.3550800d9e1abp-28,
                    0x1.8d35f1a264ac3p-31,  -0x1.613c8c2146effp-34, 0x1.85d466558ec8dp-38,  -0x1.91b8f5447a928p-43});
  const Scalar large = number(x, 1) - exp(q);

  const Scalar square = a * a;
  const Scalar p = f32 ? polynomial(square, {0x1.06eba8p-3, -0x1.812742p-2, 0x1.ce2deep-4, -0x1.b80d28p-6,
                                             0x1.54bf36p-8, -0x1.aa0e46p-11, 0x1.5c76dep-14})
                       : polynomial(square, {0x1.06eba8214db69p-3, -0x1.812746b037a21p-2, 0x1.ce2f21a045341p-4,
                                             -0x1.b82ce3132fed8p-6, 0x1.565bcd25606eep-8, -0x1.c02db7b89ad07p-11,
                                             0x1.f9a3889e77a64p-14, -0x1.f4d8ec5190f13p-17, 0x1.ba317beeb0d8bp-20,
                                             -0x1.619c04c2f8fc6p-23, 0x1.0813c7fce4bbcp-26, -0x1.7da1f04251eccp-30,
                                             0x1.b092be8c19cd7p-34});
  const Scalar small = fma(a, p, a);

  return with_sign_of(select(less(a, number(x, f32 ? 0.92 : 1.0)), small, large), x);
}

// P(-a) = e^(-a^2 / 2) R(a) for a = |x|, and P(a) = 1 - P(-a). R falls slowly: 2 (1 + a) R(a) is a polynomial in
// t = (a - k) / (a + k), which takes a from 0 to infinity as t from -1 to 1. Far out e^(-a^2 / 2) makes an ulp of a^2
// into many of the result, so every factor has two parts: a^2, the quotient 2 R, and e^r; only the last addition rounds
// by much. Half of the product is taken in the exponent. From the limits on the result is 0.
Scalar normal_cdf(Scalar x) {
  const bool f32 = x.type() == ScalarType::f32;
  const Log2 log2 = log_2(x.type());
  const Scalar one = number(x, 1);
  const Scalar a = at_most(abs(x), f32 ? 14.5 : 39.0);

  const Scalar k = number(x, f32 ? 4 : 5), across = one / (a + k);
  const Scalar t0 = (a - k) * across;
  const Scalar t = fma(across, fma(t0, -a, fma(t0 + one, -k, a)), t0);
  const Scalar slope =
      f32 ? polynomial(t, {-0x1.8c18fp-3, 0x1.cabd3ap-6, 0x1.d4950ep-5, -0x1.07c2fp-4, 0x1.25edcep-5, -0x1.47eb46p-7,
                           -0x1.3d4be8p-11, 0x1.6ae448p-10, -0x1.062f82p-13, -0x1.2ff7f2p-13})
          : polynomial(t,
                       {-0x1.76ff86859eb14p-3, 0x1.fc66cc64a1459p-5,   0x1.47c1d030547fbp-6,   -0x1.b08e0007b69e2p-5,
                        0x1.92037bab47f1dp-5,  -0x1.f11aab02b33f1p-6,  0x1.ab6d038d201f2p-7,   -0x1.b75f4fa1f2b6cp-9,
                        0x1.0571a4ab88f86p-16, 0x1.7e61e8692a413p-12,  -0x1.c1b1c9da010eep-14, -0x1.4c0fe1475089fp-16,
                        0x1.3003bcf2db9d9p-16, -0x1.2c25f379ddebbp-23, -0x1.5f3623aa7ea28p-19, 0x1.1064858f53577p-22,
                        0x1.a77d910da8b37p-22, -0x1.abf5832a67876p-25, -0x1.0d345cd9edb8cp-24, 0x1.6837e8cba648ep-28,
                        0x1.27ab52f463638p-27, 0x1.0ec4e6f386ce0p-34,  -0x1.2afce92b8d2b5p-31});
  const Scalar middle = number(x, f32 ? 0x1.e361eap-1 : 0x1.d8979b0f2b39dp-1);
  const Scalar middle_low = number(x, f32 ? 0x1.cd3f8ep-27 : 0x1.b6be7ae73499ep-55);
  const Scalar top = fma(t, slope, middle), top_low = fma(t, slope, middle - top) + middle_low;
  const Scalar below = one + a, below_low = a - (below - one), reciprocal = one / below;
  const Scalar twice_r = top * reciprocal;
  const Scalar twice_r_low = (fma(-twice_r, below, top) + fma(-twice_r, below_low, top_low)) * reciprocal;

  const Scalar half = number(x, -0.5);
  const Scalar square = a * a, exponent = square * half, exponent_low = fma(a, a, -square) * half;
  const auto [n, n_bits] = round_product(exponent, log2_e);
  const Scalar high = fma(n, number(x, -log2.high), exponent), low = fma(n, number(x, -log2.low), exponent_low);
  const Scalar r = high + low;
  const Scalar sum = one + high, lost = (one - sum) + high;
  const Scalar e_low = lost + fma(r * r, exp_remainder(r), low);

  const Scalar product = twice_r * sum;
  const Scalar rest = fma(twice_r, sum, -product) + fma(twice_r, e_low, twice_r_low * sum);
  const Scalar whole = product + rest, half_bits = int_sub(n_bits, integer(n_bits, 1));
  const Scalar tail = scale(whole, half_bits), tail_low = scale((product - whole) + rest, half_bits);
  const Scalar head = one - tail, head_low = ((one - head) - tail) - tail_low;
  return select(less(number(x, 0), x), head + head_low, tail);
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows and small results keep their digits. What the denominator's
// rounding lost is made good after the division, and so is what e^-|x| lacks: this logistic is within 0.81 ulp (f64:
// 0.89, and 0.75 where e^-|x| is no subnormal number), so that x times it (silu) is within 2.
//
// In f64 e^-|x| is made with one factor 2^n, which is known before e^r is; the factor is 0 below 2^-1074, and so is
// e^-|x| then, though 2^-1074 may be nearer. The denominator does not wait there for e^-|x| to be put together, and
// stands before it: in a long straight line, what comes first is begun first.
Scalar logistic(Scalar x) {
  const bool f32 = x.type() == ScalarType::f32;
  const Scalar one = number(x, 1), zero = number(x, 0);
  const auto [sum, tail, n_bits] = power_of_e(-abs(x));
  const Scalar factor = f32 ? one : any_power_of_two(n_bits, x.type());
  const Scalar early_denominator = f32 ? one : fma(tail, factor, fma(sum, factor, one));
  const Scalar early_reciprocal = f32 ? one : one / early_denominator;
  const Scalar whole = sum + tail;
  const Scalar e = f32 ? scale(whole, n_bits) : whole * factor;
  const Scalar lost = (sum - whole) + tail, e_rest = f32 ? scale(lost, n_bits) : lost * factor;
  const Scalar below = less(x, zero);
  const Scalar numerator = select(below, e, one), numerator_rest = select(below, e_rest, zero);
  const Scalar denominator = f32 ? one + e : early_denominator;
  const Scalar denominator_rest = (e - (denominator - one)) + e_rest;
  const Scalar reciprocal = f32 ? one / denominator : early_reciprocal;
  const Scalar quotient = numerator * reciprocal;
  const Scalar rest = fma(-quotient, denominator, numerator) + fma(-quotient, denominator_rest, numerator_rest);
  return fma(rest, reciprocal, quotient);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). With e = e^-|x| in [0, 1], 1 + e is either within the range of the
// logarithm's remainder, or half of it is: (1 + e) / 2 = 1 + (e - 1) / 2. In f64 that subtraction is always exact; the
// remainder of f32 does not reach so far.
Scalar softplus(Scalar x) {
  const bool f32 = x.type() == ScalarType::f32;
  const Log2 log2 = log_2(x.type());
  const Scalar zero = number(x, 0), half = number(x, 0.5);
  const Scalar e = exp_of_negative(-abs(x));
  const Scalar halved = less_equal(number(x, f32 ? 0.41421356 : 0.5), e);
  const Scalar f = select(halved, fma(e, half, -half), e);
  const Scalar high = select(halved, number(x, log2.high), zero), low = select(halved, number(x, log2.low), zero);
  const Scalar sum = high + f, lost = (high - sum) + f;
  const Scalar log_1e = sum + (lost + (low + log_remainder(f)));
  return select(less(zero, x), x, zero) + log_1e;
}

}  // namespace nnc::scalar
