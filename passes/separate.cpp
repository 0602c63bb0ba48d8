// Cuts a step in two where its gradients are: `grads` computes them (and everything else that needs the data), `update`
// takes them as inputs. Between the two, gradients of several machines can be added up, checked or clipped from
// outside. The step is cut before it is differentiated, where a gradient is a node that says so.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "ir/op.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace nnc {

namespace {

/// What update takes from grads, by node, and the name under which it does.
using Cuts = std::map<NodeId, std::string>;

/// The first nodes that are asked for on the way down from what is updated, ascending.
template <class IsAsked>
std::vector<NodeId> first_below_updates(const Graph& graph, IsAsked&& is_asked) {
  std::vector<bool> seen(graph.nodes.size(), false);
  std::vector<NodeId> open, found;
  for (const Output& output : graph.outputs)
    if (output.kind == OutputKind::update) open.push_back(output.node);
  while (!open.empty()) {
    const NodeId id = open.back();
    open.pop_back();
    if (seen[id]) continue;
    seen[id] = true;
    if (is_asked(id))
      found.push_back(id);
    else
      open.insert(open.end(), graph[id].operands.begin(), graph[id].operands.end());
  }
  std::ranges::sort(found);
  return found;
}

/// The first derivative by each parameter that the updates use is its gradient, "grad/PATH". Others (a joint
/// optimizer's matrix of second derivatives) are a crowd, so they are cut where they have been laid together,
/// "grad2/1".
Cuts cuts_of(const Graph& graph) {
  const auto parameter = [&](NodeId id) -> const Node* {
    const Node* by = graph[id].op == Op::grad ? &graph[graph[id].operands[1]] : nullptr;
    return by && by->op == Op::param ? by : nullptr;
  };
  Cuts cuts;
  std::set<std::string> named;
  std::vector<bool> crowd(graph.nodes.size(), false);
  for (NodeId id : first_below_updates(graph, parameter)) {
    const std::string name = "grad/" + std::get<Named>(parameter(id)->attributes).name;
    if (named.insert(name).second)
      cuts.emplace(id, name);
    else
      crowd[id] = true;
  }
  const auto in_crowd = [&](NodeId id) { return crowd[id]; };
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    if (definition(graph[id].op).cls == OpClass::view) crowd[id] = std::ranges::all_of(graph[id].operands, in_crowd);
  int count = 0;
  for (NodeId id : first_below_updates(graph, [&](NodeId at) { return crowd[at] || cuts.contains(at); }))
    if (crowd[id]) cuts.emplace(id, "grad2/" + std::to_string(++count));
  return cuts;
}

/// For each node, whether it depends on a node for which `is_source`.
template <class IsSource>
std::vector<bool> depends(const Graph& graph, IsSource&& is_source) {
  std::vector<bool> result(graph.nodes.size(), false);
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    result[id] = is_source(id);
    for (NodeId operand : graph[id].operands) result[id] = result[id] || result[operand];
  }
  return result;
}

}  // namespace

Separated separate(const Graph& step) {
  const Cuts gradients = cuts_of(step);
  const std::vector<bool> uses_gradient = depends(step, [&](NodeId id) { return gradients.contains(id); });

  Separated result;
  Builder grads(step.name + ".grads");
  const std::vector<Value> whole = rebuild(
      step, grads, [&](NodeId id, const std::vector<Value>& operands) { return copy_node(grads, step[id], operands); });
  // Results are handed out by grads. Updates that use no gradient (statistics of the batch) belong to it too, since
  // they may need the data.
  for (const Output& output : step.outputs)
    if (output.kind == OutputKind::result || !uses_gradient[output.node])
      grads.output(output.kind, output.name, whole[output.node]);
  for (const auto& [id, name] : gradients) {
    grads.output(OutputKind::result, name, whole[id]);
    result.gradients.emplace_back(name, step[id].type);
  }
  for (const Obligation& obligation : step.obligations) grads.oblige(obligation);
  result.grads = std::move(grads).finish();

  Builder update(step.name + ".update");
  const std::vector<Value> rest = rebuild(step, update, [&](NodeId id, const std::vector<Value>& operands) {
    const auto gradient = gradients.find(id);
    if (gradient == gradients.end()) return copy_node(update, step[id], operands);
    return update.leaf(Op::input, gradient->second, step[id].type);
  });
  for (const Output& output : step.outputs)
    if (output.kind == OutputKind::update && uses_gradient[output.node])
      update.output(output.kind, output.name, rest[output.node]);
  for (const Obligation& obligation : step.obligations) update.oblige(obligation);
  result.update = std::move(update).finish();
  return result;
}

}  // namespace nnc
