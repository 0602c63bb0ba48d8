// Reductions: over all axes, or those that `over` names, with `keep`.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "frontend/primitive_words.h"

namespace nnc::primitives {

namespace {

/// The axes that `over` names, from 0; all of them without it. In a data block those of one row.
std::optional<std::vector<int>> reduced_axes(CallSite& site, const Array& x) {
  Elaborator& e = site.elaborator;
  const int hidden = e.hidden_axes(x.axes), rank = static_cast<int>(x.axes.size()) - hidden;
  const auto at = named(site, "over");
  std::vector<int> axes;
  if (!at) {
    axes.resize(static_cast<std::size_t>(rank));
    std::iota(axes.begin(), axes.end(), hidden);
    return axes;
  }
  const CallArgument& over = site.arguments[*at];
  if (over.expr && std::holds_alternative<ast::Ellipsis>(over.expr->form)) {
    const std::vector<Axis>* ellipsis = site.scope.ellipsis();
    const int count = ellipsis ? static_cast<int>(ellipsis->size()) - e.hidden_axes(*ellipsis) : 0;
    if (!ellipsis || count > rank) {
      e.error(Code::no_shape, over.span, "`...` stands for nothing here");
      return std::nullopt;
    }
    axes.resize(static_cast<std::size_t>(count));
    std::iota(axes.begin(), axes.end(), hidden);
    return axes;
  }
  const Term term = site.evaluate(*at);
  if (term.failed()) return std::nullopt;
  std::vector<Term> listed = {term};
  if (const List* list = term.as<List>()) listed = list->elements;
  for (const Term& one : listed) {
    const auto axis = e.whole(one, over.span, "an axis");
    if (!axis) return std::nullopt;
    if (*axis < -rank || *axis >= rank) {
      e.error(Code::bad_axis, over.span, fmt::format("axis {} of {}, which has {}", *axis, e.describe(Term(x)), rank),
              "", "axes are counted from 0, or from the end: -1 is the last");
      return std::nullopt;
    }
    axes.push_back(static_cast<int>(*axis < 0 ? *axis + rank : *axis) + hidden);
  }
  std::ranges::sort(axes);
  if (std::ranges::adjacent_find(axes) != axes.end()) {
    e.error(Code::bad_axis, over.span, "an axis stands twice");
    return std::nullopt;
  }
  return axes;
}

/// A reduction's operand, its axes, and whether they stay as ones that stretch.
struct Reduction {
  Array x;
  std::vector<int> axes;
  bool keep = false;

  bool reduces(int axis) const { return std::ranges::find(axes, axis) != axes.end(); }
  /// Axes of the node that are reduced (those that stretch are not in it).
  std::vector<int> node_axes() const {
    std::vector<int> result;
    int position = 0;
    for (int axis = 0; axis < static_cast<int>(x.axes.size()); ++axis) {
      if (x.axes[axis].stretch) continue;
      if (reduces(axis)) result.push_back(position);
      ++position;
    }
    return result;
  }
  Extent count() const {
    Shape shape;
    for (int axis : axes) shape.push_back(x.axes[axis].extent);
    return element_count(shape);
  }
  Array wrap(Value node) const {
    Array result{node, {}};
    for (int axis = 0; axis < static_cast<int>(x.axes.size()); ++axis)
      if (!reduces(axis))
        result.axes.push_back(x.axes[axis]);
      else if (keep)
        result.axes.push_back(Axis{Extent{1, false}, true, nullptr, x.axes[axis].id});
    return result;
  }
};

std::optional<Reduction> reduction(CallSite& site) {
  if (!check_arguments(site, 1, 1, {"over", "keep"})) return std::nullopt;
  Elaborator& e = site.elaborator;
  const auto x = e.array(site.evaluate(0), site.arguments[0].span, fmt::format("the argument of `{}`", site.name),
                         e.default_float());
  if (!x) return std::nullopt;
  Reduction result{*x, {}, false};
  if (const auto at = named(site, "keep")) {
    const auto keep = e.flag(site.evaluate(*at), site.arguments[*at].span, "`keep`");
    if (!keep) return std::nullopt;
    result.keep = *keep;
  }
  const auto axes = reduced_axes(site, *x);
  if (!axes) return std::nullopt;
  result.axes = *axes;
  e.builder().set_origin(e.origin(site.span));
  return result;
}

Value mean_of(Value x, const std::vector<int>& axes, Extent count) {
  Builder& b = *x.builder;
  return b.sum(x, axes) / b.size(count, x.type().dtype);
}

/// sum of a list adds its elements, left to right.
std::optional<Term> sum_of_list(CallSite& site) {
  if (positional(site) != 1 || site.arguments.size() != 1) return std::nullopt;
  const Term first = site.evaluate(0);
  site.arguments[0].value = std::make_shared<Term>(first);  // evaluated once
  const List* list = first.as<List>();
  if (!list || list->elements.empty()) return std::nullopt;
  Term total = list->elements.front();
  for (std::size_t i = 1; i < list->elements.size(); ++i)
    total = site.elaborator.elementwise(Op::add, {{total, list->elements[i]}},
                                        {{site.arguments[0].span, site.arguments[0].span}}, site.span, "+");
  return total;
}

Value greatest(Value x, std::vector<int> axes) {
  if (axes.empty()) return x;
  return x.builder->make(Op::reduce_max, {{x}}, Reduce{.axes = std::move(axes)});
}

template <Op pair, bool least>
Term extreme(CallSite& site) {
  if (positional(site) == 2) return elementwise_call(site, pair, 2);
  const auto r = reduction(site);
  if (!r || !needs_floats(site, r->x)) return Failed{};
  const Value x = r->x.node;
  return r->wrap(least ? -greatest(-x, r->node_axes()) : greatest(x, r->node_axes()));
}

}  // namespace

Term sum(CallSite& site) {
  if (auto total = sum_of_list(site)) return *total;
  const auto r = reduction(site);
  if (!r) return Failed{};
  if (r->x.node.type().dtype == DType::boolean)
    return site.elaborator.error(Code::type_mismatch, site.arguments[0].span, "`sum` does not take truth values", "",
                                 "write `i32(...)` around them");
  return r->wrap(r->x.node.builder->sum(r->x.node, r->node_axes()));
}

Term mean(CallSite& site) {
  const auto r = reduction(site);
  if (!r || !needs_floats(site, r->x)) return Failed{};
  return r->wrap(mean_of(r->x.node, r->node_axes(), r->count()));
}

/// The mean of the squared differences from the mean.
Term var(CallSite& site) {
  auto r = reduction(site);
  if (!r || !needs_floats(site, r->x)) return Failed{};
  Builder& b = *r->x.node.builder;
  const std::vector<int> axes = r->node_axes();
  std::vector<int> kept;
  for (int axis = 0; axis < r->x.node.type().rank(); ++axis)
    if (std::ranges::find(axes, axis) == axes.end()) kept.push_back(axis);
  const Value mean = mean_of(r->x.node, axes, r->count());
  const Value difference = r->x.node - b.broadcast(mean, kept, r->x.node.type().shape);
  return r->wrap(mean_of(difference * difference, axes, r->count()));
}

Term argmax(CallSite& site) {
  const auto r = reduction(site);
  if (!r || !needs_floats(site, r->x)) return Failed{};
  if (r->axes.size() != 1)
    return site.elaborator.error(Code::bad_axis, site.span, "`argmax` goes over one axis", "", "such as `over = -1`");
  Builder& b = *r->x.node.builder;
  const std::vector<int> axes = r->node_axes();
  if (axes.empty()) return r->wrap(b.broadcast(b.constant(0, DType::i32), {}, r->x.node.type().shape));
  return r->wrap(b.make(Op::argmax, {{r->x.node}}, Reduce{.axes = axes}));
}

Term max(CallSite& site) { return extreme<Op::max, false>(site); }
Term min(CallSite& site) { return extreme<Op::min, true>(site); }

}  // namespace nnc::primitives
