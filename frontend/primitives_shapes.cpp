// Words about shapes: views of a whole, parts of an axis, and how many elements there are.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "frontend/primitive_words.h"

namespace nnc::primitives {

namespace {

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

// ---- parts of an axis ----------------------------------------------------------------------------------------------

/// The axis that the argument `axis` names (the last one without it), which is not the batch.
std::optional<int> chosen_axis(CallSite& site, std::size_t position, const Array& x, std::string_view does) {
  Elaborator& e = site.elaborator;
  const int hidden = e.hidden_axes(x.axes), rank = static_cast<int>(x.axes.size()) - hidden;
  const auto at = given(site, position, "axis");
  const Span span = at ? site.arguments[*at].span : site.span;
  const auto axis = at ? e.whole(site.evaluate(*at), span, "an axis") : std::optional<std::int64_t>(-1);
  if (!axis) return std::nullopt;
  if (*axis < -rank || *axis >= rank) {
    e.error(Code::bad_axis, span, fmt::format("axis {} of {}, which has {}", *axis, e.describe(Term(x)), rank), "",
            "axes are counted from 0, or from the end: -1 is the last");
    return std::nullopt;
  }
  const int chosen = static_cast<int>(*axis < 0 ? *axis + rank : *axis) + hidden;
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
  const auto has_rows = [&](const Array& piece) { return e.hidden_axes(piece.axes) == 1; };
  if (std::ranges::any_of(pieces, has_rows))
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
      Diagnostic diagnostic{.code = Code::shape_mismatch,
                            .message = fmt::format("`concat` along axis {} joins tensors that differ in axis {}",
                                                   along - e.hidden_axes(axes), axis - e.hidden_axes(axes)),
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

}  // namespace

/// reshape(x, [dims]): `...` may stand first for the axes of this signature; one dimension may be left out as -1.
Term reshape(CallSite& site) {
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

/// transpose(x) swaps the last two axes, transpose(x, [1, 0, 2]) orders them, transpose(x, [..., -2, -3, -1]) the last
/// ones: `...` are the axes that are not listed.
Term transpose(CallSite& site) {
  if (!check_arguments(site, 1, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const auto x = e.array(site.evaluate(0), site.arguments[0].span, "the argument of `transpose`", e.default_float());
  if (!x) return Failed{};
  const int hidden = e.hidden_axes(x->axes), rank = static_cast<int>(x->axes.size()) - hidden;
  std::vector<int> order(static_cast<std::size_t>(rank));  // of the axes that the text sees
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
  for (int& axis : order) axis += hidden;
  if (hidden) order.insert(order.begin(), 0);
  e.builder().set_origin(e.origin(site.span));
  Array result{e.builder().transpose(e.whole_node(*x), order), {}};
  std::vector<Axis> axes;
  for (int axis : order) axes.push_back(x->axes[axis]);
  return e.wrap(result.node, std::move(axes));
}

/// pad(x, before, after, axis = -1): zeros before and behind along one axis.
Term pad(CallSite& site) {
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
Term window(CallSite& site) {
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

/// concat([a, b], axis = -1): tensors one after the other along an axis.
Term concat(CallSite& site) {
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
Term size(CallSite& site) {
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
  if (e.hidden_axes(axes)) axes.erase(axes.begin());
  Shape shape;
  for (const Axis& axis : axes) shape.push_back(axis.extent);
  const Extent count = element_count(shape);
  if (!count.batched) return Number{static_cast<double>(count.count)};
  if (&e.builder() == &e.init())
    return e.error(Code::not_compile_time, site.span, "an initial value cannot depend on the size of the batch");
  return Scalar{e.builder().size(count, DType::f64)};
}

}  // namespace nnc::primitives
