// Gradients of random graphs: simplified against as derived, in f64, and against differences. A program that simplify
// has never seen must keep its values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/facts.h"
#include "passes/gradcheck.h"
#include "passes/pipeline.h"
#include "tests/support/random_graph.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

/// The gradients, by all parameters, of a weighted sum of the graph's float outputs. Nothing without parameters.
std::optional<Graph> gradient_program(std::uint64_t seed) {
  const Graph graph = in_double_precision(
      test::random_graph(seed, {.most_nodes = 30, .random_ops = false, .updates = true, .carries = false}));
  Builder b("gradients");
  const std::vector<Value> made = rebuild(
      graph, b, [&](NodeId id, const std::vector<Value>& operands) { return copy_node(b, graph[id], operands); });
  std::optional<Value> loss;
  double weight = 1;
  for (const Output& output : graph.outputs) {
    const Value y = made[output.node];
    if (y.type().dtype != DType::f64) continue;
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
    if (node.op != Op::param || node.type.dtype != DType::f64) continue;
    b.output(OutputKind::result, "grad/" + std::get<Named>(node.attributes).name,
             b.make(Op::grad, {{*loss, made[id]}}));
    any = true;
  }
  for (const Obligation& obligation : graph.obligations) b.oblige(obligation);
  if (!any) return std::nullopt;
  return std::move(b).finish();
}

double work(const Graph& graph) {
  double total = 0;
  for (const Node& node : graph.nodes)
    if (definition(node.op).cls == OpClass::elementwise) {
      const Extent count = element_count(node.type.shape);
      total += static_cast<double>(count.count) * (count.batched ? 32 : 1);
    }
  return total;
}

TEST_CASE("random gradients: simplified, they keep their values and cost no more") {
  int compared = 0, simpler = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const auto program = gradient_program(seed);
    if (!program) continue;
    const Graph raw = differentiate(*program), simple = simplify(raw);
    CAPTURE(seed);
    REQUIRE(verify(simple).empty());
    REQUIRE(same_graph(simplify(simple), simple));
    simpler += work(simple) < work(raw);

    const Environment at = test::random_environment(raw, test::random_batch(seed), seed);
    const auto expected = evaluate(raw, at, true), found = evaluate(simple, at, true);
    for (const auto& [name, value] : expected) {
      const Tensor& other = found.at(name);
      double magnitude = 1, apart = 0;
      for (std::int64_t i = 0; i < value.count(); ++i) {
        if (!std::isfinite(value.at(i))) continue;  // where the derivative had no value, the limit may stand
        magnitude = std::max(magnitude, std::abs(value.at(i)));
        const double difference = std::abs(other.at(i) - value.at(i));
        apart = std::max(apart, std::isnan(difference) ? INFINITY : difference);
      }
      INFO(name << "\n" << print(raw) << "\n" << print(simple));
      REQUIRE(apart <= 1e-9 * magnitude);
      ++compared;
    }
  }
  CHECK(compared > 100);
  CHECK(simpler > 50);
}

TEST_CASE("random graphs: every element lies in the range that facts give it", "[registry]") {
  int bounded = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
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
        const auto slack = [](double bound) { return std::abs(bound) <= 1 ? 0 : 1e-5 * std::abs(bound); };
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
