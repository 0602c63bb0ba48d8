#include "ir/pull_back.h"

#include <algorithm>

namespace nnc {

PullBack::PullBack(Builder& builder, std::span<const Seed> seeds, std::span<const NodeId> targets,
                   const GradientHook* hook)
    : builder_(builder), hook_(hook) {
  NodeId last = 0;
  for (const Seed& seed : seeds) last = std::max(last, seed.first);
  leads_to_target_.assign(last + 1, false);
  adjoints_.resize(last + 1);
  mark_ways(targets);
  find_loops();
  for (const auto& [y, dy] : seeds) adjoints_[y] = adjoints_[y] ? *adjoints_[y] + dy : dy;
  for (NodeId id = last + 1; id-- > 0;) visit(id);
}

void PullBack::mark_ways(std::span<const NodeId> targets) {
  for (NodeId target : targets)
    if (target < leads_to_target_.size()) leads_to_target_[target] = true;
  for (NodeId id = 0; id < leads_to_target_.size(); ++id)
    for (NodeId operand : builder_[id].operands)
      if (leads_to_target_[operand]) leads_to_target_[id] = true;
}

void PullBack::find_loops() {
  std::vector<NodeId> loops;
  for (NodeId id = 0; id < adjoints_.size(); ++id) {
    first_result_.push_back(id);
    if (definition(builder_[id].op).cls != OpClass::loop) continue;
    const auto known =
        std::ranges::find_if(loops, [&](NodeId loop) { return same_loop(builder_[loop], builder_[id]); });
    if (known == loops.end())
      loops.push_back(id);
    else
      first_result_[id] = *known;
  }
}

/// A loop waits for the gradients of all its results: they are there when its first node is reached.
void PullBack::visit(NodeId id) {
  if (first_result_[id] != id) return;
  std::vector<std::pair<NodeId, NodeId>> results;
  for (NodeId result = id; result < adjoints_.size(); ++result) {
    if (first_result_[result] == id && adjoints_[result]) results.emplace_back(result, adjoints_[result]->id);
    if (definition(builder_[id].op).cls != OpClass::loop) break;
  }
  if (results.empty()) return;
  const auto [y, dy] = results.front();
  results.erase(results.begin());
  pass_on(y, Value{&builder_, dy}, std::move(results));
}

void PullBack::pass_on(NodeId id, Value gradient, std::vector<std::pair<NodeId, NodeId>> others) {
  const Node node = builder_[id];  // by value: rules add nodes, and the builder's storage moves
  const bool any = std::ranges::any_of(node.operands, [&](NodeId operand) { return leads_to_target_[operand]; });
  const OpDef& op = definition(node.op);
  if (!any || !op.gradient) return;

  builder_.set_origin({.name = "", .file = node.origin.file, .line = node.origin.line, .column = node.origin.column});
  const GradientQuery query{
      .builder = builder_, .y = id, .dy = gradient.id, .others = std::move(others), .hook = hook_};
  Gradients gradients = op.gradient(query);
  if (hook_ && *hook_) (*hook_)(query, gradients);
  for (std::size_t i = 0; i < node.operands.size(); ++i)
    if (gradients[i] && leads_to_target_[node.operands[i]]) accumulate(node.operands[i], *gradients[i]);
}

/// A rank-0 operand meets every element, so its gradient is the sum over all of them.
void PullBack::accumulate(NodeId operand, Value gradient) {
  if (builder_[operand].type.shape.empty() && gradient.type().rank() > 0) {
    std::vector<int> axes;
    for (int axis = 0; axis < gradient.type().rank(); ++axis) axes.push_back(axis);
    gradient = builder_.sum(gradient, std::move(axes));
  }
  std::optional<Value>& adjoint = adjoints_[operand];
  adjoint = adjoint ? *adjoint + gradient : gradient;
}

}  // namespace nnc
