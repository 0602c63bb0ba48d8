// Random numbers along a row are drawn four at a time, one counter's words, where whole groups of four columns lie in a
// vector; everywhere else one by one. Both have the evaluator's bits.
#include "ir/builder.h"
#include "ir/scalar/builder.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/native_bits.h"

using namespace nnc;
using namespace nnc::test;

namespace {

using Dims = std::vector<std::int64_t>;

/// x where a number is less than one half, and the numbers themselves.
Graph drawn(DType dtype, const Dims& inner) {
  Builder builder("drawn");
  Shape shape{batch_extent};
  for (const std::int64_t extent : inner) shape.push_back({extent});
  const Value x = builder.leaf(Op::input, "x", {dtype, shape});
  const Value u = builder.make(Op::random, {}, nnc::Random{0x123456789}, {dtype, shape});
  const Value v = builder.make(Op::random, {}, nnc::Random{0x987654321}, {dtype, shape});
  builder.output(OutputKind::result, "kept",
                 builder.select(apply(Op::less, u, builder.constant(0.5, dtype)), x, builder.constant(0, dtype)));
  builder.output(OutputKind::result, "numbers", u + v);
  return optimise(std::move(builder).finish());
}

bool draws_one_by_one(const Dims& inner, const Machine& machine) {
  const Program program = lowered_for(drawn(DType::f32, inner), machine, 33, 1);
  return emit_llvm(program, {.target = detect_host().target}).find("@philox_") != std::string::npos;
}

}  // namespace

TEST_CASE("numbers drawn in groups have the evaluator's bits, and so have all others", "[codegen]") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const Dims& inner :
         {Dims{}, Dims{1}, Dims{4}, Dims{24}, Dims{10}, Dims{37}, Dims{3, 8}, Dims{5, 5}, Dims{2, 7, 12}}) {
      const Graph graph = drawn(dtype, inner);
      Environment environment = random_environment(graph, 33, 1);
      environment.seed = 0xfedcba9876543210, environment.step = 77;
      const std::map<std::string, Tensor> expected = evaluate(graph, environment);
      for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_sse2(), machine_four_lanes()})
        for (const int threads : {1, 3}) {
          CAPTURE(inner.size(), dtype == DType::f32);
          check_native_bits(lowered_for(graph, machine, 33, threads), environment, expected, machine.name,
                            static_cast<unsigned>(threads));
        }
    }
}

TEST_CASE("only rows whose groups of four are whole are drawn in groups", "[codegen]") {
  for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_sse2()}) {
    CHECK(!draws_one_by_one({24}, machine));
    CHECK(!draws_one_by_one({10}, machine));
    CHECK(!draws_one_by_one({3, 8}, machine));
    CHECK(draws_one_by_one({5, 5}, machine));
    CHECK(draws_one_by_one({}, machine));
  }
}

TEST_CASE("what the rounds take of a key and a counter gives the opcode's words", "[codegen]") {
  ScalarBuilder builder;
  const Scalar row = builder.input(ScalarType::i64), column = builder.input(ScalarType::i64),
               key = builder.input(ScalarType::i64);
  const Scalar word = philox_word(row, column, key);
  const ScalarProgram opcode = std::move(builder).finish(std::span(&word, 1));
  const PhiloxParts& parts = philox_parts();
  for (const std::int64_t k : {std::int64_t{0}, std::int64_t{0x0123456789abcdef}, std::int64_t{-1}})
    for (const std::int64_t r : {std::int64_t{0}, std::int64_t{0x7fffffff12345678}}) {
      std::vector<std::int64_t> keys(parts.keys.results.size()), words(4);
      std::vector<void*> to_keys, to_words;
      for (std::int64_t& value : keys) to_keys.push_back(&value);
      for (std::int64_t& value : words) to_words.push_back(&value);
      const void* from_key[] = {&k};
      interpret(parts.keys, from_key, to_keys, 1);
      const std::int64_t group = 0x300000005, counter[] = {group, group >> 32, r, r >> 32};
      std::vector<const void*> from;
      for (const std::int64_t& value : counter) from.push_back(&value);
      for (const std::int64_t& value : keys) from.push_back(&value);
      interpret(parts.words, from, to_words, 1);
      for (std::int64_t i = 0; i < 4; ++i) {
        const std::int64_t at = 4 * group + i;
        std::int64_t expected = 0;
        const void* operands[] = {&r, &at, &k};
        void* result[] = {&expected};
        interpret(opcode, operands, result, 1);
        CHECK(words[static_cast<std::size_t>(i)] == expected);
      }
    }
}
