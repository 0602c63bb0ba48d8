#include "passes/facts.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "ir/op.h"
#include "ir/ranges.h"
#include "passes/view.h"

namespace nnc {

namespace {

/// Axes along which the elements (row-major) sum to exactly 1.
std::vector<int> unit_sums(const std::vector<double>& values, const Shape& shape) {
  std::vector<int> axes;
  std::int64_t inner = 1;
  for (int axis = static_cast<int>(shape.size()); axis-- > 0; inner *= shape[axis].count) {
    std::vector<double> totals(values.size() / static_cast<std::size_t>(std::max<std::int64_t>(shape[axis].count, 1)),
                               0);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      totals[static_cast<std::size_t>(at / (inner * shape[axis].count) * inner + at % inner)] += values[i];
    }
    if (!totals.empty() && std::ranges::all_of(totals, [](double total) { return total == 1; })) axes.push_back(axis);
  }
  std::ranges::reverse(axes);
  return axes;
}

/// Sums move with their axis if a view shows it whole, once.
std::vector<int> seen(const std::vector<int>& sums_to_one, const View& step) {
  std::vector<int> result;
  for (int axis : sums_to_one)
    if (step.axes[axis] >= 0) result.push_back(step.axes[axis]);
  return result;
}

}  // namespace

/// The number that a node repeats, if it does.
std::optional<double> repeated(const std::vector<Node>& nodes, NodeId id) {
  double number = 0;
  if (repeats_number(nodes, id, number)) return number;
  return std::nullopt;
}

const Facts& FactTable::of(const std::vector<Node>& nodes, NodeId id) {
  while (known_.size() <= id) known_.push_back(derive(nodes, static_cast<NodeId>(known_.size())));
  return known_[id];
}

Range FactTable::range_of(const Node& node) const {
  std::vector<Range> operands;
  for (NodeId operand : node.operands) operands.push_back(known_[operand].range);
  return range_of_node(node, operands);
}

Facts FactTable::derive(const std::vector<Node>& nodes, NodeId id) const {
  const Node& node = nodes[id];
  Facts facts{.range = range_of(node), .sums_to_one = {}};
  if (const auto* constant = std::get_if<Constant>(&node.attributes)) {
    facts.sums_to_one = unit_sums(constant->values, node.type.shape);
  } else if (View step; see_through_once(nodes, id, step)) {
    facts.sums_to_one = seen(known_[step.base].sums_to_one, step);
  } else if (node.op == Op::equal) {
    facts.sums_to_one = one_hot_axes(nodes, node);
  } else if (node.op == Op::cast &&
             (nodes[node.operands[0]].type.dtype == DType::boolean || is_float(node.type.dtype))) {
    facts.sums_to_one = known_[node.operands[0]].sums_to_one;
  } else if (node.op == Op::add) {
    facts.sums_to_one = smoothed_axes(nodes, node);
  }
  return facts;
}

/// a t + b, where t sums to 1 over n elements and a + n b is 1 up to the rounding of a and b: a smoothed label.
std::vector<int> FactTable::smoothed_axes(const std::vector<Node>& nodes, const Node& sum) const {
  std::vector<int> axes;
  for (std::size_t i : {0, 1}) {
    const std::optional<double> b = repeated(nodes, sum.operands[1 - i]);
    if (!b || nodes[sum.operands[i]].type.shape != sum.type.shape) continue;
    NodeId t = sum.operands[i];
    double a = 1;
    if (nodes[t].op == Op::mul)
      for (std::size_t k : {0, 1})
        if (const auto number = repeated(nodes, nodes[sum.operands[i]].operands[k])) {
          a = *number;
          t = nodes[sum.operands[i]].operands[1 - k];
        }
    if (nodes[t].type.shape != sum.type.shape) continue;
    const double rounding = sum.type.dtype == DType::f32 ? 0x1p-23 : 0x1p-52;
    for (int axis : known_[t].sums_to_one) {
      const Extent n = sum.type.shape[axis];
      if (!n.batched && std::abs(a + static_cast<double>(n.count) * *b - 1) <= rounding) axes.push_back(axis);
    }
  }
  return axes;
}

/// label[...] == index along `axis`: for a label in range, exactly one index along that axis is equal.
std::vector<int> FactTable::one_hot_axes(const std::vector<Node>& nodes, const Node& equality) const {
  for (std::size_t i : {0, 1}) {
    const View index = see_through(nodes, equality.operands[i]), label = see_through(nodes, equality.operands[1 - i]);
    const auto* iota = std::get_if<Iota>(&nodes[index.base].attributes);
    if (!iota) continue;
    const int axis = index.axes[iota->axis];
    if (axis < 0 || std::ranges::find(label.axes, axis) != label.axes.end()) continue;
    // A view shows whole axes, so the iota's axis is the equality's.
    if (in_range(nodes, label.base, equality.type.shape[axis].count) && !equality.type.shape[axis].batched)
      return {axis};
  }
  return {};
}

bool FactTable::in_range(const std::vector<Node>& nodes, NodeId label, std::int64_t classes) const {
  const Node& node = nodes[label];
  if (node.op == Op::cast && nodes[node.operands[0]].type.dtype == DType::i32)
    return in_range(nodes, see_through(nodes, node.operands[0]).base, classes);
  if (const auto* constant = std::get_if<Constant>(&node.attributes))
    return std::ranges::all_of(constant->values, [&](double value) {
      return value >= 0 && value < static_cast<double>(classes) &&
             value == static_cast<double>(static_cast<std::int64_t>(value));
    });
  if (node.op != Op::input || node.type.dtype != DType::i32) return false;
  const std::string& name = std::get<Named>(node.attributes).name;
  return std::ranges::any_of(obligations_, [&](const Obligation& promise) {
    return promise.input == name && promise.low >= 0 && promise.high <= classes;
  });
}

}  // namespace nnc
