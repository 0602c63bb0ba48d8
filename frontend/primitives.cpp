// The primitives: elementwise functions by their op, reductions with `over` and `keep`, casts, and the few words about
// shapes. Each is a row of the table at the end.
#include "frontend/primitives.h"
#include "frontend/newcomers.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "frontend/nearest.h"
#include "ir/ranges.h"

namespace nnc {

namespace {

/// Position of a named argument; nullopt where it is not given.
std::optional<std::size_t> named(const CallSite& site, std::string_view name) {
  for (std::size_t i = 0; i < site.arguments.size(); ++i)
    if (site.arguments[i].name && site.arguments[i].name->text == name) return i;
  return std::nullopt;
}

std::size_t positional(const CallSite& site) {
  return static_cast<std::size_t>(
      std::ranges::count_if(site.arguments, [](const CallArgument& argument) { return !argument.name; }));
}

/// Between `least` and `most` positional arguments, and no names but these.
bool check_arguments(CallSite& site, std::size_t least, std::size_t most,
                     std::initializer_list<std::string> names = {}) {
  Elaborator& e = site.elaborator;
  const std::vector<std::string> known(names);
  std::size_t count = 0;
  bool after = false;
  for (const CallArgument& argument : site.arguments) {
    if (!argument.name) {
      ++count;
      if (after) {
        e.error(Code::unexpected_token, argument.span, "arguments by name come after the others");
        return false;
      }
      if (count > most) {
        e.error(Code::too_many_arguments, argument.span,
                fmt::format("`{}` takes {} argument{}", site.name, most, most == 1 ? "" : "s"));
        return false;
      }
      continue;
    }
    after = true;
    if (std::ranges::find(known, argument.name->text) == known.end()) {
      e.error(Code::unknown_argument, argument.name->span,
              fmt::format("`{}` has no argument `{}`", site.name, argument.name->text), "",
              repair_of_argument(argument.name->text, known));
      return false;
    }
  }
  if (count >= least) return true;
  e.error(Code::missing_argument, site.span,
          fmt::format("`{}` takes {} argument{}", site.name, least, least == 1 ? "" : "s"));
  return false;
}

// ---- elementwise ---------------------------------------------------------------------------------------------------

Term elementwise_call(CallSite& site, Op op, std::size_t count) {
  if (!check_arguments(site, count, count)) return Failed{};
  std::vector<Term> operands;
  std::vector<Span> spans;
  for (std::size_t i = 0; i < count; ++i) {
    operands.push_back(site.evaluate(i));
    spans.push_back(site.arguments[i].span);
  }
  return site.elaborator.elementwise(op, operands, spans, site.span, site.name);
}

template <Op op, std::size_t count>
Term elementwise_primitive(CallSite& site) {
  return elementwise_call(site, op, count);
}

// ---- reductions
// ------------------------------------------------------------------------------------------------------

/// The axes that `over` names, from 0; all of them without it (in a data block all but the batch).
std::optional<std::vector<int>> reduced_axes(CallSite& site, const Array& x) {
  Elaborator& e = site.elaborator;
  const int rank = static_cast<int>(x.axes.size());
  const auto at = named(site, "over");
  std::vector<int> axes;
  if (!at) {
    const bool hidden = e.graph().rows && rank > 0 && x.axes[0].extent.batched;
    for (int axis = hidden ? 1 : 0; axis < rank; ++axis) axes.push_back(axis);
    return axes;
  }
  const CallArgument& over = site.arguments[*at];
  if (over.expr && std::holds_alternative<ast::Ellipsis>(over.expr->form)) {
    const std::vector<Axis>* ellipsis = site.scope.ellipsis();
    if (!ellipsis || static_cast<int>(ellipsis->size()) > rank) {
      e.error(Code::no_shape, over.span, "`...` stands for nothing here");
      return std::nullopt;
    }
    axes.resize(ellipsis->size());
    std::iota(axes.begin(), axes.end(), 0);
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
    axes.push_back(static_cast<int>(*axis < 0 ? *axis + rank : *axis));
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

bool needs_floats(CallSite& site, const Array& x) {
  if (is_float(x.node.type().dtype)) return true;
  site.elaborator.error(Code::type_mismatch, site.arguments[0].span,
                        fmt::format("`{}` takes floating elements, not {}", site.name, name_of(x.node.type().dtype)),
                        "", "write `float(...)` around it");
  return false;
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

Term sum_primitive(CallSite& site) {
  if (auto total = sum_of_list(site)) return *total;
  const auto r = reduction(site);
  if (!r) return Failed{};
  if (r->x.node.type().dtype == DType::boolean)
    return site.elaborator.error(Code::type_mismatch, site.arguments[0].span, "`sum` does not take truth values", "",
                                 "write `i32(...)` around them");
  return r->wrap(r->x.node.builder->sum(r->x.node, r->node_axes()));
}

Term mean_primitive(CallSite& site) {
  const auto r = reduction(site);
  if (!r || !needs_floats(site, r->x)) return Failed{};
  return r->wrap(mean_of(r->x.node, r->node_axes(), r->count()));
}

/// The mean of the squared differences from the mean.
Term var_primitive(CallSite& site) {
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

Value greatest(Value x, std::vector<int> axes) {
  if (axes.empty()) return x;
  return x.builder->make(Op::reduce_max, {{x}}, Reduce{.axes = std::move(axes)});
}

template <Op pair, bool least>
Term extreme_primitive(CallSite& site) {
  if (positional(site) == 2) return elementwise_call(site, pair, 2);
  const auto r = reduction(site);
  if (!r || !needs_floats(site, r->x)) return Failed{};
  const Value x = r->x.node;
  return r->wrap(least ? -greatest(-x, r->node_axes()) : greatest(x, r->node_axes()));
}

Term argmax_primitive(CallSite& site) {
  const auto r = reduction(site);
  if (!r || !needs_floats(site, r->x)) return Failed{};
  if (r->axes.size() != 1)
    return site.elaborator.error(Code::bad_axis, site.span, "`argmax` goes over one axis", "", "such as `over = -1`");
  Builder& b = *r->x.node.builder;
  const std::vector<int> axes = r->node_axes();
  if (axes.empty()) return r->wrap(b.broadcast(b.constant(0, DType::i32), {}, r->x.node.type().shape));
  return r->wrap(b.make(Op::argmax, {{r->x.node}}, Reduce{.axes = axes}));
}

// ---- element types
// -----------------------------------------------------------------------------------------------------

Term cast_to(CallSite& site, DType dtype) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term term = site.evaluate(0);
  if (const Shapeless* shapeless = term.as<Shapeless>()) {
    const Shapeless inner = *shapeless;
    return Shapeless{e.source(site.span), [inner, dtype](Elaborator& at, const ArrayType& type) {
                       ArrayType wanted = type;
                       wanted.dtype = dtype;
                       return inner.make(at, wanted);
                     }};
  }
  if (const Scalar* scalar = term.as<Scalar>(); scalar && scalar->node.type().dtype == DType::boolean)
    return Scalar{e.builder().cast(scalar->node, DType::f64)};
  if ((term.as<Number>() || term.as<Scalar>()) && is_float(dtype)) return term;
  const auto x = e.array(term, site.arguments[0].span, fmt::format("the argument of `{}`", site.name), dtype);
  if (!x) return Failed{};
  e.builder().set_origin(e.origin(site.span));
  return Array{e.builder().cast(x->node, dtype), x->axes};
}

Term f32_primitive(CallSite& site) { return cast_to(site, site.elaborator.default_float()); }
Term f64_primitive(CallSite& site) { return cast_to(site, DType::f64); }
Term i32_primitive(CallSite& site) { return cast_to(site, DType::i32); }
/// float(x): the element type that `float` stands for in this signature.
Term float_primitive(CallSite& site) {
  return cast_to(site, site.scope.floating().value_or(site.elaborator.default_float()));
}

// ---- shapes
// ------------------------------------------------------------------------------------------------------------

/// reshape(x, [dims]): `...` may stand first for the axes of this signature; one dimension may be left out as -1.
Term reshape_primitive(CallSite& site) {
  if (!check_arguments(site, 2, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  const ast::Expr* written = site.arguments[1].expr;
  const auto* list = written ? std::get_if<ast::List>(&written->form) : nullptr;
  if (!list)
    return e.error(Code::type_mismatch, site.arguments[1].span, "`reshape` takes a list of dimensions", "",
                   "such as [28, 28]");
  std::vector<Axis> axes;
  if (e.graph().rows) axes.push_back({batch_extent});
  for (const ast::ExprPtr& element : list->elements) {
    if (std::holds_alternative<ast::Ellipsis>(element->form)) {
      const std::vector<Axis>* ellipsis = site.scope.ellipsis();
      if (!ellipsis) return e.error(Code::no_shape, element->span, "`...` stands for nothing here");
      if (e.graph().rows) axes.clear();
      axes.insert(axes.end(), ellipsis->begin(), ellipsis->end());
      continue;
    }
    const auto axis = e.dimension(*element, site.scope);
    if (!axis) return Failed{};
    axes.push_back(*axis);
    if (!axes.back().from && !e.in_library(site.span))
      axes.back().from = e.because("", e.source(site.span), site.span, nullptr);
  }
  for (Axis& axis : axes) axis.stretch = false;
  e.separate(axes);
  if (given.failed() || !e.countable(axes, site.span)) return Failed{};
  if (const Shapeless* shapeless = given.as<Shapeless>()) {
    // A value that takes any shape takes this one.
    const Shapeless inner = *shapeless;
    const Span span = site.span;
    const std::string what = e.source(site.span);
    return Shapeless{what, [inner, axes, span, what](Elaborator& at, const ArrayType& type) -> Term {
                       const Term made = inner.make(at, ArrayType{type.dtype, axes});
                       if (made.failed()) return Failed{};
                       const auto placed = at.place(made, type, span, fmt::format("the place of `{}`", what));
                       return placed ? Term(*placed) : Term(Failed{});
                     }};
  }
  const auto x = e.array(given, site.arguments[0].span, "the argument of `reshape`", e.default_float());
  if (!x) return Failed{};
  Shape shape, before;
  for (const Axis& axis : axes) shape.push_back(axis.extent);
  for (const Axis& axis : x->axes) before.push_back(axis.extent);
  if (element_count(shape) != element_count(before)) {
    Diagnostic diagnostic{
        .code = Code::shape_mismatch,
        .message = "`reshape` keeps the number of elements",
        .primary = site.span,
        .labels = {{site.arguments[0].span, e.describe(Term(*x))}},
        .notes = {fmt::format("{} has {} elements, [{}] has {}", e.describe(Term(*x)), to_string(element_count(before)),
                              e.describe(axes), to_string(element_count(shape)))}};
    for (const Axis& axis : x->axes)
      if (axis.from) diagnostic.notes.push_back(e.story(axis));
    return e.report(std::move(diagnostic));
  }
  e.builder().set_origin(e.origin(site.span));
  return Array{e.builder().reshape(e.whole_node(*x), shape), axes};
}

/// The list of axes that transpose is given: numbers, and whether `...` stands before them.
struct AxisOrder {
  Term list;
  bool after_others = false;
};
AxisOrder axis_order(CallSite& site) {
  const ast::Expr* written = site.arguments[1].expr;
  const auto* form = written ? std::get_if<ast::List>(&written->form) : nullptr;
  if (!form || form->elements.empty() || !std::holds_alternative<ast::Ellipsis>(form->elements[0]->form))
    return {site.evaluate(1), false};
  List list;
  for (std::size_t i = 1; i < form->elements.size(); ++i) {
    list.elements.push_back(site.elaborator.evaluate(*form->elements[i], site.scope));
    if (list.elements.back().failed()) return {Failed{}, true};
  }
  return {std::move(list), true};
}

/// transpose(x) swaps the last two axes, transpose(x, [1, 0, 2]) orders them, transpose(x, [..., -2, -3, -1]) the last
/// ones: `...` are the axes that are not listed.
Term transpose_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const auto x = e.array(site.evaluate(0), site.arguments[0].span, "the argument of `transpose`", e.default_float());
  if (!x) return Failed{};
  const int rank = static_cast<int>(x->axes.size());
  std::vector<int> order(rank);
  std::iota(order.begin(), order.end(), 0);
  if (site.arguments.size() == 1) {
    if (rank < 2)
      return e.error(Code::bad_axis, site.arguments[0].span,
                     fmt::format("{} has no two axes to swap", e.describe(Term(*x))));
    std::swap(order[rank - 1], order[rank - 2]);
  } else {
    const auto [term, after_others] = axis_order(site);
    if (term.failed()) return Failed{};
    const List* list = term.as<List>();
    std::vector<bool> seen(rank, false);
    const int listed = list ? static_cast<int>(list->elements.size()) : 0;
    bool fits = list && (after_others ? listed <= rank : listed == rank);
    order.clear();
    for (int i = 0; fits && i < listed; ++i) {
      const auto axis = e.whole(list->elements[i], site.arguments[1].span, "an axis");
      if (!axis) return Failed{};
      const std::int64_t at = *axis < 0 ? *axis + rank : *axis;
      fits = at >= 0 && at < rank && !seen[static_cast<std::size_t>(at)];
      if (!fits) break;
      seen[static_cast<std::size_t>(at)] = true;
      order.push_back(static_cast<int>(at));
    }
    for (int axis = rank; axis-- > 0;)
      if (!seen[static_cast<std::size_t>(axis)]) order.insert(order.begin(), axis);
    if (!fits)
      return e.error(Code::bad_axis, site.arguments[1].span,
                     fmt::format("each of the {} axes of {} must stand once", rank, e.describe(Term(*x))));
  }
  e.builder().set_origin(e.origin(site.span));
  Array result{e.builder().transpose(e.whole_node(*x), order), {}};
  std::vector<Axis> axes;
  for (int axis : order) axes.push_back(x->axes[axis]);
  return e.wrap(result.node, std::move(axes));
}

// ---- parts of an axis
// ------------------------------------------------------------------------------------------------

/// An argument by its position or its name; nullopt where it is not given.
std::optional<std::size_t> given(const CallSite& site, std::size_t position, std::string_view name) {
  return position < positional(site) ? std::optional(position) : named(site, name);
}

/// The axis that the argument `axis` names (the last one without it), which is not the batch.
std::optional<int> chosen_axis(CallSite& site, std::size_t position, const Array& x, std::string_view does) {
  Elaborator& e = site.elaborator;
  const int rank = static_cast<int>(x.axes.size());
  const auto at = given(site, position, "axis");
  const Span span = at ? site.arguments[*at].span : site.span;
  const auto axis = at ? e.whole(site.evaluate(*at), span, "an axis") : std::optional<std::int64_t>(-1);
  if (!axis) return std::nullopt;
  if (*axis < -rank || *axis >= rank) {
    e.error(Code::bad_axis, span, fmt::format("axis {} of {}, which has {}", *axis, e.describe(Term(x)), rank), "",
            "axes are counted from 0, or from the end: -1 is the last");
    return std::nullopt;
  }
  const int chosen = static_cast<int>(*axis < 0 ? *axis + rank : *axis);
  if (!x.axes[chosen].extent.batched) return chosen;
  e.error(Code::bad_axis, span, fmt::format("the batch cannot be {}", does), "",
          "its length is known only when the program runs: take another axis");
  return std::nullopt;
}

/// A whole number of at least `least`, or `usual` where it is not given.
std::optional<std::int64_t> counted(CallSite& site, std::size_t position, const std::string& name, std::int64_t least,
                                    std::optional<std::int64_t> usual = std::nullopt) {
  Elaborator& e = site.elaborator;
  const auto at = given(site, position, name);
  if (!at && usual) return usual;
  if (!at) {
    e.error(Code::missing_argument, site.span, fmt::format("`{}` takes `{}`", site.name, name));
    return std::nullopt;
  }
  const Span span = site.arguments[*at].span;
  const auto number = e.whole(site.evaluate(*at), span, fmt::format("`{}`", name));
  if (!number) return std::nullopt;
  if (*number >= least && *number < (std::int64_t{1} << 31)) return number;
  e.error(Code::bad_number, span,
          fmt::format("`{}` is {}, not {}", name, least == 0 ? "0 or more" : "1 or more", *number));
  return std::nullopt;
}

/// The first argument, where no argument is given twice.
std::optional<Array> viewed(CallSite& site, std::initializer_list<std::string> names) {
  Elaborator& e = site.elaborator;
  if (!check_arguments(site, 1, names.size() + 1, names)) return std::nullopt;
  std::size_t position = 0;
  for (const std::string& name : names)
    if (++position < positional(site) && named(site, name)) {
      e.error(Code::duplicate_name, site.arguments[*named(site, name)].span, fmt::format("`{}` is given twice", name));
      return std::nullopt;
    }
  return e.array(site.evaluate(0), site.arguments[0].span, fmt::format("the argument of `{}`", site.name),
                 e.default_float());
}

/// An axis that a call made; its story is the call.
Axis made_axis(CallSite& site, std::int64_t count) {
  Elaborator& e = site.elaborator;
  Axis axis{Extent{count, false}};
  if (!e.in_library(site.span)) axis.from = e.because("", e.source(site.span), site.span, nullptr);
  return axis;
}

/// pad(x, before, after, axis = -1): zeros before and behind along one axis.
Term pad_primitive(CallSite& site) {
  Elaborator& e = site.elaborator;
  const auto x = viewed(site, {"before", "after", "axis"});
  if (!x) return Failed{};
  const auto before = counted(site, 1, "before", 0), after = counted(site, 2, "after", 0);
  const auto axis = chosen_axis(site, 3, *x, "padded");
  if (!before || !after || !axis) return Failed{};
  std::vector<std::int64_t> low(x->axes.size(), 0), high = low, between = low;
  low[static_cast<std::size_t>(*axis)] = *before;
  high[static_cast<std::size_t>(*axis)] = *after;
  std::vector<Axis> axes = x->axes;
  axes[*axis] = made_axis(site, x->axes[*axis].extent.count + *before + *after);
  if (!e.countable(axes, site.span)) return Failed{};
  e.builder().set_origin(e.origin(site.span));
  return e.wrap(e.builder().pad(e.whole_node(*x), low, high, between), std::move(axes));
}

/// window(x, size, stride = 1, axis = -1): the axis becomes two, [windows, size].
Term window_primitive(CallSite& site) {
  Elaborator& e = site.elaborator;
  const auto x = viewed(site, {"size", "stride", "axis"});
  if (!x) return Failed{};
  const auto size = counted(site, 1, "size", 1), stride = counted(site, 2, "stride", 1, 1);
  const auto axis = chosen_axis(site, 3, *x, "seen through windows");
  if (!size || !stride || !axis) return Failed{};
  const Axis& along = x->axes[*axis];
  if (*size > along.extent.count) {
    Diagnostic diagnostic{
        .code = Code::bad_number,
        .message = fmt::format("a window of {} does not fit into an axis of {}", *size, along.extent.count),
        .primary = site.span,
        .labels = {{site.arguments[0].span, e.describe(Term(*x))}}};
    if (along.from) diagnostic.notes.push_back(e.story(along));
    return e.report(std::move(diagnostic));
  }
  std::vector<Axis> axes = x->axes;
  axes[*axis] = made_axis(site, (along.extent.count - *size) / *stride + 1);
  axes.insert(axes.begin() + *axis + 1, made_axis(site, *size));
  if (!e.countable(axes, site.span)) return Failed{};
  e.builder().set_origin(e.origin(site.span));
  return e.wrap(e.builder().window(e.whole_node(*x), *axis, *size, *stride), std::move(axes));
}

/// The tensors of a list, of one element type and number of axes. In a graph over rows one without rows repeats.
std::optional<std::vector<Array>> joined_pieces(CallSite& site) {
  Elaborator& e = site.elaborator;
  const Span span = site.arguments[0].span;
  const Term term = site.evaluate(0);
  if (term.failed()) return std::nullopt;
  const List* list = term.as<List>();
  if (!list || list->elements.empty()) {
    e.error(Code::type_mismatch, span, fmt::format("`concat` takes a list of tensors, not {}", e.describe(term)), "",
            "such as `concat([a, b])`");
    return std::nullopt;
  }
  std::vector<Array> pieces;
  DType dtype = e.default_float();
  for (const Term& element : list->elements)
    if (const Array* array = element.as<Array>()) dtype = array->node.type().dtype;
  for (const Term& element : list->elements) {
    const auto piece = e.array(element, span, "a piece of `concat`", dtype);
    if (!piece) return std::nullopt;
    pieces.push_back(*piece);
  }
  const auto has_rows = [](const Array& piece) { return !piece.axes.empty() && piece.axes[0].extent.batched; };
  if (e.graph().rows && std::ranges::any_of(pieces, has_rows))
    for (Array& piece : pieces)
      if (!has_rows(piece)) piece.axes.insert(piece.axes.begin(), Axis{Extent{1, false}, true, nullptr});
  for (const Array& piece : pieces) {
    const bool same_type = piece.node.type().dtype == pieces[0].node.type().dtype;
    if (same_type && piece.axes.size() == pieces[0].axes.size()) continue;
    e.error(same_type ? Code::shape_mismatch : Code::type_mismatch, span,
            fmt::format("`concat` joins tensors of one element type and number of axes, not {} and {}",
                        e.describe(Term(pieces[0])), e.describe(Term(piece))));
    return std::nullopt;
  }
  return pieces;
}

/// The axes of the result: those beside `along` are the same in all pieces; one that stretches is as long as the
/// others'.
std::optional<std::vector<Axis>> joined_axes(CallSite& site, const std::vector<Array>& pieces, int along) {
  Elaborator& e = site.elaborator;
  std::vector<Axis> axes = pieces[0].axes;
  std::int64_t total = 0;
  for (const Array& piece : pieces) {
    for (int axis = 0; axis < static_cast<int>(axes.size()); ++axis) {
      const Axis& here = piece.axes[axis];
      if (axis == along || here.stretch) continue;
      if (axes[axis].stretch) axes[axis] = here;
      if (axes[axis].extent == here.extent) continue;
      Diagnostic diagnostic{
          .code = Code::shape_mismatch,
          .message = fmt::format("`concat` along axis {} joins tensors that differ in axis {}", along, axis),
          .primary = site.span,
          .notes = {fmt::format("{} and {}", e.describe(Term(pieces[0])), e.describe(Term(piece)))}};
      for (const Axis& one : {axes[axis], here})
        if (one.from) diagnostic.notes.push_back(e.story(one));
      e.report(std::move(diagnostic));
      return std::nullopt;
    }
    if (piece.axes[along].extent.batched) {
      e.error(Code::bad_axis, site.span, "the batch cannot be joined to something");
      return std::nullopt;
    }
    total += piece.axes[along].extent.count;
  }
  axes[along] = made_axis(site, total);
  return axes;
}

/// concat([a, b], axis = -1): tensors one after the other along an axis.
Term concat_primitive(CallSite& site) {
  Elaborator& e = site.elaborator;
  if (!check_arguments(site, 1, 2, {"axis"})) return Failed{};
  const auto pieces = joined_pieces(site);
  if (!pieces) return Failed{};
  const auto along = chosen_axis(site, 1, pieces->front(), "joined to something");
  if (!along) return Failed{};
  const auto axes = joined_axes(site, *pieces, *along);
  if (!axes || !e.countable(*axes, site.span)) return Failed{};
  e.builder().set_origin(e.origin(site.span));
  std::vector<Value> values;
  for (const Array& piece : *pieces) {
    Shape shape;
    std::vector<int> own;  // the axes that the piece's node has
    for (int axis = 0; axis < static_cast<int>(axes->size()); ++axis) {
      shape.push_back(axis == *along ? piece.axes[axis].extent : (*axes)[axis].extent);
      if (!piece.axes[axis].stretch) own.push_back(axis);
    }
    values.push_back(e.builder().broadcast(piece.node, own, shape));
  }
  return e.wrap(e.builder().concat(values, *along), *axes);
}

/// size(...): elements of the axes that `...` stands for; size(x): of a tensor. A number; known at run time with the
/// batch.
Term size_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  std::vector<Axis> axes;
  const CallArgument& argument = site.arguments[0];
  if (argument.expr && std::holds_alternative<ast::Ellipsis>(argument.expr->form)) {
    const std::vector<Axis>* ellipsis = site.scope.ellipsis();
    if (!ellipsis) return e.error(Code::no_shape, argument.span, "`...` stands for nothing here");
    axes = *ellipsis;
  } else {
    const auto x = e.array(site.evaluate(0), argument.span, "the argument of `size`", e.default_float());
    if (!x) return Failed{};
    axes = x->axes;
  }
  if (e.graph().rows && !axes.empty() && axes[0].extent.batched) axes.erase(axes.begin());
  Shape shape;
  for (const Axis& axis : axes) shape.push_back(axis.extent);
  const Extent count = element_count(shape);
  if (!count.batched) return Number{static_cast<double>(count.count)};
  if (&e.builder() == &e.init())
    return e.error(Code::not_compile_time, site.span, "an initial value cannot depend on the size of the batch");
  return Scalar{e.builder().size(count, DType::f64)};
}

// ---- made from nothing
// ---------------------------------------------------------------------------------------------------

/// random: uniform in [0, 1), another stream for each that is elaborated.
Term random_primitive(CallSite& site) {
  if (!check_arguments(site, 0, 0)) return Failed{};
  const Span span = site.span;
  return Shapeless{"random", [span](Elaborator& e, const ArrayType& type) -> Term {
                     if (is_float(type.dtype)) return e.wrap(e.random(type), type.axes);
                     return e.error(Code::type_mismatch, span,
                                    fmt::format("`random` has floating elements, and this is {}", e.describe(type)));
                   }};
}

/// iota: the index along the last axis of its place.
Term iota_primitive(CallSite& site) {
  if (!check_arguments(site, 0, 0, {"axis"})) return Failed{};
  Elaborator& e = site.elaborator;
  std::int64_t axis = -1;
  const Span span = site.span;
  if (const auto at = named(site, "axis")) {
    const auto given = e.whole(site.evaluate(*at), site.arguments[*at].span, "`axis`");
    if (!given) return Failed{};
    axis = *given;
  }
  return Shapeless{"iota", [axis, span](Elaborator& at, const ArrayType& type) -> Term {
                     const auto rank = static_cast<std::int64_t>(type.axes.size());
                     if (axis < -rank || axis >= rank)
                       return at.error(Code::bad_axis, span,
                                       fmt::format("`iota` has no axis {} in {}", axis, at.describe(type)));
                     if (type.dtype == DType::boolean)
                       return at.error(Code::type_mismatch, span, "`iota` is a number, and this is bool");
                     const Iota along{static_cast<int>(axis < 0 ? axis + rank : axis)};
                     return at.wrap(at.builder().make(Op::iota, {}, along, at.type_of(type)), type.axes);
                   }};
}

/// range(n), range(a, b): the whole numbers from 0 or a up to the one before the end; none where they are equal.
Term range_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  std::int64_t begin = 0;
  const std::size_t last = site.arguments.size() - 1;
  if (last == 1) {
    const auto given = e.whole(site.evaluate(0), site.arguments[0].span, "the start of `range`");
    if (!given) return Failed{};
    begin = *given;
  }
  const auto end = e.whole(site.evaluate(last), site.arguments[last].span, "the end of `range`");
  if (!end) return Failed{};
  if (*end < begin)
    return e.error(Code::bad_number, site.span, fmt::format("`range` counts up, and {} is before {}", *end, begin), "",
                   "an index runs from 0: `range(3)` is 0, 1, 2; `x[::-1]` goes backwards");
  if (*end - begin > 100000) return e.error(Code::bad_number, site.span, "a range of more than 100000 numbers");
  List list{{}, site.span};
  for (std::int64_t i = begin; i < *end; ++i) list.elements.push_back(Number{static_cast<double>(i)});
  return list;
}

// ---- promises
// ------------------------------------------------------------------------------------------------------------

Term repeat_primitive(CallSite& site) { return site.elaborator.repeat(site); }

/// checked(ids, n): ids, with the obligation that 0 <= ids < n, which the loader checks where ids are an input.
Term checked_primitive(CallSite& site) {
  if (!check_arguments(site, 2, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  const auto high = e.whole(site.evaluate(1), site.arguments[1].span, "the bound of `checked`");
  const auto ids = e.array(given, site.arguments[0].span, "the argument of `checked`", DType::i32);
  if (!ids || !high) return Failed{};
  e.promise_range(ids->node, *high, site.span);
  return *ids;
}

/// unbounded(z): z, which may be any number: what a model computes and can only lie between 0 and 1 is no such value.
Term unbounded_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  const Array* z = given.as<Array>();
  if (!z || z->node.builder != &e.builder()) return given;
  const std::vector<Node>& nodes = e.builder().graph().nodes;
  if (!depends_on(nodes, z->node.id, Op::param) || !is_share_of_one(nodes, z->node.id)) return given;
  const auto& frames = e.frames();
  const Origin& made = nodes[z->node.id].origin;
  Diagnostic diagnostic{
      .code = Code::not_logits,
      .message = fmt::format("`{}` of `{}` may be any number, and this one lies between 0 and 1",
                             e.source(site.arguments[0].span), frames.empty() ? site.name : frames.back().name),
      .primary = site.span,
      .help = "it is a probability already: give the logits that it is made of, or take a loss of probabilities"};
  if (made.line > 0) diagnostic.notes.push_back(fmt::format("it is made at {}:{}", made.line, made.column));
  e.report(std::move(diagnostic));
  return given;
}

/// scatter_add(x, ids, n): sums by segment.
Term scatter_add_primitive(CallSite& site) {
  if (!check_arguments(site, 3, 3)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term x = site.evaluate(0), ids = site.evaluate(1);
  const auto count = e.whole(site.evaluate(2), site.arguments[2].span, "the number of rows of `scatter_add`");
  const auto added = e.array(x, site.arguments[0].span, "what `scatter_add` adds", e.default_float());
  const auto rows = e.array(ids, site.arguments[1].span, "the ids of `scatter_add`", DType::i32);
  if (!count || !added || !rows) return Failed{};
  return e.add_rows(*added, *rows, *count, site.span, site.arguments[0].span, site.arguments[1].span);
}

/// stop_gradient(x): x, seen as a constant by every gradient.
Term stop_gradient_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  if (given.as<Number>()) return given;
  const auto x = e.array(given, site.arguments[0].span, "the argument of `stop_gradient`", e.default_float());
  if (!x) return Failed{};
  return Array{e.builder().make(Op::stop_gradient, {{x->node}}), x->axes};
}

/// solve(A, b): x with A x = b, A symmetric and positive definite, b a vector or a matrix.
Term solve_primitive(CallSite& site) {
  if (!check_arguments(site, 2, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term left = site.evaluate(0), right = site.evaluate(1);
  const auto beside = [&](const Term& other) {  // a list takes the element type of what it meets
    const Array* array = other.as<Array>();
    return array && is_float(array->node.type().dtype) ? array->node.type().dtype : e.default_float();
  };
  const auto a = e.array(left, site.arguments[0].span, "the matrix of `solve`", beside(right));
  const auto b = e.array(right, site.arguments[1].span, "the right side of `solve`", beside(left));
  if (!a || !b || !needs_floats(site, *a) || !needs_floats(site, *b)) return Failed{};
  if (a->node.type().dtype != b->node.type().dtype)
    return e.error(Code::type_mismatch, site.span,
                   fmt::format("`solve` of {} and {}", e.describe(Term(*a)), e.describe(Term(*b))), "",
                   "both have one element type");
  const auto fixed = [](const Axis& axis) { return !axis.extent.batched && !axis.stretch; };
  if (a->axes.size() != 2 || !std::ranges::all_of(a->axes, fixed) || a->axes[0].extent != a->axes[1].extent)
    return e.error(Code::shape_mismatch, site.arguments[0].span,
                   fmt::format("`solve` takes a square matrix, and this is {}", e.describe(Term(*a))), "",
                   "solve(A, b) is x with A x = b");
  if (b->axes.empty() || b->axes.size() > 2 || b->axes[0].extent != a->axes[0].extent || b->axes[0].stretch)
    return e.error(Code::shape_mismatch, site.arguments[1].span,
                   fmt::format("the matrix is {}, and the right side {}", e.describe(Term(*a)), e.describe(Term(*b))),
                   "", "the right side is a vector or a matrix with as many rows as the matrix has");
  e.builder().set_origin(e.origin(site.span));
  const Value x = e.builder().make(Op::solve, {{e.whole_node(*a), e.whole_node(*b)}});
  return e.wrap(x, b->axes);
}

// ---- gradients and weights as values
// -----------------------------------------------------------------------------------------

/// grad(e, x): the derivative of the number e by x, of the shape of x.
Term grad_primitive(CallSite& site) {
  if (!check_arguments(site, 2, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term of = site.evaluate(0), by = site.evaluate(1);
  if (of.failed() || by.failed()) return Failed{};
  const Array *y = of.as<Array>(), *x = by.as<Array>();
  if (!y || !y->axes.empty() || !is_float(y->node.type().dtype))
    return e.error(
        Code::type_mismatch, site.arguments[0].span,
        fmt::format("`grad` takes the derivative of one number computed from tensors, not of {}", e.describe(of)), "",
        y ? "such as `grad(sum(...), x)`" : "");
  if (!x || !is_float(x->node.type().dtype))
    return e.error(Code::type_mismatch, site.arguments[1].span,
                   fmt::format("`grad` takes the derivative by a floating tensor, not by {}", e.describe(by)));
  if (!e.has_name(x->node))
    return e.error(Code::type_mismatch, site.arguments[1].span,
                   fmt::format("`grad` takes the derivative by a value that has a name, and `{}` is computed here",
                               e.source(site.arguments[1].span)),
                   "", "give it a name by `let`, and compute with that name what is derived");
  e.builder().set_origin(e.origin(site.span));
  const auto derivative = e.gradient(y->node, x->node);
  if (derivative) return Array{*derivative, x->axes};
  return e.error(
      Code::bad_variable, site.span,
      fmt::format("`{}` does not depend on `{}`", e.source(site.arguments[0].span), e.source(site.arguments[1].span)));
}

/// weights(M): the parameters with two or more axes, params(M): all, of a model or an instance, once it was applied.
template <int least_rank>
Term parameters_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term of = site.evaluate(0);
  if (of.failed()) return Failed{};
  const auto path = e.path_of(of);
  if (!path)
    return e.error(Code::type_mismatch, site.arguments[0].span,
                   fmt::format("`{}` takes a model or an instance, not {}", site.name, e.describe(of)));
  List list{{}, site.span};
  for (std::size_t index : e.parameters_below(*path))
    if (e.variables()[index].type.rank() >= least_rank) list.elements.push_back(e.read_variable(index));
  if (list.elements.empty())
    return e.error(Code::bad_variable, site.span,
                   fmt::format("`{}` has no parameters yet", e.source(site.arguments[0].span)), "",
                   "its parameters are known once it is applied");
  return list;
}

struct Primitive {
  const char* name;
  Term (*call)(CallSite&);
};

constexpr Primitive primitives[] = {
    {"exp", elementwise_primitive<Op::exp, 1>},
    {"expm1", elementwise_primitive<Op::expm1, 1>},
    {"log", elementwise_primitive<Op::log, 1>},
    {"log1p", elementwise_primitive<Op::log1p, 1>},
    {"sqrt", elementwise_primitive<Op::sqrt, 1>},
    {"tanh", elementwise_primitive<Op::tanh, 1>},
    {"logistic", elementwise_primitive<Op::logistic, 1>},
    {"softplus", elementwise_primitive<Op::softplus, 1>},
    {"sin", elementwise_primitive<Op::sin, 1>},
    {"cos", elementwise_primitive<Op::cos, 1>},
    {"erf", elementwise_primitive<Op::erf, 1>},
    {"normal_cdf", elementwise_primitive<Op::normal_cdf, 1>},
    {"abs", elementwise_primitive<Op::abs, 1>},
    {"sign", elementwise_primitive<Op::sign, 1>},
    {"pow", elementwise_primitive<Op::pow, 2>},
    {"select", elementwise_primitive<Op::select, 3>},
    {"sum", sum_primitive},
    {"mean", mean_primitive},
    {"var", var_primitive},
    {"max", extreme_primitive<Op::max, false>},
    {"min", extreme_primitive<Op::min, true>},
    {"argmax", argmax_primitive},
    {"f32", f32_primitive},
    {"f64", f64_primitive},
    {"i32", i32_primitive},
    {"float", float_primitive},
    {"reshape", reshape_primitive},
    {"transpose", transpose_primitive},
    {"pad", pad_primitive},
    {"window", window_primitive},
    {"concat", concat_primitive},
    {"size", size_primitive},
    {"random", random_primitive},
    {"iota", iota_primitive},
    {"range", range_primitive},
    {"repeat", repeat_primitive},
    {"checked", checked_primitive},
    {"unbounded", unbounded_primitive},
    {"scatter_add", scatter_add_primitive},
    {"stop_gradient", stop_gradient_primitive},
    {"grad", grad_primitive},
    {"scan", [](CallSite& site) { return site.elaborator.scan(site); }},
    {"solve", solve_primitive},
    {"weights", parameters_primitive<2>},
    {"params", parameters_primitive<0>},
};

}  // namespace

/// A stream is named by the graph, the instance that the call stands in and its number there; the name is hashed by
/// FNV-1a and mixed by splitmix64's finaliser, so that near names give far keys.
Value Elaborator::random(const ArrayType& type) {
  std::string name = graph_->stream;
  const auto frame = std::find_if(frames_.rbegin(), frames_.rend(), [](const Frame& at) { return at.makes_instances; });
  if (graph_->builder != &init_ && frame != frames_.rend() && !frame->path.empty()) name += "/" + frame->path;
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (char c : fmt::format("{}#{}", name, ++graph_->streams[name]))
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  hash ^= hash >> 31;
  return random_in_loop(type_of(type), hash);
}

std::shared_ptr<const HostFunction> find_primitive(const std::string& name) {
  for (const Primitive& primitive : primitives)
    if (name == primitive.name) return std::make_shared<const HostFunction>(HostFunction{name, primitive.call});
  return nullptr;
}

bool is_shapeless_primitive(const std::string& name) { return name == "random" || name == "iota"; }

bool is_run_time_scalar(const std::string& name) {
  return name == "step" || name == "epoch" || name == "steps_per_epoch" || name == "total_steps";
}

void primitive_names(std::vector<std::string>& into) {
  for (const Primitive& primitive : primitives) into.emplace_back(primitive.name);
  for (const char* word : {"step", "epoch", "steps_per_epoch", "total_steps", "training"}) into.emplace_back(word);
}

}  // namespace nnc
