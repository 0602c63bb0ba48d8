// Which axis is which, and warnings where two line up that have nothing to do with each other: shapes are lined up at
// their last axes, so `x - mean(x, over = -1)` is wrong, and says nothing where x is square.
//
// An axis gets an id where it comes into the program: an input, a parameter, a column. Operations pass ids on; a tensor
// that would have one axis twice (x @ transpose(x)) has two twins. Nothing is concluded from an id that is missing, and
// axes of different origins may well belong together (a matrix and its bias, both of them 10 wide). There is a warning
// where it can be told what the axis should have met: an operand with fewer axes meets another axis of what it was made
// from, or two dimension variables of one signature meet that are equal in this use alone.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborator.h"

namespace nnc {

namespace {

bool is_below(const AxisId* x, const AxisId* of) {
  if (!x || !of) return false;
  const auto within = [&](const AxisId* one) { return is_below(x, one); };
  const auto part = [&](const AxisId* one) { return is_below(one, of); };
  return x == of || is_below(x->twin_of, of) || std::ranges::any_of(x->any_of, part) ||
         std::ranges::any_of(of->any_of, within);
}

}  // namespace

const AxisId* Elaborator::new_axis() { return &axis_ids_.emplace_back(); }

bool Elaborator::related(const AxisId* a, const AxisId* b) { return is_below(a, b) || is_below(b, a); }

const AxisId* Elaborator::either(const AxisId* a, const AxisId* b) {
  if (!a || !b || related(a, b)) return a ? a : b;
  AxisId both;
  for (const AxisId* one : {a, b})
    if (one->any_of.empty())
      both.any_of.push_back(one);
    else
      both.any_of.insert(both.any_of.end(), one->any_of.begin(), one->any_of.end());
  return &axis_ids_.emplace_back(std::move(both));
}

void Elaborator::separate(std::vector<Axis>& axes) {
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const AxisId* id = axes[i].id;
    if (!id || std::ranges::count(axes, id, &Axis::id) < 2) continue;
    for (Axis& axis : axes)
      if (axis.id == id) axis.id = &axis_ids_.emplace_back(AxisId{id, {}, {}});
  }
}

bool Elaborator::check_meeting(const Axis& x, const Axis& y, Span span, const std::string& shown) {
  if (!x.id || !y.id || x.stretch || y.stretch || x.extent.batched || related(x.id, y.id)) return false;
  // The innermost signature that has a name for both.
  for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
    const std::string *of_x = nullptr, *of_y = nullptr;
    for (const auto& [name, id] : frame->dimensions) {
      if (related(id, x.id)) of_x = &name;
      if (related(id, y.id)) of_y = &name;
    }
    if (!of_x || !of_y || of_x == of_y) continue;
    report({.code = Code::chance_alignment,
            .message =
                fmt::format("in {} `{}` meets `{}`, and both are {} only in this use", shown, *of_x, *of_y, length(x)),
            .primary = span,
            .notes = {fmt::format("`{}`: {}", *of_x, story(x)), fmt::format("`{}`: {}", *of_y, story(y))},
            .help =
                fmt::format("where they are always equal, the signature of `{}` calls both by one name", frame->name)});
    return true;
  }
  return false;
}

void Elaborator::check_alignment(const Operand& a, const Operand& b, Span span, const std::string& shown) {
  const Operand& wide = a.rank < b.rank ? b : a;
  const Operand& narrow = a.rank < b.rank ? a : b;
  for (std::size_t back = 1; back <= std::min(a.axes.size(), b.axes.size()); ++back) {
    const std::size_t at = wide.axes.size() - back;
    const Axis &x = wide.axes[at], &y = narrow.axes[narrow.axes.size() - back];
    if (y.stretch || y.extent.batched || !x.id || !y.id || related(x.id, y.id)) continue;
    const auto own = std::ranges::find_if(wide.axes, [&](const Axis& other) {
      return &other != &x && !other.stretch && other.extent == y.extent && related(other.id, y.id);
    });
    if (wide.rank == narrow.rank || own == wide.axes.end()) {
      if (check_meeting(x, y, span, fmt::format("`{}`", shown))) return;
      continue;
    }
    const auto number = [&](std::size_t axis) { return axis - (wide.axes.size() - wide.rank); };
    const std::size_t should = number(static_cast<std::size_t>(own - wide.axes.begin()));
    report({.code = Code::chance_alignment,
            .message = fmt::format("an axis lines up by chance in `{}`", shown),
            .primary = span,
            .labels = {{wide.span, describe(wide.term)}, {narrow.span, describe(narrow.term)}},
            .notes = {fmt::format("shapes are lined up at their last axes: axis {} of `{}` meets axis {} of `{}`",
                                  narrow.rank - back, source(narrow.span), number(at), source(wide.span)),
                      fmt::format("but it goes with axis {} of `{}`{}", should, source(wide.span),
                                  x.stretch ? "; the one that it meets repeats"
                                            : fmt::format("; that both are {} long is chance", length(y)))},
            .help = "`keep = true` leaves a reduced axis in its place, `[..., _]` makes one that repeats at the end"});
    return;
  }
}

}  // namespace nnc
