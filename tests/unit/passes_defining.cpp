// The defining passes one by one: gradients, stable forms, expansions, facts, folding, orders and the pipeline.
#include <cmath>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/order.h"
#include "ir/scalar/builder.h"
#include "ir/text.h"
#include "passes/facts.h"
#include "passes/pipeline.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

int count_of(const Graph& graph, Op op) { return static_cast<int>(std::ranges::count(graph.nodes, op, &Node::op)); }

Tensor vector_of(DType dtype, const std::vector<double>& values) {
  Tensor x = Tensor::zeros(dtype, {static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i) x.set(static_cast<std::int64_t>(i), values[i]);
  return x;
}

/// f(x) for a graph of one op, through the passes, in that type.
Tensor through(Graph (*passes)(const Graph&), Op op, DType dtype, const std::vector<double>& values,
               bool negated = false) {
  Builder b("f");
  const Value x = b.leaf(Op::input, "x", {dtype, {{static_cast<std::int64_t>(values.size())}}});
  b.output(OutputKind::result, "y", apply(op, negated ? -x : x));
  Environment at;
  at.inputs.emplace("x", vector_of(dtype, values));
  return evaluate(passes(std::move(b).finish()), at).at("y");
}

TEST_CASE("gradients of what is not reached are zero, and stopped ones do not flow") {
  Builder b("g");
  const Value w = b.leaf(Op::param, "w", {DType::f32, {{3}}}), u = b.leaf(Op::param, "u", {DType::f32, {{2}}});
  const Value loss = b.sum(w * apply(Op::stop_gradient, w), {0});
  b.output(OutputKind::result, "dw", b.make(Op::grad, {{loss, w}}));
  b.output(OutputKind::result, "du", b.make(Op::grad, {{loss, u}}));
  const Graph graph = differentiate(std::move(b).finish());
  CHECK(count_of(graph, Op::grad) == 0);
  CHECK(count_of(graph, Op::stop_gradient) == 0);
  Environment at;
  at.params = {{"w", vector_of(DType::f32, {1, 2, 3})}, {"u", vector_of(DType::f32, {5, 5})}};
  const auto values = evaluate(assign_order(graph), at);
  for (int i = 0; i < 3; ++i) CHECK(values.at("dw").at(i) == i + 1);
  for (int i = 0; i < 2; ++i) CHECK(values.at("du").at(i) == 0);
}

TEST_CASE(
    "the derivative by a point is by that point, not by what is computed alike, and no number is computed before") {
  Builder b("g");
  const Type type{DType::f64, {{2}}};
  const Value one = b.constant(1, type.dtype), ones = b.spread(one, type.shape);
  const Value x = b.make(Op::point, {{ones}}, Numbered{1}), y = b.make(Op::point, {{ones}}, Numbered{2});
  const Value h = b.make(Op::point, {{x * 3}}, Numbered{3});
  b.output(OutputKind::result, "dx", b.make(Op::grad, {{b.sum(x * y * 5, {0}), x}}));
  b.output(OutputKind::result, "dh", b.make(Op::grad, {{b.sum(h * x * 3, {0}), h}}));
  const Value s = b.make(Op::point, {{one}}, Numbered{4});
  b.output(OutputKind::result, "ds", b.make(Op::grad, {{apply(Op::exp, s * 0), s}}));
  const Graph opt = optimise(std::move(b).finish());
  CHECK(count_of(opt, Op::point) == 0);
  const auto values = evaluate(opt, {});
  for (int i = 0; i < 2; ++i) {
    CHECK(values.at("dx").at(i) == 5);
    CHECK(values.at("dh").at(i) == 3);
  }
  CHECK(values.at("ds").at(0) == 0);
}

TEST_CASE("all gradients of one value share one walk") {
  Builder b("g");
  const Value w = b.leaf(Op::param, "w", {DType::f32, {{3}}}), u = b.leaf(Op::param, "u", {DType::f32, {{3}}});
  const Value loss = b.sum(apply(Op::tanh, apply(Op::sin, w) * apply(Op::cos, u)), {0});
  b.output(OutputKind::result, "dw", b.make(Op::grad, {{loss, w}}));
  const int alone = static_cast<int>(differentiate(Graph(b.graph())).nodes.size());
  b.output(OutputKind::result, "du", b.make(Op::grad, {{loss, u}}));
  const Graph both = differentiate(std::move(b).finish());
  CHECK(static_cast<int>(both.nodes.size()) <= alone + 4);  // sin u, its sign and two products
}

TEST_CASE("logistic and softplus are good at both ends, of x and of -x") {
  const std::vector<double> points{-1000, -100, -88, -30, -17, -5, -1, -1e-3, -1e-30, 0,
                                   1e-30, 1e-3, 1,   5,   17,  30, 88, 100,   1000};
  for (DType dtype : {DType::f32, DType::f64})
    for (bool negated : {false, true}) {
      const Tensor s = through(expand, Op::logistic, dtype, points, negated);
      const Tensor p = through(expand, Op::softplus, dtype, points, negated);
      const double ulp = dtype == DType::f32 ? 0x1p-23 : 0x1p-52;
      for (std::size_t i = 0; i < points.size(); ++i) {
        const auto k = static_cast<std::int64_t>(i);
        const long double x = negated ? -points[i] : points[i];
        const auto logistic = static_cast<double>(x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)));
        const auto softplus = static_cast<double>(std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x))));
        const double tiny = dtype == DType::f32 ? 0x1p-149 : 0x1p-1074;
        INFO("x = " << static_cast<double>(x));
        CHECK(std::abs(s.at(k) - logistic) <= 1 * ulp * logistic + tiny);
        CHECK(std::abs(p.at(k) - softplus) <= 1 * ulp * softplus + tiny);
      }
    }
  for (Op op : {Op::logistic, Op::softplus}) CHECK(std::isnan(through(expand, op, DType::f32, {NAN}).at(0)));
  CHECK(through(expand, Op::softplus, DType::f32, {INFINITY}).at(0) == INFINITY);
  CHECK(through(expand, Op::softplus, DType::f32, {-INFINITY}).at(0) == 0);
  CHECK(through(expand, Op::logistic, DType::f32, {INFINITY}).at(0) == 1);
  CHECK(through(expand, Op::logistic, DType::f32, {-INFINITY}).at(0) == 0);
}

TEST_CASE("one exponential serves logistic and softplus of x and of -x in one kernel") {
  const auto instructions = [](auto&& make) {
    ScalarBuilder b;
    const std::vector<Scalar> results = make(b.input(ScalarType::f32));
    return std::move(b).finish(results).code.size();
  };
  using Scalars = std::vector<Scalar>;
  const auto exp = instructions([](Scalar x) { return Scalars{scalar::exp(-abs(x))}; });
  const auto logistic = instructions([](Scalar x) { return Scalars{scalar::logistic(x)}; });
  const auto softplus = instructions([](Scalar x) { return Scalars{scalar::softplus(x)}; });
  const auto all = instructions([](Scalar x) {
    return Scalars{scalar::logistic(x), scalar::logistic(-x), scalar::softplus(x), scalar::softplus(-x)};
  });
  CHECK(all < 2 * logistic + 2 * softplus - 2 * exp);
}

TEST_CASE("whole powers are products, from the top bit") {
  for (int n = -9; n <= 9; ++n) {
    Builder b("f");
    const Value x = b.leaf(Op::input, "x", {DType::f64, {{3}}});
    b.output(OutputKind::result, "y", apply(Op::pow, x, b.constant(n, DType::f64)));
    const Graph graph = expand(std::move(b).finish());
    CHECK(count_of(graph, Op::pow) == 0);
    CHECK(count_of(graph, Op::mul) <= 4);
    Environment at;
    at.inputs.emplace("x", vector_of(DType::f64, {-1.5, 0.5, 3}));
    const Tensor y = evaluate(graph, at).at("y");
    for (int i = 0; i < 3; ++i)
      CHECK_THAT(y.at(i), Catch::Matchers::WithinRel(std::pow(at.inputs.at("x").at(i), n), 1e-14));
  }
  Builder b("f");
  const Value x = b.leaf(Op::input, "x", {DType::f64, {{3}}});
  b.output(OutputKind::result, "root", apply(Op::pow, x, b.constant(0.5, DType::f64)));
  b.output(OutputKind::result, "other", apply(Op::pow, x, b.constant(1.5, DType::f64)));
  const Graph graph = expand(std::move(b).finish());
  CHECK(count_of(graph, Op::sqrt) == 1);
  CHECK(count_of(graph, Op::pow) == 1);
}

TEST_CASE("numbers known now are folded, and nothing else") {
  Builder b("f");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {{3}}});
  const Value step = b.leaf(Op::scalar, "step", {DType::f64, {}});
  const Value c = apply(Op::sqrt, b.constant(2, DType::f32) / b.constant(3, DType::f32)) - 1;
  b.output(OutputKind::result, "y",
           x * c + b.cast(1 - step, DType::f32) + (b.constant(0, DType::f32) / b.constant(0, DType::f32)));
  const Graph graph = fold_constants(std::move(b).finish());
  CHECK(count_of(graph, Op::sqrt) == 0);
  CHECK(count_of(graph, Op::sub) == 1);
  CHECK(count_of(graph, Op::div) == 1);  // 0 / 0 is not a number, and stays where it can be found
}

TEST_CASE("facts hold what ops say, and one-hot rows sum to 1 only where labels are promised to be in range") {
  Builder b("f");
  const Shape rows{batch_extent, {3}};
  const Value y = b.leaf(Op::input, "y", {DType::i32, {batch_extent}});
  const Value x = b.leaf(Op::input, "x", {DType::f32, rows});
  const Value index = b.make(Op::iota, {}, Iota{1}, Type{DType::i32, rows});
  const Value hot = b.cast(apply(Op::equal, b.broadcast(y, {0}, rows), index), DType::f32);
  const Value e = apply(Op::exp, x), s = apply(Op::logistic, x);
  const Value rest = 1 - s, product = s * hot, turned = b.transpose(hot, {1, 0});
  const Value smooth = hot * 0.9 + 0.1 / 3, uneven = hot * 0.9 + 0.1, shifted = hot + 0.1;
  const std::vector<Node>& nodes = b.graph().nodes;

  FactTable in_range({{.input = "y", .low = 0, .high = 3, .origin = {}}});
  CHECK(in_range.of(nodes, hot.id).range.indicator());
  CHECK(in_range.of(nodes, hot.id).sums_to_one == std::vector<int>{1});
  CHECK(in_range.of(nodes, turned.id).sums_to_one == std::vector<int>{0});
  CHECK(in_range.of(nodes, e.id).range.positive());
  CHECK_FALSE(in_range.of(nodes, e.id).range.at_most_one());
  CHECK(in_range.of(nodes, s.id).range.in_unit_interval());
  CHECK(in_range.of(nodes, rest.id).range.in_unit_interval());
  CHECK(in_range.of(nodes, product.id).range.in_unit_interval());
  CHECK_FALSE(in_range.of(nodes, product.id).range.indicator());
  CHECK_FALSE(in_range.of(nodes, x.id).range.non_negative());
  CHECK(in_range.of(nodes, smooth.id).sums_to_one == std::vector<int>{1});
  CHECK(in_range.of(nodes, uneven.id).sums_to_one.empty());
  CHECK(in_range.of(nodes, shifted.id).sums_to_one.empty());

  for (const auto& [low, high] : {std::pair<std::int64_t, std::int64_t>{0, 4}, {-1, 3}}) {
    FactTable wider({{.input = "y", .low = low, .high = high, .origin = {}}});
    CHECK(wider.of(nodes, hot.id).range.indicator());
    CHECK(wider.of(nodes, hot.id).sums_to_one.empty());
    CHECK(wider.of(nodes, smooth.id).sums_to_one.empty());
  }
}

TEST_CASE("orders are set from static extents, and each is the one that the rule names") {
  Builder b("f");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {batch_extent, {8}}});
  const Value z = b.leaf(Op::input, "z", {DType::f32, {batch_extent, {9}}});
  const Value small = b.dot(x, x, {0}, {0}), large = b.dot(x, z, {0}, {0}), rows = b.dot(x, small, {1}, {0});
  const Value narrow = b.sum(x, {0});
  const Value wide = b.sum(b.broadcast(x, {0, 1}, {batch_extent, {8}, {16}}), {0});
  int i = 0;
  for (Value value : {small, large, rows, narrow, wide}) b.output(OutputKind::result, "r" + std::to_string(i++), value);
  const Graph graph = assign_order(std::move(b).finish());
  const Order expected[] = {Order::lanes, Order::serial, Order::serial, Order::lanes, Order::serial};
  for (std::size_t k = 0; k < 5; ++k) CHECK(order_of(graph[graph.outputs[k].node]) == expected[k]);
}

TEST_CASE("the pipeline runs its steps in order, and named ones alone") {
  Builder b("f");
  const Value w = b.leaf(Op::param, "w", {DType::f32, {{3}}});
  const Value loss = b.sum(apply(Op::logistic, w), {0});
  b.output(OutputKind::update, "w", w - b.make(Op::grad, {{loss, w}}));
  const Graph graph = std::move(b).finish();

  std::vector<std::string> seen;
  int timed = 0;
  PipelineOptions options;
  options.verify_each = true;
  options.after = [&](std::string_view pass, const Graph&) { seen.emplace_back(pass); };
  options.timed = [&](std::string_view, double seconds) { timed += seconds >= 0; };
  const Graph opt = optimise(graph, options);
  REQUIRE(seen.size() == defining_passes().size());
  for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == defining_passes()[i].name);
  CHECK(timed == static_cast<int>(seen.size()));

  std::vector<std::string> names;
  for (const PassStep& step : defining_passes()) {
    names.emplace_back(step.name);
    CHECK_FALSE(step.reason.empty());
  }
  CHECK(same_graph(std::get<Graph>(run_passes(graph, names)), opt));
  CHECK(count_of(std::get<Graph>(run_passes(graph, std::vector<std::string>{"differentiate"})), Op::logistic) == 1);
  const auto unknown = run_passes(graph, std::vector<std::string>{"simplify", "magic"});
  REQUIRE(std::holds_alternative<std::string>(unknown));
  CHECK(std::get<std::string>(unknown).find("magic") != std::string::npos);
  CHECK(std::get<std::string>(unknown).find("assign_order") != std::string::npos);
}

}  // namespace
}  // namespace nnc
