// Reverse mode as a graph transformation. grad(e, x) becomes the graph of its derivative: a walk from e back to x that
// asks each op's own rule (OpDef::gradient) for the gradients of its operands and adds them up where paths meet. The
// walk knows no op. Innermost gradients come first, since operands precede users, so that a gradient can be
// differentiated again. All gradients of one e share one walk.
#include "passes/differentiate.h"

#include <map>

#include "ir/builder.h"
#include "ir/op.h"
#include "passes/passes.h"

namespace nnc {

namespace {

/// dL/dx for every x on a way from `root` to one of the targets.
class ReverseWalk {
 public:
  ReverseWalk(Builder& builder, NodeId root, const std::vector<NodeId>& targets, const GradientHook& hook)
      : builder_(builder), leads_to_target_(root + 1, false), adjoints_(root + 1), hook_(hook) {
    mark_ways(root, targets);
    adjoints_[root] = builder.constant(1, builder[root].type.dtype);
    for (NodeId id = root + 1; id-- > 0;)
      if (adjoints_[id]) pass_on(id);
  }

  std::optional<Value> adjoint(NodeId id) const { return id < adjoints_.size() ? adjoints_[id] : std::nullopt; }

 private:
  void mark_ways(NodeId root, const std::vector<NodeId>& targets) {
    for (NodeId target : targets)
      if (target <= root) leads_to_target_[target] = true;
    for (NodeId id = 0; id <= root; ++id)
      for (NodeId operand : builder_[id].operands)
        if (leads_to_target_[operand]) leads_to_target_[id] = true;
  }

  void pass_on(NodeId id) {
    const Node node = builder_[id];  // by value: rules add nodes, and the builder's storage moves
    bool any = false;
    for (NodeId operand : node.operands) any = any || leads_to_target_[operand];
    const OpDef& op = definition(node.op);
    if (!any || !op.gradient) return;

    builder_.set_origin({.name = "", .file = node.origin.file, .line = node.origin.line, .column = node.origin.column});
    const GradientQuery query{.builder = builder_, .y = id, .dy = adjoints_[id]->id};
    Gradients gradients = op.gradient(query);
    if (hook_) hook_(query, gradients);
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      if (gradients[i] && leads_to_target_[node.operands[i]]) accumulate(node.operands[i], *gradients[i]);
  }

  void accumulate(NodeId operand, Value gradient) {
    if (builder_[operand].type.shape.empty() && gradient.type().rank() > 0) gradient = sum_of_all(gradient);
    std::optional<Value>& adjoint = adjoints_[operand];
    adjoint = adjoint ? *adjoint + gradient : gradient;
  }

  /// A rank-0 operand meets every element, so its gradient is the sum over all of them.
  Value sum_of_all(Value x) {
    std::vector<int> axes;
    for (int axis = 0; axis < x.type().rank(); ++axis) axes.push_back(axis);
    return builder_.sum(x, std::move(axes));
  }

  Builder& builder_;
  std::vector<bool> leads_to_target_;
  std::vector<std::optional<Value>> adjoints_;
  const GradientHook& hook_;
};

/// The gradient of something that the expression does not depend on.
Value zeros(Builder& builder, Type type) { return builder.spread(builder.constant(0, type.dtype), type.shape); }

/// What the gradients of a graph are taken of, and by what.
std::map<NodeId, std::vector<NodeId>> targets_by_root(const Graph& graph) {
  std::map<NodeId, std::vector<NodeId>> targets;
  for (const Node& node : graph.nodes)
    if (node.op == Op::grad) targets[node.operands[0]].push_back(node.operands[1]);
  return targets;
}

/// stop_gradient has done its work once no gradient is left.
Graph without_stops(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    if (graph[id].op != Op::stop_gradient) return copy_node(builder, graph[id], operands);
    builder.name_node(operands[0].id, graph[id].origin.name);
    return operands[0];
  });
  return finish_like(graph, std::move(builder), made);
}

}  // namespace

Graph finish_like(const Graph& graph, Builder&& builder, const std::vector<Value>& made) {
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

Graph differentiate(const Graph& graph, const GradientHook& hook) {
  Builder builder(graph.name);
  const std::map<NodeId, std::vector<NodeId>> targets = targets_by_root(graph);
  std::map<NodeId, ReverseWalk> walks;  // by the old root
  std::vector<Value> made;
  made.reserve(graph.nodes.size());

  const auto walk_from = [&](NodeId root) -> const ReverseWalk& {
    if (const auto known = walks.find(root); known != walks.end()) return known->second;
    std::vector<NodeId> ids;
    for (NodeId target : targets.at(root))
      if (target < made.size()) ids.push_back(made[target].id);
    return walks.try_emplace(root, builder, made[root].id, ids, hook).first->second;
  };

  for (const Node& node : graph.nodes) {
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(made[operand]);
    if (node.op != Op::grad) {
      made.push_back(copy_node(builder, node, operands));
      continue;
    }
    builder.set_derived(true);
    const Value x = operands[1];
    const std::optional<Value> gradient = walk_from(node.operands[0]).adjoint(x.id);
    made.push_back(gradient ? *gradient : zeros(builder, x.type()));
    builder.set_derived(false);
    builder.set_origin({});
    if (const std::string& name = builder[x.id].origin.name; !name.empty())
      builder.name_node(made.back().id, "grad." + name);
  }
  return without_stops(finish_like(graph, std::move(builder), made));
}

Graph differentiate(const Graph& graph) { return differentiate(graph, {}); }

}  // namespace nnc
