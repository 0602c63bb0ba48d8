// The evaluator against loops written by hand: orders of additions at the edges of lanes and chunks, conventions of
// single ops, and what it refuses.
#include "ir/evaluate.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "ir/builder.h"
#include "ir/order.h"
#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

constexpr double inf = std::numeric_limits<double>::infinity();
const double nan_ = std::nan("");

Tensor tensor(DType dtype, std::vector<std::int64_t> dims, const std::vector<double>& values) {
  Tensor result = Tensor::zeros(dtype, std::move(dims));
  for (std::int64_t i = 0; i < result.count(); ++i) result.set(i, values[i]);
  return result;
}

/// Numbers of very different size, so that another order of additions gives another sum.
Tensor rough(DType dtype, std::vector<std::int64_t> dims, unsigned seed) {
  Tensor result = Tensor::zeros(dtype, std::move(dims));
  std::mt19937 random(seed);
  for (std::int64_t i = 0; i < result.count(); ++i)
    result.set(i, (static_cast<double>(random()) / 4294967296.0 - 0.4) * std::exp2(static_cast<int>(random() % 12)));
  return result;
}

/// The value of the one result of a text over inputs.
Tensor value_of(const std::string& text, std::map<std::string, Tensor> inputs, std::int64_t batch = 1) {
  auto parsed = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&parsed)) FAIL(error->line << ": " << error->message);
  Environment environment;
  environment.batch = batch;
  environment.inputs = std::move(inputs);
  return evaluate(std::get<Graph>(parsed), environment).at("r");
}

/// An elementwise expression in %x (and %y) on lists of numbers.
std::vector<double> on(DType dtype, const std::string& result_type, const std::string& expression,
                       const std::vector<double>& x, const std::vector<double>& y = {}) {
  const std::string type = std::string(name_of(dtype)) + "[" + std::to_string(x.size()) + "]";
  std::string text = "%x = input \"x\" : " + type + "\n";
  if (!y.empty()) text += "%y = input \"y\" : " + type + "\n";
  text += "%r : " + result_type + "[" + std::to_string(x.size()) + "] = " + expression + "\nresult \"r\" = %r\n";
  std::map<std::string, Tensor> inputs{{"x", tensor(dtype, {static_cast<std::int64_t>(x.size())}, x)}};
  if (!y.empty()) inputs.emplace("y", tensor(dtype, {static_cast<std::int64_t>(y.size())}, y));
  const Tensor result = value_of(text, inputs);
  std::vector<double> values;
  for (std::int64_t i = 0; i < result.count(); ++i) values.push_back(result.at(i));
  return values;
}

void check_equal(const std::vector<double>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO(i << ": " << got[i] << ", expected " << expected[i]);
    CHECK(((std::isnan(got[i]) && std::isnan(expected[i])) ||
           (got[i] == expected[i] && std::signbit(got[i]) == std::signbit(expected[i]))));
  }
}

template <class T>
T total_of_lanes(T* lane, int lanes) {
  for (int w = lanes / 2; w >= 1; w /= 2)
    for (int i = 0; i < w; ++i) lane[i] += lane[i + w];
  return lane[0];
}

/// A sum of rows * columns numbers (row-major) over both axes, or over one if the other is 1, written as the document
/// says.
template <class T>
T sum_by_hand(const Tensor& x, std::int64_t rows, std::int64_t columns, Order order) {
  const int lanes = order == Order::serial ? 1 : sizeof(T) == 4 ? 16 : 8;
  const bool two = rows > 1 && columns > 1;
  const std::int64_t count = rows * columns, chunk = two ? 256 * columns : 4096;
  double total = 0;
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    T lane[16] = {};
    for (std::int64_t i = begin; i < count && i < begin + chunk; ++i)
      lane[(columns > 1 ? i % columns : i) % lanes] += static_cast<T>(x.at(i));
    total += static_cast<double>(total_of_lanes(lane, lanes));
  }
  return static_cast<T>(total);
}

template <class T>
void check_sums(DType dtype, std::int64_t rows, std::int64_t columns) {
  const Tensor x = rough(dtype, {rows, columns}, static_cast<unsigned>(rows * 31 + columns));
  for (Order order : {Order::serial, Order::lanes}) {
    Builder builder;
    const Value node = builder.leaf(Op::input, "x", {dtype, {{rows}, {columns}}});
    builder.output(OutputKind::result, "r", builder.make(Op::sum, {{node}}, Reduce{{0, 1}, order}));
    Environment environment;
    environment.inputs["x"] = x;
    INFO(rows << " x " << columns << (order == Order::serial ? " serial" : " lanes"));
    CHECK(evaluate(builder.graph(), environment).at("r").at(0) == sum_by_hand<T>(x, rows, columns, order));
  }
}

}  // namespace

TEST_CASE("sums add in the order that the document says") {
  for (std::int64_t n : {1, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097}) {
    check_sums<float>(DType::f32, n, 1);
    check_sums<float>(DType::f32, 1, n);
    check_sums<double>(DType::f64, 1, n);
    check_sums<float>(DType::f32, n, 3);
    check_sums<float>(DType::f32, 3, n);
  }
  check_sums<float>(DType::f32, 257, 17);
  check_sums<double>(DType::f64, 513, 9);
}

TEST_CASE("orders differ, so that the comparison above can see them") {
  const Tensor x = rough(DType::f32, {1, 4097}, 1);
  CHECK(sum_by_hand<float>(x, 1, 4097, Order::serial) != sum_by_hand<float>(x, 1, 4097, Order::lanes));
}

TEST_CASE("a sum over an outer axis goes in chunks of 256 rows, each column by itself") {
  for (std::int64_t rows : {1, 255, 256, 257, 600}) {
    const Tensor x = rough(DType::f32, {rows, 20}, 5);
    Builder builder;
    const Value node = builder.leaf(Op::input, "x", {DType::f32, {{rows}, {20}}});
    builder.output(OutputKind::result, "r", builder.make(Op::sum, {{node}}, Reduce{{0}, Order::serial}));
    Environment environment;
    environment.inputs["x"] = x;
    const Tensor result = evaluate(builder.graph(), environment).at("r");
    for (std::int64_t column = 0; column < 20; ++column) {
      // One axis is reduced, so a chunk is 4096 of its elements.
      double total = 0;
      for (std::int64_t begin = 0; begin < rows; begin += 4096) {
        float accumulator = 0;
        for (std::int64_t row = begin; row < rows && row < begin + 4096; ++row)
          accumulator += static_cast<float>(x.at(row * 20 + column));
        total += static_cast<double>(accumulator);
      }
      CHECK(result.at(column) == static_cast<float>(total));
    }
  }
}

TEST_CASE("lanes are counted along the innermost reduced axis, whatever lies between") {
  const Tensor x = rough(DType::f32, {5, 7, 19}, 9);  // axes 0 and 2 are reduced
  Builder builder;
  const Value node = builder.leaf(Op::input, "x", {DType::f32, {{5}, {7}, {19}}});
  builder.output(OutputKind::result, "r", builder.make(Op::sum, {{node}}, Reduce{{0, 2}, Order::lanes}));
  Environment environment;
  environment.inputs["x"] = x;
  const Tensor result = evaluate(builder.graph(), environment).at("r");
  for (int kept = 0; kept < 7; ++kept) {
    float lane[16] = {};
    for (int i = 0; i < 5; ++i)
      for (int k = 0; k < 19; ++k) lane[k % 16] += static_cast<float>(x.at((i * 7 + kept) * 19 + k));
    CHECK(result.at(kept) == total_of_lanes(lane, 16));
  }
}

TEST_CASE("a carry is where a sum starts, and keeps f64") {
  const Tensor x = rough(DType::f32, {5000}, 3);
  const std::string leaves = "%x = input \"x\" : f32[5000]\n%c = input \"c\" : f64\n";
  const Tensor result = value_of(leaves + "%r : f64 = sum[serial](%x, %c, 0)\nresult \"r\" = %r\n",
                                 {{"x", x}, {"c", tensor(DType::f64, {}, {1e6})}});
  double total = 1e6;
  for (int begin : {0, 4096}) {
    float accumulator = 0;
    for (int i = begin; i < std::min(5000, begin + 4096); ++i) accumulator += static_cast<float>(x.at(i));
    total += static_cast<double>(accumulator);
  }
  CHECK(result.dtype == DType::f64);
  CHECK(result.at(0) == total);
  const Tensor greatest = value_of(
      "%x = input \"x\" : f32[2]\n%c = input \"c\" : f32\n%r : f32 = reduce_max(%x, %c, 0)\nresult \"r\" = %r\n",
      {{"x", tensor(DType::f32, {2}, {1, 2})}, {"c", tensor(DType::f32, {}, {7})}});
  CHECK(greatest.at(0) == 7);
}

TEST_CASE("blocks that end at chunk boundaries carry to the same bits") {
  const Tensor x = rough(DType::f32, {600, 3}, 4);
  const auto block_total = [&](std::int64_t begin, std::int64_t end, double carry) {
    Tensor part = Tensor::zeros(DType::f32, {end - begin, 3});
    std::memcpy(part.data.data(), x.data.data() + begin * 12, part.data.size());
    const std::string text =
        "%x = input \"x\" : f32[batch, 3]\n%c = input \"c\" : f64\n"
        "%r : f64 = sum[lanes](%x, %c, [0, 1])\nresult \"r\" = %r\n";
    return value_of(text, {{"x", part}, {"c", tensor(DType::f64, {}, {carry})}}, end - begin).at(0);
  };
  const double whole = block_total(0, 600, 0);
  CHECK(block_total(256, 600, block_total(0, 256, 0)) == whole);
  CHECK(block_total(512, 600, block_total(0, 512, 0)) == whole);
}

TEST_CASE("contractions accumulate with fma in both orders") {
  for (std::int64_t k : {1, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097}) {
    const Tensor a = rough(DType::f32, {2, k}, 1), b = rough(DType::f32, {k, 3}, 2);
    for (Order order : {Order::serial, Order::lanes}) {
      Builder builder;
      const Value left = builder.leaf(Op::input, "a", {DType::f32, {{2}, {k}}});
      const Value right = builder.leaf(Op::input, "b", {DType::f32, {{k}, {3}}});
      builder.output(OutputKind::result, "r", builder.make(Op::dot, {{left, right}}, Dot{{1}, {0}, order}));
      Environment environment;
      environment.inputs["a"] = a;
      environment.inputs["b"] = b;
      const Tensor result = evaluate(builder.graph(), environment).at("r");
      for (int m = 0; m < 2; ++m)
        for (int n = 0; n < 3; ++n) {
          const auto term = [&](float accumulator, std::int64_t i) {
            return std::fma(static_cast<float>(a.at(m * k + i)), static_cast<float>(b.at(i * 3 + n)), accumulator);
          };
          float expected = 0;
          if (order == Order::serial) {
            for (std::int64_t i = 0; i < k; ++i) expected = term(expected, i);
          } else {
            double total = 0;
            for (std::int64_t begin = 0; begin < k; begin += 4096) {
              float lane[16] = {};
              for (std::int64_t i = begin; i < std::min(k, begin + 4096); ++i) lane[i % 16] = term(lane[i % 16], i);
              total += static_cast<double>(total_of_lanes(lane, 16));
            }
            expected = static_cast<float>(total);
          }
          CHECK(result.at(m * 3 + n) == expected);
        }
    }
  }
}

TEST_CASE("contractions pair their axes as listed and keep the others in order") {
  const Tensor a = rough(DType::f64, {2, 3, 4}, 1), b = rough(DType::f64, {4, 5, 2}, 2);
  const Tensor result = value_of(
      "%a = input \"a\" : f64[2, 3, 4]\n%b = input \"b\" : f64[4, 5, 2]\n"
      "%r : f64[3, 5] = dot[serial](%a, %b, [2, 0], [0, 2])\nresult \"r\" = %r\n",
      {{"a", a}, {"b", b}});
  for (int m = 0; m < 3; ++m)
    for (int n = 0; n < 5; ++n) {
      double expected = 0;
      for (int p = 0; p < 4; ++p)
        for (int q = 0; q < 2; ++q) expected = std::fma(a.at((q * 3 + m) * 4 + p), b.at((p * 5 + n) * 2 + q), expected);
      CHECK(result.at(m * 5 + n) == expected);
    }
}

TEST_CASE("the edges of sums and contractions") {
  const auto tiny = tensor(DType::f32, {1}, {1e-30}), minus = tensor(DType::f32, {1}, {-1e-30});
  const auto dot = [&](const std::string& order) {
    return value_of("%a = input \"a\" : f32[1]\n%b = input \"b\" : f32[1]\n%r : f32 = dot[" + order +
                        "](%a, %b, 0, 0)\nresult \"r\" = %r\n",
                    {{"a", tiny}, {"b", minus}})
        .at(0);
  };
  CHECK(std::signbit(dot("serial")));  // fma(1e-30, -1e-30, +0) underflows to -0
  CHECK_FALSE(std::signbit(dot("lanes")));
  const std::string empty = "%x = input \"x\" : f32[0, 3]\n";
  const std::map<std::string, Tensor> none{{"x", Tensor::zeros(DType::f32, {0, 3})}};
  check_equal({value_of(empty + "%r : f32 = sum[lanes](%x, [0, 1])\nresult \"r\" = %r\n", none).at(0)}, {0});
  check_equal({value_of(empty + "%r : f32[3] = reduce_max(%x, 0)\nresult \"r\" = %r\n", none).at(1)}, {-inf});
  check_equal({value_of(empty + "%r : f32[3, 3] = dot[serial](%x, %x, 0, 0)\nresult \"r\" = %r\n", none).at(8)}, {0});
  const Tensor big = tensor(DType::i32, {2}, {2147483647, 2});
  CHECK(value_of("%x = input \"x\" : i32[2]\n%r : i32 = sum[lanes](%x, 0)\nresult \"r\" = %r\n", {{"x", big}}).at(0) ==
        -2147483647.0);
}

TEST_CASE("maxima: NaN wins, -0 is below +0, the first of the greatest is found") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const std::string type(name_of(dtype));
    check_equal(on(dtype, type, "max(%x, %y)", {1, nan_, 2, -0.0, 0.0, -inf}, {2, 1, nan_, 0.0, -0.0, inf}),
                {2, nan_, nan_, 0.0, 0.0, inf});
    check_equal(on(dtype, type, "min(%x, %y)", {1, nan_, 2, -0.0, 0.0, -inf}, {2, 1, nan_, 0.0, -0.0, inf}),
                {1, nan_, nan_, -0.0, -0.0, -inf});
    const auto reduced = [&](const std::string& op, const std::string& result, const std::vector<double>& values) {
      const std::string size = std::to_string(values.size());
      return value_of("%x = input \"x\" : " + type + "[" + size + "]\n%r : " + result + " = " + op +
                          "(%x, 0)\nresult \"r\" = %r\n",
                      {{"x", tensor(dtype, {static_cast<std::int64_t>(values.size())}, values)}})
          .at(0);
    };
    check_equal({reduced("reduce_max", type, {-3, -0.0, 0.0, -1}), reduced("reduce_max", type, {1, nan_, 3})},
                {0.0, nan_});
    check_equal({reduced("argmax", "i32", {1, 3, 3}), reduced("argmax", "i32", {1, nan_, 3, nan_}),
                 reduced("argmax", "i32", {-inf, -inf}), reduced("argmax", "i32", {0.0, -0.0, 0.0})},
                {1, 1, 0, 0});
  }
}

TEST_CASE("conventions of elementwise ops at the edges") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const std::string type(name_of(dtype));
    check_equal(on(dtype, type, "sign(%x)", {-2, -0.0, 0.0, 3, nan_, -inf}), {-1, 0, 0, 1, nan_, -1});
    check_equal(on(dtype, type, "abs(%x)", {-2, -0.0, nan_, -inf}), {2, 0, nan_, inf});
    check_equal(on(dtype, type, "-%x", {-2, 0.0, -0.0}), {2, -0.0, 0.0});
    check_equal(on(dtype, type, "sqrt(%x)", {4, -0.0, -1, inf}), {2, -0.0, nan_, inf});
    check_equal(on(dtype, type, "%x / %y", {1, 0, -1, 1}, {0, 0, 0, inf}), {inf, nan_, -inf, 0});
    check_equal(on(dtype, "bool", "%x == %y", {1, nan_, 0.0}, {1, nan_, -0.0}), {1, 0, 1});
    check_equal(on(dtype, "bool", "%x < %y", {1, nan_, -0.0, 1}, {1, 1, 0.0, 2}), {0, 0, 0, 1});
    check_equal(on(dtype, "bool", "%x <= %y", {1, nan_, -0.0, 1}, {1, 1, 0.0, 2}), {1, 0, 1, 1});
    check_equal(on(dtype, type, "select(%x <= 0, 0, %x)", {-1, nan_, 2, -0.0}), {0, nan_, 2, 0});
    check_equal(on(dtype, "i32", "i32(%x)", {1.9, -1.9, nan_, inf, -inf, 2147483648.0, -2147483648.0, 3e9}),
                {1, -1, 0, 2147483647, -2147483648.0, 2147483647, -2147483648.0, 2147483647});
  }
  check_equal(on(DType::f64, "i32", "i32(%x)", {2147483647.5, -2147483648.5, 2147483646.9}),
              {2147483647, -2147483648.0, 2147483646});
  check_equal(on(DType::f64, "f32", "f32(%x)", {0.1, 1e300, 1e-46}), {static_cast<double>(0.1f), inf, 0});
  check_equal(on(DType::i32, "f32", "f32(%x)", {16777217, -5}), {16777216, -5});
  check_equal(on(DType::boolean, "i32", "i32(%x)", {1, 0}), {1, 0});
  check_equal(on(DType::boolean, "f64", "f64(logical_not(%x))", {1, 0}), {0, 1});
  check_equal(on(DType::boolean, "bool", "logical_and(%x, %y)", {1, 1, 0, 0}, {1, 0, 1, 0}), {1, 0, 0, 0});
  check_equal(on(DType::boolean, "bool", "logical_or(%x, %y)", {1, 1, 0, 0}, {1, 0, 1, 0}), {1, 1, 1, 0});
  check_equal(on(DType::i32, "i32", "%x * %y - -%x", {2147483647, -3}, {2, 4}), {2147483645, -15});
  check_equal(on(DType::i32, "i32", "max(abs(%x), %y) + min(%x, sign(%y))", {-7, 5}, {2, -9}), {0, 4});
  check_equal(on(DType::i32, "bool", "%x < %y", {-1, 3}, {1, 3}), {1, 0});
}

TEST_CASE("rank 0 meets every element, beyond one block too") {
  const Tensor x = rough(DType::f32, {3000}, 8);
  const Tensor result = value_of(
      "%x = input \"x\" : f32[3000]\n%s = input \"s\" : f32\n%r : f32[3000] = select(%s < 1, %x * %s, 7)\nresult \"r\" "
      "= %r\n",
      {{"x", x}, {"s", tensor(DType::f32, {}, {0.5})}});
  bool same = true;
  for (int i = 0; i < 3000; ++i) same &= result.at(i) == static_cast<float>(x.at(i)) * 0.5f;
  CHECK(same);
}

TEST_CASE("views move elements and nothing else") {
  const Tensor x = tensor(DType::i32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const auto view = [&](const std::string& type, const std::string& expression) {
    const Tensor result = value_of(
        "%x = input \"x\" : i32[batch, 3]\n%r : " + type + " = " + expression + "\nresult \"r\" = %r\n", {{"x", x}}, 2);
    std::vector<double> values;
    for (std::int64_t i = 0; i < result.count(); ++i) values.push_back(result.at(i));
    return values;
  };
  check_equal(view("i32[3, batch]", "transpose(%x, [1, 0])"), {1, 4, 2, 5, 3, 6});
  check_equal(view("i32[3*batch]", "reshape(%x, [3*batch])"), {1, 2, 3, 4, 5, 6});
  check_equal(view("i32[batch, 2, 3]", "broadcast(%x, [batch, 2, 3], [0, 2])"), {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6});
  check_equal(view("i32[2]", "broadcast(5_i32, [2])"), {5, 5});
}

TEST_CASE("iota and random count rows from the start of the data") {
  auto parsed = parse_graph(
      "%i = iota 0 : i32[batch, 2]\n%k = iota 1 : f32[batch, 2]\n%u = random 0x2a : f32[batch, 6]\n"
      "%n = random 0x2a : f32[4, 6]\n%s : f64 = size(2*batch)_f64 + 0.5\n"
      "result \"i\" = %i\nresult \"k\" = %k\nresult \"u\" = %u\nresult \"n\" = %n\nresult \"s\" = %s\n");
  const Graph graph = std::get<Graph>(parsed);
  Environment whole, tail;
  whole.batch = 4;
  whole.seed = tail.seed = 9;
  tail.batch = 3;
  tail.row_offset = 1;
  const auto all = evaluate(graph, whole), rest = evaluate(graph, tail);
  for (int row = 0; row < 3; ++row) {
    CHECK(rest.at("i").at(row * 2) == row + 1);
    CHECK(rest.at("k").at(row * 2 + 1) == 1);
    for (int column = 0; column < 6; ++column)
      CHECK(rest.at("u").at(row * 6 + column) == all.at("u").at((row + 1) * 6 + column));
  }
  CHECK(same_bits(all.at("n"), rest.at("n")));  // no axis of it is batched, so no row is counted on
  CHECK(same_bits(all.at("n"), all.at("u")));
  CHECK(rest.at("s").at(0) == 6.5);
  for (int i = 0; i < 24; ++i) {
    CHECK(all.at("u").at(i) >= 0);
    CHECK(all.at("u").at(i) < 1);
  }
}

TEST_CASE("outputs, updates and run-time numbers") {
  auto parsed = parse_graph(
      "%W = param \"W\" : f32[2]\n%m = state \"m\" : f32[2]\n%step = scalar \"step\" : f64\n"
      "%n : f32[2] = %W - %m * f32(%step)\nresult \"W\" = %W\nupdate \"W\" = %n\n");
  Environment environment;
  environment.params["W"] = tensor(DType::f32, {2}, {1, 2});
  environment.state["m"] = tensor(DType::f32, {2}, {0.5, 0.25});
  environment.scalars["step"] = 4;
  const auto values = evaluate(std::get<Graph>(parsed), environment);
  CHECK(values.size() == 2);
  CHECK(values.at("update W") == tensor(DType::f32, {2}, {-1, 1}));
}

TEST_CASE("what cannot be evaluated is refused") {
  const auto refuses = [](const std::string& text, const Environment& environment, const std::string& why) {
    CHECK_THROWS_WITH(evaluate(std::get<Graph>(parse_graph(text)), environment), why);
  };
  refuses("%x = input \"x\" : f32[2]\nresult \"r\" = %x\n", {}, "input \"x\" is not given");
  refuses("%x = scalar \"step\" : f64\nresult \"r\" = %x\n", {}, "scalar \"step\" is not given");
  Environment environment;
  environment.inputs["x"] = tensor(DType::f32, {2}, {1, 2});
  refuses("%x = input \"x\" : f32[batch, 2]\nresult \"r\" = %x\n", environment,
          "input \"x\" is not f32[batch, 2], batch = 1");
  refuses("%x = input \"x\" : f32[2]\n%s : f32 = sum(%x, 0)\nresult \"r\" = %s\n", environment,
          "a sum or dot without an order");
  refuses("%x = input \"x\" : f32[2]\n%g : f32[2] = grad(sum[lanes](%x, 0), %x)\nresult \"r\" = %g\n", environment,
          "grad is to be removed before evaluation");
  const Graph unset =
      std::get<Graph>(parse_graph("%x = input \"x\" : f32[2]\n%s : f32 = sum(%x, 0)\nresult \"r\" = %s\n"));
  CHECK(evaluate(unset, environment, true).at("r").at(0) == 3);
}

TEST_CASE("the order that a reduction is given depends on static extents alone") {
  const auto order = [](const std::string& result, const std::string& expression) {
    auto parsed = parse_graph(
        "%x = input \"x\" : f32[batch, 15]\n%w = input \"w\" : f32[batch, 16]\n%v = input \"v\" : f32[batch, 4]\n"
        "%o = input \"o\" : f32[4, 1, 20]\n%r : " +
        result + " = " + expression + "\nresult \"r\" = %r\n");
    if (const auto* error = std::get_if<TextError>(&parsed)) FAIL(error->message);
    const Graph& graph = std::get<Graph>(parsed);
    return natural_order(graph, graph.outputs[0].node);
  };
  CHECK(order("f32[15]", "sum(%x, 0)") == Order::lanes);     // 15 kept beside each other
  CHECK(order("f32[16]", "sum(%w, 0)") == Order::serial);    // 16
  CHECK(order("f32[batch]", "sum(%w, 1)") == Order::lanes);  // nothing kept inside
  CHECK(order("f32[1, 20]", "sum(%o, 0)") == Order::serial);
  CHECK(order("f32[4, 20]", "sum(%o, 1)") == Order::serial);  // an axis of 1 is no reduction
  CHECK(order("f32[4]", "sum(%o, [1, 2])") == Order::lanes);
  CHECK(order("f32[20]", "sum(%o, [0, 1])") == Order::serial);
  CHECK(order("f32[16, 4]", "dot(%w, %v, 0, 0)") == Order::lanes);  // 64 results over the batch
  CHECK(order("f32[16, 15]", "dot(%w, %x, 0, 0)") == Order::serial);
  CHECK(order("f32[batch, 1, 20]", "dot(%v, %o, 1, 0)") == Order::serial);
  CHECK(order("f32[batch]", "reduce_max(%x, 1)") == Order::unset);
}

namespace {

std::vector<double> elements_of(const Tensor& x) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < x.count(); ++i) values.push_back(x.at(i));
  return values;
}

}  // namespace

TEST_CASE("gather reads rows by their numbers, the nearest one where there is none") {
  const std::map<std::string, Tensor> inputs{{"t", tensor(DType::f32, {3, 2}, {1, 2, 3, 4, 5, 6})},
                                             {"i", tensor(DType::i32, {2, 3}, {2, 0, 1, 2147483647, -5, 1})}};
  const Tensor r = value_of(
      "%t = input \"t\" : f32[3, 2]\n%i = input \"i\" : i32[batch, 3]\n%r : f32[batch, 3, 2] = gather(%t, %i)\n"
      "result \"r\" = %r\n",
      inputs, 2);
  check_equal(elements_of(r), {5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4});
}

TEST_CASE("scatter_add adds in the order of ids, in the element type, from zero or from a carry") {
  const std::string leaves =
      "%x = input \"x\" : f32[batch]\n%i = input \"i\" : i32[batch]\n%c = input \"c\" : f32[3]\n";
  const std::map<std::string, Tensor> inputs{{"x", tensor(DType::f32, {5}, {1, 16777216, 1, 7, 9})},
                                             {"i", tensor(DType::i32, {5}, {1, 1, 1, 9, -1})},
                                             {"c", tensor(DType::f32, {3}, {1, -1, 0.5})}};
  // 1 + 2^24 is 2^24 in f32, and so is that with another 1.
  check_equal(elements_of(value_of(leaves + "%r : f32[3] = scatter_add(%x, %i, 3)\nresult \"r\" = %r\n", inputs, 5)),
              {9, 16777216, 7});
  check_equal(
      elements_of(value_of(leaves + "%r : f32[3] = scatter_add(%x, %i, %c, 3)\nresult \"r\" = %r\n", inputs, 5)),
      {10, 16777216, 7.5});
}

TEST_CASE("a contraction with kept pairs is one contraction for each of their indices") {
  for (const Order order : {Order::serial, Order::lanes}) {
    const Tensor a = rough(DType::f32, {2, 3, 40}, 1), b = rough(DType::f32, {40, 3, 5}, 2);
    Builder builder;
    const Value left = builder.leaf(Op::input, "a", {DType::f32, {{2}, {3}, {40}}});
    const Value right = builder.leaf(Op::input, "b", {DType::f32, {{40}, {3}, {5}}});
    builder.output(OutputKind::result, "r", builder.make(Op::dot, {{left, right}}, Dot{{2}, {0}, order, {1}, {1}}));
    Environment environment;
    environment.inputs = {{"a", a}, {"b", b}};
    const Tensor r = evaluate(std::move(builder).finish(), environment).at("r");
    REQUIRE(r.dims == std::vector<std::int64_t>{3, 2, 5});
    for (std::int64_t h = 0; h < 3; ++h) {
      Tensor row = Tensor::zeros(DType::f32, {2, 40}), column = Tensor::zeros(DType::f32, {40, 5});
      for (std::int64_t k = 0; k < 40; ++k) {
        for (std::int64_t m = 0; m < 2; ++m) row.set(m * 40 + k, a.at((m * 3 + h) * 40 + k));
        for (std::int64_t n = 0; n < 5; ++n) column.set(k * 5 + n, b.at((k * 3 + h) * 5 + n));
      }
      const std::string word = order == Order::serial ? "serial" : "lanes";
      const Tensor alone = value_of(
          "%a = input \"a\" : f32[2, 40]\n%b = input \"b\" : f32[40, 5]\n"
          "%r : f32[2, 5] = dot[" +
              word + "](%a, %b, 1, 0)\nresult \"r\" = %r\n",
          {{"a", row}, {"b", column}});
      for (std::int64_t i = 0; i < 10; ++i) CHECK(r.at(h * 10 + i) == alone.at(i));
    }
  }
}
