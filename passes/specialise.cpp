// Puts a number of rows in place of the batch: every extent becomes a number, `size` a constant. A serial contraction
// becomes a product of matrices, a as [m, k] or [k, m], b as [k, n], or of two stacks of them where it keeps pairs of
// axes; one in lanes keeps its axes, since the lanes and
// chunks of its sum are defined by them. Of loops stays what something asks for. The meaning, to the bit, stays.
#include <algorithm>
#include <numeric>

#include "ir/builder.h"
#include "ir/loops.h"
#include "passes/index_map.h"
#include "passes/passes.h"

namespace nnc {
namespace {

Extent with_rows(Extent extent, std::int64_t rows) {
  return extent.batched ? Extent{extent.count * rows, false} : extent;
}

Shape shape_of(const Dims& dims) {
  Shape shape;
  for (std::int64_t dim : dims) shape.push_back(Extent{dim, false});
  return shape;
}

Value reshaped(Builder& builder, Value x, const Dims& dims) {
  return dims_of(x.type()) == dims ? x : builder.reshape(x, shape_of(dims));
}

/// A matrix with the contracted axes on one side.
struct Matrix {
  Value value;
  int contracted = 0;  ///< 0: [k, free]; 1: [free, k]
};

Matrix as_matrix(Builder& builder, Value x, const std::vector<int>& contracted) {
  const Dims dims = dims_of(x.type());
  std::vector<int> free, order;
  for (int axis = 0; axis < static_cast<int>(dims.size()); ++axis)
    if (std::find(contracted.begin(), contracted.end(), axis) == contracted.end()) free.push_back(axis);
  std::int64_t k = 1, rest = 1;
  for (int axis : contracted) k *= dims[axis];
  for (int axis : free) rest *= dims[axis];

  order = contracted;
  order.insert(order.end(), free.begin(), free.end());
  if (std::is_sorted(order.begin(), order.end())) return {reshaped(builder, x, {k, rest}), 0};
  order = free;
  order.insert(order.end(), contracted.begin(), contracted.end());
  if (!std::is_sorted(order.begin(), order.end())) x = builder.transpose(x, order);
  return {reshaped(builder, x, {rest, k}), 1};
}

/// A transposed matrix is its operand, contracted on the other side.
Matrix without_transpose(Builder& builder, Matrix matrix) {
  const Node& node = builder[matrix.value.id];
  const auto* transpose = std::get_if<Transpose>(&node.attributes);
  if (!transpose || transpose->permutation != std::vector<int>{1, 0}) return matrix;
  return {Value{&builder, node.operands[0]}, 1 - matrix.contracted};
}

Value two_dimensional(Builder& builder, const Node& node, Value a, Value b) {
  const auto& dot = std::get<Dot>(node.attributes);
  const Matrix left = without_transpose(builder, as_matrix(builder, a, dot.a));
  Matrix right = without_transpose(builder, as_matrix(builder, b, dot.b));
  if (right.contracted == 1) {
    const Dims dims = dims_of(right.value.type());
    right.value = dims[0] == 1 || dims[1] == 1 ? reshaped(builder, right.value, {dims[1], dims[0]})
                                               : builder.transpose(right.value, {1, 0});
  }
  const Value product =
      builder.make(Op::dot, std::vector<Value>{left.value, right.value}, Dot{{left.contracted}, {0}, dot.order});
  return reshaped(builder, product, dims_of(node.type));
}

/// Axes of an operand by what a contraction does with them; of what lies under a transpose, so that none is made of
/// another one.
struct StackAxes {
  Value value;
  std::vector<int> batch, contracted, free;
};

StackAxes stack_axes(Builder& builder, Value x, const std::vector<int>& batch, const std::vector<int>& contracted) {
  StackAxes axes{x, batch, contracted, {}};
  const auto listed = [](const std::vector<int>& list, int axis) {
    return std::ranges::find(list, axis) != list.end();
  };
  for (int axis = 0; axis < x.type().rank(); ++axis)
    if (!listed(batch, axis) && !listed(contracted, axis)) axes.free.push_back(axis);
  const Node& node = builder[x.id];
  const auto* transpose = std::get_if<Transpose>(&node.attributes);
  if (!transpose) return axes;
  axes.value = Value{&builder, node.operands[0]};
  for (std::vector<int>* list : {&axes.batch, &axes.contracted, &axes.free})
    for (int& axis : *list) axis = transpose->permutation[static_cast<std::size_t>(axis)];
  return axes;
}

/// [stack, first, second], by a transpose where the axes do not lie so.
Value as_stack(Builder& builder, const StackAxes& axes, const std::vector<int>& first, const std::vector<int>& second) {
  const Dims dims = dims_of(axes.value.type());
  std::vector<int> order = axes.batch;
  order.insert(order.end(), first.begin(), first.end());
  order.insert(order.end(), second.begin(), second.end());
  Dims wanted;
  for (const std::vector<int>* list : {&axes.batch, &first, &second}) {
    std::int64_t count = 1;
    for (int axis : *list) count *= dims[static_cast<std::size_t>(axis)];
    wanted.push_back(count);
  }
  return reshaped(builder, builder.transpose(axes.value, order), wanted);
}

Value stack_of_products(Builder& builder, const Node& node, Value a, Value b) {
  const auto dot = std::get<Dot>(node.attributes);
  const StackAxes left = stack_axes(builder, a, dot.batch_a, dot.a), right = stack_axes(builder, b, dot.batch_b, dot.b);
  std::vector<int> as_it_lies = left.batch;
  as_it_lies.insert(as_it_lies.end(), left.contracted.begin(), left.contracted.end());
  as_it_lies.insert(as_it_lies.end(), left.free.begin(), left.free.end());
  const bool k_first = std::ranges::is_sorted(as_it_lies);
  const Value first = k_first ? as_stack(builder, left, left.contracted, left.free)
                              : as_stack(builder, left, left.free, left.contracted);
  const Value second = as_stack(builder, right, right.contracted, right.free);
  const Value product =
      builder.make(Op::dot, std::vector<Value>{first, second}, Dot{{k_first ? 1 : 2}, {1}, dot.order, {0}, {0}});
  return reshaped(builder, product, dims_of(node.type));
}

/// Indices that count from the start of the data go on doing so when their axis is no longer called the batch.
void keep_row_offset(Node& node) {
  const Shape& shape = node.type.shape;
  if (auto* iota = std::get_if<Iota>(&node.attributes)) iota->from_row_offset |= shape[iota->axis].batched;
  if (auto* random = std::get_if<Random>(&node.attributes))
    random->from_row_offset |= !shape.empty() && shape[0].batched;
}

Graph specialised(const Graph& graph, std::int64_t rows) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    Node node = graph[id];
    keep_row_offset(node);
    for (Extent& extent : node.type.shape) extent = with_rows(extent, rows);
    builder.set_derived(node.derived);
    builder.set_origin(node.origin);
    if (const auto* size = std::get_if<Size>(&node.attributes))
      return builder.size(with_rows(size->extent, rows), node.type.dtype);
    if (const auto* dot = std::get_if<Dot>(&node.attributes); dot && dot->order == Order::serial)
      return dot->batch_a.empty() ? two_dimensional(builder, node, operands[0], operands[1])
                                  : stack_of_products(builder, node, operands[0], operands[1]);
    if (auto* scan = std::get_if<Scan>(&node.attributes)) scan->body = ScanBody(specialised(*scan->body, rows));
    return copy_node(builder, node, operands);
  });
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

}  // namespace

Graph specialise(const Graph& graph, std::int64_t rows) { return specialised(share_loops(graph), rows); }

}  // namespace nnc
