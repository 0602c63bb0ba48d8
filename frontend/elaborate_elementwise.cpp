// Elementwise operators on terms of every kind, folded where all is known.
//
// The rule of broadcasting: shapes are lined up at their last axes; scalars and missing leading axes repeat; an axis
// that stretches (`_`, keep = true) takes any length; every other difference is an error that tells both stories.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "frontend/elaborator.h"
#include "ir/evaluate.h"

namespace nnc {

namespace {

bool is_comparison(Op op) { return op == Op::equal || op == Op::less || op == Op::less_equal; }
bool is_logical(Op op) { return op == Op::logical_and || op == Op::logical_or || op == Op::logical_not; }

// ---- numbers known now ----------------------------------------------------------------------------------------------

/// Arithmetic on numbers known now. What IEEE rounds correctly is done here; the rest is what the graph would compute.
double fold_by_graph(Op op, std::span<const double> values) {
  Builder builder("fold");
  std::vector<Value> operands;
  for (double value : values) operands.push_back(builder.constant(value, DType::f64));
  builder.output(OutputKind::result, "y", builder.make(op, operands));
  return evaluate(std::move(builder).finish(), {}).at("y").at(0);
}

double whole_power(double base, std::int64_t exponent) {
  double result = 1;
  for (std::uint64_t left = static_cast<std::uint64_t>(std::abs(exponent)); left != 0; left >>= 1) {
    if (left & 1) result *= base;
    base *= base;
  }
  return exponent < 0 ? 1 / result : result;
}

Term fold(Elaborator& e, Op op, std::span<const double> values, Span span, const Provenance* from) {
  const double a = values[0], b = values.size() > 1 ? values[1] : 0;
  if (op == Op::equal) return Flag{a == b};
  if (op == Op::less) return Flag{a < b};
  if (op == Op::less_equal) return Flag{a <= b};
  double result = 0;
  if (op == Op::add) {
    result = a + b;
  } else if (op == Op::sub) {
    result = a - b;
  } else if (op == Op::mul) {
    result = a * b;
  } else if (op == Op::div) {
    if (b == 0) return e.error(Code::bad_number, span, "division by zero");
    result = a / b;
  } else if (op == Op::neg) {
    result = -a;
  } else if (op == Op::pow && b == std::floor(b) && std::abs(b) <= 1024) {
    result = whole_power(a, static_cast<std::int64_t>(b));
  } else {
    result = fold_by_graph(op, values);
  }
  if (std::isnan(result)) return e.error(Code::bad_number, span, "this has no value among the real numbers");
  const bool limit = op == Op::log && a == 0;  // minus infinity is what a mask adds to logits
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b) && !limit)
    return e.error(Code::bad_number, span, "this is larger than any number");
  return Number{result, from};
}

// ---- one operator on its operands
// ------------------------------------------------------------------------------------

/// An elementwise operator being applied: what kinds of terms it met decides what becomes of it.
class Elementwise {
 public:
  Elementwise(Elaborator& e, Op op, std::span<const Term> operands, std::span<const Span> spans, Span span,
              const std::string& shown)
      : e_(e),
        op_(op),
        given_(operands),
        terms_(operands.begin(), operands.end()),
        spans_(spans),
        span_(span),
        shown_(shown),
        first_(op == Op::select ? 1 : 0) {}

  Term apply();

 private:
  struct Kinds {
    bool array = false, shapeless = false, scalar = false, list = false;
  };
  /// The axes so far, and the operand of the highest rank among those that have them.
  struct Common {
    std::vector<Axis> axes;
    std::size_t rank = 0, widest = 0;
    bool started = false;
  };

  bool survey();
  Term of_numbers() const;
  Term when_shaped() const;
  Term of_scalars();
  Term of_tensors();
  bool lists_to_arrays();
  bool join(Common& common, std::size_t at, std::size_t rank);
  bool join_axes(std::vector<Axis>& joined, const Common& common, std::size_t at);
  Failed mismatch(const Common& common, std::size_t at, std::size_t back, std::size_t rank);
  bool same_elements(std::size_t at);
  std::optional<Value> node(std::size_t at, const std::vector<Axis>& axes);
  Term make(const std::vector<Value>& nodes, std::vector<Axis> axes);
  ValueOrError try_make(std::vector<NodeId> ids);

  bool is_condition(std::size_t at) const { return at < first_ || is_logical(op_); }
  DType elements() const { return dtype_.value_or(e_.default_float()); }
  Failed refuse(const Term& term, Span span) const {
    return e_.error(Code::type_mismatch, span, fmt::format("`{}` does not take {}", shown_, e_.describe(term)));
  }
  void label(Diagnostic& diagnostic) const {
    for (std::size_t i = 0; i < terms_.size(); ++i)
      if (terms_[i].as<Array>()) diagnostic.labels.push_back({spans_[i], e_.describe(terms_[i])});
  }

  Elaborator& e_;
  Op op_;
  std::span<const Term> given_;
  std::vector<Term> terms_;
  std::span<const Span> spans_;
  Span span_;
  const std::string& shown_;
  std::size_t first_;           ///< operands before this one are conditions
  Kinds met_{};                 ///< of the operands
  std::optional<DType> dtype_;  ///< of the tensors among them that are no conditions
};

Term Elementwise::apply() {
  if (!survey()) return Failed{};
  e_.builder().set_origin(e_.origin(span_));
  if (op_ == Op::select)
    if (const Flag* known = terms_[0].as<Flag>()) return known->value ? terms_[1] : terms_[2];
  if (!met_.array && !met_.shapeless && !met_.list && !met_.scalar) return of_numbers();
  if (!met_.array && met_.shapeless) return when_shaped();
  if (!met_.array && met_.scalar && !met_.list) return of_scalars();
  return of_tensors();
}

/// Notes what kinds of terms there are; false after a message about one that this operator does not take.
bool Elementwise::survey() {
  for (std::size_t i = 0; i < terms_.size(); ++i) {
    const Term& term = terms_[i];
    if (term.failed()) return false;
    const bool condition = is_condition(i);
    bool taken = true;
    if (const Array* known = term.as<Array>()) {
      met_.array = true;
      if (!e_.belongs_here(known->node, spans_[i])) return false;
      if (i >= first_ && !dtype_) dtype_ = known->node.type().dtype;
    } else if (term.as<Shapeless>()) {
      met_.shapeless = true;
    } else if (const Scalar* scalar = term.as<Scalar>()) {
      met_.scalar = true;
      if (!e_.belongs_here(scalar->node, spans_[i])) return false;
      taken = op_ == Op::equal || condition == (scalar->node.type().dtype == DType::boolean);
    } else if (term.as<List>()) {
      met_.list = true;
    } else if (condition) {
      taken = term.as<Flag>();
    } else if (term.as<Flag>()) {
      taken = op_ == Op::select || op_ == Op::equal;
    } else {
      taken = term.as<Number>();
    }
    if (!taken) {
      refuse(term, spans_[i]);
      return false;
    }
  }
  return true;
}

Term Elementwise::of_numbers() const {
  std::vector<double> values;
  const Provenance* from = nullptr;
  for (const Term& term : terms_) {
    const Number* number = term.as<Number>();
    if (!number) return refuse(term, span_);
    values.push_back(number->value);
    if (!from) from = number->from;
  }
  Term folded = fold(e_, op_, values, span_, from);
  if (const Number* number = folded.as<Number>()) folded = Number{number->value, from, e_.combined(shown_, terms_)};
  return folded;
}

/// A term without a shape until its place gives it one.
Term Elementwise::when_shaped() const {
  Shapeless result{e_.source(span_), {}};
  result.make = [op = op_, terms = terms_, spans = std::vector<Span>(spans_.begin(), spans_.end()), span = span_,
                 shown = shown_](Elaborator& e, const ArrayType& type) -> Term {
    std::vector<Term> made = terms;
    for (std::size_t i = 0; i < made.size(); ++i) {
      ArrayType wanted = type;
      if (is_comparison(op) || op == Op::cast) wanted.dtype = e.default_float();
      if (is_logical(op) || (op == Op::select && i == 0)) wanted.dtype = DType::boolean;
      made[i] = e.materialise(made[i], wanted);
    }
    return e.elementwise(op, made, spans, span, shown);
  };
  return result;
}

Term Elementwise::of_scalars() {
  std::vector<NodeId> ids;
  for (const Term& term : terms_) {
    const Flag* known = term.as<Flag>();
    const Scalar* scalar = term.as<Scalar>();
    const Value node = known    ? e_.builder().constant(known->value, DType::boolean)
                       : scalar ? scalar->node
                                : e_.rank0(term, DType::f64);
    ids.push_back(node.id);
  }
  const ValueOrError made = try_make(ids);
  if (const Value* node = std::get_if<Value>(&made)) return Scalar{*node};
  return e_.error(Code::type_mismatch, span_,
                  fmt::format("`{}` does not take {} here", shown_, e_.describe(terms_[first_])));
}

Term Elementwise::of_tensors() {
  if (!lists_to_arrays()) return Failed{};
  std::vector<std::size_t> ranks;  // as written: in a data block without the batch
  for (const Term& term : terms_) {
    const Array* operand = term.as<Array>();
    ranks.push_back(operand ? operand->axes.size() - static_cast<std::size_t>(e_.hidden_axes(operand->axes)) : 0);
  }
  if (e_.graph().rows) e_.align_rows(terms_);
  Common common;
  for (std::size_t i = 0; i < terms_.size(); ++i)
    if (terms_[i].as<Array>() && !join(common, i, ranks[i])) return Failed{};
  std::vector<Axis>& axes = common.axes;
  e_.separate(axes);
  if (e_.graph().rows && met_.shapeless && (axes.empty() || !axes[0].extent.batched))
    axes.insert(axes.begin(), Axis{batch_extent});  // a column beside what is the same for all rows
  if (!e_.countable(axes, span_)) return Failed{};
  std::vector<Value> nodes;
  for (std::size_t i = 0; i < terms_.size(); ++i) {
    const std::optional<Value> made = node(i, axes);
    if (!made) return Failed{};
    nodes.push_back(*made);
  }
  return make(nodes, std::move(axes));
}

/// Lists become tensors of the others' element type.
bool Elementwise::lists_to_arrays() {
  for (std::size_t i = 0; i < terms_.size(); ++i)
    if (const List* list = terms_[i].as<List>()) {
      terms_[i] = e_.list_to_array(*list, is_condition(i) ? DType::boolean : elements(), spans_[i]);
      if (terms_[i].failed()) return false;
      if (i >= first_ && !dtype_) dtype_ = terms_[i].as<Array>()->node.type().dtype;
    }
  return true;
}

/// Joins the axes of operand `at` to those so far; `rank` is its rank as written. False after a message.
bool Elementwise::join(Common& common, std::size_t at, std::size_t rank) {
  if (!same_elements(at)) return false;
  const std::vector<Axis>& other = terms_[at].as<Array>()->axes;
  if (!common.started) {
    common = {other, rank, at, true};
    return true;
  }
  std::vector<Axis> joined = other.size() > common.axes.size() ? other : common.axes;
  if (!join_axes(joined, common, at)) return false;
  e_.check_alignment({common.axes, common.rank, spans_[common.widest], given_[common.widest]},
                     {other, rank, spans_[at], given_[at]}, span_, shown_);
  common.axes = std::move(joined);
  common.rank = std::max(common.rank, rank);
  if (other.size() > terms_[common.widest].as<Array>()->axes.size()) common.widest = at;
  return true;
}

bool Elementwise::join_axes(std::vector<Axis>& joined, const Common& common, std::size_t at) {
  const std::vector<Axis>& other = terms_[at].as<Array>()->axes;
  for (std::size_t back = 1; back <= std::min(other.size(), common.axes.size()); ++back) {
    const Axis &x = common.axes[common.axes.size() - back], &y = other[other.size() - back];
    if (!x.stretch && !y.stretch && x.extent != y.extent) {
      mismatch(common, at, back, joined.size() - static_cast<std::size_t>(e_.hidden_axes(joined)));
      return false;
    }
    Axis& z = joined[joined.size() - back];
    z = x.stretch ? y : x;
    if (!z.from) z.from = x.from ? x.from : y.from;
    if (!z.id && x.stretch == y.stretch) z.id = x.id ? x.id : y.id;
  }
  return true;
}

/// The axes of operand `at` and those so far differ, `back` axes from the end.
Failed Elementwise::mismatch(const Common& common, std::size_t at, std::size_t back, std::size_t rank) {
  const std::vector<Axis>& other = terms_[at].as<Array>()->axes;
  const Axis &x = common.axes[common.axes.size() - back], &y = other[other.size() - back];
  const Term &left = terms_[common.widest], &right = terms_[at];
  const Span left_span = spans_[common.widest], right_span = spans_[at];
  const bool lined_up = left.as<Array>()->axes.size() != other.size();  // so that each counts its axes from the end
  Diagnostic diagnostic{
      .code = Code::shape_mismatch,
      .message = fmt::format("shapes do not match in `{}`", shown_),
      .primary = span_,
      .labels = {{left_span, e_.describe(left)}, {right_span, e_.describe(right)}},
      .notes = {fmt::format("axis {}{} differs: {} and {}", lined_up ? "-" : "", lined_up ? back : rank - back,
                            e_.length(x), e_.length(y)),
                fmt::format("left:  {}: {}, {}", e_.source(left_span), e_.describe(left), e_.story(x)),
                fmt::format("right: {}: {}, {}", e_.source(right_span), e_.describe(right), e_.story(y))}};
  if (lined_up && !x.extent.batched && !y.extent.batched)
    diagnostic.notes.push_back("shapes are lined up at their last axes");
  if ((x.extent == Extent{1, false}) != (y.extent == Extent{1, false}))
    diagnostic.help = "an axis of length 1 does not repeat by itself; one made by `keep = true` or `_` does";
  return e_.report(std::move(diagnostic));
}

/// Operand `at` has the others' element type; else a message.
bool Elementwise::same_elements(std::size_t at) {
  const DType own = terms_[at].as<Array>()->node.type().dtype;
  if (at < first_ || own == elements()) return true;
  const DType wanted = elements() == DType::boolean ? own : elements();
  Diagnostic diagnostic{
      .code = Code::type_mismatch,
      .message = fmt::format("element types differ in `{}`: {} and {}", shown_, name_of(elements()), name_of(own)),
      .primary = span_,
      .help = fmt::format("no element type is converted by itself: write `{}(...)` around one side", name_of(wanted))};
  label(diagnostic);
  e_.report(std::move(diagnostic));
  return false;
}

/// The node of operand `at` among tensors of these axes.
std::optional<Value> Elementwise::node(std::size_t at, const std::vector<Axis>& axes) {
  Term& term = terms_[at];
  if (term.as<Shapeless>()) {
    term = e_.materialise(term, ArrayType{is_condition(at) ? DType::boolean : elements(), axes});
    if (term.failed()) return std::nullopt;
    e_.builder().set_origin(e_.origin(span_));
  }
  if (const Array* operand = term.as<Array>()) return align(*operand, axes, false);
  if (const Flag* known = term.as<Flag>()) return e_.builder().constant(known->value, DType::boolean);
  if (const Scalar* scalar = term.as<Scalar>(); scalar && scalar->node.type().dtype == DType::boolean)
    return scalar->node;
  const Number* number = term.as<Number>();
  if (number && elements() == DType::i32 && !fits_i32(number->value)) {
    e_.error(Code::type_mismatch, spans_[at], fmt::format("{} is no i32", number->value));
    return std::nullopt;
  }
  if (elements() == DType::boolean) {
    e_.error(Code::type_mismatch, spans_[at], fmt::format("`{}` does not take a number beside truth values", shown_));
    return std::nullopt;
  }
  return e_.rank0(term, elements());
}

/// Truth values are equal where the numbers are that stand for them: the graph compares numbers.
ValueOrError Elementwise::try_make(std::vector<NodeId> ids) {
  Builder& builder = e_.builder();
  const auto is_truth = [&](NodeId id) { return builder[id].type.dtype == DType::boolean; };
  if (op_ == Op::equal && std::ranges::all_of(ids, is_truth))
    for (NodeId& id : ids) id = builder.cast({&builder, id}, DType::i32).id;
  return builder.try_make(op_, ids);
}

Term Elementwise::make(const std::vector<Value>& nodes, std::vector<Axis> axes) {
  std::vector<NodeId> ids;
  for (const Value& node : nodes) ids.push_back(node.id);
  const ValueOrError made = try_make(ids);
  // Rank-0 operands alone (a tensor of rank 0 beside one that stretches everywhere) keep the axes as they are.
  if (const Value* node = std::get_if<Value>(&made)) return Array{*node, std::move(axes)};
  Diagnostic diagnostic{.code = Code::type_mismatch,
                        .message = fmt::format("`{}` does not take {}", shown_, e_.describe(terms_[first_])),
                        .primary = span_};
  label(diagnostic);
  return e_.report(std::move(diagnostic));
}

}  // namespace

Term Elaborator::elementwise(Op op, std::span<const Term> operands, std::span<const Span> spans, Span span,
                             const std::string& shown) {
  return Elementwise(*this, op, operands, spans, span, shown).apply();
}

}  // namespace nnc
