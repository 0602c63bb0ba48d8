// The computation graph as a value: nodes in topological order (an operand's id is smaller than its user's), typed,
// hash-consed by the Builder so that equal expressions are one node. Passes take a graph and return a new one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ir/type.h"

namespace nnc {

enum class Op : std::uint8_t {
#define NNC_OP(name) name,
#include "ir/ops.def"
#undef NNC_OP
};

using NodeId = std::uint32_t;

/// In which order a reduction adds. Part of the meaning: evaluator and native code obey it to the bit.
/// `unset` only before assign_order. docs/architecture.md ("Order of additions") defines both orders.
enum class Order : std::uint8_t { unset, serial, lanes };

// Attributes, one struct for each kind of op that has any. What a result type already says is not repeated here
// (a cast's element type, a reshape's or broadcast's shape, an iota's length stand in Node::type).

struct NoAttributes {
  bool operator==(const NoAttributes&) const = default;
};
/// param, state, carry, input: the path or column; scalar: one of step, epoch, steps_per_epoch, total_steps.
struct Named {
  std::string name;
  bool operator==(const Named&) const = default;
};
/// constant: the elements in row-major order, one for rank 0. i32 and booleans are exact in a double. Compared by bits.
struct Constant {
  std::vector<double> values;
  bool operator==(const Constant& other) const;
};
/// size: the extent as a number of the node's float type (a static one is a constant instead).
struct Size {
  Extent extent;
  bool operator==(const Size&) const = default;
};
/// iota: element = its index along `axis`.
struct Iota {
  int axis = 0;
  bool from_row_offset = false;  ///< set by `specialise` where the axis was batched: counts from the start of the data
  bool operator==(const Iota&) const = default;
};
/// random: uniform in [0, 1) from Philox; `stream` is the hash of the written call's path. Streams make calls distinct.
struct Random {
  std::uint64_t stream = 0;
  bool from_row_offset = false;  ///< set by `specialise` where the first axis was batched
  bool operator==(const Random&) const = default;
};
/// sum, reduce_max: `axes` (ascending) are removed. argmax: exactly one axis.
struct Reduce {
  std::vector<int> axes;
  Order order = Order::unset;
  bool operator==(const Reduce&) const = default;
};
/// broadcast: operand axis i is result axis axes[i] (ascending); all other result axes repeat the value.
struct Broadcast {
  std::vector<int> axes;
  bool operator==(const Broadcast&) const = default;
};
/// transpose: result axis i is operand axis permutation[i].
struct Transpose {
  std::vector<int> permutation;
  bool operator==(const Transpose&) const = default;
};
/// slice: along each axis, element i is the operand's element starts + steps * i; a step may be negative. How many
/// there are stands in the type. The batch is shown whole.
struct Slice {
  std::vector<std::int64_t> starts, steps;
  bool operator==(const Slice&) const = default;
};
/// pad: along each axis `low` zeros before, `high` behind, and `between` of them between neighbours. Never of the
/// batch.
struct Pad {
  std::vector<std::int64_t> low, high, between;
  bool operator==(const Pad&) const = default;
};
/// concat: the operands one after the other along `axis`, which is not the batch.
struct Concat {
  int axis = 0;
  bool operator==(const Concat&) const = default;
};
/// window: `axis`, of n elements, becomes two, [count, size]: element (o, k) is element o * stride + k * dilation, and
/// count = (n - (size - 1) * dilation - 1) / stride + 1.
struct Window {
  int axis = 0;
  std::int64_t size = 1, stride = 1, dilation = 1;
  bool operator==(const Window&) const = default;
};
/// overlap_add, the adjoint of window: axes (axis, axis + 1) become one of `extent` elements, each the sum of those
/// that a window over it shows there: over k ascending, in Order::serial.
struct OverlapAdd {
  int axis = 0;
  std::int64_t extent = 1, stride = 1, dilation = 1;
  bool operator==(const OverlapAdd&) const = default;
};
/// dot: sums over a's axes `a` paired in order with b's axes `b`. Axes `batch_a`, paired in order with `batch_b`, are
/// kept: one contraction for each of their indices. Result axes are these, then a's free axes, then b's free axes.
/// X·W is {1},{0}; dZ·Wᵀ is {1},{1}; Xᵀ·dZ is {0},{0}.
struct Dot {
  std::vector<int> a, b;
  Order order = Order::unset;
  std::vector<int> batch_a = {}, batch_b = {};
  bool operator==(const Dot&) const = default;
};
/// point: which one it is, so that no two are equal.
struct Numbered {
  std::int64_t number = 0;
  bool operator==(const Numbered&) const = default;
};
/// scatter_add: length of the result's first axis.
struct Scatter {
  std::int64_t count = 0;
  bool operator==(const Scatter&) const = default;
};

struct Graph;

/// What a loop does at each step: a graph as a value, immutable and shared, equal to another if the graphs are. Input i
/// is a leaf called by its number ("0", "1", ...; one that is not used may be missing), and so are the results. All
/// else that it needs is in it: no other leaves but numbers.
class ScanBody {
 public:
  explicit ScanBody(Graph graph);
  const Graph& operator*() const { return *graph_; }
  const Graph* operator->() const { return graph_.get(); }
  std::size_t hash() const { return hash_; }
  bool operator==(const ScanBody& other) const;

 private:
  std::shared_ptr<const Graph> graph_;
  std::size_t hash_ = 0;
};

/// scan: result `result` of a loop of `steps` steps. Operands are first the initial values of `carries` carries, then
/// `sequences` tensors whose axis 0 is `steps` long, then what is whole at every step; input i of the body is operand i
/// as it is at that step. The body's results are the next values of the carries and then what the step hands out. The
/// loop's results are the last values of the carries, and what the steps handed out, stacked along a new axis 0.
/// Nodes that differ in `result` alone are one loop (same_loop).
struct Scan {
  ScanBody body;
  int carries = 0, sequences = 0;
  std::int64_t steps = 1;
  bool backwards = false;  ///< begins with the last index of sequences and stacks
  int result = 0;
  bool operator==(const Scan&) const = default;
};

using Attributes = std::variant<NoAttributes, Named, Constant, Size, Iota, Random, Reduce, Broadcast, Transpose, Slice,
                                Pad, Concat, Window, OverlapAdd, Dot, Numbered, Scatter, Scan>;

/// Where a node was written: for messages and for names in printed graphs. Never part of equality.
struct Origin {
  std::string name;                              ///< what the user calls it ("logits"), or empty
  std::uint32_t file = 0, line = 0, column = 0;  ///< line 0: nowhere
};

struct Node {
  Op op{};
  std::vector<NodeId> operands;
  Attributes attributes;
  Type type;
  /// Made by differentiate, not written by a user; only these are rearranged by simplify. Never set on a leaf.
  bool derived = false;
  Origin origin;
};

/// What a graph computes. `result` is handed out by name; `update` replaces the param, state or carry of that name.
enum class OutputKind : std::uint8_t { result, update };
struct Output {
  OutputKind kind = OutputKind::result;
  std::string name;
  NodeId node = 0;
  bool operator==(const Output&) const = default;
};

/// A promise about data that facts rely on and loaders check: low <= element < high for all elements of an input.
struct Obligation {
  std::string input;
  std::int64_t low = 0, high = 0;
  Origin origin;
};

struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::vector<Output> outputs;
  std::vector<Obligation> obligations;

  const Node& operator[](NodeId id) const { return nodes[id]; }
};

/// A hash of what makes a node equal to another one: op, operands, attributes and type. Equal attributes hash equally.
std::size_t hash_of(Op op, const std::vector<NodeId>& operands, const Attributes& attributes, const Type& type);
/// Two scan nodes that are results of one loop.
bool same_loop(const Node& a, const Node& b);
/// constant and size: numbers, which have no name of their own and are printed in place.
bool is_number(const Node& node);

/// Structural equality of nodes, outputs and obligations, whatever the nodes' numbers are. Of origins only names count,
/// and of these not the names of numbers (constant, size), which are shared by all that write the same number.
bool same_graph(const Graph& a, const Graph& b);

}  // namespace nnc
