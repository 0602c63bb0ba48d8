// What is known now is computed now, and what changes no bit is left out. The evaluator computes it, on a graph of one
// op: arithmetic is defined once. Left out is only what no float notices, NaN and -0 included:
//
//     1 * x = x    x / 1 = x    x - 0 = x    (true ? x : y) = x    sum of ones = their number    a batch is not empty
//
// x + 0 is not x (-0), and 0 * x is not 0 (NaN, inf). So an argument's default (weights of one, no smoothing) costs
// nothing.
#include <algorithm>
#include <cmath>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/loops.h"
#include "ir/op.h"
#include "passes/differentiate.h"
#include "passes/passes.h"
#include "passes/view.h"

namespace nnc {

namespace {

bool is_known(const Builder& builder, Value x) {
  return builder[x.id].op == Op::constant && builder[x.id].type.shape.empty();
}

bool repeats(const Builder& builder, Value x, double number) {
  double found = 0;
  return repeats_number(builder.graph().nodes, x.id, found) && found == number && !std::signbit(found);
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

/// The operand that an op over known numbers leaves as it is, spread to the op's shape.
std::optional<Value> unchanged(Builder& builder, const Node& node, const std::vector<Value>& x) {
  const auto as_result = [&](Value same) -> std::optional<Value> {
    if (same.type().shape == node.type.shape) return same;
    return same.type().rank() == 0 ? std::optional(builder.spread(same, node.type.shape)) : std::nullopt;
  };
  if (node.op == Op::mul && repeats(builder, x[0], 1)) return as_result(x[1]);
  if ((node.op == Op::mul || node.op == Op::div) && repeats(builder, x[1], 1)) return as_result(x[0]);
  if (node.op == Op::sub && repeats(builder, x[1], 0)) return as_result(x[0]);
  if (node.op == Op::select && is_known(builder, x[0]))
    return as_result(std::get<Constant>(builder[x[0].id].attributes).values.front() != 0 ? x[1] : x[2]);
  return std::nullopt;
}

/// The number of ones that a sum over repeated ones has; the number of rows is not 0.
std::optional<Value> counted(Builder& builder, const Node& node, const std::vector<Value>& x) {
  if (node.op == Op::sum && x.size() == 1 && is_float(node.type.dtype) && repeats(builder, x[0], 1)) {
    Extent count{1, false};
    for (int axis : std::get<Reduce>(node.attributes).axes) {
      const Extent extent = x[0].type().shape[axis];
      count = {count.count * extent.count, count.batched || extent.batched};
    }
    return builder.spread(builder.size(count, node.type.dtype), node.type.shape);
  }
  if (node.op == Op::equal && node.type.rank() == 0)
    for (std::size_t i : {0, 1})
      if (builder[x[i].id].op == Op::size && repeats(builder, x[1 - i], 0)) return builder.constant(0, DType::boolean);
  return std::nullopt;
}

Graph folded(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    const Node& node = graph[id];
    if (const auto value = value_of(builder, node, operands)) return builder.constant(*value, node.type.dtype);
    if (const auto same = unchanged(builder, node, operands)) return *same;
    if (const auto count = counted(builder, node, operands)) return *count;
    return copy_node(builder, node, operands);
  });
  return finish_like(graph, std::move(builder), made);
}

}  // namespace

Graph fold_constants(const Graph& graph) { return with_bodies(graph, folded); }

}  // namespace nnc
