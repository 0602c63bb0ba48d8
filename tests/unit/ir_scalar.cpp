// Scalar programs: the builder's merging, and the interpreter on every opcode at its edges.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include "ir/program/calls.h"
#include "ir/scalar/builder.h"
#include "ir/scalar/pieces.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_f32 = std::numeric_limits<float>::quiet_NaN();

template <class T>
constexpr ScalarType type_of = std::is_same_v<T, float>          ? ScalarType::f32
                               : std::is_same_v<T, double>       ? ScalarType::f64
                               : std::is_same_v<T, std::int32_t> ? ScalarType::i32
                               : std::is_same_v<T, std::int64_t> ? ScalarType::i64
                                                                 : ScalarType::boolean;

/// The program of one function applied to elements.
template <class R, class F, class... T>
std::vector<R> apply(F function, const std::vector<T>&... arguments) {
  ScalarBuilder builder;
  const std::tuple operands{(static_cast<void>(arguments), builder.input(type_of<T>))...};  // in order, as braces are
  const Scalar result = std::apply(function, operands);
  REQUIRE(result.type() == type_of<R>);
  const ScalarProgram program = std::move(builder).finish(std::span(&result, 1));
  const void* inputs[] = {arguments.data()...};
  const std::size_t count = std::get<0>(std::tie(arguments...)).size();
  std::vector<R> values(count);
  void* results[] = {values.data()};
  interpret(program, inputs, results, static_cast<std::int64_t>(count));
  return values;
}

template <class R, class F, class... T>
R apply_one(F function, T... arguments) {
  return apply<R>(function, std::vector<T>{arguments}...)[0];
}

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

TEST_CASE("equal instructions are one") {
  ScalarBuilder b;
  const Scalar x = b.input(ScalarType::f32), y = b.input(ScalarType::f32);
  CHECK((x + y).id == (x + y).id);
  CHECK((x + y).id != (y + x).id);
  CHECK((x + y).id != (x - y).id);
  CHECK(b.constant(1, ScalarType::f32).id == b.bits(0x3f800000, ScalarType::f32).id);
  CHECK(b.constant(0.0, ScalarType::f32).id != b.constant(-0.0, ScalarType::f32).id);
  CHECK(b.constant(1, ScalarType::f32).id != b.constant(1, ScalarType::f64).id);
  CHECK(b.input(ScalarType::f32).id != x.id);

  const std::size_t before = b.program().code.size();
  const Scalar e = scalar::exp(x);
  const std::size_t after = b.program().code.size();
  CHECK(scalar::exp(x).id == e.id);
  CHECK(b.program().code.size() == after);
  CHECK(after > before);
}

TEST_CASE("operands come before their users") {
  ScalarBuilder b;
  const Scalar result = scalar::pow(b.input(ScalarType::f64), b.input(ScalarType::f64));
  const ScalarProgram program = std::move(b).finish(std::span(&result, 1));
  for (std::size_t id = 0; id < program.code.size(); ++id)
    for (int i = 0; i < operand_count(program.code[id].op); ++i) CHECK(program.code[id].operands[i] < id);
}

TEST_CASE("a program inlined into another computes the same, and merges with what is there") {
  ScalarBuilder inner;
  const Scalar x = inner.input(ScalarType::f32);
  const Scalar twice = x + x;
  const ScalarProgram program = std::move(inner).finish(std::span(&twice, 1));

  ScalarBuilder outer;
  const Scalar y = outer.input(ScalarType::f32);
  const Scalar sum = y + y;
  const std::vector<Scalar> once = outer.inline_program(program, std::span(&y, 1));
  REQUIRE(once.size() == 1);
  CHECK(once[0].id == sum.id);
  const std::vector<Scalar> again = outer.inline_program(program, once);
  const ScalarProgram fourfold = std::move(outer).finish(again);
  const float in = 3;
  float out = 0;
  const void* inputs[] = {&in};
  void* results[] = {&out};
  interpret(fourfold, inputs, results, 1);
  CHECK(out == 12);
}

TEST_CASE("counts that are no multiple of a block leave what follows untouched") {
  for (const std::size_t count : {0, 1, 15, 16, 17, 127, 128, 129, 300}) {
    std::vector<float> in(count), out(count + 4, -1);
    for (std::size_t i = 0; i < count; ++i) in[i] = static_cast<float>(i);
    ScalarBuilder b;
    const Scalar x = b.input(ScalarType::f32), y = x + b.constant(0.5, ScalarType::f32);
    const ScalarProgram program = std::move(b).finish(std::span(&y, 1));
    const void* inputs[] = {in.data()};
    void* results[] = {out.data()};
    interpret(program, inputs, results, static_cast<std::int64_t>(count));
    for (std::size_t i = 0; i < count; ++i) CHECK(out[i] == static_cast<float>(i) + 0.5F);
    for (std::size_t i = count; i < count + 4; ++i) CHECK(out[i] == -1);
  }
}

TEST_CASE("fma rounds once") {
  const auto f = [](Scalar a, Scalar b, Scalar c) { return fma(a, b, c); };
  CHECK(apply_one<float>(f, 1.0F + 0x1p-23F, 1.0F - 0x1p-23F, -1.0F) == -0x1p-46F);
  CHECK(apply_one<double>(f, 1.0 + 0x1p-52, 1.0 - 0x1p-52, -1.0) == -0x1p-104);
  CHECK(same(apply_one<float>(f, 1e-30F, -1e-30F, 0.0F), -0.0F));
}

TEST_CASE("minimum and maximum: a NaN wins, -0 is below +0") {
  const auto least = [](Scalar a, Scalar b) { return minimum(a, b); };
  const auto greatest = [](Scalar a, Scalar b) { return maximum(a, b); };
  for (const auto& [a, b] : std::vector<std::pair<float, float>>{{-0.0F, 0.0F}, {0.0F, -0.0F}}) {
    CHECK(same(apply_one<float>(least, a, b), -0.0F));
    CHECK(same(apply_one<float>(greatest, a, b), 0.0F));
  }
  for (const float x : {1.0F, infinity, -infinity, nan_f32}) {
    CHECK(std::isnan(apply_one<float>(least, x, nan_f32)));
    CHECK(std::isnan(apply_one<float>(least, nan_f32, x)));
    CHECK(std::isnan(apply_one<float>(greatest, x, nan_f32)));
    CHECK(std::isnan(apply_one<float>(greatest, nan_f32, x)));
  }
  CHECK(apply_one<float>(least, 2.0F, -3.0F) == -3);
  CHECK(apply_one<float>(greatest, 2.0F, -3.0F) == 2);
  CHECK(apply_one<double>(greatest, -1.0, std::numeric_limits<double>::infinity()) == INFINITY);
}

TEST_CASE("comparisons are false on a NaN; select takes either side whole") {
  const auto lt = [](Scalar a, Scalar b) { return less(a, b); };
  const auto le = [](Scalar a, Scalar b) { return less_equal(a, b); };
  const auto eq = [](Scalar a, Scalar b) { return equal(a, b); };
  CHECK(apply_one<std::uint8_t>(lt, nan_f32, 1.0F) == 0);
  CHECK(apply_one<std::uint8_t>(le, nan_f32, nan_f32) == 0);
  CHECK(apply_one<std::uint8_t>(eq, nan_f32, nan_f32) == 0);
  CHECK(apply_one<std::uint8_t>(eq, 0.0F, -0.0F) == 1);
  CHECK(apply_one<std::uint8_t>(lt, -0.0F, 0.0F) == 0);
  CHECK(apply_one<std::uint8_t>(lt, std::int32_t{-1}, std::int32_t{0}) == 1);
  CHECK(apply_one<std::uint8_t>(le, std::int64_t{-1}, std::int64_t{-1}) == 1);

  const auto pick = [](Scalar c, Scalar a, Scalar b) { return select(c, a, b); };
  CHECK(std::isnan(apply_one<float>(pick, std::uint8_t{1}, nan_f32, 1.0F)));
  CHECK(same(apply_one<float>(pick, std::uint8_t{0}, nan_f32, -0.0F), -0.0F));
  CHECK(apply_one<std::int64_t>(pick, std::uint8_t{1}, std::int64_t{1} << 60, std::int64_t{0}) == std::int64_t{1}
                                                                                                      << 60);
  CHECK(apply_one<std::uint8_t>([](Scalar a, Scalar b) { return logical_and(logical_not(a), logical_or(a, b)); },
                                std::uint8_t{0}, std::uint8_t{1}) == 1);
}

TEST_CASE("signs of zeros and NaNs pass through neg and abs") {
  CHECK(same(apply_one<float>([](Scalar a) { return -a; }, 0.0F), -0.0F));
  CHECK(same(apply_one<float>([](Scalar a) { return abs(a); }, -0.0F), 0.0F));
  CHECK(apply_one<float>([](Scalar a) { return abs(a); }, -infinity) == infinity);
  CHECK(std::isnan(apply_one<float>([](Scalar a) { return -a; }, nan_f32)));
  CHECK(same(apply_one<float>([](Scalar a) { return sqrt(a); }, -0.0F), -0.0F));
  CHECK(std::isnan(apply_one<float>([](Scalar a) { return sqrt(a); }, -1.0F)));
}

TEST_CASE("integers wrap, shifts fill as their names say") {
  const std::int32_t least = std::numeric_limits<std::int32_t>::min(), most = std::numeric_limits<std::int32_t>::max();
  CHECK(apply_one<std::int32_t>([](Scalar a, Scalar b) { return int_add(a, b); }, most, std::int32_t{1}) == least);
  CHECK(apply_one<std::int32_t>([](Scalar a, Scalar b) { return int_sub(a, b); }, least, std::int32_t{1}) == most);
  CHECK(apply_one<std::int64_t>([](Scalar a, Scalar b) { return int_mul(a, b); }, std::int64_t{0x100000001},
                                std::int64_t{0x100000001}) == 0x200000001);
  CHECK(apply_one<std::int32_t>([](Scalar a) { return shift_right(a, 28); }, std::int32_t{-1}) == 15);
  CHECK(apply_one<std::int32_t>([](Scalar a) { return shift_right_signed(a, 28); }, least) == -8);
  CHECK(apply_one<std::int64_t>([](Scalar a) { return shift_left(a, 63); }, std::int64_t{3}) ==
        std::numeric_limits<std::int64_t>::min());
  CHECK(apply_one<std::int32_t>([](Scalar a, Scalar b) { return int_xor(int_and(a, b), int_or(a, b)); },
                                std::int32_t{12}, std::int32_t{10}) == 6);
}

TEST_CASE("conversions round, truncate, extend and wrap") {
  const auto to = [](ScalarType type) { return [type](Scalar a) { return convert(a, type); }; };
  CHECK(apply_one<float>(to(ScalarType::f32), 1.0 + 0x1p-24) == 1.0F);
  CHECK(apply_one<float>(to(ScalarType::f32), std::int32_t{(1 << 24) + 1}) == 16777216.0F);
  CHECK(apply_one<double>(to(ScalarType::f64), std::int64_t{-3}) == -3.0);
  CHECK(apply_one<std::int32_t>(to(ScalarType::i32), -2.9F) == -2);
  CHECK(apply_one<std::int64_t>(to(ScalarType::i64), std::int32_t{-5}) == -5);
  CHECK(apply_one<std::int32_t>(to(ScalarType::i32), (std::int64_t{7} << 32) - 1) == -1);
  CHECK(apply_one<float>(to(ScalarType::f32), std::uint8_t{1}) == 1.0F);
  CHECK(apply_one<std::int32_t>([](Scalar a) { return bitcast(a, ScalarType::i32); }, 1.0F) == 0x3f800000);
  CHECK(apply_one<double>([](Scalar a) { return bitcast(a, ScalarType::f64); }, std::int64_t{1}) == 0x1p-1074);
}

TEST_CASE("Philox4x32-10 gives the known answers of Random123") {
  ScalarBuilder b;
  std::array<Scalar, 4> counter;
  std::array<Scalar, 2> key;
  for (Scalar& word : counter) word = b.input(ScalarType::i64);
  for (Scalar& word : key) word = b.input(ScalarType::i64);
  const std::array<Scalar, 4> words = scalar::philox(counter, key);
  const ScalarProgram program = std::move(b).finish(words);

  const std::int64_t in[6][3] = {{0, 0xffffffff, 0x243f6a88}, {0, 0xffffffff, 0x85a308d3}, {0, 0xffffffff, 0x13198a2e},
                                 {0, 0xffffffff, 0x03707344}, {0, 0xffffffff, 0xa4093822}, {0, 0xffffffff, 0x299f31d0}};
  std::int64_t out[4][3];
  const void* inputs[] = {in[0], in[1], in[2], in[3], in[4], in[5]};
  void* results[] = {out[0], out[1], out[2], out[3]};
  interpret(program, inputs, results, 3);
  const std::int64_t expected[4][3] = {{0x6627e8d5, 0x408f276d, 0xd16cfe09},
                                       {0xe169c58d, 0x41c83b0e, 0x94fdcceb},
                                       {0xbc57ac4c, 0xa20bc7c6, 0x5001e420},
                                       {0x9b00dbd8, 0x6d5451fd, 0x24126ea1}};
  CHECK(std::memcmp(out, expected, sizeof out) == 0);
}

TEST_CASE("the opcode philox gives the words of the straight line") {
  ScalarBuilder b;
  const Scalar row = b.input(ScalarType::i64), column = b.input(ScalarType::i64), key = b.input(ScalarType::i64);
  const auto low = [](Scalar x) { return int_and(x, x.builder->bits(0xffffffff, ScalarType::i64)); };
  const Scalar group = shift_right(column, 2);
  const auto words = scalar::philox({low(group), shift_right(group, 32), low(row), shift_right(row, 32)},
                                    {low(key), shift_right(key, 32)});
  const Scalar results[] = {philox_word(row, column, key), words[0], words[1], words[2], words[3]};
  const ScalarProgram program = std::move(b).finish(results);
  std::vector<std::int64_t> in[3], out[5];
  for (std::int64_t i = 0; i < 300; ++i) {
    in[0].push_back(i % 7 == 0 ? -i : i * 0x123456789);
    in[1].push_back(i % 5 == 0 ? i : i * 0x3456789ab);
    in[2].push_back(0x0123456789abcdef - i * 0x1000000fff);
  }
  for (auto& values : out) values.resize(300);
  const void* inputs[] = {in[0].data(), in[1].data(), in[2].data()};
  void* to[] = {out[0].data(), out[1].data(), out[2].data(), out[3].data(), out[4].data()};
  interpret(program, inputs, to, 300);
  for (std::size_t i = 0; i < 300; ++i) REQUIRE(out[0][i] == out[1 + (in[1][i] & 3)][i]);
}

template <class T>
std::vector<T> uniforms(std::int64_t rows, std::int64_t columns, std::int64_t seed, std::int64_t step,
                        std::uint64_t stream, std::int64_t first_row = 0) {
  std::vector<std::int64_t> row, column, seeds, steps;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      row.push_back(first_row + i);
      column.push_back(j);
      seeds.push_back(seed);
      steps.push_back(step);
    }
  return apply<T>(
      [stream](Scalar r, Scalar c, Scalar s, Scalar t) {
        return scalar::uniform(r, c, s, t, r.builder->bits(stream, ScalarType::i64), type_of<T>);
      },
      row, column, seeds, steps);
}

TEST_CASE("what depends on no input is a number, to the bit of what it computes") {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64}) {
    ScalarBuilder b;
    const Scalar x = b.input(type);
    const Scalar results[] = {scalar::pow(b.constant(0.9, type), x), scalar::log(b.constant(0.9, type)),
                              b.constant(0, type) / b.constant(0, type)};
    const ScalarProgram whole = std::move(b).finish(results), known = with_known_values(whole);
    CHECK(known.code[known.results[1]].op == ScalarOp::constant);
    CHECK(known.code[known.results[0]].op != ScalarOp::constant);
    const double values[] = {3, -2.5, 1000, 0};  // as f32: any numbers will do
    double expected[3][4] = {}, found[3][4] = {};
    const void* inputs[] = {values};
    void* to_expected[] = {expected[0], expected[1], expected[2]};
    void* to_found[] = {found[0], found[1], found[2]};
    interpret(whole, inputs, to_expected, 4);
    interpret(known, inputs, to_found, 4);
    CHECK(std::memcmp(expected, found, sizeof expected) == 0);
  }
}

TEST_CASE("a division by a power of two is a product, and one by one is nothing, to the bit") {
  struct Divisor {
    double value;
    bool f32, f64;  ///< whether the division goes
  };
  const Divisor divisors[] = {{1, true, true},          {-1, true, true},        {2, true, true},
                              {0.03125, true, true},    {-4096, true, true},     {3, false, false},
                              {0, false, false},        {0x1p-126, true, true},  {0x1p127, false, true},
                              {0x1p126, true, true},    {0x1p-149, false, true}, {0x1p-1022, false, true},
                              {INFINITY, false, false}, {NAN, false, false},     {0x1p1023, false, false}};
  for (const Divisor& divisor : divisors)
    for (const ScalarType type : {ScalarType::f32, ScalarType::f64}) {
      CAPTURE(divisor.value, static_cast<int>(type));
      ScalarBuilder b;
      const Scalar x = b.input(type), quotient = x / b.constant(divisor.value, type);
      const Scalar results[] = {quotient, quotient + x};
      const ScalarProgram whole = std::move(b).finish(results), known = with_known_values(whole);
      const bool divides = std::ranges::any_of(known.code, [](const auto& i) { return i.op == ScalarOp::div; });
      CHECK(divides != (type == ScalarType::f32 ? divisor.f32 : divisor.f64));
      const auto check_same = [&](const auto& values) {
        auto expected = std::array{values, values}, found = expected;
        const void* inputs[] = {values.data()};
        void* to_expected[] = {expected[0].data(), expected[1].data()};
        void* to_found[] = {found[0].data(), found[1].data()};
        interpret(whole, inputs, to_expected, static_cast<std::int64_t>(values.size()));
        interpret(known, inputs, to_found, static_cast<std::int64_t>(values.size()));
        for (int i = 0; i < 2; ++i) CHECK(std::memcmp(expected[i].data(), found[i].data(), sizeof values) == 0);
      };
      if (type == ScalarType::f32)
        check_same(std::array{0.F, -0.F, 1.F, -3.3F, 0x1p-149F, -0x1.8p-140F, 0x1.fffffep127F, INFINITY, -INFINITY, NAN,
                              0x1.000002p-126F, 0x1.000006p-125F});
      else
        check_same(std::array{0., -0., 1., -3.3, 0x1p-1074, -0x1.8p-1060, 0x1.fffffffffffffp1023, HUGE_VAL, -HUGE_VAL,
                              0. * HUGE_VAL, 0x1.0000000000001p-1022, 0x1.0000000000003p-1021});
    }
}

TEST_CASE("what a known condition chooses, and adding nothing, are no instructions") {
  ScalarBuilder b;
  const Scalar x = b.input(ScalarType::f64), y = b.input(ScalarType::f64), zero = b.constant(0, ScalarType::f64);
  const Scalar holds = less(zero, b.constant(1, ScalarType::f64)), one = b.constant(1, ScalarType::f64);
  const Scalar sum = x + zero, chosen = select(holds, sum, sqrt(y) / x);
  const Scalar results[] = {
      ((zero + chosen) + zero) + zero, x - zero, zero + x * x, zero + abs(y), fma(one, x, y), zero + (x * y)};
  const ScalarProgram known = with_known_values(std::move(b).finish(results));
  const auto op = [&](std::size_t result) { return known.code[known.results[result]].op; };
  CHECK(op(0) == ScalarOp::add);
  CHECK(known.code[known.code[known.results[0]].operands[0]].op == ScalarOp::input);
  CHECK((op(1) == ScalarOp::input && op(2) == ScalarOp::mul && op(3) == ScalarOp::abs));
  CHECK(op(4) == ScalarOp::add);
  CHECK(op(5) == ScalarOp::add);  // the product may be -0
  CHECK(std::ranges::none_of(known.code,
                             [](const auto& i) { return i.op == ScalarOp::select || i.op == ScalarOp::sqrt; }));
}

TEST_CASE("a sum with +0 that a positive number multiplies is one fma") {
  ScalarBuilder b;
  const Scalar x = b.input(ScalarType::f64), y = b.input(ScalarType::f64), zero = b.constant(0, ScalarType::f64);
  const auto times = [&](double factor, Scalar sum) { return b.constant(factor, ScalarType::f64) * sum; };
  const Scalar sum = zero + x * y;
  const Scalar results[] = {
      times(0.01, sum),     sum * b.constant(5e-324, ScalarType::f64),         times(-0.01, sum), times(0, sum),
      times(INFINITY, sum), times(0.01, b.constant(-0., ScalarType::f64) + x), times(0.01, x + y)};
  const ScalarProgram whole = std::move(b).finish(results), known = with_known_values(whole);
  std::vector<ScalarOp> ops;
  for (const ScalarId id : known.results) ops.push_back(known.code[id].op);
  CHECK(ops == std::vector{ScalarOp::fma, ScalarOp::fma, ScalarOp::mul, ScalarOp::mul, ScalarOp::mul, ScalarOp::mul,
                           ScalarOp::mul});
}

/// Programs over few values, so that zeros of both signs, ones and known conditions meet everywhere.
template <class T>
void check_shortened(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::size_t count) { return random() % count; };
  constexpr double special[] = {0., -0., 1., -1., 2., 0.5, 3., 5e-324, -5e-324, 1e-45, -1e-45, INFINITY};
  ScalarBuilder b;
  std::vector<Scalar> values{b.input(type_of<T>), b.input(type_of<T>)}, conditions{b.bits(1, ScalarType::boolean)};
  for (int step = 0; step < 40; ++step) {
    const Scalar x = values[below(values.size())], y = values[below(values.size())], z = values[below(values.size())];
    switch (below(10)) {
      case 0:
      case 1:
        values.push_back(b.constant(special[below(std::size(special))], type_of<T>));
        break;
      case 2:
      case 3:
        values.push_back(x + y);
        break;
      case 4:
        values.push_back(x - y);
        break;
      case 5:
        values.push_back(below(2) ? x * y : x * x);
        break;
      case 6:
        values.push_back(fma(x, y, z));
        break;
      case 7:
        values.push_back(below(2) ? abs(x) : sqrt(x));
        break;
      case 8:
        conditions.push_back(less(x, y));
        break;
      case 9:
        values.push_back(below(2) ? x / y : select(conditions[below(conditions.size())], x, y));
        break;
    }
  }
  const std::size_t count = values.size();
  const ScalarProgram whole = std::move(b).finish(values), known = with_known_values(whole);
  std::vector<T> first, second;
  for (const double x : special)
    for (const double y : special) first.push_back(static_cast<T>(x)), second.push_back(static_cast<T>(y));
  const auto run = [&](const ScalarProgram& program) {
    std::vector<std::vector<T>> found(count, std::vector<T>(first.size()));
    const void* inputs[] = {first.data(), second.data()};
    std::vector<void*> results;
    for (std::vector<T>& result : found) results.push_back(result.data());
    interpret(program, inputs, results, static_cast<std::int64_t>(first.size()));
    return found;
  };
  const auto expected = run(whole), found = run(known);
  bool equal = true;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t at = 0; at < first.size(); ++at) {
      const T a = expected[i][at], c = found[i][at];
      equal = equal && ((std::isnan(a) && std::isnan(c)) || std::memcmp(&a, &c, sizeof a) == 0);
    }
  CAPTURE(seed);
  CHECK(equal);
}

TEST_CASE("shorter programs give the bits of the longer ones, of zeros the sign too") {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    check_shortened<double>(seed);
    check_shortened<float>(seed);
  }
}

TEST_CASE("uniform numbers: in [0, 1), even, and functions of their place alone") {
  const std::vector<double> u = uniforms<double>(256, 256, 7, 3, 0x1234);
  double sum = 0, square = 0, neighbours = 0;
  std::vector<int> tenth(10);
  for (std::size_t i = 0; i < u.size(); ++i) {
    REQUIRE((u[i] >= 0 && u[i] < 1));
    sum += u[i];
    square += u[i] * u[i];
    if (i > 0) neighbours += (u[i] - 0.5) * (u[i - 1] - 0.5);
    ++tenth[static_cast<std::size_t>(u[i] * 10)];
  }
  const auto n = static_cast<double>(u.size());  // five standard deviations of each statistic
  CHECK(std::abs(sum / n - 0.5) < 5 * std::sqrt(1 / 12.0 / n));
  CHECK(std::abs(square / n - 1 / 3.0) < 5 * std::sqrt(4 / 45.0 / n));
  CHECK(std::abs(neighbours / n) < 5 / 12.0 / std::sqrt(n));
  for (const int count : tenth) CHECK(std::abs(count - n / 10) < 5 * std::sqrt(n * 0.09));

  // A block of rows further down sees the numbers of those rows.
  const std::vector<double> lower = uniforms<double>(16, 256, 7, 3, 0x1234, 240);
  CHECK(std::equal(lower.begin(), lower.end(), u.end() - 16 * 256));
  CHECK(uniforms<double>(2, 8, 7, 3, 0x1234) != uniforms<double>(2, 8, 8, 3, 0x1234));
  CHECK(uniforms<double>(2, 8, 7, 3, 0x1234) != uniforms<double>(2, 8, 7, 4, 0x1234));
  CHECK(uniforms<double>(2, 8, 7, 3, 0x1234) != uniforms<double>(2, 8, 7, 3, 0x1235));

  // f32 sees the same numbers, rounded down to 24 bits.
  const std::vector<float> single = uniforms<float>(256, 256, 7, 3, 0x1234);
  for (std::size_t i = 0; i < u.size(); ++i) REQUIRE(single[i] == std::floor(u[i] * 0x1p24) * 0x1p-24);
}

}  // namespace

TEST_CASE("exp of what is not positive is read as exp, too") {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64}) {
    ScalarBuilder b;
    const Scalar x = b.input(type), below = -abs(x);
    const Scalar results[] = {scalar::exp_of_negative(below), scalar::exp(x), scalar::softplus(x)};
    const ScalarProgram program = std::move(b).finish(results);
    const auto first = call_at(program, program.results[0]), second = call_at(program, program.results[1]),
               third = call_at(program, program.results[2]);
    REQUIRE((first && second && third));
    CHECK((first->function == "exp" && first->arguments == std::vector{below.id}));
    CHECK((second->function == "exp" && second->arguments == std::vector{x.id}));
    CHECK((third->function == "softplus" && third->arguments == std::vector{x.id}));
  }
}
