// Every gradient rule of the registry against differences, and the check itself: each rule is broken in turn, and must
// be caught by its name.
#include <fmt/format.h>

#include <cmath>
#include <set>

#include "ir/builder.h"
#include "ir/op.h"
#include "passes/gradcheck.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

std::string text_of(const GradcheckReport& report) {
  std::string text;
  for (const GradcheckFailure& failure : report.failures) text += to_string(failure) + "\n";
  return text;
}

/// Ops that have a rule to check.
std::vector<Op> checked_ops() {
  std::vector<Op> ops;
  for (Op op : all_ops())
    if (exempt_from_gradcheck(op).empty()) ops.push_back(op);
  return ops;
}

TEST_CASE("every gradient rule agrees with differences over 20 shapes", "[registry]") {
  for (Op op : checked_ops()) {
    const GradcheckReport report = gradcheck_op(op);
    INFO(definition(op).name << "\n" << text_of(report));
    CHECK(report.failures.empty());
    CHECK(report.checked >= 20);
    CHECK(report.worst <= 1e-6);
  }
}

TEST_CASE("only ops without a derivative are exempt, and the ops about gradients themselves", "[registry]") {
  const std::set<std::string_view> without{"param",       "state",      "carry",       "input",  "scalar", "constant",
                                           "size",        "iota",       "random",      "equal",  "less",   "less_equal",
                                           "logical_and", "logical_or", "logical_not", "argmax", "grad"};
  for (Op op : all_ops()) {
    const std::string reason = exempt_from_gradcheck(op);
    const std::string_view name = definition(op).name;
    INFO(name << ": " << reason);
    CHECK((reason == "it has no derivative") == without.contains(name));
    CHECK((reason == "it is about the gradient itself, which differences do not see") == (name == "stop_gradient"));
  }
}

/// The gradient of the sum of f(w) by w, where w is 1 and then `second`.
template <class F>
GradcheckReport checked_at(double second, F&& f, const GradientHook& hook = {}) {
  Builder b("points");
  const Value w = b.leaf(Op::param, "w", {DType::f64, {{2}}});
  const Value loss = b.sum(f(w), {0});
  b.output(OutputKind::update, "w", w - b.make(Op::grad, {{loss, w}}));
  Tensor at = Tensor::zeros(DType::f64, {2});
  at.set(0, 1);
  at.set(1, second);
  return gradcheck_step(std::move(b).finish(), {.points = {{"w", at}}, .hook = hook});
}

TEST_CASE("what is NaN or infinite agrees with nothing, and is named") {
  const auto spoil = [](double by) -> GradientHook {
    return [by](const GradientQuery& query, Gradients& gradients) {
      if (query.builder[query.y].op == Op::sin) gradients[0] = *gradients[0] * by;
    };
  };
  const auto sine = [](Value w) { return apply(Op::sin, w); };
  for (double by : {NAN, INFINITY}) {
    const GradcheckReport report = checked_at(2, sine, spoil(by));
    REQUIRE(report.failures.size() == 2);
    CHECK(report.near_ties == 0);
    CHECK(report.failures[0].where == "grad/w[0]");
    CHECK(to_string(report.failures[1]).find("the derivative is no finite number") != std::string::npos);
  }
  const auto logarithm = [](Value w) { return apply(Op::log, w); };
  const GradcheckReport negative = checked_at(-1, logarithm);
  REQUIRE(negative.failures.size() == 1);
  CHECK(to_string(negative.failures[0]) == "grad/w: what is differentiated is nan here");
  // At 0 the derivative is infinite.
  const GradcheckReport infinite = checked_at(0, [](Value w) { return apply(Op::sqrt, w); });
  REQUIRE(infinite.failures.size() == 1);
  CHECK(infinite.failures[0].where == "grad/w[1]");
  CHECK(to_string(infinite.failures[0]).find("neither is a finite number") != std::string::npos);
  // Next to where values end the shorter step is what counts.
  CHECK(checked_at(9e-4, logarithm).failures.empty());
}

TEST_CASE("a rule that is off by a thousandth is caught, and named", "[registry]") {
  for (Op broken : checked_ops()) {
    GradcheckOptions options;
    options.hook = [&](const GradientQuery& query, Gradients& gradients) {
      if (query.builder[query.y].op != broken) return;
      for (auto& gradient : gradients)
        if (gradient) gradient = *gradient * 1.001;
    };
    for (Op op : checked_ops()) {
      options.cases = op == broken ? 20 : 2;  // the others' rules do not use this one
      const GradcheckReport report = gradcheck_op(op, options);
      const bool flat = op == Op::sign;  // 1.001 times no gradient is still right
      INFO(definition(broken).name << " broken, " << definition(op).name << " checked");
      CHECK(report.failures.empty() == (op != broken || flat));
      for (const GradcheckFailure& failure : report.failures)
        CHECK(failure.where.substr(0, failure.where.find(',')) == definition(broken).name);
    }
  }
}

TEST_CASE("a gradient of a repeated operand that is not summed is caught, and named", "[registry]") {
  // One element's share stands for the sum over all that the operand met: what a dropped broadcast sum comes to.
  for (Op broken : checked_ops()) {
    GradcheckOptions options;
    bool dropped = false;
    options.hook = [&](const GradientQuery& query, Gradients& gradients) {
      const Node y = query.builder[query.y];
      if (y.op != broken) return;
      const std::int64_t elements = element_count(y.type.shape).count;
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        const std::int64_t own = element_count(query.builder[y.operands[i]].type.shape).count;
        if (!gradients[i] || own == 0 || elements <= own) continue;
        gradients[i] = *gradients[i] / (static_cast<double>(elements) / static_cast<double>(own));
        dropped = true;
      }
    };
    const GradcheckReport report = gradcheck_op(broken, options);
    INFO(definition(broken).name);
    // An elementwise op repeats numbers beside arrays, if it has more than one operand.
    const bool repeats =
        (definition(broken).cls == OpClass::elementwise && definition(broken).arity > 1) || broken == Op::broadcast;
    if (repeats) CHECK(dropped);
    CHECK(report.failures.empty() == !dropped);
    for (const GradcheckFailure& failure : report.failures)
      CHECK(failure.where.substr(0, failure.where.find(',')) == definition(broken).name);
  }
}

/// A step with a layer, a hand-written softmax, a penalty on weights and two uses of one parameter.
Graph small_step() {
  Builder b("step");
  const Shape rows{batch_extent, {3}};
  const Value x = b.leaf(Op::input, "x", {DType::f32, {batch_extent, {4}}});
  const Value y = b.leaf(Op::input, "y", {DType::i32, {batch_extent}});
  b.oblige({.input = "y", .low = 0, .high = 3, .origin = {}});
  const Value w = b.leaf(Op::param, "W", {DType::f32, {{4}, {5}}});
  const Value v = b.leaf(Op::param, "V", {DType::f32, {{5}, {3}}});
  const Value c = b.leaf(Op::param, "c", {DType::f32, {{3}}});
  const Value h = apply(Op::tanh, b.dot(x, w, {1}, {0}));
  const Value z = b.dot(h, v, {1}, {0}) + b.broadcast(c, {1}, rows);
  const Value e = apply(Op::exp, z);
  const Value a = e / b.broadcast(b.sum(e, {1}), {0}, rows);
  const Value index = b.make(Op::iota, {}, Iota{0}, Type{DType::i32, {{3}}});
  const Value hot = b.cast(apply(Op::equal, b.broadcast(y, {0}, rows), b.broadcast(index, {1}, rows)), DType::f32);
  const Value loss = -(b.sum(hot * apply(Op::log, a), {0, 1}) / b.size(batch_extent, DType::f32)) +
                     b.sum(w * w, {0, 1}) * 0.01 + b.sum(c * c * c, {0});
  b.output(OutputKind::result, "loss", loss);
  for (Value p : {w, v, c})
    b.output(OutputKind::update, std::get<Named>(b[p.id].attributes).name, p - b.make(Op::grad, {{loss, p}}) * 0.1);
  return std::move(b).finish();
}

TEST_CASE("a whole step agrees with differences, and a wrong rule in it does not") {
  const GradcheckReport report = gradcheck_step(small_step());
  INFO(text_of(report));
  CHECK(report.failures.empty());
  CHECK(report.checked == 20 + 15 + 3);

  GradcheckOptions options;
  options.hook = [](const GradientQuery& query, Gradients& gradients) {
    if (query.builder[query.y].op == Op::tanh) gradients[0] = *gradients[0] * 1.001;
  };
  const GradcheckReport wrong = gradcheck_step(small_step(), options);
  REQUIRE_FALSE(wrong.failures.empty());
  for (const GradcheckFailure& failure : wrong.failures) CHECK(failure.where.starts_with("grad/W"));
}

/// The graph with a thousandth more of its gradient.
Graph spoilt(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    return copy_node(builder, graph[id], operands);
  });
  for (const Output& output : graph.outputs)
    builder.output(output.kind, output.name, output.name == "gradient" ? made[output.node] * 1.001 : made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

TEST_CASE("gradients are checked after every pass, and the pass that makes one wrong is named") {
  for (const std::string pass : {"differentiate", "simplify", "expand", "fold_expanded", "assign_order"}) {
    GradcheckOptions options;
    options.spoil = [&](std::string_view name, Graph graph) { return name == pass ? spoilt(graph) : graph; };
    const GradcheckReport report = gradcheck_step(small_step(), options);
    INFO(pass << "\n" << text_of(report));
    CHECK(report.failures.size() >= 20);
    for (const GradcheckFailure& failure : report.failures) CHECK(failure.pass == pass);
    CHECK(text_of(report).find("] after " + pass + ": derived ") != std::string::npos);
  }
}

TEST_CASE("a derivative that is 0 is not compared with the noise of differences") {
  Builder b("shifted");
  const Value w = b.leaf(Op::param, "w", {DType::f64, {{4}}});
  const Value x = b.leaf(Op::input, "x", {DType::f64, {{4}}});
  const Value z = (x + w) * 100;  // a shift of all elements: what is left of it without their mean is nothing
  const Value centred = z - b.sum(z, {0}) / 4;
  const Value loss = b.sum(apply(Op::exp, centred * 0.01) * 100, {0}) + 0 * b.sum(w, {0});
  const Value all = b.leaf(Op::param, "all", {DType::f64, {}});
  const Value shifted = z + all * 100, same = shifted - b.sum(shifted, {0}) / 4;
  const Value both = loss + b.sum(apply(Op::exp, same * 0.01) * 100, {0});
  b.output(OutputKind::update, "all", all - b.make(Op::grad, {{both, all}}));
  for (std::uint64_t seed : {1, 2, 3, 4, 5}) {
    const GradcheckReport report = gradcheck_step(Builder(b).finish(), {.seed = seed});
    INFO(text_of(report));
    CHECK(report.failures.empty());
    CHECK(report.checked == 1);
  }
}

TEST_CASE("a gradient of a gradient agrees with differences") {
  Builder b("second");
  const Value w = b.leaf(Op::param, "w", {DType::f64, {{4}}});
  const Value inner = b.sum(apply(Op::sin, w) * w * w, {0});
  const Value slope = b.make(Op::grad, {{inner, w}});
  const Value loss = b.sum(slope * slope, {0});
  b.output(OutputKind::result, "loss", loss);
  b.output(OutputKind::update, "w", w - b.make(Op::grad, {{loss, w}}));
  const GradcheckReport report = gradcheck_step(std::move(b).finish());
  INFO(text_of(report));
  CHECK(report.failures.empty());
  CHECK(report.checked == 8);  // the inner gradient is one of w, too
}

}  // namespace
}  // namespace nnc
