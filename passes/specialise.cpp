// Puts a number of rows in place of the batch: every extent becomes a number, `size` a constant. A serial contraction
// becomes a product of matrices, a as [m, k] or [k, m], b as [k, n]; one in lanes keeps its axes, since the lanes and
// chunks of its sum are defined by them. The meaning, to the bit, stays.
#include <algorithm>
#include <map>
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

/// Indices that count from the start of the data go on doing so when their axis is no longer called the batch.
void keep_row_offset(Node& node) {
  const Shape& shape = node.type.shape;
  if (auto* iota = std::get_if<Iota>(&node.attributes)) iota->from_row_offset |= shape[iota->axis].batched;
  if (auto* random = std::get_if<Random>(&node.attributes))
    random->from_row_offset |= !shape.empty() && shape[0].batched;
}

/// The loop of steps written out one after the other. What a step hands out is stacked only where the stack is needed
/// as a whole: a step of another loop that reads it takes the piece.
class Specialiser {
 public:
  Specialiser(Builder& builder, std::int64_t rows) : builder_(builder), rows_(rows) {}

  /// The values of a graph's nodes; those of a body's inputs are given.
  std::vector<Value> values(const Graph& graph, std::span<const Value> inputs = {}) {
    std::vector<UnrolledLoop> loops;
    return rebuild(graph, builder_, [&](NodeId id, const std::vector<Value>& operands) {
      const Node& node = graph[id];
      if (node.op == Op::input && !inputs.empty()) return inputs[input_position(node)];
      if (std::holds_alternative<Scan>(node.attributes)) return loop_result(loops, node, operands);
      return value(node, operands);
    });
  }

 private:
  struct UnrolledLoop {
    const Node* node = nullptr;              ///< one of its results
    std::vector<std::vector<Value>> values;  ///< of result i, at each step by its index in stacks; of a carry, the last
  };

  Value value(Node node, const std::vector<Value>& operands) {
    keep_row_offset(node);
    for (Extent& extent : node.type.shape) extent = with_rows(extent, rows_);
    builder_.set_derived(node.derived);
    builder_.set_origin(node.origin);
    if (const auto* size = std::get_if<Size>(&node.attributes))
      return builder_.size(with_rows(size->extent, rows_), node.type.dtype);
    if (const auto* dot = std::get_if<Dot>(&node.attributes); dot && dot->order == Order::serial)
      return two_dimensional(builder_, node, operands[0], operands[1]);
    return copy_node(builder_, node, operands);
  }

  Value loop_result(std::vector<UnrolledLoop>& loops, const Node& node, const std::vector<Value>& operands) {
    const Scan& scan = std::get<Scan>(node.attributes);
    auto loop = std::ranges::find_if(loops, [&](const UnrolledLoop& known) { return same_loop(*known.node, node); });
    if (loop == loops.end()) {
      loops.push_back({&node, unrolled(scan, operands)});
      loop = loops.end() - 1;
    }
    const std::vector<Value>& values = loop->values[static_cast<std::size_t>(scan.result)];
    return scan.result < scan.carries ? values[0] : stack(values);
  }

  std::vector<std::vector<Value>> unrolled(const Scan& scan, const std::vector<Value>& operands) {
    const auto carries = static_cast<std::size_t>(scan.carries), sequences = static_cast<std::size_t>(scan.sequences);
    const auto steps = static_cast<std::size_t>(scan.steps);
    std::vector<std::vector<Value>> results(scan.body->outputs.size(), std::vector<Value>(steps));
    std::vector<Value> inputs = operands;
    for (std::size_t i = 0; i < steps; ++i) {
      const std::size_t at = scan.backwards ? steps - 1 - i : i;
      for (std::size_t k = carries; k < carries + sequences; ++k) inputs[k] = piece(operands[k], at);
      const std::vector<Value> made = values(*scan.body, inputs);
      for (std::size_t k = 0; k < results.size(); ++k) results[k][at] = made[scan.body->outputs[k].node];
      for (std::size_t k = 0; k < carries; ++k) inputs[k] = results[k][at];
    }
    for (std::size_t k = 0; k < carries; ++k) results[k] = {inputs[k]};
    return results;
  }

  Value stack(const std::vector<Value>& values) {
    std::vector<Value> rows;
    for (Value value : values) {
      Shape shape = value.type().shape;
      shape.insert(shape.begin(), Extent{1, false});
      rows.push_back(builder_.reshape(value, shape));
    }
    const Value whole = rows.size() == 1 ? rows[0] : builder_.concat(rows, 0);
    stacks_.emplace(whole.id, values);
    return whole;
  }

  /// x[index] along the first axis.
  Value piece(Value x, std::size_t index) {
    if (const auto stacked = stacks_.find(x.id); stacked != stacks_.end()) return stacked->second[index];
    Shape shape = x.type().shape;
    std::vector<std::int64_t> starts(shape.size(), 0), ones(shape.size(), 1);
    starts[0] = static_cast<std::int64_t>(index);
    shape[0] = Extent{1, false};
    const Value row = builder_.slice(x, std::move(starts), std::move(ones), shape);
    shape.erase(shape.begin());
    return builder_.reshape(row, shape);
  }

  Builder& builder_;
  std::int64_t rows_;
  std::map<NodeId, std::vector<Value>> stacks_;  ///< the steps that a value is stacked of
};

}  // namespace

Graph specialise(const Graph& graph, std::int64_t rows) {
  Builder builder(graph.name);
  const std::vector<Value> made = Specialiser(builder, rows).values(graph);
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

}  // namespace nnc
