// The rules that hold between passes. Every pass is checked against them, so that a mistake is found where it is made.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "ir/op.h"
#include "ir/order.h"
#include "ir/text.h"

namespace nnc {

namespace {

std::string name_of_node(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  const std::string name = node.origin.name.empty() ? "" : fmt::format(" ({})", node.origin.name);
  return fmt::format("node {}{}, {}", id, name, definition(node.op).name);
}

/// What is wrong with one node by itself and with its operands, or empty.
std::string check_node(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  std::vector<Type> types;
  for (NodeId operand : node.operands) {
    if (operand >= id) return fmt::format("its operand {} is not before it", operand);
    types.push_back(graph[operand].type);
  }
  const TypeOrError inferred =
      infer_type(node.op, {.operands = types, .attributes = node.attributes, .wanted = node.type});
  if (const auto* error = std::get_if<ShapeError>(&inferred)) return describe(node.op, *error, types);
  if (std::get<Type>(inferred) != node.type)
    return fmt::format("its type is {}, by the op's rule it is {}", to_string(node.type),
                       to_string(std::get<Type>(inferred)));
  if (node.derived && definition(node.op).cls == OpClass::leaf) return "a leaf is not derived";
  return "";
}

/// Leaves of one kind and name have one type, and every node is there once.
std::string check_uniqueness(const Graph& graph) {
  std::unordered_multimap<std::size_t, NodeId> by_hash;
  std::set<std::pair<Op, std::string>> leaves;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph[id];
    if (const auto* named = std::get_if<Named>(&node.attributes))
      if (!leaves.emplace(node.op, named->name).second)
        return fmt::format("{}: \"{}\" is there already", name_of_node(graph, id), named->name);
    const std::size_t hash = hash_of(node.op, node.operands, node.attributes, node.type);
    for (auto [at, last] = by_hash.equal_range(hash); at != last; ++at) {
      const Node& other = graph[at->second];
      if (other.op == node.op && other.operands == node.operands && other.type == node.type &&
          other.attributes == node.attributes)
        return fmt::format("{}: node {} is equal to it", name_of_node(graph, id), at->second);
    }
    by_hash.emplace(hash, id);
  }
  return "";
}

std::string check_orders(const Graph& graph) {
  std::optional<NodeId> set, unset;
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    if (has_order(graph[id])) (order_of(graph[id]) == Order::unset ? unset : set) = id;
  if (!set || !unset) return "";
  return fmt::format("{} has an order, {} has none", name_of_node(graph, *set), name_of_node(graph, *unset));
}

std::string check_outputs(const Graph& graph) {
  std::unordered_map<std::string, const Node*> variables;
  for (const Node& node : graph.nodes)
    if (node.op == Op::param || node.op == Op::state || node.op == Op::carry)
      variables.emplace(std::get<Named>(node.attributes).name, &node);
  std::set<std::pair<OutputKind, std::string>> names;
  for (const Output& output : graph.outputs) {
    if (output.node >= graph.nodes.size()) return fmt::format("output \"{}\" is no node", output.name);
    if (!names.emplace(output.kind, output.name).second)
      return fmt::format("output \"{}\" is there twice", output.name);
    const auto variable = variables.find(output.name);
    if (output.kind != OutputKind::update || variable == variables.end()) continue;
    const Type &made = graph[output.node].type, &kept = variable->second->type;
    if (made != kept) return fmt::format("update \"{}\" is {}, not {}", output.name, to_string(made), to_string(kept));
  }
  return "";
}

std::string check_obligations(const Graph& graph) {
  for (const Obligation& obligation : graph.obligations) {
    const auto promised = [&](const Node& node) {
      return node.op == Op::input && std::get<Named>(node.attributes).name == obligation.input;
    };
    if (std::ranges::none_of(graph.nodes, promised))
      return fmt::format("an obligation is about \"{}\", which is no input", obligation.input);
    if (obligation.low >= obligation.high)
      return fmt::format("the obligation of \"{}\" leaves no value", obligation.input);
  }
  return "";
}

}  // namespace

std::string verify(const Graph& graph) {
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    if (const std::string wrong = check_node(graph, id); !wrong.empty())
      return fmt::format("{}: {}", name_of_node(graph, id), wrong);
  for (const auto check : {check_uniqueness, check_orders, check_outputs, check_obligations})
    if (std::string wrong = check(graph); !wrong.empty()) return wrong;
  return "";
}

}  // namespace nnc
