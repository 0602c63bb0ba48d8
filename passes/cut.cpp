// A graph cut down to some of its outputs: what only the others need is gone.
#include "ir/builder.h"
#include "passes/passes.h"

namespace nnc {

std::set<std::string> inputs_of(const Graph& graph) {
  std::set<std::string> names;
  for (const Node& node : graph.nodes)
    if (node.op == Op::input) names.insert(std::get<Named>(node.attributes).name);
  return names;
}

Graph with_outputs(const Graph& graph, const std::set<std::string>& names) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    return copy_node(builder, graph[id], operands);
  });
  for (const Output& output : graph.outputs)
    if (names.contains(output.name)) builder.output(output.kind, output.name, made[output.node]);
  Graph cut = std::move(builder).finish();
  const std::set<std::string> left = inputs_of(cut);
  for (const Obligation& obligation : graph.obligations)
    if (left.contains(obligation.input)) cut.obligations.push_back(obligation);
  return cut;
}

}  // namespace nnc
