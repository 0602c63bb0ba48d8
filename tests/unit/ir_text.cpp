// The text form of graphs: what is printed reads back as the same graph, and a mistake in a text is answered with its
// place.
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "ir/builder.h"
#include "ir/loops.h"
#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

const Type f32_rows{DType::f32, {batch_extent, {10}}};

Graph parsed(const std::string& text) {
  auto result = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&result))
    FAIL(text << "\n" << error->line << ":" << error->column << ": " << error->message);
  return std::get<Graph>(std::move(result));
}

void check_round_trip(const Graph& graph) {
  const std::string text = print(graph);
  INFO(text);
  CHECK(verify(graph) == "");
  const Graph again = parsed(text);
  CHECK(same_graph(graph, again));
  CHECK(print(again) == text);
}

/// Statements over two leaves X and Y of type f32[batch, 10], with a result.
std::string with_leaves(const std::string& statements) {
  return "%X = input \"X\" : f32[batch, 10]\n%Y = input \"Y\" : f32[batch, 10]\n" + statements;
}

}  // namespace

TEST_CASE("a gradient reads as one line") {
  Builder builder("step");
  const Value A = builder.leaf(Op::input, "A", f32_rows), Y = builder.leaf(Op::input, "Y", f32_rows);
  builder.set_derived(true);
  const Value dZ = (A - Y) / builder.size(batch_extent, DType::f32);
  builder.name_node(dZ.id, "dZ");
  builder.set_derived(false);
  builder.output(OutputKind::result, "dZ", dZ);
  const Graph graph = std::move(builder).finish();
  CHECK(print(graph) ==
        "graph \"step\"\n"
        "%A = input \"A\" : f32[batch, 10]\n"
        "%Y = input \"Y\" : f32[batch, 10]\n"
        "~ %dZ : f32[batch, 10] = (%A - %Y) / size(batch)\n"
        "result \"dZ\" = %dZ\n");
  check_round_trip(graph);
}

TEST_CASE("text that is its own print") {
  const std::string text = GENERATE(
      // products group to the left, and parentheses say where they do not
      "%r : f32[batch, 10] = %X * %Y * (%Y * %X) - (%X - (%Y - %X))\n",
      "%r : f32[batch, 10] = -(%X + %Y) * -%X / (%Y / %X)\n", "%r : f32[batch, 10] = --%X - -2 * -(2_f32)\n",
      // numbers take the type that stands beside them
      "%r : f32[batch, 10] = 0.1 * %X + 1e+20 - (1e-20_f32 + 3) * %Y\n",
      "%r : f32[batch, 10] = select(%X <= 0, 0, %X) + select(true, inf_f32, nan)\n",
      "%r : f32[batch, 10] = max(%X, -inf) + size(2*batch)\n", "%r : f64[batch, 10] = f64(%X) * f64(size(batch)_f32)\n",
      "%r : bool[batch, 10] = logical_or(%X == %Y, %X * 2 < %Y + 1)\n",
      // reductions, views, contractions
      "%r : f32[batch] = sum(exp(%X - broadcast(reduce_max(%Y, 1), [batch, 10], 0)), 1)\n",
      "%r : f32 = sum[lanes](%X, [0, 1])\n", "%r : f32[batch] = sum[serial](%X, 1)\n",
      "%r : i32[batch] = argmax(%X + %Y, 1)\n", "%r : f32[10, batch] = transpose(%X + %Y, [1, 0])\n",
      "%r : f32[5, 2*batch] = reshape(%X + %Y, [5, 2*batch])\n",
      "%r : f32[batch, 3, 10] = broadcast(%X + %Y, [batch, 3, 10], [0, 2])\n",
      "%r : f32[2, batch] = broadcast(2_f32, [2, batch])\n", "%r : f32[10, 10] = dot[serial](%X, exp(%Y), 0, 0)\n",
      "%r : f32 = dot[lanes](%X, %Y, [0, 1], [0, 1])\n", "%r : f32[batch, 10] = stop_gradient(%X)\n",
      "%r : f32[batch, 10] = grad(sum(%X, [0, 1]), %Y)\n",
      "%0 : f32[batch, 10] = point(%X, 2)\n%r : f32[batch, 10] = %0 * 3\n",
      // leaves
      "%r = constant [0.1, -3, 1e-45, nan, inf] : f32[5]\n", "%r = constant [] : f64[0]\n",
      "%r = constant [true, false] : bool[2]\n", "%r = iota 1 : i32[batch, 10]\n",
      "%r = random 0xfedcba9876543210 : f32[batch, 10]\n", "%step = scalar \"step\" : f64\n%r : f64 = 0.9 * %step\n",
      "%c = carry \"total\" : f64[10]\n%r : f64[10] = sum[serial](%X, %c, 0)\n",
      // names
      "%\"a b\" : f32[batch, 10] = %X + %Y\n%\"a b\".2 : f32[batch, 10] = %X * %Y\n%r : f32[batch, 10] = %\"a b\" / "
      "%\"a b\".2\n",
      "%Block2.Dense1.W = param \"Block2.Dense1.W\" : f32[10]\n%\"a.3\" = param \"\\x0a\\\"\" : f32[10]\n"
      "%r : f32[10] = %Block2.Dense1.W + %\"a.3\"\n");
  const std::string all = with_leaves(text) + "require 0 <= \"X\" < 10\nresult \"r\" = %r\n";
  const Graph graph = parsed(all);
  CHECK(print(graph) == all);
  check_round_trip(graph);
}

TEST_CASE("long expressions are broken into statements, and the text does not depend on the numbering") {
  Builder builder;
  Value x = builder.leaf(Op::input, "X", f32_rows);
  Value sum = x;
  for (int i = 1; i <= 60; ++i) sum = sum + apply(Op::exp, x * i);
  builder.output(OutputKind::result, "sum", sum);
  const Graph graph = std::move(builder).finish();
  check_round_trip(graph);
  const std::string text = print(graph);
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    CHECK(end - begin <= 114);  // a label of more digits than were planned for
}

TEST_CASE("derived and written values do not share a line") {
  const std::string text =
      "%X = input \"X\" : f32[batch, 10]\n"
      "~ %0 : f32[batch, 10] = exp(%X * 2)\n"
      "%1 : f32[batch, 10] = -%0\n"
      "~ %2 : f32[batch] = sum(%1 * %X, 1)\n"
      "result \"r\" = %2\n";
  CHECK(print(parsed(text)) == text);
  check_round_trip(parsed(text));
}

TEST_CASE("nodes that no output needs are kept, numbers too") {
  Builder builder;
  builder.constant(0.5, DType::f32);
  builder.size({2, true}, DType::f64);
  const Value x = builder.leaf(Op::input, "x", {DType::f32, {}});
  apply(Op::exp, x);
  builder.oblige({"x", -3, 5, {}});
  check_round_trip(builder.graph());
}

TEST_CASE("numbers as outputs and as the operands of everything") {
  Builder builder;
  const Value two = builder.constant(2, DType::f64), half = builder.constant(0.5, DType::f64);
  const Value minus = builder.constant(-3, DType::i32);
  builder.output(OutputKind::result, "number", two);
  builder.output(OutputKind::result, "size", builder.size(batch_extent, DType::f32));
  builder.output(OutputKind::result, "sum", two + half);
  builder.output(OutputKind::result, "power", apply(Op::pow, two, half));
  builder.output(OutputKind::result, "sign", -apply(Op::abs, minus));
  builder.output(OutputKind::result, "grad", apply(Op::grad, two, half));
  builder.output(OutputKind::result, "spread", builder.spread(minus, {{3}, {4}}));
  builder.output(OutputKind::result, "chosen", builder.select(builder.constant(1, DType::boolean), two, half));
  builder.output(OutputKind::update, "W", builder.cast(minus, DType::f32));
  for (double value : {-0.0, 0.1, 1e300, 5e-324, std::numeric_limits<double>::infinity(), std::nan("")})
    builder.output(OutputKind::result, std::to_string(builder.graph().outputs.size()),
                   apply(Op::exp, builder.constant(value, DType::f64)));
  check_round_trip(std::move(builder).finish());
}

TEST_CASE("values that differ only in names are told apart") {
  Builder a, b;
  for (Builder* builder : {&a, &b}) {
    const Value x = builder->leaf(Op::input, "X", f32_rows);
    builder->output(OutputKind::result, "y", apply(Op::exp, x));
  }
  CHECK(same_graph(a.graph(), b.graph()));
  b.name_node(b.graph().outputs[0].node, "y");
  CHECK_FALSE(same_graph(a.graph(), b.graph()));
  a.name_node(a.graph().outputs[0].node, "y");
  CHECK(same_graph(a.graph(), b.graph()));
}

TEST_CASE("equality does not look at the numbering") {
  const Graph a =
      parsed(with_leaves("%a : f32[batch, 10] = exp(%X)\n%b : f32[batch, 10] = exp(%Y)\nresult \"r\" = %a - %b\n"));
  const Graph b =
      parsed(with_leaves("%b : f32[batch, 10] = exp(%Y)\n%a : f32[batch, 10] = exp(%X)\nresult \"r\" = %a - %b\n"));
  const Graph c =
      parsed(with_leaves("%b : f32[batch, 10] = exp(%Y)\n%a : f32[batch, 10] = exp(%X)\nresult \"r\" = %b - %a\n"));
  CHECK(same_graph(a, b));
  CHECK_FALSE(same_graph(a, c));
}

TEST_CASE("an expression over named nodes") {
  const Graph graph = parsed(with_leaves(
      "%A : f32[batch, 10] = exp(%X)\n%d : f32[batch, 10] = (%A - %Y) / size(batch) * 2\nresult \"r\" = %d\n"));
  CHECK(print_expression(graph, graph.outputs[0].node) == "(%A - %Y) / size(batch) * 2");
  CHECK(print_expression(graph, 0) == "input \"X\"");
}

TEST_CASE("mistakes in a text are answered with their place") {
  struct Case {
    std::string text;
    std::uint32_t line, column;
    std::string message;
  };
  const auto wrong = GENERATE(values<Case>({
      {"%r : f32[batch, 10] = %X + %Z\n", 3, 28, "%Z is not defined before this"},
      {"%r : f32[batch, 10] = %X + \n", 3, 28, "a value is expected here, not the end of the line"},
      {"%r : f32[batch, 10] = (%X + %Y", 3, 31, "`)` is expected here, not the end of the text"},
      {"%r : f32[batch] = %X + %Y\n", 3, 6, "the expression is f32[batch, 10], not f32[batch]"},
      {"%r : f32[batch, 10] = foo(%X)\n", 3, 23, "`foo` is no op that is called"},
      {"%r : f32[batch, 10] = add(%X)\n", 3, 23, "add: it takes 2 operands, not 1"},
      {"%r : f32[batch, 10] = exp()\n", 3, 23, "exp: it takes operands"},
      {"%r : f32[batch, 10] = exp(%X, [1])\n", 3, 31, "a value is expected here, not `[`"},
      {"%r : f32 = 2 + 3\n", 3, 12, "the element type of this number is not clear: write it behind, as in `2_f32`"},
      {"%r : f32 = 2_f31 + 3\n", 3, 13, "`_f31` is no element type of a number"},
      {"%r : i32[batch, 10] = i32(%X) + 0.5\n", 3, 33, "`0.5` is no element of i32"},
      {"%r : i32[batch, 10] = i32(%X) + 3000000000\n", 3, 33, "`3000000000` is no element of i32"},
      {"%r : i32[batch, 10] = i32(%X) + size(batch)\n", 3, 33, "a size is a floating-point number"},
      {"%r : f32[batch] = sum(%X, 2)\n", 3, 19, "sum: its axes do not fit its operands"},
      {"%r : f32[batch] = sum(%X, batch)\n", 3, 27, "`batch` is no op that is called"},
      {"%r : f32[batch] = sum(%X)\n", 3, 19, "sum takes axes behind its operands"},
      {"%r : f32[batch] = sum[quickly](%X, 1)\n", 3, 23, "`serial` or `lanes` is expected here, not `quickly`"},
      {"%r : f32[batch] = reduce_max[lanes](%X, 1)\n", 3, 19, "reduce_max has no order"},
      {"%r : f32[batch] = exp[lanes](%X)\n", 3, 22, "exp has no order"},
      {"%r : f32[batch, 10] = cast(%X)\n", 3, 23, "a cast is written as the type that it makes, as in `f32(%x)`"},
      {"%X = input \"X\" : f32\n", 3, 1, "%X is there already"},
      {"%r = exp(%X) : f32\n", 3, 6, "a leaf is expected here, as in `param \"W\"` or `constant [1, 2]`, not `exp`"},
      {"%r = constant [1, 2] : f32[3]\n", 3, 6, "constant: the numbers of elements do not agree"},
      {"%r = constant [1, x] : f32[2]\n", 3, 6, "`x` is no element of f32"},
      {"%r = constant [1] : f32[99999999999999999999]\n", 3, 25, "this is no 64-bit integer"},
      {"%r = param \"W\" : f32[4*batch]\n", 3, 6, "param: the numbers of elements do not agree"},
      {"%r = param \"W\" : f16[4]\n", 3, 18, "a type is expected here, not `f16`"},
      {"%r = param \"W : f32[4]\n", 3, 12, "this string does not end"},
      {"%1a = param \"W\" : f32[4]\n", 3, 1, "a label's name does not begin with a digit"},
      {"%r : f32[batch, 10] = %X $ %Y\n", 3, 26, "this character has no meaning here"},
      {"%r : bool[batch, 10] = %X < %Y < %X\n", 3, 32, "the statement should end here, not `<`"},
      {"hello\n", 3, 1, "a statement begins with a label, as in `%y`, not `hello`"},
  }));
  const std::string text = with_leaves(wrong.text);
  INFO(text);
  const auto result = parse_graph(text);
  REQUIRE(std::holds_alternative<TextError>(result));
  const auto& error = std::get<TextError>(result);
  CHECK(error.message == wrong.message);
  CHECK(error.line == wrong.line);
  CHECK(error.column == wrong.column);
}

TEST_CASE("hostile texts are refused without harm") {
  const auto nested = [](const std::string& open, std::size_t depth) {
    std::string text = "%r : f32 = ";
    for (std::size_t i = 0; i < depth; ++i) text += open;
    return text;
  };
  for (const std::string open : {"(", "-", "exp(", "--(", "sum("}) {
    const auto result = parse_graph(nested(open, 1000000));
    REQUIRE(std::holds_alternative<TextError>(result));
    CHECK(std::get<TextError>(result).message == "this is nested too deeply");
  }
  // A valid text cut anywhere is read or refused, never more.
  const std::string text = with_leaves(
      "~ %r : f32[batch] = sum[lanes](exp(-%X) * 0.5, 1) / size(batch)\n%\"a\\x20b\".2 = random 0x1f : "
      "f64[2*batch]\nresult \"r\" = %r\n");
  for (std::size_t length = 0; length <= text.size(); ++length) {
    const auto result = parse_graph(text.substr(0, length));
    if (const auto* graph = std::get_if<Graph>(&result)) CHECK(verify(*graph) == "");
  }
  for (std::size_t at = 0; at < text.size(); ++at)
    for (char c : {'\0', '%', '"', '(', ']', '\\', '9', '\n', '-', '\x80'}) {
      std::string changed = text;
      changed[at] = c;
      const auto result = parse_graph(changed);
      if (const auto* graph = std::get_if<Graph>(&result)) CHECK(verify(*graph) == "");
    }
}

namespace {

/// Grows graphs by asking the builder for random ops over random operands and keeping what has a type.
class Grower {
 public:
  explicit Grower(unsigned seed) : random_(seed), builder_("grown") {}

  Graph grow() {
    const int nodes = 1 + below(60);
    while (static_cast<int>(builder_.graph().nodes.size()) < nodes) {
      builder_.set_derived(below(3) == 0);
      const Op op = all_ops()[below(static_cast<int>(all_ops().size()))];
      std::vector<NodeId> operands;
      const int count = static_cast<int>(builder_.graph().nodes.size());
      const int arity = definition(op).arity >= 0 ? definition(op).arity : 1 + below(2);
      if (arity > 0 && count == 0) continue;
      for (int i = 0; i < arity; ++i)
        operands.push_back(static_cast<NodeId>(below(4) == 0 ? below(count) : count - 1 - below(std::min(count, 5))));
      const Type wanted{static_cast<DType>(below(4)), shape()};
      const ValueOrError made = builder_.try_make(op, operands, attributes(op, wanted, operands), wanted);
      if (const auto* value = std::get_if<Value>(&made); value && below(6) == 0) builder_.name_node(value->id, name());
    }
    const int outputs = below(4);
    for (int i = 0; i < outputs; ++i)
      builder_.output(below(2) == 0 ? OutputKind::result : OutputKind::update, "out" + std::to_string(i),
                      {&builder_, static_cast<NodeId>(below(static_cast<int>(builder_.graph().nodes.size())))});
    return builder_.graph();
  }

 private:
  int below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

  Shape shape() {
    static const std::vector<Shape> shapes = {{},
                                              {},
                                              {{3}},
                                              {{0}},
                                              {{3}, {3}},
                                              {batch_extent, {3}},
                                              {{3}, batch_extent},
                                              {batch_extent},
                                              {{3, true}},
                                              {{2}, {3}, {2}},
                                              {{1}}};
    return shapes[below(static_cast<int>(shapes.size()))];
  }
  std::string name() {
    static const std::vector<std::string> names = {"x", "x", "dZ", "Block2.Dense1.W", "a b",  "x.2",
                                                   "",  "9", "%",  "\"\\\n",          "size", "."};
    return names[below(static_cast<int>(names.size()))];
  }
  double number(DType dtype) {
    static const std::vector<double> numbers = {0,
                                                1,
                                                -1,
                                                0.5,
                                                -0.0,
                                                3,
                                                0.1f,
                                                1e-45f,
                                                std::numeric_limits<float>::max(),
                                                std::numeric_limits<double>::infinity()};
    if (dtype == DType::f64 && below(2) == 0) return std::ldexp(static_cast<double>(random_()) - 2e9, below(200) - 100);
    return numbers[below(static_cast<int>(numbers.size()))];
  }
  std::vector<int> axes() {
    static const std::vector<std::vector<int>> lists = {{}, {0}, {1}, {0, 1}, {1, 0}, {0, 2}, {0, 1, 2}, {2, 0, 1}};
    return lists[below(static_cast<int>(lists.size()))];
  }
  std::vector<std::int64_t> numbers(int least) {
    std::vector<std::int64_t> list(static_cast<std::size_t>(below(4)));
    for (std::int64_t& number : list) number = below(4) == 0 ? least + below(4) : least < -1 ? 1 : 0;
    return list;
  }
  /// Carries the first operand through two steps, unchanged, and hands out the last.
  Scan loop(const std::vector<NodeId>& operands) {
    Builder step("step");
    std::vector<std::string> names;
    std::vector<NodeId> inputs;
    for (NodeId operand : operands) {
      names.push_back("x" + std::to_string(names.size()));
      inputs.push_back(step.leaf(Op::input, names.back(), builder_[operand].type).id);
    }
    return {.body = loop_body(step.graph(), names, std::vector{inputs.front(), inputs.back()}),
            .carries = 1,
            .steps = 1 + below(2),
            .backwards = below(2) == 1,
            .result = below(2)};
  }
  Attributes attributes(Op op, const Type& wanted, const std::vector<NodeId>& operands) {
    const Order order = static_cast<Order>(below(3));
    static const std::vector<std::string> leaf_names = {"W", "step", "epoch", "adam.m/W", "\"", ""};
    switch (definition(op).cls) {
      case OpClass::leaf:
        if (op == Op::constant) {
          Constant constant;
          for (std::int64_t i = 0; i < element_count(wanted.shape).count; ++i)
            constant.values.push_back(number(wanted.dtype));
          return constant;
        }
        if (op == Op::size) return Size{{1 + below(3), true}};
        // One leaf of a kind and name has one type, so a leaf's name says its type.
        return Named{op == Op::scalar ? "step"
                                      : leaf_names[below(static_cast<int>(leaf_names.size()))] + to_string(wanted)};
      case OpClass::generate:
        if (op == Op::random) return Random{random_()};
        return Iota{below(3)};
      case OpClass::control:
        if (op == Op::point) return Numbered{below(3)};
        return NoAttributes{};
      case OpClass::elementwise:
      case OpClass::formula:
        return NoAttributes{};
      case OpClass::loop:
        return loop(operands);
      case OpClass::reduce:
        if (op == Op::overlap_add) return OverlapAdd{below(2), 1 + below(6), 1 + below(2), 1 + below(2)};
        return Reduce{axes(), op == Op::sum ? Order::lanes : Order::unset};
      case OpClass::view:
        if (op == Op::broadcast) return Broadcast{axes()};
        if (op == Op::transpose) return Transpose{axes()};
        if (op == Op::slice) return Slice{numbers(-1), numbers(-2)};
        if (op == Op::pad) return Pad{numbers(0), numbers(0), numbers(0)};
        if (op == Op::concat) return Concat{below(2)};
        if (op == Op::window) return Window{below(2), 1 + below(2), 1 + below(2), 1 + below(2)};
        return NoAttributes{};
      case OpClass::contract:
        if (below(2) == 0) return Dot{axes(), axes(), order == Order::unset ? Order::serial : order};
        return Dot{axes(), axes(), order == Order::unset ? Order::serial : order, axes(), axes()};
      case OpClass::index:
        if (op == Op::scatter_add) return Scatter{1 + below(4)};
        return NoAttributes{};
    }
    return NoAttributes{};
  }

  std::mt19937 random_;
  Builder builder_;
};

}  // namespace

TEST_CASE("grown graphs read back from their text", "[registry]") {
  std::set<Op> seen;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    const Graph graph = Grower(seed).grow();
    for (const Node& node : graph.nodes) seen.insert(node.op);
    INFO("seed " << seed);
    check_round_trip(graph);
  }
  for (Op op : all_ops()) {
    INFO(definition(op).name);
    CHECK(seen.contains(op));
  }
}

TEST_CASE("a large graph builds, prints and parses quickly") {
  Builder builder;
  Value x = builder.leaf(Op::input, "X", f32_rows), y = x;
  for (int i = 0; i < 50000; ++i) y = apply(i % 3 == 0 ? Op::tanh : Op::exp, y) * (i % 7 == 0 ? x : y);
  builder.output(OutputKind::result, "y", y);
  const Graph graph = std::move(builder).finish();
  CHECK(graph.nodes.size() == 100001);
  CHECK(same_graph(graph, parsed(print(graph))));
}
