// Products of tensors: `@` of matrices, of stacks of them, and of what stretches.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "frontend/elaborator.h"

namespace nnc {

Term Elaborator::matmul(const Term& left, const Term& right, Span left_span, Span right_span, Span span, Span op_span) {
  const DType dtype = left.as<Array>()    ? left.as<Array>()->node.type().dtype
                      : right.as<Array>() ? right.as<Array>()->node.type().dtype
                                          : default_float();
  const auto a = array(left, left_span, "the left of `@`", dtype),
             b = array(right, right_span, "the right of `@`", dtype);
  if (!a || !b) return Failed{};
  const auto labelled = [&](Code code, std::string message) {
    return Diagnostic{.code = code,
                      .message = std::move(message),
                      .primary = op_span,
                      .labels = {{left_span, describe(*a)}, {right_span, describe(*b)}}};
  };
  if (a->axes.empty() || b->axes.empty())
    return report(labelled(Code::shape_mismatch, "`@` needs an axis to sum over on both sides"));
  if (b->axes.size() > 2) return matrix_stack(*a, *b, left_span, right_span, span, op_span);
  const Axis &k = a->axes.back(), &l = b->axes.front();
  if (k.extent != l.extent) {
    Diagnostic diagnostic = labelled(Code::shape_mismatch, "shapes do not match in `@`");
    diagnostic.notes = {fmt::format("the last axis of the left is {}, the first of the right {}", length(k), length(l)),
                        fmt::format("left:  {}: {}, {}", source(left_span), describe(*a), story(k)),
                        fmt::format("right: {}: {}, {}", source(right_span), describe(*b), story(l))};
    if (l.extent.batched && a->axes.size() == 2 &&
        !is_batched(a->node.type().shape)) {  // W x of the books, where a row is a column
      const std::string rows = source(right_span), weights = source(left_span);
      if (a->axes.front().extent == b->axes.back().extent)
        diagnostic.help = fmt::format("rows of the batch stand on the left: `{} @ {}`", rows, weights);
      else if (k.extent == b->axes.back().extent)
        diagnostic.help = fmt::format("rows of the batch stand on the left: `{} @ transpose({})`", rows, weights);
    }
    return report(std::move(diagnostic));
  }
  if (a->node.type().dtype != b->node.type().dtype)
    return report(labelled(Code::type_mismatch, "element types differ in `@`"));
  std::vector<Axis> axes(a->axes.begin(), a->axes.end() - 1);
  axes.insert(axes.end(), b->axes.begin() + 1, b->axes.end());
  if (!countable(axes, op_span) || !belongs_here(a->node, left_span) || !belongs_here(b->node, right_span))
    return Failed{};
  if (a->node.type().dtype == DType::boolean)
    return report(labelled(Code::type_mismatch, "`@` does not take truth values"));
  builder().set_origin(origin(span));
  const Value x = k.stretch ? whole_node(*a) : a->node, y = l.stretch ? whole_node(*b) : b->node;
  check_meeting(k, l, op_span, "`@`");
  separate(axes);
  if (k.stretch)
    for (Axis& axis : axes) axis.stretch = false;
  if (l.stretch && !axes.empty() && b->axes.size() == 2) axes.back().stretch = false;
  const Value node = builder().dot(x, y, {x.type().rank() - 1}, {0});
  return Array{node, std::move(axes)};
}

namespace {

/// The axis of an array's node that follows axis `at` of the array; those that stretch have none.
int node_axis(const Array& array, std::size_t at) {
  const auto end = array.axes.begin() + static_cast<std::ptrdiff_t>(at);
  return static_cast<int>(std::count_if(array.axes.begin(), end, [](const Axis& axis) { return !axis.stretch; }));
}

}  // namespace

/// a [..., m, k] @ b [..., k, n]: leading axes are lined up at their ends and go in pairs; what only one side has, or
/// what stretches, repeats. A left side of one axis has no m.
Term Elaborator::matrix_stack(const Array& left, const Array& right, Span left_span, Span right_span, Span span,
                              Span op_span) {
  const std::size_t rank_a = left.axes.size(), rank_b = right.axes.size();
  const std::size_t own_a = std::min<std::size_t>(rank_a, 2), lead_a = rank_a - own_a, lead_b = rank_b - 2;
  const auto mismatch = [&](const Axis& x, const Axis& y, std::string what) {
    return report({.code = Code::shape_mismatch,
                   .message = "shapes do not match in `@`",
                   .primary = op_span,
                   .labels = {{left_span, describe(left)}, {right_span, describe(right)}},
                   .notes = {std::move(what), fmt::format("left:  {}: {}", source(left_span), story(x)),
                             fmt::format("right: {}: {}", source(right_span), story(y))}});
  };
  const Axis &k = left.axes.back(), &l = right.axes[rank_b - 2];
  if (k.extent != l.extent)
    return mismatch(
        k, l, fmt::format("the last axis of the left is {}, the last but one of the right {}", length(k), length(l)));
  if (left.node.type().dtype != right.node.type().dtype || !is_float(left.node.type().dtype))
    return report(
        {.code = Code::type_mismatch,
         .message = is_float(left.node.type().dtype) ? "element types differ in `@`" : "`@` takes floating elements",
         .primary = op_span,
         .labels = {{left_span, describe(left)}, {right_span, describe(right)}}});
  if (!belongs_here(left.node, left_span) || !belongs_here(right.node, right_span)) return Failed{};
  builder().set_origin(origin(span));
  const Array a = with_axis(left, rank_a - 1), b = with_axis(right, rank_b - 2);

  std::vector<Axis> axes;
  std::vector<int> batch_a, batch_b;                // axes of the nodes that go in pairs
  std::vector<std::size_t> paired, from_a, from_b;  // places in the result of those axes, and of the others
  const std::size_t leading = std::max(lead_a, lead_b);
  for (std::size_t at = 0; at < leading; ++at) {
    const bool in_a = at + lead_a >= leading, in_b = at + lead_b >= leading;
    const std::size_t at_a = at + lead_a - leading, at_b = at + lead_b - leading;
    const bool long_a = in_a && !a.axes[at_a].stretch, long_b = in_b && !b.axes[at_b].stretch;
    if (long_a && long_b) {
      const Axis &x = a.axes[at_a], &y = b.axes[at_b];
      if (x.extent != y.extent)
        return mismatch(
            x, y, fmt::format("axis {} of the left is {}, axis {} of the right {}", at_a, length(x), at_b, length(y)));
      batch_a.push_back(node_axis(a, at_a));
      batch_b.push_back(node_axis(b, at_b));
      check_meeting(x, y, op_span, "`@`");
      paired.push_back(at);
    } else if (long_a) {
      from_a.push_back(at);
    } else if (long_b) {
      from_b.push_back(at);
    }
    axes.push_back(long_a || !in_b ? a.axes[at_a] : b.axes[at_b]);
  }
  if (own_a == 2) {
    if (!a.axes[lead_a].stretch) from_a.push_back(axes.size());
    axes.push_back(a.axes[lead_a]);
  }
  if (!b.axes.back().stretch) from_b.push_back(axes.size());
  axes.push_back(b.axes.back());
  check_meeting(k, l, op_span, "`@`");
  separate(axes);
  if (!countable(axes, op_span)) return Failed{};

  const Value product =
      builder().dot(a.node, b.node, {node_axis(a, rank_a - 1)}, {node_axis(b, rank_b - 2)}, batch_a, batch_b);
  std::vector<std::size_t> places = paired;
  places.insert(places.end(), from_a.begin(), from_a.end());
  places.insert(places.end(), from_b.begin(), from_b.end());
  std::vector<int> order(places.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int axis) { return places[static_cast<std::size_t>(axis)]; });
  return Array{builder().transpose(product, order), std::move(axes)};
}

}  // namespace nnc
