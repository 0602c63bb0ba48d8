// Equality of graphs. Nodes of both graphs are hash-consed into one table of classes; the graphs are equal if they have
// the same classes equally often and their outputs lie in the same classes in the same order.
#include "ir/graph.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

namespace nnc {

namespace {

/// Accumulates a hash (the finaliser of MurmurHash3 over a running sum).
struct Hasher {
  std::uint64_t state = 0x9e3779b97f4a7c15;

  void add(std::uint64_t value) {
    state += value + 0x9e3779b97f4a7c15;
    state = (state ^ (state >> 33)) * 0xff51afd7ed558ccd;
    state = (state ^ (state >> 33)) * 0xc4ceb9fe1a85ec53;
    state ^= state >> 33;
  }
  void add(const std::string& text) { add(std::hash<std::string>{}(text)); }
  void add(const Extent& extent) { add(static_cast<std::uint64_t>(extent.count) * 2 + extent.batched); }
  template <class Number>
  void add(const std::vector<Number>& numbers) {
    add(numbers.size());
    for (Number number : numbers) add(static_cast<std::uint64_t>(number));
  }

  void operator()(const NoAttributes&) {}
  void operator()(const Named& named) { add(named.name); }
  void operator()(const Constant& constant) {
    for (double value : constant.values) add(std::bit_cast<std::uint64_t>(value));
  }
  void operator()(const Size& size) { add(size.extent); }
  void operator()(const Iota& iota) { add(static_cast<std::uint64_t>(iota.axis)); }
  void operator()(const Random& random) { add(random.stream); }
  void operator()(const Reduce& reduce) {
    add(reduce.axes);
    add(static_cast<std::uint64_t>(reduce.order));
  }
  void operator()(const Broadcast& broadcast) { add(broadcast.axes); }
  void operator()(const Transpose& transpose) { add(transpose.permutation); }
  void operator()(const Slice& slice) {
    add(slice.starts);
    add(slice.steps);
  }
  void operator()(const Pad& pad) {
    add(pad.low);
    add(pad.high);
    add(pad.between);
  }
  void operator()(const Concat& concat) { add(static_cast<std::uint64_t>(concat.axis)); }
  void operator()(const Window& window) {
    for (std::int64_t number : {std::int64_t{window.axis}, window.size, window.stride, window.dilation})
      add(static_cast<std::uint64_t>(number));
  }
  void operator()(const OverlapAdd& sum) {
    for (std::int64_t number : {std::int64_t{sum.axis}, sum.extent, sum.stride, sum.dilation})
      add(static_cast<std::uint64_t>(number));
  }
  void operator()(const Dot& dot) {
    add(dot.a);
    add(dot.b);
    add(static_cast<std::uint64_t>(dot.order));
    add(dot.batch_a);
    add(dot.batch_b);
  }
  void operator()(const Numbered& point) { add(static_cast<std::uint64_t>(point.number)); }
  void operator()(const Scatter& scatter) { add(static_cast<std::uint64_t>(scatter.count)); }
  void operator()(const Scan& scan) {
    add(scan.body.hash());
    for (int number : {scan.carries, scan.sequences, static_cast<int>(scan.backwards), scan.result})
      add(static_cast<std::uint64_t>(number));
    add(static_cast<std::uint64_t>(scan.steps));
  }
};

/// Node with operands given as classes, and the number of nodes of the first graph minus those of the second.
struct NodeClass {
  Node node;
  std::int64_t balance = 0;
};

class Classes {
 public:
  /// The class of every node of a graph; `step` is added to each class's balance.
  std::vector<NodeId> classify(const Graph& graph, int step) {
    std::vector<NodeId> result;
    result.reserve(graph.nodes.size());
    for (const Node& node : graph.nodes) {
      Node key = node;
      for (NodeId& operand : key.operands) operand = result[operand];
      const NodeId id = find_or_add(std::move(key));
      classes_[id].balance += step;
      result.push_back(id);
    }
    return result;
  }
  bool balanced() const {
    return std::ranges::all_of(classes_, [](const NodeClass& entry) { return entry.balance == 0; });
  }

 private:
  NodeId find_or_add(Node key) {
    const std::size_t hash = hash_of(key.op, key.operands, key.attributes, key.type);
    auto [first, last] = by_hash_.equal_range(hash);
    for (; first != last; ++first)
      if (equal(classes_[first->second].node, key)) return first->second;
    const auto id = static_cast<NodeId>(classes_.size());
    by_hash_.emplace(hash, id);
    classes_.push_back({std::move(key)});
    return id;
  }
  static bool equal(const Node& a, const Node& b) {
    return a.op == b.op && a.derived == b.derived && a.operands == b.operands && a.type == b.type &&
           a.attributes == b.attributes && (is_number(a) || a.origin.name == b.origin.name);
  }

  std::vector<NodeClass> classes_;
  std::unordered_multimap<std::size_t, NodeId> by_hash_;
};

/// Equal for equal graphs, however their nodes are numbered.
std::size_t hash_of(const Graph& graph) {
  std::vector<std::uint64_t> hashes;
  hashes.reserve(graph.nodes.size());
  Hasher whole;
  std::uint64_t sum = 0;
  for (const Node& node : graph.nodes) {
    Hasher hasher;
    hasher.add(hash_of(node.op, {}, node.attributes, node.type));
    for (NodeId operand : node.operands) hasher.add(hashes[operand]);
    hashes.push_back(hasher.state);
    sum += hasher.state;
  }
  whole.add(sum);
  for (const Output& output : graph.outputs) whole.add(hashes[output.node]);
  return whole.state;
}

}  // namespace

ScanBody::ScanBody(Graph graph) : graph_(std::make_shared<const Graph>(std::move(graph))), hash_(hash_of(*graph_)) {}

bool ScanBody::operator==(const ScanBody& other) const {
  return graph_ == other.graph_ || (hash_ == other.hash_ && same_graph(*graph_, *other.graph_));
}

bool Constant::operator==(const Constant& other) const {
  return std::ranges::equal(values, other.values, [](double a, double b) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
  });
}

std::size_t hash_of(Op op, const std::vector<NodeId>& operands, const Attributes& attributes, const Type& type) {
  Hasher hasher;
  hasher.add(static_cast<std::uint64_t>(op));
  for (NodeId operand : operands) hasher.add(operand);
  hasher.add(attributes.index());
  std::visit([&](const auto& attribute) { hasher(attribute); }, attributes);
  hasher.add(static_cast<std::uint64_t>(type.dtype));
  for (const Extent& extent : type.shape) hasher.add(extent);
  return hasher.state;
}

bool same_loop(const Node& a, const Node& b) {
  const auto *first = std::get_if<Scan>(&a.attributes), *second = std::get_if<Scan>(&b.attributes);
  if (!first || !second || a.operands != b.operands) return false;
  Scan other = *second;
  other.result = first->result;
  return *first == other;
}

bool is_number(const Node& node) {
  return std::holds_alternative<Size>(node.attributes) ||
         (std::holds_alternative<Constant>(node.attributes) && node.type.shape.empty());
}

bool same_graph(const Graph& a, const Graph& b) {
  const auto same_obligation = [](const Obligation& x, const Obligation& y) {
    return x.input == y.input && x.low == y.low && x.high == y.high;
  };
  if (a.nodes.size() != b.nodes.size() || a.outputs.size() != b.outputs.size() ||
      !std::ranges::equal(a.obligations, b.obligations, same_obligation))
    return false;
  Classes classes;
  const std::vector<NodeId> in_a = classes.classify(a, +1), in_b = classes.classify(b, -1);
  const auto same_output = [&](const Output& x, const Output& y) {
    return x.kind == y.kind && x.name == y.name && in_a[x.node] == in_b[y.node];
  };
  return classes.balanced() && std::ranges::equal(a.outputs, b.outputs, same_output);
}

}  // namespace nnc
