// What a loop would compute again at each step, and find the same, is computed before it. Moved is what takes
// operations, and what a contraction or another loop reads from memory (a transposed matrix is laid out once, not at
// every step). Views of what is whole stay in the step, where they cost nothing.
#include <algorithm>
#include <set>

#include "ir/loops.h"
#include "ir/op.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

std::string numbered(std::size_t position) { return std::to_string(position); }

/// One loop: which nodes of its body move, and the loop without them.
class Hoister {
 public:
  Hoister(const Scan& scan, const std::vector<Value>& operands, Builder& outer)
      : body_(*scan.body), scan_(scan), operands_(operands), outer_(outer), same_(body_.nodes.size()) {
    for (NodeId id = 0; id < body_.nodes.size(); ++id) same_[id] = is_same(body_[id]);
    for (const Node& node : body_.nodes)
      if (const NodeId id = static_cast<NodeId>(&node - body_.nodes.data()); !same_[id]) find_in_operands(node);
    for (const Output& output : body_.outputs) find(output.node);
  }

  /// The attributes and operands of the loop that is left.
  void run(Scan& scan, std::vector<Value>& operands) {
    if (moved_.empty()) return;
    std::map<NodeId, std::string> replaced;
    std::vector<NodeId> results;
    for (NodeId id : moved_) replaced.emplace(id, "moved" + std::to_string(id));
    for (const Output& output : body_.outputs) results.push_back(output.node);
    const std::vector<std::string> used = inputs_of(body_, results, replaced);
    std::vector<std::string> names;
    operands.clear();
    for (std::size_t i = 0; i < operands_.size(); ++i) {
      if (i >= changing() && std::ranges::find(used, numbered(i)) == used.end()) continue;
      names.push_back(numbered(i));
      operands.push_back(operands_[i]);
    }
    for (const auto& [id, name] : replaced) {
      names.push_back(name);
      operands.push_back(before(id));
    }
    scan.body = loop_body(body_, names, results, replaced);
  }

 private:
  /// Number of operands that differ from step to step.
  std::size_t changing() const { return static_cast<std::size_t>(scan_.carries + scan_.sequences); }

  bool is_same(const Node& node) const {
    if (node.op == Op::input) return input_position(node) >= changing();
    return std::ranges::all_of(node.operands, [&](NodeId operand) { return bool(same_[operand]); });
  }

  void find_in_operands(const Node& user) {
    for (NodeId operand : user.operands) {
      const NodeId base = under_reshapes(body_, operand);
      const bool leaf = body_[base].operands.empty();
      if (same_[operand] && !leaf && (is_core(user) || is_scan(user)))
        moved_.insert(base);
      else
        find(operand);
    }
  }

  /// Of an expression that is the same at each step: the nodes that take operations.
  void find(NodeId id) {
    if (!same_[id] || body_[id].operands.empty()) return;
    if (!is_view(body_[id])) {
      moved_.insert(id);
      return;
    }
    for (NodeId operand : body_[id].operands) find(operand);
  }

  /// The node as it is before the loop.
  Value before(NodeId id) {
    if (const auto known = before_.find(id); known != before_.end()) return known->second;
    const Node& node = body_[id];
    if (node.op == Op::input) return operands_[input_position(node)];
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(before(operand));
    return before_.emplace(id, copy_node(outer_, node, operands)).first->second;
  }

  const Graph& body_;
  const Scan& scan_;
  const std::vector<Value>& operands_;
  Builder& outer_;
  std::vector<bool> same_;  ///< of each node: at every step
  std::set<NodeId> moved_;
  std::map<NodeId, Value> before_;
};

Graph hoisted(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    Node node = graph[id];
    std::vector<Value> left = operands;
    if (is_scan(node)) {
      const Scan scan = std::get<Scan>(node.attributes);
      Hoister(scan, operands, builder).run(std::get<Scan>(node.attributes), left);
    }
    return copy_node(builder, node, left);
  });
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

}  // namespace

Graph hoist(const Graph& graph) { return with_bodies(graph, hoisted); }

}  // namespace nnc
