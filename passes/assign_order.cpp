// Sets the order in which every sum and every contraction adds. The rule stands in ir/order.h, since the evaluator
// knows it too; it looks at static extents only, never at the batch or the machine, so the bits of a program depend on
// neither.
#include "ir/builder.h"
#include "ir/loops.h"
#include "ir/order.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace nnc {

namespace {

Graph ordered(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    Node node = graph[id];
    if (auto* reduce = std::get_if<Reduce>(&node.attributes)) reduce->order = natural_order(graph, id);
    if (auto* dot = std::get_if<Dot>(&node.attributes)) dot->order = natural_order(graph, id);
    return copy_node(builder, node, operands);
  });
  return finish_like(graph, std::move(builder), made);
}

}  // namespace

Graph assign_order(const Graph& graph) { return with_bodies(graph, ordered); }

}  // namespace nnc
