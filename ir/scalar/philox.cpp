// Random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, 2011), a
// function from a counter and a key to four words. A number depends on its logical place alone, so it is the same on
// any number of threads, in recomputation and in resumption.
#include <array>

#include "ir/scalar/pieces.h"

namespace nnc::scalar {

namespace {

Scalar low_word(Scalar x) { return int_and(x, integer(x, 0xffffffff)); }

/// The finaliser of SplitMix64: every bit of the result depends on every bit of x.
Scalar mix(Scalar x) {
  x = int_mul(int_xor(x, shift_right(x, 30)), integer(x, 0xbf58476d1ce4e5b9));
  x = int_mul(int_xor(x, shift_right(x, 27)), integer(x, 0x94d049bb133111eb));
  return int_xor(x, shift_right(x, 31));
}

}  // namespace

// Words are kept in the low halves of i64, so that a product of two is one multiplication.
std::array<Scalar, 4> philox(std::array<Scalar, 4> counter, std::array<Scalar, 2> key) {
  constexpr std::uint64_t m0 = 0xd2511f53, m1 = 0xcd9e8d57;  // multipliers
  constexpr std::uint64_t w0 = 0x9e3779b9, w1 = 0xbb67ae85;  // what a round adds to the key
  for (int round = 0; round < 10; ++round) {
    const Scalar p0 = int_mul(counter[0], integer(counter[0], m0));
    const Scalar p1 = int_mul(counter[2], integer(counter[2], m1));
    counter = {int_xor(int_xor(shift_right(p1, 32), counter[1]), key[0]), low_word(p1),
               int_xor(int_xor(shift_right(p0, 32), counter[3]), key[1]), low_word(p0)};
    key = {low_word(int_add(key[0], integer(key[0], w0))), low_word(int_add(key[1], integer(key[1], w1)))};
  }
  return counter;
}

// A f32 is the upper 24 bits of the word, a f64 all 32: both types see the same number, rounded down.
Scalar uniform(Scalar row, Scalar column, Scalar seed, Scalar step, std::uint64_t stream, ScalarType type) {
  const Scalar key = mix(int_add(mix(int_add(mix(seed), integer(seed, stream))), step));
  const Scalar group = shift_right(column, 2);
  const auto words = philox({low_word(group), shift_right(group, 32), low_word(row), shift_right(row, 32)},
                            {low_word(key), shift_right(key, 32)});

  const auto bit = [&column](std::uint64_t mask) {
    return equal(int_and(column, integer(column, mask)), integer(column, 0));
  };
  const Scalar even = bit(1);
  const Scalar word = select(bit(2), select(even, words[0], words[1]), select(even, words[2], words[3]));

  // The bits of 2^52 with a word at their end are the number 2^52 + word: exact, and cheaper than a conversion from
  // i64.
  const Scalar kept = type == ScalarType::f32 ? shift_right(word, 8) : word;
  const Scalar two_to_52 = row.builder->constant(0x1p52, ScalarType::f64);
  const Scalar count = bitcast(int_or(kept, bitcast(two_to_52, ScalarType::i64)), ScalarType::f64) - two_to_52;
  return convert(count * number(count, type == ScalarType::f32 ? 0x1p-24 : 0x1p-32), type);
}

}  // namespace nnc::scalar
