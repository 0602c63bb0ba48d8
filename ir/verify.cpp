// The rules that hold between passes. Every pass is checked against them, so that a mistake is found where it is made.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "ir/loops.h"
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

/// A node with an order and one without, of a graph and the bodies of its loops, by name.
struct Orders {
  std::string set, unset;
};

void find_orders(const Graph& graph, Orders& found) {
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph[id];
    if (has_order(node)) (order_of(node) == Order::unset ? found.unset : found.set) = name_of_node(graph, id);
    if (const auto* scan = std::get_if<Scan>(&node.attributes)) find_orders(*scan->body, found);
  }
}

std::string check_orders(const Graph& graph) {
  Orders found;
  find_orders(graph, found);
  if (found.set.empty() || found.unset.empty()) return "";
  return fmt::format("{} has an order, {} has none", found.set, found.unset);
}

/// A body is sound itself, needs nothing but its inputs, and has results by position.
std::string check_body(const Graph& body) {
  for (const Node& node : body.nodes) {
    const bool foreign =
        definition(node.op).cls == OpClass::leaf && node.op != Op::input && !is_number(node) && node.op != Op::constant;
    if (foreign || node.op == Op::random)
      return fmt::format("a loop's body has a {} of its own", definition(node.op).name);
    if (node.op == Op::input && input_position(node) == std::string::npos)
      return "an input of a loop's body is called by its position";
  }
  for (std::size_t i = 0; i < body.outputs.size(); ++i)
    if (body.outputs[i].kind != OutputKind::result || body.outputs[i].name != std::to_string(i))
      return fmt::format("result {} of a loop's body is called \"{}\"", i, body.outputs[i].name);
  return verify(body);
}

std::string check_loops(const Graph& graph) {
  const Graph* checked = nullptr;  // results of one loop stand beside each other
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const auto* scan = std::get_if<Scan>(&graph[id].attributes);
    if (!scan || &*scan->body == checked) continue;
    if (std::string wrong = check_body(*scan->body); !wrong.empty())
      return fmt::format("{}: {}", name_of_node(graph, id), wrong);
    checked = &*scan->body;
  }
  return "";
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
  for (const auto check : {check_uniqueness, check_loops, check_orders, check_outputs, check_obligations})
    if (std::string wrong = check(graph); !wrong.empty()) return wrong;
  return "";
}

}  // namespace nnc
