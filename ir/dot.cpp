// A graph for Graphviz: `nnc emit FILE --stage dot | dot -Tsvg`. Values flow from top to bottom; each edge says the
// type that flows. Numbers stand in their users' labels. What a layer instance makes directly of its parameters is a
// cluster with its name, so are the gradients and the updates, which start where the gradients end.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "ir/export.h"
#include "ir/op.h"
#include "ir/text.h"

namespace nnc {

namespace {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

/// "Block2.Dense1" of the parameter "Block2.Dense1.W"; nothing for a parameter of the model itself.
std::optional<std::string> instance_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  if (dot == std::string::npos || path.find('/') != std::string::npos) return std::nullopt;
  return path.substr(0, dot);
}

class DotPrinter {
 public:
  explicit DotPrinter(const Graph& graph) : graph_(graph), cluster_(graph.nodes.size()) {
    find_layers();
    find_gradients_and_updates();
  }

  std::string text() const {
    std::string text = fmt::format(
        "digraph \"{}\" {{\n  rankdir=TB; compound=true; ranksep=0.35; nodesep=0.25;\n"
        "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"Helvetica\", fontsize=11, "
        "margin=\"0.10,0.05\"];\n  edge [fontname=\"Helvetica\", fontsize=9, color=\"#555555\", arrowsize=0.6];\n",
        escaped(graph_.name));
    std::map<std::string, std::string> clusters;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      if (is_number(graph_[id])) continue;
      if (cluster_[id])
        clusters[*cluster_[id]] += "  " + node_line(id);
      else
        text += node_line(id);
    }
    int number = 0;
    for (const auto& [name, nodes] : clusters)
      text += fmt::format(
          "  subgraph cluster_{} {{\n    label=\"{}\"; labeljust=l; fontname=\"Helvetica\"; fontsize=12; "
          "style=rounded; "
          "color=\"#888888\";\n{}  }}\n",
          number++, escaped(name), nodes);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      for (NodeId operand : graph_[id].operands)
        if (!is_number(graph_[operand])) text += edge(operand, fmt::format("n{}", id));
    for (std::size_t i = 0; i < graph_.outputs.size(); ++i) {
      const Output& output = graph_.outputs[i];
      text += fmt::format("  out{} [label=\"{} {}\", shape=note, style=filled, fillcolor=\"#f2f2f2\"];\n", i,
                          output.kind == OutputKind::result ? "result" : "update", escaped(output.name));
      if (!is_number(graph_[output.node])) text += edge(output.node, fmt::format("out{}", i));
    }
    return text + "}\n";
  }

 private:
  /// What is made of a layer's parameters directly, and what lies between two such values.
  void find_layers() {
    const auto used_after = users();
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const Node& node = graph_[id];
      if (node.op == Op::param || node.op == Op::state) {
        cluster_[id] = instance_of(std::get<Named>(node.attributes).name);
      } else if (!node.derived) {
        for (NodeId operand : node.operands)
          if (cluster_[operand] && of_parameters(operand)) cluster_[id] = cluster_[operand];
      }
    }
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()); id-- > 0;) {
      if (cluster_[id] || graph_[id].derived || graph_[id].operands.empty()) continue;
      for (NodeId operand : graph_[id].operands)
        for (NodeId user : used_after[id])
          if (cluster_[operand] && cluster_[operand] == cluster_[user] && !graph_[user].derived)
            cluster_[id] = cluster_[operand];
    }
  }

  /// A parameter, or a view or a part of one that depends on nothing else.
  bool of_parameters(NodeId id) const {
    const Node& node = graph_[id];
    if (node.op == Op::param || node.op == Op::state) return true;
    return !node.operands.empty() &&
           std::ranges::all_of(node.operands, [&](NodeId x) { return is_number(graph_[x]) || of_parameters(x); });
  }

  void find_gradients_and_updates() {
    std::vector<bool> after(graph_.nodes.size(), false);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const Node& node = graph_[id];
      for (NodeId operand : node.operands)
        after[id] = after[id] || after[operand] || graph_[operand].derived || graph_[operand].op == Op::grad;
      if (node.derived || node.op == Op::grad)
        cluster_[id] = "gradients";
      else if (after[id])
        cluster_[id] = "updates";
    }
  }

  std::vector<std::vector<NodeId>> users() const {
    std::vector<std::vector<NodeId>> result(graph_.nodes.size());
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      for (NodeId operand : graph_[id].operands) result[operand].push_back(id);
    return result;
  }

  std::string node_line(NodeId id) const {
    const Node& node = graph_[id];
    std::string label = node.origin.name.empty() ? "" : node.origin.name + "\n";
    const char* shape = "";
    if (const auto* named = std::get_if<Named>(&node.attributes)) {
      label = named->name;
      shape = ", shape=ellipse, style=filled";
    } else {
      label += operation(node);
    }
    const char* color = node.op == Op::param   ? "#fde9c4"
                        : node.op == Op::input ? "#d5e8f7"
                        : node.op == Op::state ? "#e8defa"
                                               : "";
    std::string text = fmt::format("  n{} [label=\"", id);
    for (const char c : label) text += c == '\n' ? "\\n" : escaped({&c, 1});
    text += fmt::format("\"{}", shape);
    if (*color) text += fmt::format(", fillcolor=\"{}\"", color);
    return text + fmt::format(", tooltip=\"{}\"];\n", escaped(print_expression(graph_, id)));
  }

  /// "dot", "· / 3": the op with those of its operands that are numbers.
  std::string operation(const Node& node) const {
    const OpDef& op = definition(node.op);
    const auto shown = [&](NodeId x) { return is_number(graph_[x]) ? print_expression(graph_, x) : std::string("·"); };
    const bool has_number = std::ranges::any_of(node.operands, [&](NodeId x) { return is_number(graph_[x]); });
    if (!op.infix.empty() && node.operands.size() == 2)
      return fmt::format("{} {} {}", shown(node.operands[0]), op.infix, shown(node.operands[1]));
    std::string text(op.name);
    if (!has_number) return text;
    text += "(";
    for (std::size_t i = 0; i < node.operands.size(); ++i) text += (i ? ", " : "") + shown(node.operands[i]);
    return text + ")";
  }

  std::string edge(NodeId from, const std::string& to) const {
    return fmt::format("  n{} -> {} [label=\"{}\"];\n", from, to, escaped(to_string(graph_[from].type)));
  }

  const Graph& graph_;
  std::vector<std::optional<std::string>> cluster_;
};

}  // namespace

std::string print_dot(const Graph& graph) { return DotPrinter(graph).text(); }

}  // namespace nnc
