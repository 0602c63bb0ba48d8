// Cuts a step in two where its gradients are: `grads` computes them (and everything else that needs the data), `update`
// takes them as inputs. Between the two, gradients of several machines can be added up, checked or clipped from
// outside. The step is cut before it is differentiated, where a gradient is a node that says so.
#include <algorithm>
#include <map>

#include "ir/builder.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace nnc {

namespace {

/// grad nodes by a parameter that no other gradient depends on: the ones that optimizers use.
std::map<NodeId, std::string> gradients_of_parameters(const Graph& graph) {
  std::vector<bool> inside(graph.nodes.size(), false);  // a gradient is taken of it, or of something made of it
  for (NodeId id = static_cast<NodeId>(graph.nodes.size()); id-- > 0;)
    for (std::size_t i = 0; i < graph[id].operands.size(); ++i)
      if (inside[id] || graph[id].op == Op::grad) inside[graph[id].operands[i]] = true;
  std::map<NodeId, std::string> found;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph[id];
    if (node.op != Op::grad || inside[id]) continue;
    const Node& by = graph[node.operands[1]];
    if (by.op == Op::param) found.emplace(id, "grad/" + std::get<Named>(by.attributes).name);
  }
  return found;
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
  const std::map<NodeId, std::string> gradients = gradients_of_parameters(step);
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
    const auto& made = grads.graph().outputs;
    if (std::ranges::find(made, name, &Output::name) != made.end()) continue;
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
