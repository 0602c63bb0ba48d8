#include "passes/memory_needs.h"

#include <algorithm>
#include <set>

#include "ir/loops.h"
#include "ir/op.h"

namespace nnc {

namespace {

/// Bytes of a feed's row that a contraction reads where it lies.
constexpr std::int64_t shortest_row_read = 256;

class NeedsFinder {
 public:
  NeedsFinder(const Graph& graph, const LowerOptions& options, bool step)
      : graph_(graph), options_(options), step_(step) {
    const std::size_t size = graph.nodes.size();
    for (std::vector<bool>* of_nodes : {&needs_.solid, &needs_.anchored, &needs_.dense, &needs_.in_rows, &needs_.apart})
      of_nodes->resize(size);
  }

  MemoryNeeds run() {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      needs_.apart[id] = graph_[id].op == Op::input && is_buffer_leaf(graph_[id]);
      if (!is_core(graph_[id])) continue;
      if (const auto operand = core_operand(graph_, id)) needs_.in_place[id] = operand->base;
    }
    mark_memory_operands();
    mark_outputs();
    return std::move(needs_);
  }

 private:
  /// A leaf that lies in memory under its own dims; a row of a feed may lie anywhere, a number is no memory.
  bool is_buffer_leaf(const Node& node) const {
    if (node.op == Op::input) return step_ || is_gradient(options_, std::get<Named>(node.attributes).name);
    return node.op == Op::param || node.op == Op::state || node.op == Op::carry ||
           (node.op == Op::constant && !node.type.shape.empty());
  }

  /// Whether another program has put the leaf in panels, which only rows of `b` can be read from.
  bool in_panels(NodeId leaf) const {
    const auto* named = std::get_if<Named>(&graph_[leaf].attributes);
    const Layout* layout = named && options_.obey && !step_ ? options_.obey->find(named->name) : nullptr;
    return layout && layout->kind == Layout::Kind::panels;
  }

  /// Marks what has to lie in memory for `node` to be read under its own dims; `row_major` where nothing else will do.
  void needs_memory(NodeId node, bool row_major) {
    const NodeId base = under_reshapes(graph_, node);
    if (dims_of(graph_[base].type) != dims_of(graph_[node].type)) needs_.dense[base] = row_major = true;
    needs_.in_rows[base] = needs_.in_rows[base] || row_major;
    if (!is_buffer_leaf(graph_[base]) || (row_major && in_panels(base))) needs_.solid[base] = true;
  }

  /// Whether threads have so few panels of b each that none of them copies rows of a feed for its own, though there
  /// are panels enough: a copy that all make together is less work. Of sums over a feed's rows.
  bool shares_copy(NodeId core) const {
    const Node& node = graph_[core];
    if (std::get<Dot>(node.attributes).a[0] != 0) return false;
    const std::int64_t columns = dims_of(node.type)[1], rows = dims_of(graph_[node.operands[0]].type)[0];
    if (!panels_may_be_shared(rows, columns)) return false;
    const std::int64_t width = options_.machine.panel(size_of(node.type.dtype));
    const std::int64_t panels = (columns + width - 1) / width;
    return panels >= fewest_panels_fed && panels < fewest_panels_fed * options_.threads;
  }

  /// Whether a contraction's operand `a` may be read where a feed has it. Its rows are looked up, which short ones are
  /// not worth, and nothing keeps those apart that would be in the same sets of the cache.
  bool stays_in_feed(NodeId core, NodeId a) const {
    const Node& node = graph_[a];
    if (node.op != Op::input || is_buffer_leaf(node) || node.type.shape.size() != 2 || shares_copy(core)) return false;
    const std::int64_t row = dims_of(node.type)[1] * static_cast<std::int64_t>(size_of(node.type.dtype));
    return row >= shortest_row_read && row % thrashing_stride != 0;
  }

  /// Likewise for a contraction's operand `a`.
  void needs_operand(NodeId core) {
    const NodeId base = needs_.operand_read(graph_, core, 0);
    if (!needs_.in_place.contains(core) && stays_in_feed(core, base)) return;
    if (!needs_.in_place.contains(core)) return needs_memory(base, true);
    needs_.in_rows[base] = true;
    if (!is_buffer_leaf(graph_[base]) || in_panels(base)) needs_.solid[base] = true;
  }

  /// Marks what is read under its own dims: not views that contractions alone see through.
  std::vector<bool> find_shown() const {
    std::vector<bool> shown(graph_.nodes.size());
    for (const Output& output : graph_.outputs) shown[output.node] = true;
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()); id-- > 0;) {
      const Node& node = graph_[id];
      if (is_view(node) && !shown[id]) continue;
      for (std::size_t i = 0; i < node.operands.size(); ++i) shown[needs_.operand_read(graph_, id, i)] = true;
    }
    return shown;
  }

  void mark_memory_operands() {
    const std::vector<bool> shown = find_shown();
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const Node& node = graph_[id];
      const Dims dims = dims_of(node.type);
      if (is_core(node)) {
        needs_operand(id);
        needs_memory(node.operands[1], false);
      }
      if (node.op == Op::reshape && shown[id] &&
          !through_view(graph_, id, identity_map(dims.size(), dims.size()), dims))
        needs_memory(id, true);
      if (is_scan(node)) mark_loop(id);
      if (divides(node)) {
        std::set<NodeId> seen;
        store_generated(node.operands[0], seen);
      }
    }
  }

  /// What a loop reads: sequences as stacks of rows, whole operands as its step reads them. Where carries begin is an
  /// expression.
  void mark_loop(NodeId id) {
    const LoopClusters& loop = needs_.loops[number_of_loop(id)];
    const Scan& scan = std::get<Scan>(graph_[id].attributes);
    const auto carries = static_cast<std::size_t>(scan.carries), sequences = static_cast<std::size_t>(scan.sequences);
    for (NodeId leaf = 0; leaf < loop.step.nodes.size(); ++leaf) {
      if (loop.step[leaf].op != Op::input) continue;
      const std::size_t position = input_position(loop.step[leaf]);
      if (position < carries) continue;
      const NodeId operand = graph_[id].operands[position];
      const bool sequence = position < carries + sequences;
      needs_memory(operand, sequence || loop.clusters.in_rows[leaf]);
      if (sequence) needs_.dense[under_reshapes(graph_, operand)] = true;
    }
  }

  std::size_t number_of_loop(NodeId id) {
    for (const auto& [member, loop] : needs_.loop_numbers)
      if (same_loop(graph_[member], graph_[id])) return loop;
    needs_.loops.push_back(step_of(id));
    return needs_.loop_numbers[id] = needs_.loops.size() - 1;
  }

  /// What a step stores: the next value of every carry, and what it hands out and something asks for. What it hands out
  /// of its carries lies with them.
  LoopClusters step_of(NodeId id) const {
    const Scan& scan = std::get<Scan>(graph_[id].attributes);
    const Graph& body = *scan.body;
    LoopClusters loop;
    std::set<std::string> stored;
    for (int result = 0; result < static_cast<int>(body.outputs.size()); ++result) {
      const bool asked = std::ranges::any_of(graph_.nodes, [&](const Node& node) {
        return is_scan(node) && same_loop(node, graph_[id]) && std::get<Scan>(node.attributes).result == result;
      });
      const auto kept = kept_with_carry(scan, body.outputs[static_cast<std::size_t>(result)].node);
      if (result >= scan.carries && kept && asked)
        loop.kept.emplace(result, *kept);
      else if (result < scan.carries || asked)
        stored.insert(body.outputs[static_cast<std::size_t>(result)].name);
    }
    loop.step = with_outputs(body, stored);
    loop.clusters = fuse_step(loop.step, options_);
    return loop;
  }

  static std::optional<LoopClusters::Kept> kept_with_carry(const Scan& scan, NodeId node) {
    const Graph& body = *scan.body;
    for (std::size_t carry = 0; carry < static_cast<std::size_t>(scan.carries); ++carry)
      if (body.outputs[carry].node == node) return LoopClusters::Kept{carry, true};
    if (body[node].op != Op::input) return std::nullopt;
    const std::size_t position = input_position(body[node]);
    if (position >= static_cast<std::size_t>(scan.carries)) return std::nullopt;
    return LoopClusters::Kept{position, false};
  }

  /// Whether an operand is read at an index that is a quotient.
  static bool divides(const Node& node) {
    if (const auto* overlap = std::get_if<OverlapAdd>(&node.attributes)) return overlap->stride > 1;
    const auto* pad = std::get_if<Pad>(&node.attributes);
    return pad && std::ranges::any_of(pad->between, [](std::int64_t zeros) { return zeros > 0; });
  }

  /// What is made from its index is made where that is a loop's, and read from memory where it is a quotient.
  void store_generated(NodeId node, std::set<NodeId>& seen) {
    const OpClass cls = definition(graph_[node].op).cls;
    if (!seen.insert(node).second) return;
    if (cls == OpClass::generate) needs_.solid[node] = true;
    if (cls != OpClass::elementwise && graph_[node].op != Op::gather && !is_view(graph_[node])) return;
    for (NodeId operand : graph_[node].operands) store_generated(operand, seen);
  }

  /// An output has a home, so that its value is ready when the store's turn comes. An update by a leaf or a view is
  /// copied first: others may be about to change what it reads.
  void mark_outputs() {
    for (const Output& output : graph_.outputs) {
      const NodeId value = under_reshapes(graph_, output.node);
      const Node& node = graph_[value];
      const bool computed = !is_view(node) && definition(node.op).cls != OpClass::leaf;
      if (computed)
        needs_.anchored[value] = true;
      else if (output.kind == OutputKind::update && !needs_.apart[value])
        needs_.solid[value] = true;
    }
  }

  const Graph& graph_;
  const LowerOptions& options_;
  const bool step_;
  MemoryNeeds needs_;
};

}  // namespace

std::size_t MemoryNeeds::loop_of(const Graph& graph, NodeId node) const {
  std::size_t number = 0;
  for (const auto& [member, loop] : loop_numbers)
    if (same_loop(graph[member], graph[node])) number = loop;
  return number;
}

MemoryNeeds memory_needs(const Graph& graph, const LowerOptions& options, bool step) {
  return NeedsFinder(graph, options, step).run();
}

}  // namespace nnc
