// sin and cos. The argument is reduced to x = (k + t) pi/2 with |t| <= 1/2 by multiplying it with 2/pi, of which a
// window of the digits is enough (Payne and Hanek): higher digits give multiples of 4 quarter turns, lower ones too
// little. The digits stand in pieces, so short (f32) or multiplied in two parts (f64) that products are exact; what is
// a multiple of 4 is dropped from each, the rest is added. This is right for every argument, and costs every argument
// the same.
#include <array>
#include <utility>

#include "ir/scalar/pieces.h"

namespace nnc::scalar {

namespace {

/// x - 8 round(x / 8) for |x| < 2^54: the sum has no bits below 8.
Scalar modulo_8(Scalar x) {
  const Scalar big = number(x, 0x1.8p55);
  return x - ((x + big) - big);
}

/// x = n + fraction with |fraction| <= 1/2, for |x| < 2^51.
struct Split {
  Scalar n, fraction;
};
Split split(Scalar x) {
  const Scalar big = number(x, 0x1.8p52);
  const Scalar n = (x + big) - big;
  return {n, x - n};
}

/// An unevaluated sum.
struct TwoPart {
  Scalar high, low;
};
/// The exact a + b.
TwoPart exact_sum(Scalar a, Scalar b) {
  const Scalar sum = a + b, b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

struct Quarters {
  Scalar k;   ///< quarter turns, an integer modulo 4 in f64
  TwoPart t;  ///< the rest in quarter turns
};

/// The low bits of the two's complement of an integer |k| < 2^51.
Scalar integer_bits(Scalar k) { return bitcast(k + number(k, 0x1.8p52), ScalarType::i64); }

Scalar bit_is_zero(Scalar bits, std::uint64_t mask) {
  return equal(int_and(bits, integer(bits, mask)), integer(bits, 0));
}

/// sin(x + quarter_turns * pi/2) from the sine and cosine of the rest.
Scalar by_quadrant(Scalar k, Scalar sine, Scalar cosine, int quarter_turns) {
  const Scalar bits = integer_bits(k + number(k, quarter_turns));
  const Scalar value = select(bit_is_zero(bits, 1), sine, cosine);
  return select(bit_is_zero(bits, 2), value, -value);
}

// f32, computed in f64. Pieces of 29 bits make products with 24 bits exact; four pieces are a window that serves
// 29 exponents: below 2^54, 2^83, 2^112 and the rest.
Quarters reduce_f32(Scalar x) {
  static constexpr std::array<double, 7> pieces{0x1.45f306dp-1,   0x1.9391054p-30, 0x1.4fe13abp-59, 0x1.d1f534dp-88,
                                                0x1.b81b6c5p-117, 0x1.5993c4p-148, 0x1.c820ff2p-175};
  const Scalar a = abs(x);
  const Scalar first = less(a, number(x, 0x1p54)), second = less(a, number(x, 0x1p83)),
               third = less(a, number(x, 0x1p112));
  const auto product = [&](std::size_t i) {
    const auto piece = [&](std::size_t j) { return number(x, pieces[j]); };
    return x * select(first, piece(i), select(second, piece(i + 1), select(third, piece(i + 2), piece(i + 3))));
  };
  const Split p0 = split(modulo_8(product(0))), p1 = split(product(1));
  const TwoPart sum = exact_sum(p0.fraction, p1.fraction);
  const TwoPart more = exact_sum(sum.high, product(2));
  const Scalar low = sum.low + more.low + product(3);
  const Split rest = split(more.high + low);
  return {p0.n + p1.n + rest.n, {more.high - rest.n, low}};
}

Scalar sin_or_cos_f32(Scalar x, int quarter_turns) {
  const Scalar wide = convert(x, ScalarType::f64);
  const auto [k, t] = reduce_f32(wide);
  const Scalar r = (t.high + t.low) * number(wide, 0x1.921fb54442d18p+0);
  const Scalar z = r * r;
  const Scalar sine = fma(
      r * z,
      polynomial(z, {-0x1.5555554c226a4p-3, 0x1.1111083d4a714p-7, -0x1.a00f606c6a13ap-13, 0x1.6ccb754e809c7p-19}), r);
  const Scalar cosine = polynomial(z, {1, -0.5, 0x1.555549a6a66cfp-5, -0x1.6c0bfb860198dp-10, 0x1.99dd4d0690b91p-16});
  return convert(by_quadrant(k, sine, cosine, quarter_turns), ScalarType::f32);
}

// f64. Pieces of 53 bits; products in two parts by fma; four pieces are a window that serves 53 exponents: below 2^107,
// below 2^160, and so on. t is right to about 2^-104 absolutely. The last windows would need subnormal pieces, so there
// (from 2^902 on) the argument is divided, and the pieces multiplied, by 2^256.
constexpr int window_bits = 53, window_first = 54, piece_count = 4;
constexpr std::array<double, 19> pieces_f64{
    0x1.45f306dc9c882p-1,   0x1.4a7f09d5f47d4p-54,  0x1.a6ee06db14accp-107, 0x1.3c439041fe516p-160,
    0x1.d5ef5de2b0db8p-215, 0x1.2371d2126e970p-267, 0x1.924bba8274600p-326, 0x1.21cfe1deb1cb1p-372,
    0x1.4d39f74411af8p-427, 0x1.4baed1213a671p-478, 0x1.8135a2fbf209cp-531, 0x1.91d639835339fp-584,
    0x1.272117e2ef7e4p-638, 0x1.41d8ffc4bffeep-691, 0x1.02cc07f79788cp-743, 0x1.6b414da3eda6cp-797,
    0x1.fb3c9f2c26dd2p-850, 0x1.d18fd9a797fa8p-902, 0x1.6ba93dd63f5f2p-955};
/// Pieces 16 to 21, times 2^256.
constexpr std::array<double, 6> last_pieces_f64{0x1.fb3c9f2c26dd2p-594, 0x1.d18fd9a797fa8p-646, 0x1.6ba93dd63f5f2p-699,
                                                0x1.f17b3d0739f78p-752, 0x1.4a525d4d7f6bfp-805, 0x1.88fc6ae842b00p-859};

struct Window {
  Scalar x;
  std::vector<Scalar> pieces;
};

/// The window for x's exponent, by a tree of selects on the bits of its number.
Window window_f64(Scalar x) {
  const Scalar bits = bitcast(abs(x), ScalarType::i64);
  const Scalar above = int_sub(shift_right(bits, 52), integer(bits, 1023 + window_first));
  const Scalar zero = integer(bits, 0);
  const Scalar from_zero = select(less(above, zero), zero, above);
  const Scalar index = shift_right(int_mul(from_zero, integer(bits, 1237)), 16);  // / 53, exact below 2544

  const Scalar low_half = bit_is_zero(index, 16);
  std::vector<Scalar> pieces;
  for (std::size_t i = 0; i < pieces_f64.size(); ++i) {
    const Scalar piece = number(x, pieces_f64[i]);
    pieces.push_back(i < last_pieces_f64.size() ? select(low_half, piece, number(x, last_pieces_f64[i])) : piece);
  }
  for (std::size_t half = 8; half > 0; half /= 2) {
    const Scalar stay = bit_is_zero(index, half);
    for (std::size_t i = 0; i < half - 1 + piece_count; ++i) pieces[i] = select(stay, pieces[i], pieces[i + half]);
  }
  pieces.resize(piece_count);
  return {select(low_half, x, x * number(x, 0x1p-256)), pieces};
}

Quarters reduce_f64(Scalar argument) {
  const auto [x, pieces] = window_f64(argument);
  std::array<TwoPart, piece_count> p;
  for (std::size_t i = 0; i < piece_count; ++i) {
    p[i].high = x * pieces[i];
    p[i].low = fma(x, pieces[i], -p[i].high);
  }
  // From 2^54 on a float is a multiple of 4.
  const Scalar first = select(less(abs(p[0].high), number(x, 0x1p54)), p[0].high, number(x, 0));
  const std::array<Split, 5> parts{split(modulo_8(first)), split(modulo_8(p[0].low)), split(modulo_8(p[1].high)),
                                   split(p[1].low), split(p[2].high)};
  Scalar k = parts[0].n;
  Scalar high = parts[0].fraction;
  Scalar low = (p[2].low + p[3].high) + p[3].low;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    k = k + parts[i].n;
    const TwoPart sum = exact_sum(high, parts[i].fraction);
    high = sum.high;
    low = low + sum.low;
  }
  const Split rest = split(high + low);
  return {k + rest.n, exact_sum(high - rest.n, low)};
}

/// (high + low) * pi/2.
TwoPart quarter_turns_to_radians(TwoPart t) {
  const Scalar high = number(t.high, 0x1.921fb54442d18p+0), low = number(t.high, 0x1.1a62633145c07p-54);
  const Scalar product = t.high * high;
  const Scalar rest = fma(t.low, high, fma(t.high, low, fma(t.high, high, -product)));
  const Scalar sum = product + rest;
  return {sum, (product - sum) + rest};
}

Scalar sin_or_cos_f64(Scalar x, int quarter_turns) {
  const auto [k, t] = reduce_f64(x);
  const auto [r, low] = quarter_turns_to_radians(t);
  const Scalar one = number(x, 1), half = number(x, 0.5);
  const Scalar z = r * r, cube = z * r, half_square = half * z;

  // sin(r + low) = sin(r) + low cos(r), with cos(r) = 1 - r^2 / 2 for so small a factor.
  const Scalar p = z * polynomial(z, {0x1.111111111108bp-7, -0x1.a01a01a006db4p-13, 0x1.71de3a4020b1ap-19,
                                      -0x1.ae643d5204128p-26, 0x1.6114b1abe1a01p-33, -0x1.a563b804742adp-41});
  const Scalar sine = r + fma(cube, p + number(x, -0x1.5555555555555p-3), fma(-low, half_square, low));

  // cos(r + low) = cos(r) - r low; what 1 - r^2 / 2 loses is kept.
  const Scalar c = z * z *
                   polynomial(z, {0x1.555555555554ap-5, -0x1.6c16c16c14e3dp-10, 0x1.a01a019c666fap-16,
                                  -0x1.27e4f7d6eb822p-22, 0x1.1ee9cb18b1596p-29, -0x1.8f9e6ce6e6e00p-37});
  const Scalar near = one - half_square;
  const Scalar cosine = near + (((one - near) - half_square) + fma(-r, low, c));
  return by_quadrant(k, sine, cosine, quarter_turns);
}

Scalar sin_or_cos(Scalar x, int quarter_turns) {
  return x.type() == ScalarType::f32 ? sin_or_cos_f32(x, quarter_turns) : sin_or_cos_f64(x, quarter_turns);
}

}  // namespace

// Below 2^-27 (f64; 2^-12 in f32) sin(x) rounds to x, a subnormal's reduction loses digits, and -0 must stay.
Scalar sin(Scalar x) {
  const double tiny = x.type() == ScalarType::f32 ? 0x1p-13 : 0x1p-27;
  return select(less(abs(x), number(x, tiny)), x, sin_or_cos(x, 0));
}

Scalar cos(Scalar x) { return sin_or_cos(x, 1); }

}  // namespace nnc::scalar
