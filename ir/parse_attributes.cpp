#include "ir/parse_attributes.h"

#include <fmt/format.h>

#include <limits>

#include "ir/op.h"

namespace nnc::graph_text {

namespace {

std::vector<int> axes(const List& list, const Token& place) {
  std::vector<int> result;
  for (const Extent& entry : list) {
    if (entry.batched || entry.count < 0 || entry.count > std::numeric_limits<int>::max())
      fail(place, "axes are small integers");
    result.push_back(static_cast<int>(entry.count));
  }
  return result;
}

std::vector<std::int64_t> numbers(const List& list, const Token& place) {
  std::vector<std::int64_t> result;
  for (const Extent& entry : list) {
    if (entry.batched) fail(place, "numbers are expected here, not the batch");
    result.push_back(entry.count);
  }
  return result;
}
/// The number that stands alone as argument `index`, or what it is where it is not written.
std::int64_t single(const std::vector<List>& lists, std::size_t index, std::int64_t usual, const Token& place) {
  if (index >= lists.size()) return usual;
  const std::vector<std::int64_t> all = numbers(lists[index], place);
  if (all.size() != 1) fail(place, "a single number is expected here");
  return all[0];
}
int single_axis(const List& list, const Token& place) {
  const std::vector<int> all = axes(list, place);
  if (all.size() != 1) fail(place, "a single axis is expected here");
  return all[0];
}

/// slice: extents, starts and steps (1 where they are not written); pad: low, high and between (0).
Attributes part_attributes(Op op, const std::vector<List>& lists, Shape& shape, const Token& place) {
  if (lists.size() < 2 || lists.size() > 3)
    fail(place, fmt::format("{} takes two or three lists behind its operand", place.text));
  const std::vector<std::int64_t> second = numbers(lists[1], place);
  const std::vector<std::int64_t> third =
      lists.size() == 3 ? numbers(lists[2], place) : std::vector<std::int64_t>(second.size(), op == Op::slice ? 1 : 0);
  if (op == Op::pad) return Pad{numbers(lists[0], place), second, third};
  shape = shape_of(lists[0], place);
  return Slice{second, third};
}

}  // namespace

Attributes call_attributes(Op op, Order order, const std::vector<List>& lists, std::span<const Scan> loops,
                           Shape& shape, const Token& place) {
  const auto expect_lists = [&](std::size_t least, std::size_t most, std::string_view what) {
    if (lists.size() < least || lists.size() > most)
      fail(place, fmt::format("{} takes {} behind its operands", place.text, what));
  };
  if (order != Order::unset && op != Op::sum && op != Op::dot) fail(place, fmt::format("{} has no order", place.text));
  const OpClass cls = definition(op).cls;
  if (op == Op::overlap_add) {
    expect_lists(2, 4, "an axis, an extent, a stride and a dilation");
    return OverlapAdd{single_axis(lists[0], place), single(lists, 1, 1, place), single(lists, 2, 1, place),
                      single(lists, 3, 1, place)};
  }
  if (cls == OpClass::loop) {
    expect_lists(2, 2, "a loop and a result");
    const std::vector<int> loop = axes(lists[0], place), result = axes(lists[1], place);
    if (loop.size() != 1 || result.size() != 1 || loop[0] < 0 || loop[0] >= static_cast<int>(loops.size()))
      fail(place, "this loop does not stand before it");
    Scan scan = loops[static_cast<std::size_t>(loop[0])];
    scan.result = result[0];
    return scan;
  }
  if (cls == OpClass::reduce) {
    expect_lists(1, 1, "axes");
    return Reduce{axes(lists[0], place), order};
  }
  if (cls == OpClass::contract) {
    if (lists.size() != 4) expect_lists(2, 2, "the axes of both, and the axes of both that are kept in pairs,");
    Dot dot{.a = axes(lists[0], place), .b = axes(lists[1], place), .order = order};
    if (lists.size() == 4) dot.batch_a = axes(lists[2], place), dot.batch_b = axes(lists[3], place);
    return dot;
  }
  if (op == Op::scatter_add) {
    expect_lists(1, 1, "a number of rows");
    if (lists[0].size() != 1 || lists[0][0].batched) fail(place, "a number of rows is an integer");
    return Scatter{lists[0][0].count};
  }
  if (op == Op::point) {
    expect_lists(1, 1, "a number");
    return Numbered{single(lists, 0, 0, place)};
  }
  if (op == Op::transpose) {
    expect_lists(1, 1, "the order of axes");
    return Transpose{axes(lists[0], place)};
  }
  if (op == Op::concat) {
    expect_lists(1, 1, "an axis");
    return Concat{single_axis(lists[0], place)};
  }
  if (op == Op::slice || op == Op::pad) return part_attributes(op, lists, shape, place);
  if (op == Op::window) {
    expect_lists(2, 4, "an axis, a size, a stride and a dilation");
    return Window{single_axis(lists[0], place), single(lists, 1, 1, place), single(lists, 2, 1, place),
                  single(lists, 3, 1, place)};
  }
  if (op == Op::reshape || op == Op::broadcast) {
    expect_lists(1, op == Op::broadcast ? 2 : 1, "a shape");
    shape = shape_of(lists[0], place);
  } else {
    expect_lists(0, 0, "nothing");
  }
  if (op != Op::broadcast) return NoAttributes{};
  return Broadcast{lists.size() == 2 ? axes(lists[1], place) : std::vector<int>{}};
}

}  // namespace nnc::graph_text
