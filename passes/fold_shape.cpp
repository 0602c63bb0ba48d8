// How folds run: over which loops, and where their operands lie. One place, so that fusing, bodies and levels agree.
#include <algorithm>

#include "ir/op.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

/// Axes of an operand: which are kept, in the order of the result, and which reduced, in the order of the reduction.
struct Axes {
  std::vector<int> kept, reduced;
};

Axes axes_of(int rank, const std::vector<int>& reduced, const std::vector<int>& batch = {}) {
  Axes axes{batch, reduced};
  const auto listed = [&](const std::vector<int>& list, int axis) {
    return std::find(list.begin(), list.end(), axis) != list.end();
  };
  for (int axis = 0; axis < rank; ++axis)
    if (!listed(reduced, axis) && !listed(batch, axis)) axes.kept.push_back(axis);
  return axes;
}

/// The map of an operand whose kept axes are loops: the first `shared` of them the first loops of the nest, the others
/// those from `first_own`. Reduced axes of extent 1 are at index 0.
IndexMap operand_map(const Dims& dims, const Axes& axes, std::size_t shared, std::size_t first_own, std::size_t outer,
                     std::size_t loops) {
  IndexMap map{std::vector<AffineRow>(dims.size(), AffineRow{0, Dims(loops, 0)})};
  for (std::size_t i = 0; i < axes.kept.size(); ++i)
    map[axes.kept[i]].coefficients[i < shared ? i : first_own + i - shared] = 1;
  std::size_t loop = outer;
  for (int axis : axes.reduced)
    if (dims[axis] != 1) map[axis].coefficients[loop++] = 1;
  return map;
}

/// For each axis of `whole` the axes of `parts`, longer than 1, that it counts in row-major order; nothing where there
/// are no such.
std::optional<std::vector<std::vector<std::size_t>>> grouped(const Dims& whole, const Dims& parts) {
  std::vector<std::vector<std::size_t>> groups(whole.size());
  std::size_t part = 0;
  for (std::size_t axis = 0; axis < whole.size(); ++axis) {
    std::int64_t count = 1;
    while (part < parts.size() && (count < whole[axis] || parts[part] == 1)) {
      if (parts[part] != 1) groups[axis].push_back(part);
      count *= parts[part++];
    }
    if (count != whole[axis]) return std::nullopt;
  }
  return groups;
}

/// Whether reading an operand where it lies beats a copy: the copy would be larger, or as large but no better to read.
bool is_worth_reading(const Graph& graph, NodeId a, const CoreOperand& operand) {
  const Dims dims = dims_of(graph[operand.base].type), strides = dense_strides(dims);
  if (count_of(dims) != count_of(dims_of(graph[a].type))) return count_of(dims) < count_of(dims_of(graph[a].type));
  const auto step = [&](std::size_t loop) {
    std::int64_t elements = 0;
    for (std::size_t axis = 0; axis < dims.size(); ++axis)
      elements += operand.map[axis].coefficients[loop] * strides[axis];
    return elements;
  };
  const std::size_t loops = operand.map[0].coefficients.size();
  return step(loops - 1) == 1 || step(loops - 1 - operand.steps.size()) == 1;
}

std::vector<int> reduced_axes(const Node& node) {
  if (const auto* overlap = std::get_if<OverlapAdd>(&node.attributes)) return {overlap->axis + 1};
  if (const auto* reduce = std::get_if<Reduce>(&node.attributes)) return reduce->axes;
  return std::get<Dot>(node.attributes).a;
}

}  // namespace

bool is_core(const Node& node) {
  const auto* dot = std::get_if<Dot>(&node.attributes);
  return dot && dot->order == Order::serial;
}

bool is_scatter(const Node& node) { return std::holds_alternative<Scatter>(node.attributes); }

bool is_scan(const Node& node) { return std::holds_alternative<Scan>(node.attributes); }

bool is_fold(const Node& node) {
  return definition(node.op).cls == OpClass::reduce || (definition(node.op).cls == OpClass::contract && !is_core(node));
}

Dims fold_loops(const Graph& graph, NodeId fold) {
  const Node& node = graph[fold];
  const Dims dims = dims_of(graph[node.operands[0]].type);
  Dims loops;
  for (int axis : reduced_axes(node))
    if (dims[axis] != 1) loops.push_back(dims[axis]);
  if (loops.empty()) loops.push_back(1);
  return loops;
}

std::vector<IndexMap> fold_operand_maps(const Graph& graph, NodeId fold) {
  const Node& node = graph[fold];
  const std::size_t outer = node.type.shape.size();
  const std::size_t loops = outer + fold_loops(graph, fold).size();
  if (const auto* overlap = std::get_if<OverlapAdd>(&node.attributes)) {
    Dims extents = dims_of(node.type);
    extents.push_back(fold_loops(graph, fold)[0]);
    return {overlap_map(*overlap, graph[node.operands[0]].type, identity_map(outer, loops), outer, extents)};
  }
  const Dims first = dims_of(graph[node.operands[0]].type);
  if (const auto* dot = std::get_if<Dot>(&node.attributes)) {
    const Dims second = dims_of(graph[node.operands[1]].type);
    const Axes of_a = axes_of(static_cast<int>(first.size()), dot->a, dot->batch_a);
    const Axes of_b = axes_of(static_cast<int>(second.size()), dot->b, dot->batch_b);
    const std::size_t shared = dot->batch_a.size();
    return {operand_map(first, of_a, shared, shared, outer, loops),
            operand_map(second, of_b, shared, of_a.kept.size(), outer, loops)};
  }
  const Axes axes = axes_of(static_cast<int>(first.size()), reduced_axes(node));
  std::vector<IndexMap> maps{operand_map(first, axes, 0, 0, outer, loops)};
  if (node.operands.size() > 1) {
    maps.push_back(identity_map(outer, loops));  // the carry
  }
  return maps;
}

std::optional<CoreOperand> core_operand(const Graph& graph, NodeId core) {
  const NodeId a = graph[core].operands[0];
  const auto& dot = std::get<Dot>(graph[core].attributes);
  const NodeId split = under_reshapes(graph, a);
  const auto groups = grouped(dims_of(graph[a].type), dims_of(graph[split].type));
  const std::size_t stack = dot.batch_a.size();  // 0 or 1
  if (!groups || !is_view(graph[split]) || (stack == 1 && (*groups)[0].size() > 1)) return std::nullopt;

  CoreOperand operand{split, {}, {}, {}};
  const bool k_last = dot.a[0] == static_cast<int>(stack) + 1;
  const std::vector<std::size_t>& of_m = (*groups)[k_last ? stack : stack + 1];
  const std::vector<std::size_t>& of_k = (*groups)[k_last ? stack + 1 : stack];
  const Dims dims = dims_of(graph[split].type);
  operand.map.rows.assign(dims.size(), AffineRow{0, Dims(stack + of_m.size() + of_k.size(), 0)});
  Dims loops;
  const auto add_loop = [&](std::size_t axis) {
    operand.map[axis].coefficients[loops.size()] = 1;
    loops.push_back(dims[axis]);
  };
  if (stack == 1) loops.push_back(dims_of(graph[a].type)[0]);
  if (stack == 1 && !(*groups)[0].empty()) operand.map[(*groups)[0][0]].coefficients[0] = 1;
  for (std::size_t axis : of_m) add_loop(axis), operand.rows.push_back(dims[axis]);
  for (std::size_t axis : of_k) add_loop(axis), operand.steps.push_back(dims[axis]);
  while (is_view(graph[operand.base]) && graph[operand.base].operands.size() == 1) {
    auto inner = through_view(graph, operand.base, operand.map, loops);
    if (!inner || !inner->guards.empty()) break;
    operand.map = std::move(*inner);
    operand.base = graph[operand.base].operands[0];
  }
  if (operand.base == split || operand.rows.empty() || operand.steps.empty()) return std::nullopt;
  return is_worth_reading(graph, a, operand) ? std::optional(std::move(operand)) : std::nullopt;
}

NodeId under_reshapes(const Graph& graph, NodeId node) {
  while (graph[node].op == Op::reshape || graph[node].op == Op::stop_gradient) node = graph[node].operands[0];
  return node;
}

bool is_gradient(const LowerOptions& options, const std::string& name) {
  return std::ranges::any_of(options.gradients, [&](const auto& gradient) { return gradient.first == name; });
}

int cost_of(const Graph& graph, NodeId node) {
  const OpDef& op = definition(graph[node].op);
  if (op.cls == OpClass::index) return 4;  // the id's clamp
  if (!op.scalar) return 0;
  std::vector<DType> operands;
  for (NodeId operand : graph[node].operands) operands.push_back(graph[operand].type.dtype);
  int cost = 0;
  for (const ScalarInstruction& instruction :
       op.scalar(operands, graph[node].type.dtype, graph[node].attributes).code) {
    const bool free = instruction.op == ScalarOp::input || instruction.op == ScalarOp::constant;
    const bool slow = instruction.op == ScalarOp::div || instruction.op == ScalarOp::sqrt;
    cost += free ? 0 : slow ? 4 : length_of(instruction.op);
  }
  return cost;
}

Levels::Levels(const Graph& graph, const std::vector<int>& home, int cluster)
    : graph_(graph), level_(graph.nodes.size(), 0) {
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    if (home[id] != cluster && home[id] != -1) continue;  // comes from memory
    for (NodeId operand : graph[id].operands) {
      const bool fold = home[operand] == cluster && is_fold(graph[operand]);
      level_[id] = std::max(level_[id], level_[operand] + (fold ? 1 : 0));
    }
  }
}

StageKey Levels::stage(NodeId node, const Dims& outer) const {
  if (is_fold(graph_[node])) return {level_[node], fold_loops(graph_, node)};
  const Dims dims = dims_of(graph_[node].type);
  return {level_[node],
          Dims(dims.begin() + static_cast<std::ptrdiff_t>(std::min(outer.size(), dims.size())), dims.end())};
}

}  // namespace nnc
