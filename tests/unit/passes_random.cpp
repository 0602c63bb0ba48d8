// Gradients of random graphs: simplified against as derived, in f64, and against differences. A program that simplify
// has never seen must keep its values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/facts.h"
#include "passes/gradcheck.h"
#include "passes/laws.h"
#include "passes/pipeline.h"
#include "tests/support/random_graph.h"
#include "tests/support/reduce_graph.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

/// The gradients, by all parameters, of a weighted sum of the graph's float outputs. Nothing without parameters.
std::optional<Graph> gradient_program(const Graph& graph, DType dtype) {
  Builder b("gradients");
  const std::vector<Value> made = rebuild(
      graph, b, [&](NodeId id, const std::vector<Value>& operands) { return copy_node(b, graph[id], operands); });
  std::optional<Value> loss;
  double weight = 1;
  for (const Output& output : graph.outputs) {
    const Value y = made[output.node];
    if (y.type().dtype != dtype) continue;
    std::vector<int> axes;
    for (int axis = 0; axis < y.type().rank(); ++axis) axes.push_back(axis);
    const Value term = b.sum(apply(Op::tanh, y), axes) * weight;  // tame, so that values stay comparable
    loss = loss ? *loss + term : term;
    weight = -0.7 * weight;
  }
  if (!loss) return std::nullopt;
  bool any = false;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph[id];
    if (node.op != Op::param || node.type.dtype != dtype) continue;
    b.output(OutputKind::result, "grad/" + std::get<Named>(node.attributes).name,
             b.make(Op::grad, {{*loss, made[id]}}));
    any = true;
  }
  for (const Obligation& obligation : graph.obligations) b.oblige(obligation);
  if (!any) return std::nullopt;
  return std::move(b).finish();
}

/// Runs `problem` on the forward graphs of many seeds; one with a problem is cut down to the least that has one.
void check_random(std::uint64_t count, const std::function<std::string(const Graph&, std::uint64_t)>& problem,
                  const test::RandomGraphOptions& kind = {.most_nodes = 30, .random_ops = false, .carries = false}) {
  for (auto [seed, last] = test::random_seeds(count); seed < last; ++seed) {
    const Graph graph = test::random_graph(seed, kind);
    const std::string wrong = problem(graph, seed);
    if (wrong.empty()) continue;
    const std::uint64_t same_seed = seed;
    const Graph least =
        test::reduce_failing(graph, [&](const Graph& smaller) { return !problem(smaller, same_seed).empty(); });
    FAIL_CHECK("seed " << seed << ": " << wrong << "\ncut down to\n" << print(least) << problem(least, seed));
  }
}

/// Greatest |a - b| and |b| where b is finite; inf where a is NaN there.
struct Apart {
  double difference = 0, magnitude = 0;
};
Apart apart(const Tensor& a, const Tensor& b) {
  Apart result;
  for (std::int64_t i = 0; i < b.count(); ++i) {
    if (!std::isfinite(b.at(i))) continue;  // where the derivative had no value, the limit may stand
    result.magnitude = std::max(result.magnitude, std::abs(b.at(i)));
    const double difference = std::abs(a.at(i) - b.at(i));
    result.difference = std::max(result.difference, std::isnan(difference) ? INFINITY : difference);
  }
  return result;
}

TEST_CASE("random gradients: simplified, they keep their values and cost no more") {
  int compared = 0, simpler = 0;
  check_random(1000, [&](const Graph& graph, std::uint64_t seed) -> std::string {
    const auto program = gradient_program(in_double_precision(graph), DType::f64);
    if (!program) return "";
    const Graph raw = differentiate(*program), simple = simplify(raw);
    if (const std::string wrong = verify(simple); !wrong.empty()) return wrong;
    if (!same_graph(simplify(simple), simple)) return "simplifying it again changes it\n" + print(simple);
    if (work_of(simple) > work_of(raw)) return "it costs more\n" + print(simple);
    simpler += work_of(simple) < work_of(raw);
    const Environment at = test::random_environment(raw, test::random_batch(seed), seed);
    const auto expected = evaluate(raw, at, true), found = evaluate(simple, at, true);
    for (const auto& [name, value] : expected) {
      const Apart of = apart(found.at(name), value);
      ++compared;
      if (of.difference > 1e-9 * std::max(1.0, of.magnitude))
        return fmt::format("{} is {} off\n{}", name, of.difference, print(simple));
    }
    return "";
  });
  CHECK(compared > 100);
  CHECK(simpler > 50);
}

/// The same values in f64.
Environment widened(const Environment& at) {
  Environment wide = at;
  for (auto* values : {&wide.inputs, &wide.params, &wide.state})
    for (auto& [name, x] : *values) {
      if (x.dtype != DType::f32) continue;
      Tensor w = Tensor::zeros(DType::f64, x.dims);
      for (std::int64_t i = 0; i < x.count(); ++i) w.set(i, x.at(i));
      x = w;
    }
  return wide;
}

TEST_CASE("random gradients: every law keeps values wherever it makes a difference") {
  std::map<std::string, int> uses;
  check_random(150, [&](const Graph& graph, std::uint64_t seed) -> std::string {
    const auto program = gradient_program(in_double_precision(graph), DType::f64);
    if (!program) return "";
    const Environment at = test::random_environment(*program, test::random_batch(seed), seed);
    const Graph all = simplify(differentiate(stabilise(*program)));
    const auto expected = evaluate(all, at, true);
    std::vector<Law> laws(stabilise_laws().begin(), stabilise_laws().end());
    laws.insert(laws.end(), simplify_laws().begin(), simplify_laws().end());
    for (const Law& law : laws) {
      const SimplifyOptions without{.disabled_laws = {std::string(law.name)}};
      const Graph other = simplify(differentiate(stabilise(*program, without)), without);
      if (same_graph(other, all)) continue;
      ++uses[std::string(law.name)];
      for (const auto& [name, value] : evaluate(other, at, true)) {
        const Apart of = apart(expected.at(name), value);
        if (of.difference > 1e-9 * std::max(1.0, of.magnitude))
          return fmt::format("{}: {} is {} off\n{}{}", law.name, name, of.difference, print(other), print(all));
      }
    }
    return "";
  });
  CHECK(uses.size() >= 15);
}

/// Names of the results that nothing without a value has a part in: a comparison makes a number of a NaN, too.
std::set<std::string> results_with_values(const Graph& graph, const Environment& at) {
  Graph all = graph;
  all.outputs.clear();
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    if (is_float(graph[id].type.dtype)) all.outputs.push_back({OutputKind::result, std::to_string(id), id});
  std::vector<bool> without(graph.nodes.size(), false);
  for (const auto& [name, value] : evaluate(all, at, true))
    for (std::int64_t i = 0; i < value.count(); ++i)
      if (!std::isfinite(value.at(i))) without[std::stoul(name)] = true;
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    for (NodeId operand : graph[id].operands) without[id] = without[id] || without[operand];
  std::set<std::string> names;
  for (const Output& output : graph.outputs)
    if (!without[output.node]) names.insert(output.name);
  return names;
}

TEST_CASE("random graphs: stabilise keeps values wherever there was one") {
  int changed = 0, compared = 0;
  check_random(500, [&](const Graph& graph, std::uint64_t seed) -> std::string {
    const Graph written = in_double_precision(graph), stable = stabilise(fold_constants(written));
    if (same_graph(written, stable)) return "";
    ++changed;
    const Environment at = test::random_environment(written, test::random_batch(seed), seed);
    const auto found = evaluate(stable, at, true);
    const std::set<std::string> with_values = results_with_values(written, at);
    for (const auto& [name, value] : evaluate(written, at, true)) {
      if (!with_values.contains(name)) continue;
      ++compared;
      const Apart of = apart(found.at(name), value);
      if (of.difference > 1e-10 * std::max(1.0, of.magnitude))
        return fmt::format("{} is {} off\n{}", name, of.difference, print(stable));
    }
    return "";
  });
  CHECK(changed > 50);
  CHECK(compared > 50);
}

/// For each gradient the greatest error in f32 as derived and as simplified, and the greatest value, over several
/// points of which inputs lie around `middle`.
struct Errors {
  double before = 0, after = 0, magnitude = 0;
  bool no_larger() const { return after <= 2 * before + 4 * std::ldexp(magnitude, -23); }
};
std::map<std::string, Errors> errors_around(double middle, int points, const Graph& raw, const Graph& simple,
                                            const Graph& exact, std::uint64_t seed) {
  std::map<std::string, Errors> errors;
  for (int point = 0; point < points; ++point) {
    Environment at = test::random_environment(raw, test::random_batch(seed), seed + 1'000'003ULL * point);
    for (auto& [name, x] : at.inputs)
      if (x.dtype == DType::f32)
        for (std::int64_t i = 0; i < x.count(); ++i) x.set(i, static_cast<float>(x.at(i) + middle));
    const auto of_raw = evaluate(raw, at, true), of_simple = evaluate(simple, at, true);
    for (const auto& [name, value] : evaluate(exact, widened(at), true)) {
      const Apart before = apart(of_raw.at(name), value), after = apart(of_simple.at(name), value);
      if (std::isinf(before.difference)) continue;  // it had no value as it was derived
      Errors& error = errors[name];
      error.before = std::max(error.before, before.difference);
      error.after = std::max(error.after, after.difference);
      error.magnitude = std::max(error.magnitude, before.magnitude);
    }
  }
  return errors;
}

// An error at one point is partly luck: where all terms cancel, a form may give 0 by chance. So where a few points show
// a larger one, the two forms are compared at many.
TEST_CASE("random gradients: in f32 an error is at most twice that of the derivative as it was derived") {
  int compared = 0;
  check_random(600, [&](const Graph& graph, std::uint64_t seed) -> std::string {
    const auto program = gradient_program(graph, DType::f32);
    if (!program) return "";
    const Graph raw = differentiate(*program), simple = simplify(raw);
    if (same_graph(raw, simple)) return "";
    const Graph exact = differentiate(in_double_precision(*program));
    for (const double middle : {0.0, 1e4})
      for (const int points : {2, 64}) {
        std::string larger;
        for (const auto& [name, error] : errors_around(middle, points, raw, simple, exact, seed)) {
          ++compared;
          if (!error.no_larger())
            larger = fmt::format("{} around {}: {} off, {} before, of {}\n{}{}", name, middle, error.after,
                                 error.before, error.magnitude, print(raw), print(simple));
        }
        if (larger.empty()) break;
        if (points > 2) return larger;
      }
    return "";
  });
  CHECK(compared > 500);
}

TEST_CASE("random gradients: they agree with differences") {
  std::int64_t checked = 0;
  int graphs = 0, without_value = 0;
  const auto problem = [&](const Graph& graph, std::uint64_t seed) -> std::string {
    const auto program = gradient_program(in_double_precision(graph), DType::f64);
    if (!program) return "";
    ++graphs;
    // Where a point lies next to a kink, or the differences of a large sum are rounded away, others are drawn; a
    // gradient that is wrong is wrong there too. A logarithm of a negative number and the like has no gradient at all.
    std::string wrong;
    for (std::uint64_t draw = 0; draw < 5; ++draw) {
      const GradcheckReport report = gradcheck_step(
          *program, {.seed = 7 * seed + draw + 1, .tolerance = 1e-6, .elements = 1, .rows = 3, .hook = {}});
      checked += report.checked;
      if (report.failures.empty()) return "";
      if (!report.failures.front().no_value) wrong = to_string(report.failures.front());
    }
    without_value += wrong.empty();
    return wrong;
  };
  check_random(1000, problem, {.most_nodes = 16, .most_extent = 17, .random_ops = false, .carries = false});
  CHECK(checked > 1000);
  CHECK(8 * without_value < graphs);
}

TEST_CASE("random graphs: every element lies in the range that facts give it", "[registry]") {
  int bounded = 0;
  for (auto [seed, last] = test::random_seeds(300); seed < last; ++seed) {
    Graph graph = assign_order(test::random_graph(seed, {.carries = false}));
    graph.outputs.clear();
    for (NodeId id = 0; id < graph.nodes.size(); ++id)
      graph.outputs.push_back({OutputKind::result, std::to_string(id), id});
    const auto values = evaluate(graph, test::random_environment(graph, test::random_batch(seed), seed));
    FactTable facts(graph.obligations);
    for (NodeId id = 0; id < graph.nodes.size(); ++id) {
      const Range range = facts.of(graph.nodes, id).range;
      const Tensor& value = values.at(std::to_string(id));
      bounded += range.low == 0 || std::abs(range.high) == 1;
      for (std::int64_t i = 0; i < value.count(); ++i) {
        const double x = value.at(i);
        // Bounds are those of mathematics, which 0 and 1 are in floats too; others may be rounded.
        const auto slack = [](double bound) { return bound == 0 || std::abs(bound) == 1 ? 0 : 1e-5 * std::abs(bound); };
        const bool within = !(x < range.low - slack(range.low)) && !(x > range.high + slack(range.high));
        const bool holds = std::isnan(x) || (within && (!range.whole || std::isinf(x) || x == std::trunc(x)));
        if (holds) continue;
        FAIL("seed " << seed << ", " << definition(graph[id].op).name << ": " << x << " in [" << range.low << ", "
                     << range.high << "]\n"
                     << print(graph));
      }
    }
  }
  CHECK(bounded > 500);
}

}  // namespace
}  // namespace nnc
