// Numbers known now are computed now. The evaluator does it, on a graph of one op: arithmetic is defined once.
#include <algorithm>
#include <cmath>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/loops.h"
#include "ir/op.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace nnc {

namespace {

bool is_known(const Builder& builder, Value x) {
  return builder[x.id].op == Op::constant && builder[x.id].type.shape.empty();
}

/// The value of an elementwise op over rank-0 constants; nothing where it is not one, or not a number.
std::optional<double> value_of(const Builder& builder, const Node& node, const std::vector<Value>& operands) {
  if (definition(node.op).cls != OpClass::elementwise || operands.empty()) return std::nullopt;
  if (!std::ranges::all_of(operands, [&](Value x) { return is_known(builder, x); })) return std::nullopt;
  Builder single;
  std::vector<Value> copies;
  for (Value operand : operands) copies.push_back(copy_node(single, builder[operand.id], {}));
  single.output(OutputKind::result, "value", copy_node(single, node, copies));
  const double value = evaluate(std::move(single).finish(), {}).at("value").at(0);
  if (std::isnan(value)) return std::nullopt;
  return value;
}

Graph folded(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    if (const auto value = value_of(builder, graph[id], operands))
      return builder.constant(*value, graph[id].type.dtype);
    return copy_node(builder, graph[id], operands);
  });
  return finish_like(graph, std::move(builder), made);
}

}  // namespace

Graph fold_constants(const Graph& graph) { return with_bodies(graph, folded); }

}  // namespace nnc
