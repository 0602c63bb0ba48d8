// Operators on tensors: elementwise ones, folded where all is known, and products of matrices.
//
// The rule of broadcasting: shapes are lined up at their last axes; scalars and missing leading axes repeat; an axis
// that stretches (`_`, keep = true) takes any length; every other difference is an error that tells both stories.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "frontend/elaborator.h"
#include "ir/evaluate.h"

namespace nnc {

namespace {

bool is_comparison(Op op) { return op == Op::equal || op == Op::less || op == Op::less_equal; }
bool is_logical(Op op) { return op == Op::logical_and || op == Op::logical_or || op == Op::logical_not; }

}  // namespace

// ---- elementwise ---------------------------------------------------------------------------------------------------

namespace {

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

}  // namespace

Term Elaborator::fold(Op op, std::span<const double> values, Span span, const Provenance* from) {
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
    if (b == 0) return error(Code::bad_number, span, "division by zero");
    result = a / b;
  } else if (op == Op::neg) {
    result = -a;
  } else if (op == Op::pow && b == std::floor(b) && std::abs(b) <= 1024) {
    result = whole_power(a, static_cast<std::int64_t>(b));
  } else {
    result = fold_by_graph(op, values);
  }
  if (std::isnan(result)) return error(Code::bad_number, span, "this has no value among the real numbers");
  const bool limit = op == Op::log && a == 0;  // minus infinity is what a mask adds to logits
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b) && !limit)
    return error(Code::bad_number, span, "this is larger than any number");
  return Number{result, from};
}

Term Elaborator::elementwise(Op op, std::span<const Term> operands, std::span<const Span> spans, Span span,
                             const std::string& shown) {
  const std::size_t count = operands.size();
  std::vector<Term> terms(operands.begin(), operands.end());
  bool any_array = false, any_shapeless = false, any_scalar = false, any_list = false;
  std::optional<DType> dtype;
  const std::size_t first = op == Op::select ? 1 : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Term& term = terms[i];
    if (term.failed()) return Failed{};
    const bool condition = i < first || is_logical(op);
    if (const Array* known = term.as<Array>()) {
      any_array = true;
      if (!belongs_here(known->node, spans[i])) return Failed{};
      if (i >= first && !dtype) dtype = known->node.type().dtype;
    } else if (term.as<Shapeless>()) {
      any_shapeless = true;
    } else if (const Scalar* scalar = term.as<Scalar>()) {
      any_scalar = true;
      if (!belongs_here(scalar->node, spans[i])) return Failed{};
      if (condition != (scalar->node.type().dtype == DType::boolean))
        return error(Code::type_mismatch, spans[i], fmt::format("`{}` does not take {}", shown, describe(term)));
    } else if (term.as<List>()) {
      any_list = true;
    } else if (condition ? !term.as<Flag>() : !(term.as<Number>() || term.as<Flag>())) {
      return error(Code::type_mismatch, spans[i], fmt::format("`{}` does not take {}", shown, describe(term)));
    } else if (term.as<Flag>() && !condition && op != Op::select && op != Op::equal) {
      return error(Code::type_mismatch, spans[i], fmt::format("`{}` does not take {}", shown, describe(term)));
    }
  }
  builder().set_origin(origin(span));

  if (op == Op::select)
    if (const Flag* known = terms[0].as<Flag>()) return known->value ? terms[1] : terms[2];

  if (!any_array && !any_shapeless && !any_list && !any_scalar) {
    std::vector<double> values;
    const Provenance* from = nullptr;
    for (const Term& term : terms) {
      const Number* number = term.as<Number>();
      if (!number) return error(Code::type_mismatch, span, fmt::format("`{}` does not take {}", shown, describe(term)));
      values.push_back(number->value);
      if (!from) from = number->from;
    }
    Term folded = fold(op, values, span, from);
    if (const Number* number = folded.as<Number>()) folded = Number{number->value, from, combined(shown, terms)};
    return folded;
  }
  if (!any_array && any_shapeless) {
    Shapeless result{source(span), {}};
    std::vector<Span> places(spans.begin(), spans.end());
    result.make = [=](Elaborator& e, const ArrayType& type) -> Term {
      std::vector<Term> made = terms;
      for (std::size_t i = 0; i < made.size(); ++i) {
        ArrayType wanted = type;
        if (is_comparison(op) || op == Op::cast) wanted.dtype = e.default_float();
        if (is_logical(op) || (op == Op::select && i == 0)) wanted.dtype = DType::boolean;
        made[i] = e.materialise(made[i], wanted);
      }
      return e.elementwise(op, made, places, span, shown);
    };
    return result;
  }
  if (!any_array && any_scalar && !any_list) {
    std::vector<Value> nodes;
    for (std::size_t i = 0; i < count; ++i) {
      if (const Flag* known = terms[i].as<Flag>())
        nodes.push_back(builder().constant(known->value, DType::boolean));
      else
        nodes.push_back(terms[i].as<Scalar>() ? terms[i].as<Scalar>()->node : rank0(terms[i], DType::f64));
    }
    std::vector<NodeId> ids;
    for (const Value& node : nodes) ids.push_back(node.id);
    const ValueOrError made = builder().try_make(op, ids);
    if (const Value* node = std::get_if<Value>(&made)) return Scalar{*node};
    return error(Code::type_mismatch, span, fmt::format("`{}` does not take {} here", shown, describe(terms[first])));
  }

  // With tensors. Lists first become tensors of the others' element type.
  for (std::size_t i = 0; i < count; ++i)
    if (const List* list = terms[i].as<List>()) {
      terms[i] = list_to_array(*list, is_logical(op) || i < first ? DType::boolean : dtype.value_or(default_float()),
                               spans[i]);
      if (terms[i].failed()) return Failed{};
      if (i >= first && !dtype) dtype = terms[i].as<Array>()->node.type().dtype;
    }
  std::vector<std::size_t> ranks;  // as written: in a data block without the batch
  for (const Term& term : terms) {
    const Array* operand = term.as<Array>();
    ranks.push_back(operand ? operand->axes.size() - static_cast<std::size_t>(hidden_axes(operand->axes)) : 0);
  }
  const DType elements = dtype.value_or(default_float());
  if (graph_->rows) align_rows(terms);
  std::vector<Axis> common;
  std::size_t widest = 0, common_rank = 0;
  bool started = false;
  for (std::size_t i = 0; i < count; ++i) {
    const Array* operand = terms[i].as<Array>();
    if (!operand) continue;
    if (i >= first && operand->node.type().dtype != elements) {
      Diagnostic diagnostic{
          .code = Code::type_mismatch,
          .message = fmt::format("element types differ in `{}`: {} and {}", shown, name_of(elements),
                                 name_of(operand->node.type().dtype)),
          .primary = span,
          .help = fmt::format("no element type is converted by itself: write `{}(...)` around one side",
                              name_of(elements))};
      for (std::size_t k = 0; k < count; ++k)
        if (terms[k].as<Array>()) diagnostic.labels.push_back({spans[k], describe(terms[k])});
      return report(std::move(diagnostic));
    }
    if (!started) {
      common = operand->axes;
      common_rank = ranks[i];
      widest = i;
      started = true;
      continue;
    }
    const std::vector<Axis>& other = operand->axes;
    std::vector<Axis> joined = other.size() > common.size() ? other : common;
    for (std::size_t back = 1; back <= std::min(other.size(), common.size()); ++back) {
      const Axis &x = common[common.size() - back], &y = other[other.size() - back];
      Axis& z = joined[joined.size() - back];
      z = x.stretch ? y : x;
      if (x.stretch || y.stretch || x.extent == y.extent) {
        if (!z.from) z.from = x.from ? x.from : y.from;
        if (!z.id && x.stretch == y.stretch) z.id = x.id ? x.id : y.id;
        continue;
      }
      const std::size_t rank = joined.size() - static_cast<std::size_t>(hidden_axes(joined));
      Diagnostic diagnostic{
          .code = Code::shape_mismatch, .message = fmt::format("shapes do not match in `{}`", shown), .primary = span};
      const Array* left = terms[widest].as<Array>();
      diagnostic.labels = {{spans[widest], describe(terms[widest])}, {spans[i], describe(terms[i])}};
      const bool lined_up = left->axes.size() != other.size();  // so that each counts its axes from the end
      diagnostic.notes = {fmt::format("axis {}{} differs: {} and {}", lined_up ? "-" : "",
                                      lined_up ? back : rank - back, length(x), length(y)),
                          fmt::format("left:  {}: {}, {}", source(spans[widest]), describe(terms[widest]), story(x)),
                          fmt::format("right: {}: {}, {}", source(spans[i]), describe(terms[i]), story(y))};
      if (left->axes.size() != other.size() && !x.extent.batched && !y.extent.batched)
        diagnostic.notes.push_back("shapes are lined up at their last axes");
      if ((x.extent == Extent{1, false}) != (y.extent == Extent{1, false}))
        diagnostic.help = "an axis of length 1 does not repeat by itself; one made by `keep = true` or `_` does";
      return report(std::move(diagnostic));
    }
    check_alignment({common, common_rank, spans[widest], operands[widest]}, {other, ranks[i], spans[i], operands[i]},
                    span, shown);
    common = std::move(joined);
    common_rank = std::max(common_rank, ranks[i]);
    if (other.size() > terms[widest].as<Array>()->axes.size()) widest = i;
  }
  separate(common);
  if (graph_->rows && any_shapeless && (common.empty() || !common[0].extent.batched))
    common.insert(common.begin(), Axis{batch_extent});  // a column beside what is the same for all rows
  if (!countable(common, span)) return Failed{};
  std::vector<Value> nodes;
  for (std::size_t i = 0; i < count; ++i) {
    if (terms[i].as<Shapeless>()) {
      terms[i] = materialise(terms[i], ArrayType{is_logical(op) || i < first ? DType::boolean : elements, common});
      if (terms[i].failed()) return Failed{};
      builder().set_origin(origin(span));
    }
    if (const Array* operand = terms[i].as<Array>()) {
      nodes.push_back(align(*operand, common, false));
    } else if (const Flag* known = terms[i].as<Flag>()) {
      nodes.push_back(builder().constant(known->value, DType::boolean));
    } else if (const Scalar* scalar = terms[i].as<Scalar>(); scalar && scalar->node.type().dtype == DType::boolean) {
      nodes.push_back(scalar->node);
    } else {
      if (const Number* number = terms[i].as<Number>(); number && elements == DType::i32 && !fits_i32(number->value))
        return error(Code::type_mismatch, spans[i], fmt::format("{} is no i32", number->value));
      if (elements == DType::boolean)
        return error(Code::type_mismatch, spans[i],
                     fmt::format("`{}` does not take a number beside truth values", shown));
      nodes.push_back(rank0(terms[i], elements));
    }
  }
  // Rank-0 operands alone (a tensor of rank 0 beside one that stretches everywhere) keep the axes as they are.
  std::vector<NodeId> ids;
  for (const Value& node : nodes) ids.push_back(node.id);
  const ValueOrError made = builder().try_make(op, ids);
  if (const Value* node = std::get_if<Value>(&made)) return Array{*node, common};
  Diagnostic diagnostic{.code = Code::type_mismatch,
                        .message = fmt::format("`{}` does not take {}", shown, describe(terms[first])),
                        .primary = span};
  for (std::size_t k = 0; k < count; ++k)
    if (terms[k].as<Array>()) diagnostic.labels.push_back({spans[k], describe(terms[k])});
  return report(std::move(diagnostic));
}

// ---- products ------------------------------------------------------------------------------------------------------

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
