// Builds graphs. Equal nodes (op, operands, attributes, type) are one node, always; only `random` nodes of different
// streams differ by their stream. A derived node that equals a written one is the written one. Leaves are never
// derived: a number is the same number whoever wrote it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "ir/graph.h"
#include "ir/op.h"

namespace nnc {

class Builder;

/// A node of a graph under construction. Arithmetic on values builds nodes; a plain number beside a value becomes a
/// rank-0 constant of its element type.
struct Value {
  Builder* builder = nullptr;
  NodeId id = 0;

  const Type& type() const;  ///< valid until the builder makes its next node: copy it where nodes are made
};

using ValueOrError = std::variant<Value, ShapeError>;

class Builder {
 public:
  explicit Builder(std::string graph_name = "") { graph_.name = std::move(graph_name); }

  /// The node op(operands) with a type from the op's shape rule, or why there is none. `wanted` as in ShapeQuery.
  ValueOrError try_make(Op op, std::span<const NodeId> operands, Attributes attributes = NoAttributes{},
                        const Type& wanted = {});
  /// The same where an error would be a bug of the compiler: aborts with the op and the types.
  Value make(Op op, std::span<const Value> operands, Attributes attributes = NoAttributes{}, const Type& wanted = {});

  Value constant(double value, DType dtype);  ///< rank 0; rounded to the type; one NaN for all
  Value constant(std::vector<double> values, const Type& type);
  Value leaf(Op op, std::string name, const Type& type);  ///< param, state, carry, input, scalar; called by its name
  Value size(Extent extent, DType dtype);                 ///< a constant where the extent is static
  Value broadcast(Value x, std::vector<int> axes, const Shape& shape);
  Value spread(Value x, const Shape& shape);  ///< rank 0, or leading axes missing
  Value reshape(Value x, const Shape& shape);
  Value transpose(Value x, std::vector<int> permutation);
  /// Along axis i the elements starts[i] + steps[i] * k, as many as `extents` says. The batch is shown whole.
  Value slice(Value x, std::vector<std::int64_t> starts, std::vector<std::int64_t> steps, const Shape& extents);
  /// Zeros around and `between` of them between neighbours, for each axis; x itself where there are none.
  Value pad(Value x, std::vector<std::int64_t> low, std::vector<std::int64_t> high, std::vector<std::int64_t> between);
  Value concat(std::span<const Value> pieces, int axis);  ///< the piece itself where there is one
  /// Axis of n becomes [count, size], element (o, k) = x[o * stride + k * dilation].
  Value window(Value x, int axis, std::int64_t size, std::int64_t stride = 1, std::int64_t dilation = 1);
  /// The adjoint of window: axes (axis, axis + 1) become one of `extent` elements.
  Value overlap_add(Value y, int axis, std::int64_t extent, std::int64_t stride = 1, std::int64_t dilation = 1);
  Value cast(Value x, DType dtype);           ///< x itself where it has the type already
  Value sum(Value x, std::vector<int> axes);  ///< x itself where axes is empty
  Value dot(Value a, Value b, std::vector<int> axes_a, std::vector<int> axes_b, std::vector<int> batch_a = {},
            std::vector<int> batch_b = {});
  Value gather(Value table, Value ids);
  Value scatter_add(Value x, Value ids, std::int64_t rows);
  Value select(Value condition, Value yes, Value no);

  void output(OutputKind kind, std::string name, Value value);
  void oblige(Obligation obligation);

  /// New nodes from here on are marked derived (or not), and get this origin where they have none.
  void set_derived(bool derived) { derived_ = derived; }
  bool derived() const { return derived_; }
  void set_origin(Origin origin) { origin_ = std::move(origin); }
  const Origin& origin() const { return origin_; }
  void name_node(NodeId id, std::string name);  ///< keeps an earlier name; numbers have none

  const Graph& graph() const { return graph_; }
  const Node& operator[](NodeId id) const { return graph_.nodes[id]; }
  /// The graph, without nodes that no output needs and without obligations of inputs that are gone with them.
  Graph finish() &&;

 private:
  Graph graph_;
  std::unordered_multimap<std::size_t, NodeId> by_hash_;
  bool derived_ = false;
  Origin origin_;
};

// Elementwise arithmetic; operands of one shape, or one of rank 0.
Value operator+(Value a, Value b);
Value operator-(Value a, Value b);
Value operator*(Value a, Value b);
Value operator/(Value a, Value b);
Value operator-(Value a);
Value operator+(Value a, double b);
Value operator-(Value a, double b);
Value operator*(Value a, double b);
Value operator/(Value a, double b);
Value operator+(double a, Value b);
Value operator-(double a, Value b);
Value operator*(double a, Value b);
Value operator/(double a, Value b);
/// Any elementwise op by its enumerator: apply(Op::exp, x), apply(Op::less, a, b).
Value apply(Op op, Value x);
Value apply(Op op, Value a, Value b);

/// Copies nodes of one graph into a builder, with operands replaced: the walk that every rewriting pass shares.
/// `rewrite` gets the old node's id and its already rewritten operands and returns the new value.
template <class Rewrite>
std::vector<Value> rebuild(const Graph& graph, [[maybe_unused]] Builder& builder, Rewrite&& rewrite) {
  std::vector<Value> made;
  made.reserve(graph.nodes.size());
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    std::vector<Value> operands;
    for (NodeId operand : graph.nodes[id].operands) operands.push_back(made[operand]);
    made.push_back(rewrite(id, operands));
  }
  return made;
}
/// The plain copy of one node: same op, attributes, type, derived mark and origin over new operands.
Value copy_node(Builder& builder, const Node& node, std::span<const Value> operands);

}  // namespace nnc
