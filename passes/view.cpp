#include "passes/view.h"

#include <numeric>

namespace nnc {

namespace {

std::vector<int> longer_axes(const Shape& shape) {
  std::vector<int> axes;
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
    if (!is_unit(shape[axis])) axes.push_back(axis);
  return axes;
}

/// A reshape that keeps all axes longer than 1, in their order.
bool through_reshape(const Shape& from, const Shape& to, std::vector<int>& axes) {
  const std::vector<int> of_from = longer_axes(from), of_to = longer_axes(to);
  if (of_from.size() != of_to.size()) return false;
  axes.assign(from.size(), -1);
  for (std::size_t i = 0; i < of_from.size(); ++i) {
    if (from[of_from[i]] != to[of_to[i]]) return false;
    axes[of_from[i]] = of_to[i];
  }
  return true;
}

}  // namespace

bool is_unit(Extent extent) { return !extent.batched && extent.count == 1; }

bool see_through_once(const std::vector<Node>& nodes, NodeId id, View& step) {
  const Node& node = nodes[id];
  if (node.operands.size() != 1) return false;
  step.base = node.operands[0];
  const Shape& shape = nodes[step.base].type.shape;
  step.axes.assign(shape.size(), -1);
  if (const auto* broadcast = std::get_if<Broadcast>(&node.attributes)) {
    step.axes = broadcast->axes;
  } else if (const auto* transpose = std::get_if<Transpose>(&node.attributes)) {
    for (std::size_t i = 0; i < shape.size(); ++i) step.axes[transpose->permutation[i]] = static_cast<int>(i);
  } else if (node.op != Op::reshape || !through_reshape(shape, node.type.shape, step.axes)) {
    return false;
  }
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (is_unit(shape[i])) step.axes[i] = -1;
  return true;
}

View see_through(const std::vector<Node>& nodes, NodeId id) {
  const Shape& shape = nodes[id].type.shape;
  View seen{.base = id, .axes = std::vector<int>(shape.size())};
  std::iota(seen.axes.begin(), seen.axes.end(), 0);
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (is_unit(shape[i])) seen.axes[i] = -1;
  for (View step; see_through_once(nodes, seen.base, step); seen = step)
    for (int& axis : step.axes)
      if (axis >= 0) axis = seen.axes[axis];
  return seen;
}

bool repeats_number(const std::vector<Node>& nodes, NodeId id, double& number) {
  const auto* constant = std::get_if<Constant>(&nodes[see_through(nodes, id).base].attributes);
  if (!constant || constant->values.size() != 1) return false;
  number = constant->values.front();
  return true;
}

}  // namespace nnc
