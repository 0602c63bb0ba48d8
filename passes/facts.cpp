#include "passes/facts.h"

#include <algorithm>

#include "passes/view.h"

namespace nnc {

namespace {

Facts of_number(double value) {
  return {.non_negative = value >= 0,
          .positive = value > 0,
          .at_most_one = value <= 1,
          .indicator = value == 0 || value == 1,
          .sums_to_one = {}};
}

Facts truth() {
  return {.non_negative = true, .positive = false, .at_most_one = true, .indicator = true, .sums_to_one = {}};
}

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

/// Facts of a view of something with facts `x`: elements keep theirs, sums move with their axis if it is shown whole
/// once.
Facts seen(const Facts& x, const View& step, const Shape& shape) {
  Facts result = x;
  result.sums_to_one.clear();
  for (int axis : x.sums_to_one)
    if (step.axes[axis] >= 0 && step.axes[axis] < static_cast<int>(shape.size()))
      result.sums_to_one.push_back(step.axes[axis]);
  return result;
}

}  // namespace

const Facts& FactTable::of(const std::vector<Node>& nodes, NodeId id) {
  while (known_.size() <= id) known_.push_back(derive(nodes, static_cast<NodeId>(known_.size())));
  return known_[id];
}

Facts FactTable::derive(const std::vector<Node>& nodes, NodeId id) const {
  const Node& node = nodes[id];
  const auto x = [&](std::size_t i) -> const Facts& { return known_[node.operands[i]]; };
  if (const auto* constant = std::get_if<Constant>(&node.attributes)) {
    Facts all = of_number(constant->values.empty() ? 0 : constant->values.front());
    for (double value : constant->values) {
      const Facts one = of_number(value);
      all.non_negative = all.non_negative && one.non_negative;
      all.positive = all.positive && one.positive;
      all.at_most_one = all.at_most_one && one.at_most_one;
      all.indicator = all.indicator && one.indicator;
    }
    all.sums_to_one = unit_sums(constant->values, node.type.shape);
    return all;
  }
  if (View step; see_through_once(nodes, id, step)) return seen(known_[step.base], step, node.type.shape);

  Facts result;
  switch (node.op) {
    case Op::size:
      return {.non_negative = true, .positive = true, .at_most_one = false, .indicator = false, .sums_to_one = {}};
    case Op::iota:
    case Op::random:
    case Op::abs:
    case Op::softplus:
    case Op::sqrt:
      result.non_negative = true;
      result.at_most_one = node.op == Op::random;
      return result;
    case Op::exp:  // may underflow to 0, so it is positive only as mathematics: laws use it as such
      return {.non_negative = true, .positive = true, .at_most_one = false, .indicator = false, .sums_to_one = {}};
    case Op::logistic:
      return {.non_negative = true, .positive = true, .at_most_one = true, .indicator = false, .sums_to_one = {}};
    case Op::equal:
      result = truth();
      result.sums_to_one = one_hot_axes(nodes, node);
      return result;
    case Op::less:
    case Op::less_equal:
    case Op::logical_and:
    case Op::logical_or:
    case Op::logical_not:
      return truth();
    case Op::cast:
      if (node.type.dtype != DType::i32 || x(0).indicator) return x(0);
      result.non_negative = x(0).non_negative;
      return result;
    case Op::add:
      result.non_negative = x(0).non_negative && x(1).non_negative;
      result.positive = result.non_negative && (x(0).positive || x(1).positive);
      return result;
    case Op::mul:
      result.non_negative = x(0).non_negative && x(1).non_negative;
      if (node.operands[0] == node.operands[1]) result.non_negative = true;
      result.positive = x(0).positive && x(1).positive;
      result.at_most_one = x(0).in_unit_interval() && x(1).in_unit_interval();
      result.indicator = x(0).indicator && x(1).indicator;
      return result;
    case Op::div:
      result.non_negative = x(0).non_negative && x(1).positive;
      result.positive = x(0).positive && x(1).positive;
      return result;
    case Op::sub: {
      double number = 0;
      if (!repeats_number(nodes, node.operands[0], number) || number != 1) return result;
      result.non_negative = x(1).at_most_one;
      result.at_most_one = x(1).non_negative;
      result.indicator = x(1).indicator;
      return result;
    }
    case Op::max:
      result.non_negative = x(0).non_negative || x(1).non_negative;
      result.positive = x(0).positive || x(1).positive;
      result.at_most_one = x(0).at_most_one && x(1).at_most_one;
      return result;
    case Op::min:
      result.non_negative = x(0).non_negative && x(1).non_negative;
      result.positive = x(0).positive && x(1).positive;
      result.at_most_one = x(0).at_most_one || x(1).at_most_one;
      return result;
    case Op::select:
      result.non_negative = x(1).non_negative && x(2).non_negative;
      result.positive = x(1).positive && x(2).positive;
      result.at_most_one = x(1).at_most_one && x(2).at_most_one;
      result.indicator = x(1).indicator && x(2).indicator;
      return result;
    case Op::sum:
      if (node.operands.size() == 1) {
        result.non_negative = x(0).non_negative;
        result.positive = x(0).positive;
      }
      return result;
    case Op::reduce_max:
    case Op::stop_gradient:
      result = x(0);
      if (node.op == Op::reduce_max) result.sums_to_one.clear();
      return result;
    case Op::tanh:
    case Op::sin:
    case Op::cos:
    case Op::sign:
      result.at_most_one = true;
      return result;
    default:  // nothing is known of what another op makes, and need not be: facts only ever allow more
      return result;
  }
  return result;
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
