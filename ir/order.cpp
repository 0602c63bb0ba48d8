#include "ir/order.h"

#include <algorithm>

namespace nnc {

namespace {

constexpr std::int64_t rows_of_chunk = 256, elements_of_chunk = 4096;
constexpr std::int64_t small_contraction = 64;  // results up to which a dot over the batch is worth lanes
constexpr std::int64_t wide_enough = 16;        // kept elements beside each other that fill a vector without lanes

/// May be longer than 1: the batch counts as long, whatever it will be.
bool is_long(const Extent& extent) { return extent.batched || extent.count > 1; }

Order order_of_sum(const Type& x, const std::vector<int>& axes) {
  int last_long = -1;
  for (int axis : axes)
    if (is_long(x.shape[axis])) last_long = axis;
  if (last_long < 0) return Order::serial;
  Shape kept_inside;
  for (int axis = last_long + 1; axis < x.rank(); ++axis)
    if (std::ranges::find(axes, axis) == axes.end()) kept_inside.push_back(x.shape[axis]);
  return element_count(kept_inside).count < wide_enough ? Order::lanes : Order::serial;
}

Order order_of_dot(const Type& result, const Type& a, const Dot& dot) {
  const bool over_batch = std::ranges::any_of(dot.a, [&](int axis) { return a.shape[axis].batched; });
  return over_batch && element_count(result.shape).count <= small_contraction ? Order::lanes : Order::serial;
}

}  // namespace

int order_lanes(DType dtype) { return dtype == DType::f64 ? 8 : 16; }

std::int64_t order_chunk(std::span<const std::int64_t> extents) {
  int long_axes = 0;
  std::int64_t elements_of_row = 1;
  for (std::int64_t extent : extents) {
    if (extent <= 1) continue;
    if (long_axes++ > 0) elements_of_row *= extent;
  }
  return long_axes <= 1 ? elements_of_chunk : rows_of_chunk * elements_of_row;
}

int order_lane_axis(std::span<const std::int64_t> extents) {
  for (int axis = static_cast<int>(extents.size()); axis-- > 0;)
    if (extents[axis] > 1) return axis;
  return -1;
}

bool has_order(const Node& node) { return node.op == Op::sum || std::holds_alternative<Dot>(node.attributes); }

Order order_of(const Node& node) {
  if (const auto* dot = std::get_if<Dot>(&node.attributes)) return dot->order;
  if (const auto* reduce = std::get_if<Reduce>(&node.attributes)) return reduce->order;
  return Order::unset;
}

Order natural_order(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  if (!has_order(node)) return Order::unset;
  const Type& x = graph[node.operands[0]].type;
  if (const auto* dot = std::get_if<Dot>(&node.attributes)) return order_of_dot(node.type, x, *dot);
  return order_of_sum(x, std::get<Reduce>(node.attributes).axes);
}

}  // namespace nnc
