// Indices: x[i, a:b:s, ..., _] with Python's meaning on axes of fixed length, rows of a table by their numbers,
// elements of lists; and lists of tensors as tensors, which stack them along a new first axis.
//
// A bound beyond its axis is an error, where Python would quietly take less. The batch is passed whole: which rows
// there are is known only when a program runs.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborator.h"

namespace nnc {

namespace {

bool is_name_of_axes(const ast::Expr& index) {
  return std::holds_alternative<ast::Ellipsis>(index.form) || std::holds_alternative<ast::NewAxis>(index.form);
}

Shape extents_of(const std::vector<Axis>& axes) {
  Shape shape;
  for (const Axis& axis : axes)
    if (!axis.stretch) shape.push_back(axis.extent);
  return shape;
}

/// An index in text: what it does to each axis of `x`, collected until the node is made.
class Indexing {
 public:
  Indexing(Elaborator& elaborator, Scope& scope, const ast::Expr& expr, const Array& x)
      : e_(elaborator), scope_(scope), expr_(expr), x_(x) {}

  Term apply(const std::vector<ast::ExprPtr>& indices) {
    const std::size_t hidden = this->hidden();
    const auto taken = static_cast<std::size_t>(
        std::ranges::count_if(indices, [](const ast::ExprPtr& index) { return !is_name_of_axes(*index); }));
    if (taken + hidden > x_.axes.size())
      return e_.error(Code::bad_axis, expr_.span,
                      fmt::format("{} indices for {}, which has {} ax{}", taken, e_.describe(Term(x_)),
                                  x_.axes.size() - hidden, x_.axes.size() - hidden == 1 ? "is" : "es"));
    for (std::size_t i = 0; i < hidden; ++i) pass();
    bool seen = false;
    for (const ast::ExprPtr& index : indices) {
      if (std::holds_alternative<ast::NewAxis>(index->form)) {
        result_.push_back(Axis{Extent{1, false}, true, nullptr});
      } else if (std::holds_alternative<ast::Ellipsis>(index->form)) {
        if (std::exchange(seen, true))
          return e_.error(Code::type_mismatch, index->span, "`...` can stand once in an index");
        for (std::size_t rest = x_.axes.size() - hidden - taken; rest > 0; --rest) pass();
      } else if (const auto* slice = std::get_if<ast::Slice>(&index->form)) {
        if (!take(*index, *slice)) return Failed{};
      } else if (!take_one(*index)) {
        return Failed{};
      }
    }
    while (axis_ < x_.axes.size()) pass();
    return make();
  }

 private:
  std::size_t hidden() const { return static_cast<std::size_t>(e_.hidden_axes(x_.axes)); }

  void pass() {
    const AxisId* id = x_.axes[axis_].id;
    keep(x_.axes[axis_].extent, 0, 1, x_.axes[axis_].from);
    result_.back().id = id;
  }

  /// The next axis of x from `start` in steps, as an axis of the result.
  void keep(Extent extent, std::int64_t start, std::int64_t step, const Provenance* from) {
    const Axis& axis = x_.axes[axis_++];
    result_.push_back(Axis{extent, axis.stretch, from});
    if (!axis.stretch) part(extent, start, step, axis.extent);
  }
  void part(Extent extent, std::int64_t start, std::int64_t step, Extent whole) {
    starts_.push_back(start);
    steps_.push_back(step);
    extents_.push_back(extent);
    cuts_ = cuts_ || extent != whole || step != 1;
  }

  /// The length of the next axis where it can be cut; an error for the batch.
  std::optional<std::int64_t> length(Span span) {
    const Axis& axis = x_.axes[axis_];
    if (!axis.extent.batched) return axis.extent.count;
    e_.error(Code::not_compile_time, span,
             fmt::format("axis {} of {} is as long as the batch and cannot be cut", axis_, e_.describe(Term(x_))), "",
             "`:` passes it whole");
    return std::nullopt;
  }

  std::optional<std::int64_t> bound(const ast::ExprPtr& written, std::int64_t least, std::int64_t most,
                                    std::int64_t count) {
    const auto given = e_.whole(e_.evaluate(*written, scope_), written->span, "a bound of a slice");
    if (!given) return std::nullopt;
    const std::int64_t at = *given < 0 ? *given + count : *given;
    if (at >= least && at <= most) return at;
    beyond(written->span, *given, count);
    return std::nullopt;
  }

  void beyond(Span span, std::int64_t given, std::int64_t count) {
    Diagnostic diagnostic{.code = Code::bad_axis,
                          .message = fmt::format("{} is beyond axis {} of {}, which has {} element{}", given,
                                                 axis_ - hidden(), e_.describe(Term(x_)), count, count == 1 ? "" : "s"),
                          .primary = span};
    if (x_.axes[axis_].from) diagnostic.notes.push_back(e_.story(x_.axes[axis_]));
    e_.report(std::move(diagnostic));
  }

  bool take(const ast::Expr& index, const ast::Slice& slice) {
    if (!slice.begin && !slice.end && !slice.step) return pass(), true;
    const auto count = length(index.span);
    if (!count) return false;
    std::int64_t step = 1;
    if (slice.step) {
      const auto given = e_.whole(e_.evaluate(*slice.step, scope_), slice.step->span, "the step of a slice");
      if (!given) return false;
      if (*given == 0) return e_.error(Code::bad_number, slice.step->span, "the step of a slice cannot be 0"), false;
      step = *given;
    }
    const bool up = step > 0;
    std::optional<std::int64_t> begin = up ? 0 : *count - 1, end = up ? *count : -1;
    if (slice.begin) begin = bound(slice.begin, 0, up ? *count : *count - 1, *count);
    if (slice.end) end = bound(slice.end, 0, up ? *count : *count - 1, *count);
    if (!begin || !end) return false;
    const std::int64_t reach = up ? *end - *begin : *begin - *end, stride = up ? step : -step;
    if (reach <= 0) {
      e_.error(Code::bad_number, index.span, "this slice has no elements", "", "an axis has at least one element");
      return false;
    }
    const Extent extent{(reach + stride - 1) / stride, false};
    keep(extent, *begin, step, e_.because("", e_.source(expr_.span), expr_.span, x_.axes[axis_].from));
    return true;
  }

  bool take_one(const ast::Expr& index) {
    const Term term = e_.evaluate(index, scope_);
    if (term.failed()) return false;
    if (term.as<Array>() || term.as<List>())
      return e_.error(Code::type_mismatch, index.span, "rows by their numbers are the only index that there is", "",
                      "write `table[ids]`, and cut the result"),
             false;
    const auto given = e_.whole(term, index.span, "an index");
    const auto count = given ? length(index.span) : std::nullopt;
    if (!count) return false;
    const std::int64_t at = *given < 0 ? *given + *count : *given;
    if (at < 0 || at >= *count) return beyond(index.span, *given, *count), false;
    const Axis& axis = x_.axes[axis_++];
    if (!axis.stretch) part(Extent{1, false}, at, 1, axis.extent);
    return true;
  }

  Term make() {
    e_.builder().set_origin(e_.origin(expr_.span));
    Value node = x_.node;
    if (cuts_) node = e_.builder().slice(node, starts_, steps_, extents_);
    return Array{e_.builder().reshape(node, extents_of(result_)), result_};
  }

  Elaborator& e_;
  Scope& scope_;
  const ast::Expr& expr_;
  const Array& x_;
  std::size_t axis_ = 0;                      ///< of x: the next one
  std::vector<Axis> result_;                  ///< so far
  std::vector<std::int64_t> starts_, steps_;  ///< of the node's axes
  Shape extents_;
  bool cuts_ = false;
};

Term element(Elaborator& e, const List& list, const Term& at, Span span) {
  const auto index = e.whole(at, span, "the index of a list");
  if (!index) return Failed{};
  const auto count = static_cast<std::int64_t>(list.elements.size());
  if (*index < -count || *index >= count)
    return e.error(Code::bad_axis, span, fmt::format("{} is outside a list of {}", *index, count));
  return list.elements[static_cast<std::size_t>(*index < 0 ? *index + count : *index)];
}

}  // namespace

Term Elaborator::evaluate_index(const ast::Expr& expr, const ast::Index& form, Scope& scope) {
  Term base = evaluate(*form.base, scope);
  if (base.failed()) return Failed{};
  const bool one = form.indices.size() == 1 && !is_name_of_axes(*form.indices[0]) &&
                   !std::holds_alternative<ast::Slice>(form.indices[0]->form);
  const Term index = one ? evaluate(*form.indices[0], scope) : Term(Failed{});
  if (one && index.failed()) return Failed{};
  const bool numbers = index.as<Array>() || index.as<List>();
  if (const List* list = base.as<List>()) {
    if (one && !numbers) return element(*this, *list, index, form.indices[0]->span);
    base = list_to_array(*list, default_float(), form.base->span);
    if (base.failed()) return Failed{};
  }
  const Array* array = base.as<Array>();
  if (!array)
    return error(Code::type_mismatch, form.base->span, fmt::format("{} has no axes", describe(base)), "",
                 base.as<Shapeless>() ? "give it a shape: `let a: f32[2, 3] = ...`"
                 : base.as<Callee>() ? fmt::format("arguments stand in parentheses: `{}(...)`", source(form.base->span))
                                     : "");
  if (!belongs_here(array->node, form.base->span)) return Failed{};
  if (numbers) {
    const auto ids = this->array(index, form.indices[0]->span, "an index", DType::i32);
    return ids ? rows_by_index(*array, *ids, expr.span, form.indices[0]->span) : Term(Failed{});
  }
  return Indexing(*this, scope, expr, *array).apply(form.indices);
}

// ---- lists of tensors ----------------------------------------------------------------------------------------------

bool Elaborator::holds_tensors(const List& list) {
  return std::ranges::any_of(list.elements, [](const Term& element) {
    const List* inner = element.as<List>();
    return element.as<Array>() || element.as<Scalar>() || (inner && holds_tensors(*inner));
  });
}

/// Tensors of one shape behind each other, along a new first axis.
Term Elaborator::stack(const List& list, DType dtype, Span span) {
  std::vector<Array> parts;
  for (const Term& element : list.elements) {
    const auto part =
        array(element, list.span, "an element of this list", parts.empty() ? dtype : parts[0].node.type().dtype);
    if (!part || !belongs_here(part->node, list.span)) return Failed{};
    parts.push_back(*part);
  }
  if (std::ranges::any_of(parts, [this](const Array& part) { return hidden_axes(part.axes) == 1; }))
    for (Array& part : parts)  // in a data block, where the batch stays in front, what is one for all rows repeats
      if (!hidden_axes(part.axes)) {
        std::vector<Axis> axes = part.axes;
        axes.insert(axes.begin(), Axis{batch_extent});
        part = {align({part.node, part.axes}, axes, true), std::move(axes)};
      }
  const Array& first = parts.front();
  const int at = hidden_axes(first.axes);
  for (const Array& part : parts) {
    const bool same =
        part.node.type().dtype == first.node.type().dtype &&
        std::ranges::equal(part.axes, first.axes, [](const Axis& a, const Axis& b) { return a.extent == b.extent; });
    if (same) continue;
    return error(Code::shape_mismatch, list.span,
                 fmt::format("a list that is a tensor has elements of one type, and these are {} and {}",
                             describe(Term(first)), describe(Term(part))),
                 "", "`concat([a, b])` joins along an axis; `for v in [a, b]` takes one after the other");
  }
  std::vector<Axis> axes = first.axes;
  axes.insert(axes.begin() + at, Axis{{static_cast<std::int64_t>(parts.size()), false}, false, nullptr});
  for (Axis& axis : axes) axis.stretch = false;
  if (!countable(axes, span)) return Failed{};
  builder().set_origin(origin(span));
  std::vector<Value> pieces;
  for (const Array& part : parts) {
    Shape shape;
    for (const Axis& axis : part.axes) shape.push_back(axis.extent);
    shape.insert(shape.begin() + at, Extent{1, false});
    pieces.push_back(builder().reshape(part.node, shape));
  }
  return Array{builder().concat(pieces, at), std::move(axes)};
}

// ---- repeat --------------------------------------------------------------------------------------------------------

/// repeat(n, Block()): n instances, applied one after the other. They are named as if each had been written out.
Term Elaborator::repeat(CallSite& site) {
  if (site.arguments.size() != 2 || site.arguments[0].name || site.arguments[1].name || !site.arguments[1].expr)
    return error(Code::missing_argument, site.span, "`repeat` takes a number and what is repeated", "",
                 "such as `x |> repeat(3, Block())`");
  const auto count = whole(site.evaluate(0), site.arguments[0].span, "the number of repetitions");
  if (!count) return Failed{};
  constexpr std::int64_t most = 100'000;
  if (*count < 1 || *count > most)
    return error(Code::bad_number, site.arguments[0].span, fmt::format("{} repetitions; 1 to {} can be", *count, most));
  std::vector<Term> parts;
  for (std::int64_t i = 0; i < *count; ++i) {
    parts.push_back(site.evaluate(1));
    if (parts.back().failed()) return Failed{};
    if (is_layer(parts.back()))
      return error(Code::type_mismatch, site.arguments[1].span,
                   fmt::format("`{}` is a layer, not an instance of one", source(site.arguments[1].span)), "",
                   fmt::format("write `{}`", with_settings(parts.back(), source(site.arguments[1].span))));
  }
  return std::make_shared<const HostFunction>(HostFunction{
      source(site.span), [parts](CallSite& at) -> Term {
        if (at.arguments.empty())
          return at.elaborator.error(Code::missing_argument, at.span, "what is repeated needs a value to begin with");
        for (std::size_t i = 0; i < at.arguments.size(); ++i)
          at.arguments[i].value = std::make_shared<Term>(at.evaluate(i));
        Term term = *at.arguments[0].value;
        for (const Term& part : parts) {
          if (term.failed()) return Failed{};
          CallSite inner{at.elaborator, at.scope, at.name, at.span, at.callee_span, at.arguments};
          inner.arguments[0].value = std::make_shared<Term>(std::move(term));
          term = at.elaborator.call(part, inner);
        }
        return term;
      }});
}

/// What makes something to apply when it is called, so that in `x |> Dense(4)` the call comes before the pipe.
bool Elaborator::makes_applicable(const Term& callee) {
  const auto* host = callee.as<std::shared_ptr<const HostFunction>>();
  return is_layer(callee) || (host && (*host)->name == "repeat");
}

}  // namespace nnc
