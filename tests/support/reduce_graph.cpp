#include "tests/support/reduce_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "ir/builder.h"
#include "ir/op.h"
#include "ir/text.h"

namespace nnc::test {

namespace {

bool is_leaf(const Node& node) { return definition(node.op).cls == OpClass::leaf; }

/// Every variable that is updated is a leaf of the graph.
bool names_its_variables(const Graph& graph) {
  return std::ranges::all_of(graph.outputs, [&](const Output& output) {
    return output.kind == OutputKind::result || std::ranges::any_of(graph.nodes, [&](const Node& node) {
             const auto* named = std::get_if<Named>(&node.attributes);
             return named && node.op != Op::input && node.op != Op::scalar && named->name == output.name;
           });
  });
}

/// The graph with some nodes standing for others and some outputs gone. `substitute` makes the value of a node, given
/// its operands' new values.
template <class Substitute>
Graph rewritten(const Graph& graph, const std::vector<Output>& outputs, Substitute substitute) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(
      graph, builder, [&](NodeId id, const std::vector<Value>& operands) { return substitute(builder, id, operands); });
  for (const Output& output : outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

Graph with_outputs(const Graph& graph, const std::vector<Output>& outputs) {
  return rewritten(graph, outputs, [&](Builder& builder, NodeId id, const std::vector<Value>& operands) {
    return copy_node(builder, graph[id], operands);
  });
}

/// The graph with another value for one node; nothing where `substitute` has none.
template <class Substitute>
Graph with_node(const Graph& graph, NodeId victim, Substitute substitute) {
  return rewritten(graph, graph.outputs, [&](Builder& builder, NodeId id, const std::vector<Value>& operands) {
    return id == victim ? substitute(builder, operands) : copy_node(builder, graph[id], operands);
  });
}

Value zeros(Builder& builder, const Type& type) { return builder.spread(builder.constant(0, type.dtype), type.shape); }

bool is_zeros(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  return is_number(node) || (node.op == Op::broadcast && is_number(graph[node.operands[0]]));
}

/// The graph with one node replaced by each of its operands of its type, and by zeros.
std::vector<Graph> with_shortcuts(const Graph& graph) {
  std::vector<Graph> result;
  for (NodeId victim = 0; victim < graph.nodes.size(); ++victim) {
    const Node& node = graph[victim];
    if (is_leaf(node) || is_zeros(graph, victim)) continue;
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      if (graph[node.operands[i]].type == node.type)
        result.push_back(
            with_node(graph, victim, [&](Builder&, const std::vector<Value>& operands) { return operands[i]; }));
    result.push_back(with_node(graph, victim,
                               [&](Builder& builder, const std::vector<Value>&) { return zeros(builder, node.type); }));
  }
  return result;
}

std::vector<Graph> with_fewer_outputs(const Graph& graph) {
  std::vector<Graph> result;
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
    std::vector<Output> outputs = graph.outputs;
    if (outputs.size() > 1) {
      outputs.erase(outputs.begin() + static_cast<std::ptrdiff_t>(i));
      result.push_back(with_outputs(graph, outputs));
      outputs = graph.outputs;
    }
    if (outputs[i].kind == OutputKind::update) {
      outputs[i] = {OutputKind::result, "was_" + outputs[i].name, outputs[i].node};
      result.push_back(with_outputs(graph, outputs));
      continue;
    }
    for (const NodeId operand : graph[outputs[i].node].operands) {
      outputs[i].node = operand;
      result.push_back(with_outputs(graph, outputs));
    }
  }
  return result;
}

/// Values become leaves: what computes them is gone.
std::vector<Graph> with_leaves(const Graph& graph) {
  std::vector<Graph> result;
  for (NodeId victim = 0; victim < graph.nodes.size(); ++victim) {
    const Node& node = graph[victim];
    if (is_leaf(node)) continue;
    const bool by_rows = !node.type.shape.empty() && node.type.shape[0] == batch_extent;
    if (is_batched(node.type.shape) && !by_rows) continue;
    const Op leaf = by_rows ? Op::input : Op::param;
    result.push_back(with_node(graph, victim, [&](Builder& builder, const std::vector<Value>&) {
      return builder.leaf(leaf, fmt::format("cut{}_{}", victim, graph.nodes.size()), node.type);
    }));
  }
  return result;
}

/// Loops whose body is one step smaller.
std::vector<Graph> with_smaller_bodies(const Graph& graph) {
  std::vector<Graph> result;
  for (NodeId victim = 0; victim < graph.nodes.size(); ++victim) {
    const auto* scan = std::get_if<Scan>(&graph[victim].attributes);
    if (!scan) continue;
    std::vector<Graph> bodies = with_shortcuts(*scan->body);
    std::ranges::move(with_smaller_bodies(*scan->body), std::back_inserter(bodies));
    for (Graph& body : bodies) {
      Scan changed = *scan;
      changed.body = ScanBody(std::move(body));
      result.push_back(with_node(graph, victim, [&](Builder& builder, const std::vector<Value>& operands) {
        return builder.make(Op::scan, operands, changed);
      }));
    }
  }
  return result;
}

std::int64_t replaced(std::int64_t count, std::int64_t from, std::int64_t to) { return count == from ? to : count; }
Type replaced(Type type, std::int64_t from, std::int64_t to) {
  for (Extent& extent : type.shape)
    if (!extent.batched) extent.count = replaced(extent.count, from, to);
  return type;
}

/// The graph with axes of `to` elements wherever there were `from`; nothing where an op does not allow it.
std::optional<Graph> with_extent(const Graph& graph, std::int64_t from, std::int64_t to) {
  Builder builder(graph.name);
  std::vector<NodeId> made;
  for (const Node& node : graph.nodes) {
    const Type wanted = replaced(node.type, from, to);
    Attributes attributes = node.attributes;
    if (auto* constant = std::get_if<Constant>(&attributes); constant && node.type.rank() > 0)
      constant->values.resize(static_cast<std::size_t>(element_count(wanted.shape).count));
    if (auto* scatter = std::get_if<Scatter>(&attributes)) scatter->count = replaced(scatter->count, from, to);
    if (auto* slice = std::get_if<Slice>(&attributes))
      for (std::size_t axis = 0; axis < slice->starts.size(); ++axis)
        slice->starts[axis] = std::min(slice->starts[axis], std::max<std::int64_t>(to - 1, 0));
    if (auto* scan = std::get_if<Scan>(&attributes)) {
      std::optional<Graph> body = with_extent(*scan->body, from, to);
      if (!body) return std::nullopt;
      scan->body = ScanBody(std::move(*body));
      scan->steps = replaced(scan->steps, from, to);
    }
    std::vector<NodeId> operands;
    for (const NodeId operand : node.operands) operands.push_back(made[operand]);
    builder.set_derived(node.derived);
    const ValueOrError value = builder.try_make(node.op, operands, attributes, wanted);
    if (!std::holds_alternative<Value>(value) || std::get<Value>(value).type() != wanted) return std::nullopt;
    made.push_back(std::get<Value>(value).id);
  }
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, {&builder, made[output.node]});
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

std::vector<Graph> with_shorter_axes(const Graph& graph) {
  std::set<std::int64_t> counts;
  for (const Node& node : graph.nodes)
    for (const Extent& extent : node.type.shape)
      if (!extent.batched && extent.count > 1) counts.insert(extent.count);
  std::vector<Graph> result;
  for (const std::int64_t from : counts)
    for (const std::int64_t to : std::set<std::int64_t>{1, 2, 3, from / 2, from - 1})
      if (to > 0 && to < from)
        if (auto shorter = with_extent(graph, from, to)) result.push_back(std::move(*shorter));
  return result;
}

/// What reduction makes less: first nodes, then outputs, then elements.
std::uint64_t weight_of(const Graph& graph) {
  std::uint64_t weight = 0;
  const auto add = [&](std::uint64_t amount) { weight += amount; };
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph[id];
    add(is_leaf(node) ? 1'000'000 : is_zeros(graph, id) ? 2'000'000 : 1'000'000'000);
    for (const Extent& extent : node.type.shape)
      add(static_cast<std::uint64_t>(std::min<std::int64_t>(extent.count, 1000)));
    if (const auto* scan = std::get_if<Scan>(&node.attributes)) add(weight_of(*scan->body) / 4);
  }
  for (const Output& output : graph.outputs) add(output.kind == OutputKind::update ? 150'000'000 : 100'000'000);
  return weight;
}

/// The first value, in the graph's order, that fails as the only result.
std::optional<Graph> first_that_fails(const Graph& graph, const std::function<bool(const Graph&)>& fails) {
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    if (is_leaf(graph[id])) continue;
    Graph alone = with_outputs(graph, {{OutputKind::result, "r", id}});
    if (verify(alone).empty() && fails(alone)) return alone;
  }
  return std::nullopt;
}

}  // namespace

Graph reduce_failing(Graph graph, const std::function<bool(const Graph&)>& fails) {
  if (auto first = first_that_fails(graph, fails)) graph = std::move(*first);
  for (bool reduced = true; reduced;) {
    reduced = false;
    for (const auto& smaller :
         {with_fewer_outputs, with_leaves, with_shortcuts, with_smaller_bodies, with_shorter_axes})
      for (Graph& candidate : smaller(graph)) {
        if (weight_of(candidate) >= weight_of(graph) || !verify(candidate).empty() || !names_its_variables(candidate) ||
            !fails(candidate))
          continue;
        graph = std::move(candidate);
        reduced = true;
        break;
      }
  }
  return graph;
}

int computing_nodes(const Graph& graph) {
  int count = 0;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) count += is_leaf(graph[id]) || is_zeros(graph, id) ? 0 : 1;
  return count;
}

}  // namespace nnc::test
