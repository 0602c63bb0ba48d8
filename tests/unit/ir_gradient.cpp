// The gradient rule of every op by itself, in f64, against central differences: dy is random, and sum(dy * y) is the
// number whose derivative by each operand the rule must give. What is not differentiable is left out by the drawn
// values. Elementwise ops are taken from the registry; other classes, and points of interest, have a table.
#include <cmath>
#include <random>
#include <set>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

/// A case: an op over operands a, b, c of these shapes, whose elements are drawn from [low, high]; an operand whose
/// number is among `conditions` is boolean, one among `ids` is i32.
struct Case {
  Op op;
  std::vector<Shape> operands;
  Attributes attributes = NoAttributes{};
  Shape wanted = {};
  double low = -2, high = 2;
  std::set<std::size_t> conditions = {};
  std::set<std::size_t> ids = {};

  DType dtype(std::size_t operand) const {
    return conditions.contains(operand) ? DType::boolean : ids.contains(operand) ? DType::i32 : DType::f64;
  }
};

const Shape matrix{{3}, {4}};

const std::vector<Case> cases = {
    {Op::log, {matrix}, {}, {}, 0.01, 0.1},
    {Op::expm1, {matrix}, {}, {}, -20, -5},
    {Op::log1p, {matrix}, {}, {}, -0.9, -0.5},
    {Op::erf, {matrix}, {}, {}, -3, -1},
    {Op::normal_cdf, {matrix}, {}, {}, -4, -1},
    {Op::sqrt, {matrix}, {}, {}, 0.01, 0.1},
    {Op::tanh, {matrix}, {}, {}, -0.01, 0.01},
    {Op::logistic, {matrix}, {}, {}, 5, 20},
    {Op::softplus, {matrix}, {}, {}, -20, -5},
    {Op::div, {matrix, matrix}, {}, {}, -3, -0.5},
    {Op::pow, {matrix, matrix}, {}, {}, 0.1, 3},
    {Op::sum, {{{2}, {3}, {4}}}, Reduce{{0, 2}}},
    {Op::sum, {matrix}, Reduce{{0, 1}}},
    {Op::sum, {matrix, {{3}}}, Reduce{{1}}},
    {Op::reduce_max, {{{2}, {3}, {4}}}, Reduce{{1}}},
    {Op::reduce_max, {matrix}, Reduce{{0, 1}}},
    {Op::reshape, {matrix}, {}, {{2}, {6}}},
    {Op::broadcast, {matrix}, Broadcast{{1, 3}}, {{2}, {3}, {5}, {4}}},
    {Op::broadcast, {{}}, Broadcast{{}}, matrix},
    {Op::transpose, {{{2}, {3}, {4}}}, Transpose{{1, 2, 0}}},
    {Op::slice, {{{5}, {7}}}, Slice{{1, 6}, {2, -2}}, {{2}, {4}}},
    {Op::slice, {{{5}, {7}}}, Slice{{4, 0}, {-1, 1}}, {{5}, {1}}},
    {Op::slice, {matrix}, Slice{{0, 0}, {1, 1}}, {{0}, {4}}},
    {Op::pad, {matrix}, Pad{{1, 0}, {0, 2}, {0, 0}}},
    {Op::pad, {matrix}, Pad{{0, 2}, {1, 0}, {2, 1}}},
    {Op::concat, {{{3}, {4}}, {{3}, {0}}, {{3}, {2}}}, Concat{1}},
    {Op::concat, {matrix}, Concat{0}},
    {Op::window, {{{2}, {9}, {3}}}, Window{1, 3, 2, 2}},
    {Op::window, {{{2}, {3}}}, Window{1, 3, 1, 1}},
    {Op::window, {{{8}}}, Window{0, 2, 3, 1}},
    {Op::overlap_add, {{{2}, {3}, {3}, {2}}}, OverlapAdd{1, 10, 2, 2}},
    {Op::overlap_add, {{{3}, {2}}}, OverlapAdd{0, 8, 3, 1}},
    {Op::dot, {{{3}, {4}}, {{4}, {5}}}, Dot{{1}, {0}}},
    {Op::dot, {{{4}, {3}}, {{5}, {4}}}, Dot{{0}, {1}}},
    {Op::dot, {{{3}, {4}}, {{5}, {4}}}, Dot{{1}, {1}}},
    {Op::dot, {{{4}, {3}}, {{4}, {5}}}, Dot{{0}, {0}}},
    {Op::dot, {{{2}, {3}, {4}}, {{4}, {5}, {2}}}, Dot{{0, 2}, {2, 0}}},
    {Op::dot, {{{2}, {3}, {4}}, {{4}, {2}, {5}}}, Dot{{2, 0}, {0, 1}}},
    {Op::dot, {{{2}, {3}, {4}}, {{2}, {4}}}, Dot{{0, 2}, {0, 1}}},
    {Op::dot, {{{4}, {2}}, {{2}, {3}, {4}}}, Dot{{0, 1}, {2, 0}}},
    {Op::dot, {{{4}, {2}}, {{2}, {4}}}, Dot{{0, 1}, {1, 0}}},
    {Op::dot, {{{4}}, {{4}}}, Dot{{0}, {0}}},
    {Op::dot, {{{2}, {3}, {4}}, {{2}, {4}, {5}}}, Dot{{2}, {1}, Order::unset, {0}, {0}}},
    {Op::dot, {{{4}, {2}, {3}}, {{5}, {4}, {2}}}, Dot{{0}, {1}, Order::unset, {1}, {2}}},
    {Op::dot, {{{3}, {2}, {4}}, {{2}, {4}, {3}}}, Dot{{2}, {1}, Order::unset, {0, 1}, {2, 0}}},
    {Op::dot, {{{3}, {2}, {4}, {5}}, {{2}, {4}, {3}}}, Dot{{2}, {1}, Order::unset, {0, 1}, {2, 0}}},
    {Op::dot, {{{2}, {4}, {3}}, {{4}, {5}, {3}, {2}}}, Dot{{1}, {0}, Order::unset, {2, 0}, {2, 3}}},
    {Op::dot, {{{2}, {4}}, {{4}, {2}, {5}}}, Dot{{1}, {0}, Order::unset, {0}, {1}}},
    {Op::gather, {{{3}, {4}}, {{5}}}, {}, {}, -2, 2, {}, {1}},
    {Op::gather, {{{3}, {2}, {2}}, {{2}, {3}}}, {}, {}, -2, 2, {}, {1}},
    {Op::gather, {{{3}}, {{}}}, {}, {}, -2, 2, {}, {1}},
    {Op::scatter_add, {{{5}, {4}}, {{5}}}, Scatter{3}, {}, -2, 2, {}, {1}},
    {Op::scatter_add, {{{2}, {3}}, {{2}, {3}}}, Scatter{3}, {}, -2, 2, {}, {1}},
    {Op::scatter_add, {{{5}, {4}}, {{5}}, {{3}, {4}}}, Scatter{3}, {}, -2, 2, {}, {1}},
};

Tensor drawn(const Shape& shape, double low, double high, std::mt19937_64& random) {
  std::vector<std::int64_t> dims;
  for (const Extent& extent : shape) dims.push_back(extent.count);
  Tensor result = Tensor::zeros(DType::f64, dims);
  for (std::int64_t i = 0; i < result.count(); ++i)
    result.set(i, low + (high - low) * std::uniform_real_distribution<double>()(random));
  return result;
}

const std::string names[] = {"a", "b", "c"};

Tensor drawn_operand(const Case& test, std::size_t i, std::mt19937_64& random) {
  Tensor values = drawn(test.operands[i], test.low, test.high, random);
  if (test.dtype(i) == DType::f64) return values;
  Tensor whole = Tensor::zeros(test.dtype(i), values.dims);
  for (std::int64_t k = 0; k < values.count(); ++k)
    whole.set(k, static_cast<double>(random() % (test.dtype(i) == DType::i32 ? 3 : 2)));
  return whole;
}

/// An elementwise op with a gradient over two matrices (or one, or more): truth values where it wants them, arguments
/// around 0 where it is defined there, else positive ones.
Case elementwise_case(Op op) {
  const OpDef& def = definition(op);
  Case test{op, std::vector<Shape>(static_cast<std::size_t>(def.arity), matrix)};
  std::vector<Type> types(test.operands.size(), Type{DType::f64, matrix});
  const TypeOrError type = infer_type(op, {.operands = types, .attributes = test.attributes, .wanted = types[0]});
  if (const auto* error = std::get_if<ShapeError>(&type)) test.conditions.insert(static_cast<std::size_t>(error->a));

  Builder builder;
  std::vector<Value> operands;
  Environment environment;
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i < test.operands.size(); ++i) {
    operands.push_back(builder.leaf(Op::input, names[i], {test.dtype(i), matrix}));
    environment.inputs[names[i]] = drawn_operand(test, i, random);
  }
  builder.output(OutputKind::result, "y", builder.make(op, operands, test.attributes, {DType::f64, {}}));
  const Tensor y = evaluate(std::move(builder).finish(), environment, true).at("y");
  bool finite = true;
  for (std::int64_t k = 0; k < y.count(); ++k) finite &= std::isfinite(y.at(k));
  if (!finite) test.low = 0.5, test.high = 3;
  return test;
}

/// The op, a random dy, L = sum(dy * y), and every gradient that the rule gives, summed to its operand's shape.
Graph graph_of(const Case& test) {
  Builder builder;
  std::vector<Value> operands;
  for (std::size_t i = 0; i < test.operands.size(); ++i)
    operands.push_back(builder.leaf(Op::input, names[i], {test.dtype(i), test.operands[i]}));
  const Value y = builder.make(test.op, operands, test.attributes, {DType::f64, test.wanted});
  const Value dy = builder.leaf(Op::input, "dy", y.type());
  const auto total = [&](Value x) {
    std::vector<int> axes;
    for (int axis = 0; axis < x.type().rank(); ++axis) axes.push_back(axis);
    return axes.empty() ? x : builder.make(Op::sum, {{x}}, Reduce{axes});
  };
  builder.output(OutputKind::result, "L", total(y * dy));
  const Gradients gradients = definition(test.op).gradient({.builder = builder, .y = y.id, .dy = dy.id});
  REQUIRE(gradients.size() == operands.size());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i]) continue;
    const bool spread = operands[i].type().shape.empty() && !gradients[i]->type().shape.empty();
    const Value gradient = spread ? total(*gradients[i]) : *gradients[i];
    CHECK(gradient.type() == operands[i].type());
    builder.output(OutputKind::result, names[i], gradient);
  }
  Graph graph = std::move(builder).finish();
  CHECK(verify(graph) == "");
  return graph;
}

void check_gradients(const Case& test, unsigned seed) {
  const Graph graph = graph_of(test);
  std::mt19937_64 random(seed);
  Environment environment;
  for (std::size_t i = 0; i < test.operands.size(); ++i) environment.inputs[names[i]] = drawn_operand(test, i, random);
  for (const Node& node : graph.nodes)
    if (node.op == Op::input && std::get<Named>(node.attributes).name == "dy")
      environment.inputs["dy"] = drawn(node.type.shape, -1, 1, random);
  const auto exact = evaluate(graph, environment, true);
  for (std::size_t i = 0; i < test.operands.size(); ++i) {
    const auto rule = exact.find(names[i]);
    if (test.dtype(i) != DType::f64) {
      CHECK(rule == exact.end());
      continue;
    }
    Tensor& x = environment.inputs[names[i]];
    for (std::int64_t at = 0; at < x.count(); ++at) {
      const double here = x.at(at), h = 1e-5;
      const auto value_at = [&](double moved) {
        x.set(at, moved);
        const double value = evaluate(graph, environment, true).at("L").at(0);
        x.set(at, here);
        return value;
      };
      const double numeric =
          (8 * (value_at(here + h) - value_at(here - h)) - (value_at(here + 2 * h) - value_at(here - 2 * h))) /
          (12 * h);
      const double given = rule == exact.end() ? 0 : rule->second.at(at);
      INFO(definition(test.op).name << ", operand " << i << ", element " << at);
      CHECK(std::abs(given - numeric) <= 1e-8 * std::max(1.0, std::abs(numeric)));
    }
  }
}

/// The gradients of y = expression(a, b) with dy = 1, for single numbers.
std::vector<double> gradients_at(Op op, double a, double b, std::optional<double> constant_b = {}) {
  Builder builder;
  const Value x = builder.leaf(Op::input, "a", {DType::f64, {}});
  const Value y =
      constant_b ? builder.constant(*constant_b, DType::f64) : builder.leaf(Op::input, "b", {DType::f64, {}});
  const Value result = apply(op, x, y);
  const Gradients gradients =
      definition(op).gradient({.builder = builder, .y = result.id, .dy = builder.constant(1, DType::f64).id});
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i]) builder.output(OutputKind::result, names[i], *gradients[i]);
  Environment environment;
  environment.inputs["a"] = environment.inputs["b"] = Tensor::zeros(DType::f64, {});
  environment.inputs["a"].set(0, a);
  environment.inputs["b"].set(0, b);
  std::vector<double> values;
  for (const auto& [name, value] : evaluate(std::move(builder).finish(), environment)) values.push_back(value.at(0));
  return values;
}

}  // namespace

TEST_CASE("every gradient rule agrees with central differences", "[registry]") {
  std::set<Op> seen;
  for (const Case& test : cases) {
    for (unsigned seed = 1; seed <= 5; ++seed) check_gradients(test, seed);
    seen.insert(test.op);
  }
  for (Op op : all_ops()) {
    const OpDef& def = definition(op);
    if (!def.gradient || def.cls == OpClass::control) continue;
    // These want a body, or a positive definite matrix: gradcheck makes such, and passes_loops.cpp has more.
    if (def.cls == OpClass::loop || def.cls == OpClass::formula) continue;
    INFO(def.name);
    if (def.cls == OpClass::elementwise)
      for (unsigned seed = 1; seed <= 5; ++seed) check_gradients(elementwise_case(op), seed);
    else
      CHECK(seen.contains(op));
  }
}

TEST_CASE("an operand of rank 0 gets its gradient by element") {
  for (Op op : {Op::add, Op::sub, Op::mul, Op::div, Op::max, Op::min, Op::pow}) {
    check_gradients({op, {matrix, {}}, {}, {}, 0.5, 3}, 1);
    check_gradients({op, {{}, matrix}, {}, {}, 0.5, 3}, 2);
  }
}

TEST_CASE("ties are shared") {
  CHECK(gradients_at(Op::max, 2, 2) == std::vector<double>{0.5, 0.5});
  CHECK(gradients_at(Op::min, 2, 2) == std::vector<double>{0.5, 0.5});
  CHECK(gradients_at(Op::max, 3, 2) == std::vector<double>{1, 0});
  CHECK(gradients_at(Op::min, 3, 2) == std::vector<double>{0, 1});
  Builder builder;
  const Value x = builder.leaf(Op::input, "x", {DType::f64, {{4}}});
  const Value y = builder.make(Op::reduce_max, {{x}}, Reduce{{0}});
  const Value dy = builder.constant(6, DType::f64);
  builder.output(OutputKind::result, "dx", *definition(Op::reduce_max).gradient({builder, y.id, dy.id})[0]);
  Environment environment;
  environment.inputs["x"] = Tensor::zeros(DType::f64, {4});
  for (int i = 0; i < 4; ++i) environment.inputs["x"].set(i, i == 1 ? 0 : 5);
  const Tensor dx = evaluate(std::move(builder).finish(), environment, true).at("dx");
  for (int i = 0; i < 4; ++i) CHECK(dx.at(i) == (i == 1 ? 0 : 2));
}

TEST_CASE("powers at the edges of their rule") {
  CHECK(gradients_at(Op::pow, -3, 0, 2.0) == std::vector<double>{-6});
  CHECK(gradients_at(Op::pow, -2, 0, 3.0) == std::vector<double>{12});
  CHECK(gradients_at(Op::pow, 0, 0, 2.0) == std::vector<double>{0});
  CHECK(gradients_at(Op::pow, 0, 0, 1.0) == std::vector<double>{1});
  CHECK(gradients_at(Op::pow, 0, 0, 0.0).empty());
  CHECK(gradients_at(Op::pow, 4, 0, 0.5) == std::vector<double>{0.25});
  CHECK(gradients_at(Op::pow, 0, 0) == std::vector<double>{0, 0});
  CHECK(gradients_at(Op::pow, 0, 2) == std::vector<double>{0, 0});
}

TEST_CASE("select, cast, stop_gradient and point pass on what they should") {
  Builder builder;
  const Value c = builder.leaf(Op::input, "c", {DType::boolean, matrix}),
              s = builder.leaf(Op::input, "s", {DType::f32, {}});
  const Value x = builder.leaf(Op::input, "x", {DType::f32, matrix}),
              i = builder.leaf(Op::input, "i", {DType::i32, matrix});
  const auto rule = [&](Value y) {
    const Value dy = builder.leaf(Op::input, "dy" + to_string(y.type()), y.type());
    std::vector<std::string> texts;
    for (const auto& gradient : definition(builder[y.id].op).gradient({builder, y.id, dy.id}))
      texts.push_back(gradient ? print_expression(builder.graph(), gradient->id) : "none");
    return texts;
  };
  using Texts = std::vector<std::string>;
  CHECK(rule(builder.select(c, x, s)) ==
        Texts{"none", "select(%c, %\"dyf32[3, 4]\", 0)", "select(%c, 0, %\"dyf32[3, 4]\")"});
  CHECK(rule(builder.cast(x, DType::f64)) == Texts{"f32(%\"dyf64[3, 4]\")"});
  CHECK(rule(builder.cast(i, DType::f64)) == Texts{"none"});
  CHECK(rule(builder.cast(x, DType::i32)) == Texts{"none"});
  CHECK(rule(apply(Op::stop_gradient, x)) == Texts{"none"});
  CHECK(rule(builder.make(Op::point, {{x}}, Numbered{1})) == Texts{"input \"dyf32[3, 4]\""});
}
