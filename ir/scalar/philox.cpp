// Random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, 2011), a
// function from a counter and a key to four words. A number depends on its logical place alone, so it is the same on
// any number of threads, in recomputation and in resumption.
#include <algorithm>
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

namespace {

/// Counter and key between two rounds: words in the low halves of i64, so that a product of two is one multiplication.
/// What stands in a counter's high halves is anything.
struct Round {
  std::array<Scalar, 4> counter;
  std::array<Scalar, 2> key;
};

constexpr int rounds = 10;

std::array<Scalar, 4> next_counter(const Round& at) {
  constexpr std::uint64_t m0 = 0xd2511f53, m1 = 0xcd9e8d57;  // multipliers
  const auto& [counter, key] = at;
  const Scalar p0 = int_mul(low_word(counter[0]), integer(counter[0], m0));
  const Scalar p1 = int_mul(low_word(counter[2]), integer(counter[2], m1));
  return {int_xor(int_xor(shift_right(p1, 32), counter[1]), key[0]), p1,
          int_xor(int_xor(shift_right(p0, 32), counter[3]), key[1]), p0};
}

std::array<Scalar, 2> next_key(std::array<Scalar, 2> key) {
  constexpr std::uint64_t w0 = 0x9e3779b9, w1 = 0xbb67ae85;  // what a round adds
  return {low_word(int_add(key[0], integer(key[0], w0))), low_word(int_add(key[1], integer(key[1], w1)))};
}

Round next_round(const Round& at) { return {next_counter(at), next_key(at.key)}; }

ScalarProgram finished(ScalarBuilder& builder, const Round& round) {
  const auto& [counter, key] = round;
  const Scalar results[] = {counter[0], counter[1], counter[2], counter[3], key[0], key[1]};
  return std::move(builder).finish(results);
}

Round inputs_of(ScalarBuilder& builder) {
  Round round;
  for (Scalar& word : round.counter) word = builder.input(ScalarType::i64);
  for (Scalar& word : round.key) word = builder.input(ScalarType::i64);
  return round;
}

ScalarProgram first_round() {
  ScalarBuilder builder;
  const Scalar row = builder.input(ScalarType::i64), column = builder.input(ScalarType::i64),
               key = builder.input(ScalarType::i64);
  const Scalar group = shift_right(column, 2);
  const Round round{{group, shift_right(group, 32), row, shift_right(row, 32)}, {low_word(key), shift_right(key, 32)}};
  return finished(builder, round);
}

ScalarProgram one_round() {
  ScalarBuilder builder;
  const Round next = next_round(inputs_of(builder));
  return finished(builder, next);
}

/// The word of the column.
ScalarProgram chosen_word() {
  ScalarBuilder builder;
  const std::array<Scalar, 4> words = inputs_of(builder).counter;
  builder.input(ScalarType::i64);  // the row
  const Scalar column = builder.input(ScalarType::i64);
  builder.input(ScalarType::i64);  // the key
  const auto bit = [&column](std::uint64_t mask) {
    return equal(int_and(column, integer(column, mask)), integer(column, 0));
  };
  const Scalar even = bit(1);
  const Scalar word = low_word(select(bit(2), select(even, words[0], words[1]), select(even, words[2], words[3])));
  return std::move(builder).finish(std::span(&word, 1));
}

ScalarProgram keys_of_rounds() {
  ScalarBuilder builder;
  const Scalar whole = builder.input(ScalarType::i64);
  std::array<Scalar, 2> key{low_word(whole), shift_right(whole, 32)};
  std::vector<Scalar> keys(key.begin(), key.end());
  for (int i = 1; i < rounds; ++i) {
    key = next_key(key);
    keys.insert(keys.end(), key.begin(), key.end());
  }
  return std::move(builder).finish(keys);
}

ScalarProgram words_of_counter() {
  ScalarBuilder builder;
  Round round;
  for (Scalar& word : round.counter) word = builder.input(ScalarType::i64);
  for (int i = 0; i < rounds; ++i) {
    for (Scalar& word : round.key) word = builder.input(ScalarType::i64);
    round.counter = next_counter(round);
  }
  for (Scalar& word : round.counter) word = low_word(word);
  return std::move(builder).finish(round.counter);
}

const ScalarFunction& philox_function() {
  static const ScalarFunction function{"philox", first_round(), one_round(), chosen_word(), rounds};
  return function;
}

}  // namespace

std::array<Scalar, 4> philox(std::array<Scalar, 4> counter, std::array<Scalar, 2> key) {
  Round round{counter, key};
  for (int i = 0; i < rounds; ++i) round = next_round(round);
  for (Scalar& word : round.counter) word = low_word(word);
  return round.counter;
}

// A f32 is the upper 24 bits of the word, a f64 all 32: both types see the same number, rounded down.
Scalar uniform(Scalar row, Scalar column, Scalar seed, Scalar step, Scalar stream, ScalarType type) {
  const Scalar key = mix(int_add(mix(int_add(mix(seed), stream)), step));
  const Scalar word = philox_word(row, column, key);
  if (type == ScalarType::f32) {
    const Scalar count = convert(shift_right(convert(word, ScalarType::i32), 8), type);
    return count * number(count, 0x1p-24);
  }

  // The bits of 2^52 with a word at their end are the number 2^52 + word: exact, and cheaper than a conversion from
  // i64.
  const Scalar two_to_52 = row.builder->constant(0x1p52, type);
  const Scalar count = bitcast(int_or(word, bitcast(two_to_52, ScalarType::i64)), type) - two_to_52;
  return count * number(count, 0x1p-32);
}

}  // namespace nnc::scalar

namespace nnc {

const PhiloxParts& philox_parts() {
  static const PhiloxParts parts{scalar::keys_of_rounds(), scalar::words_of_counter()};
  return parts;
}

const ScalarFunction* function_of(ScalarOp op) { return op == ScalarOp::philox ? &scalar::philox_function() : nullptr; }

int length_of(ScalarOp op) {
  const ScalarFunction* function = function_of(op);
  if (!function) return 1;
  const auto executed = [](const ScalarProgram& program) {
    return static_cast<int>(std::ranges::count_if(program.code, [](const ScalarInstruction& x) {
      return x.op != ScalarOp::input && x.op != ScalarOp::constant;
    }));
  };
  return executed(function->first) + function->steps * executed(function->step) + executed(function->last);
}

}  // namespace nnc
