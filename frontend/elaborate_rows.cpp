// Rows of a table by their numbers, and the sums of rows that have one number.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "frontend/elaborator.h"

namespace nnc {

void Elaborator::promise_range(Value ids, std::int64_t count, Span span) {
  NodeId id = ids.id;
  while (builder()[id].op == Op::reshape || builder()[id].op == Op::transpose || builder()[id].op == Op::broadcast)
    id = builder()[id].operands[0];
  const Node& node = builder()[id];
  if (const auto* known = std::get_if<Constant>(&node.attributes)) {
    const auto outside = std::ranges::find_if(
        known->values, [&](double id_value) { return id_value < 0 || id_value >= static_cast<double>(count); });
    if (outside != known->values.end())
      error(Code::bad_number, span, fmt::format("{} is no index below {}", *outside, count), "",
            "indices count from 0");
    return;
  }
  if (node.op != Op::input || node.type.dtype != DType::i32) return;
  builder().oblige({.input = std::get<Named>(node.attributes).name, .low = 0, .high = count, .origin = origin(span)});
}

Term Elaborator::rows_by_index(const Array& table, const Array& ids, Span span, Span ids_span) {
  if (table.axes.empty()) return error(Code::shape_mismatch, span, "a tensor without axes has no rows", "", "");
  if (ids.node.type().dtype != DType::i32)
    return error(Code::type_mismatch, ids_span,
                 fmt::format("an index is a whole number or i32, and this is {}", describe(ids)), "",
                 is_float(ids.node.type().dtype) ? "write `i32(...)` around it" : "");
  if (!belongs_here(table.node, span) || !belongs_here(ids.node, ids_span)) return Failed{};
  // In a data block the batch is not written: the rows are those of the first axis that is.
  const bool hidden = graph().rows && table.axes[0].extent.batched && table.axes.size() > 1;
  const std::size_t first = hidden ? 1 : 0;
  if (table.axes[first].extent.batched)
    return error(Code::shape_mismatch, span, "rows of the batch cannot be picked by their numbers", describe(table),
                 "the first axis of a table is of fixed length");
  std::vector<Axis> axes = ids.axes;
  if (hidden) axes.insert(axes.begin(), table.axes[0]);
  axes.insert(axes.end(), table.axes.begin() + static_cast<std::ptrdiff_t>(first) + 1, table.axes.end());
  separate(axes);
  if (!countable(axes, span)) return Failed{};
  builder().set_origin(origin(span));
  const Array whole = with_axis(table, first);
  const std::int64_t count = whole.axes[first].extent.count;
  promise_range(ids.node, count, ids_span);
  if (!hidden) return Array{builder().gather(whole.node, ids.node), std::move(axes)};

  const auto rotated = [](int rank, int from, int to) {  // axis `from` comes to stand at `to`
    std::vector<int> order(static_cast<std::size_t>(rank));
    std::iota(order.begin(), order.end(), 0);
    order.erase(order.begin() + from);
    order.insert(order.begin() + to, from);
    return order;
  };
  const Value rows_first = builder().transpose(whole.node, rotated(whole.node.type().rank(), 1, 0));
  const Value picked = builder().gather(rows_first, ids.node);
  return Array{builder().transpose(picked, rotated(picked.type().rank(), ids.node.type().rank(), 0)), std::move(axes)};
}

namespace {

/// scatter_add in a data block, which is about one row: the batch stays, and the sums are those of each row. Every id
/// is compared with every number of a row. Nothing where the shapes do not fit.
std::optional<Array> add_within_rows(const Array& x, const Array& ids, std::int64_t count) {
  const auto batched = [](const Array& array) { return !array.axes.empty() && array.axes[0].extent.batched; };
  const auto in_a_row = [&](const Array& array) {
    return std::vector<Axis>(array.axes.begin() + (batched(array) ? 1 : 0), array.axes.end());
  };
  const std::vector<Axis> own = in_a_row(x), shared = in_a_row(ids);
  const bool number = own.empty();  // is added for every id
  if (!number && own.size() < shared.size()) return std::nullopt;
  const Axis stretch{Extent{1, false}, true, nullptr};
  std::vector<Axis> sums{Axis{batch_extent}, Axis{Extent{count}}};  // of the result
  std::vector<Axis> all{Axis{batch_extent}};                        // and of what is added, before it is
  std::vector<Axis> of_x(1, batched(x) ? all[0] : stretch), of_ids(1, batched(ids) ? all[0] : stretch), of_index;
  std::vector<int> added;
  for (std::size_t at = 0; at < shared.size(); ++at) {
    const Axis mine = number ? stretch : own[at];
    if (!mine.stretch && !shared[at].stretch && mine.extent != shared[at].extent) return std::nullopt;
    added.push_back(static_cast<int>(all.size()));
    all.push_back(mine.stretch ? shared[at] : mine);
    all.back().stretch = false;
    of_x.push_back(mine);
    of_ids.push_back(shared[at]);
  }
  all.push_back(sums[1]);
  of_index.push_back(sums[1]);
  of_x.push_back(stretch);
  of_ids.push_back(stretch);
  for (std::size_t at = shared.size(); at < own.size(); ++at) {
    all.push_back(own[at]);
    all.back().stretch = false;
    sums.push_back(all.back());
    of_x.push_back(own[at]);
    of_ids.push_back(stretch);
    of_index.push_back(stretch);
  }
  Builder& b = *x.node.builder;
  const auto whole = [&](double value) { return b.constant(value, DType::i32); };
  const Value rows = apply(Op::min, apply(Op::max, ids.node, whole(0)), whole(static_cast<double>(count - 1)));
  const Value index = b.make(Op::iota, {}, Iota{}, Type{DType::i32, {{count, false}}});
  const Value here = apply(Op::equal, align({rows, of_ids}, all, true), align({index, of_index}, all, true));
  const Value picked = b.select(here, align({x.node, of_x}, all, true), b.constant(0, x.node.type().dtype));
  return Array{b.sum(picked, added), sums};
}

}  // namespace

Term Elaborator::add_rows(const Array& x, const Array& ids, std::int64_t count, Span span, Span x_span, Span ids_span) {
  if (ids.node.type().dtype != DType::i32)
    return error(Code::type_mismatch, ids_span, fmt::format("ids are i32, and this is {}", describe(ids)), "",
                 is_float(ids.node.type().dtype) ? "write `i32(...)` around it" : "");
  if (x.node.type().dtype == DType::boolean)
    return error(Code::type_mismatch, x_span, "`scatter_add` does not take truth values", "",
                 "write `i32(...)` around them");
  if (count < 1) return error(Code::bad_number, span, fmt::format("`scatter_add` makes at least 1 row, not {}", count));
  const auto mismatch = [&](std::string what) {
    return report({.code = Code::shape_mismatch,
                   .message = "shapes do not match in `scatter_add`",
                   .primary = span,
                   .labels = {{x_span, describe(x)}, {ids_span, describe(ids)}},
                   .notes = {std::move(what), "what is added begins with the axes of the ids"}});
  };
  if (graph().rows && (is_batched(ids.node.type().shape) || is_batched(x.node.type().shape))) {
    if (!belongs_here(x.node, x_span) || !belongs_here(ids.node, ids_span)) return Failed{};
    builder().set_origin(origin(span));
    promise_range(ids.node, count, ids_span);
    const auto sums = add_within_rows(x, ids, count);
    return sums ? Term(*sums) : mismatch("they are those of one row");
  }
  const std::size_t shared = ids.axes.size();
  const bool number = x.axes.empty();  // is added for every id
  if (!number && x.axes.size() < shared)
    return mismatch(fmt::format("the ids have {} axes, what is added has {}", shared, x.axes.size()));
  std::vector<Axis> axes(shared);
  for (std::size_t at = 0; at < shared; ++at) {
    axes[at] = number || x.axes[at].stretch ? ids.axes[at] : x.axes[at];
    if (number || x.axes[at].stretch || ids.axes[at].stretch || x.axes[at].extent == ids.axes[at].extent) continue;
    return mismatch(
        fmt::format("axis {} of what is added is {}, of the ids {}", at, length(x.axes[at]), length(ids.axes[at])));
  }
  if (!belongs_here(x.node, x_span) || !belongs_here(ids.node, ids_span)) return Failed{};
  builder().set_origin(origin(span));
  // Both get all axes that one of them has; axes that stretch in both are in neither node.
  const auto spread = [&](const Array& array, const std::vector<Axis>& wanted) {
    Shape shape;
    std::vector<int> places;
    const std::size_t missing = array.axes.empty() ? wanted.size() : 0;
    for (std::size_t at = 0; at < wanted.size(); ++at) {
      if (wanted[at].stretch) continue;
      if (at >= missing && !array.axes[at].stretch) places.push_back(static_cast<int>(shape.size()));
      shape.push_back(wanted[at].extent);
    }
    return builder().broadcast(array.node, places, shape);
  };
  std::vector<Axis> whole = axes, result{Axis{Extent{count}, false, nullptr}};
  if (!number) {
    whole.insert(whole.end(), x.axes.begin() + static_cast<std::ptrdiff_t>(shared), x.axes.end());
    result.insert(result.end(), x.axes.begin() + static_cast<std::ptrdiff_t>(shared), x.axes.end());
  }
  if (!countable(result, span)) return Failed{};
  promise_range(ids.node, count, ids_span);
  return Array{builder().scatter_add(spread(x, whole), spread(ids, axes), count), std::move(result)};
}

}  // namespace nnc
