// What expressions mean for shapes: declared types, broadcasting, products, and how a value takes the type of its
// place.
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

Shape node_shape(const std::vector<Axis>& axes) {
  Shape shape;
  for (const Axis& axis : axes)
    if (!axis.stretch) shape.push_back(axis.extent);
  return shape;
}

Shape whole_shape(const std::vector<Axis>& axes) {
  Shape shape;
  for (const Axis& axis : axes) shape.push_back(axis.extent);
  return shape;
}

bool same_extents(const std::vector<Axis>& a, const std::vector<Axis>& b) {
  return std::ranges::equal(a, b, [](const Axis& x, const Axis& y) { return x.extent == y.extent; });
}

/// The array's node with an axis for each of `to` that does not stretch; rank 0 stays, since every op spreads it.
Value align(const Array& array, const std::vector<Axis>& to, bool spread_numbers) {
  const Value node = array.node;
  if (array.axes.empty() && !spread_numbers) return node;
  const std::size_t missing = to.size() - array.axes.size();
  std::vector<int> axes;
  int position = 0;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (to[i].stretch) continue;
    if (i >= missing && !array.axes[i - missing].stretch) axes.push_back(position);
    ++position;
  }
  if (node.type().rank() == 0 && !spread_numbers) return node;
  return node.builder->broadcast(node, axes, node_shape(to));
}

bool is_comparison(Op op) { return op == Op::equal || op == Op::less || op == Op::less_equal; }
bool is_logical(Op op) { return op == Op::logical_and || op == Op::logical_or || op == Op::logical_not; }

bool fits_i32(double value) { return value == std::floor(value) && value >= -2147483648.0 && value <= 2147483647.0; }

std::string_view dtype_word(DType dtype) { return name_of(dtype); }

}  // namespace

// ---- types -------------------------------------------------------------------------------------------------------

Value Elaborator::whole_node(const Array& array) {
  return array.node.builder->reshape(array.node, whole_shape(array.axes));
}

Array Elaborator::wrap(Value node) {
  std::vector<Axis> axes;
  for (const Extent& extent : node.type().shape) axes.push_back({extent});
  return {node, std::move(axes)};
}

/// `node` has all of `axes`; those that stretch are taken out of it.
Array Elaborator::wrap(Value node, std::vector<Axis> axes) {
  return {node.builder->reshape(node, node_shape(axes)), std::move(axes)};
}

Type Elaborator::type_of(const ArrayType& type) const { return {type.dtype, whole_shape(type.axes)}; }

std::optional<Axis> Elaborator::dimension(const ast::Expr& expr, Scope& scope) {
  const auto length_of = [&](const ast::Expr& at) -> const Length* {
    const auto* name = std::get_if<ast::NameUse>(&at.form);
    const Term* bound = name ? scope.find(name->name) : nullptr;
    return bound ? bound->as<Length>() : nullptr;
  };
  if (const Length* length = length_of(expr)) return length->axis;
  if (const auto* product = std::get_if<ast::Binary>(&expr.form);
      product && product->op == ast::BinaryOp::multiply &&
      (length_of(*product->left) || length_of(*product->right) ||
       std::holds_alternative<ast::Binary>(product->left->form))) {
    const auto batched = [&](const ast::Expr& at) { return length_of(at) && length_of(at)->axis.extent.batched; };
    if (batched(*product->left) || batched(*product->right)) {
      const auto a = dimension(*product->left, scope), b = dimension(*product->right, scope);
      if (!a || !b) return std::nullopt;
      if (a->extent.batched && b->extent.batched) {
        error(Code::shape_mismatch, expr.span, "a dimension can hold the batch only once");
        return std::nullopt;
      }
      return Axis{{a->extent.count * b->extent.count, true}, false, a->from ? a->from : b->from};
    }
  }
  const Term term = evaluate(expr, scope);
  if (term.failed()) return std::nullopt;
  const Number* number = term.as<Number>();
  if (!number) {
    error(Code::not_compile_time, expr.span, fmt::format("a dimension is a whole number, not {}", describe(term)));
    return std::nullopt;
  }
  const bool is_whole = number->value == std::floor(number->value);
  if (!is_whole || number->value < 1 || number->value > 9e15) {
    Diagnostic diagnostic{
        .code = is_whole ? Code::bad_number : Code::not_whole,
        .message = is_whole ? fmt::format("a dimension cannot be {}", number->value)
                            : fmt::format("a dimension must come out whole, and this is {}", number->value),
        .primary = expr.span};
    if (number->from) diagnostic.notes.push_back(fmt::format("{}{}", number->value, story(number->from)));
    report(std::move(diagnostic));
    return std::nullopt;
  }
  return Axis{{static_cast<std::int64_t>(number->value), false}, false, number->from, number->id};
}

std::optional<ArrayType> Elaborator::resolve(const ast::TypeExpr& type, Scope& scope) {
  using enum ast::TypeExpr::Base;
  ArrayType result;
  switch (type.base) {
    case floating:
      result.dtype = scope.floating().value_or(default_float());
      break;
    case f32:
      result.dtype = default_float();
      break;
    case f64:
      result.dtype = DType::f64;
      break;
    case i32:
      result.dtype = DType::i32;
      break;
    case boolean:
      result.dtype = DType::boolean;
      break;
    case integer:
    case string:
      error(Code::type_mismatch, type.span, "a tensor type is needed here", "", "such as f32[3]");
      return std::nullopt;
  }
  if (graph_->rows && frames_.empty()) result.axes.push_back({batch_extent});
  bool failed = false;
  for (const ast::Dim& dim : type.dims) {
    switch (dim.kind) {
      case ast::Dim::Kind::ellipsis:
        if (const auto* axes = scope.ellipsis()) {
          result.axes.insert(result.axes.end(), axes->begin(), axes->end());
        } else {
          error(Code::no_shape, dim.span, "`...` stands for nothing here");
          failed = true;
        }
        break;
      case ast::Dim::Kind::stretch:
        result.axes.push_back({Extent{1, false}, true, nullptr});
        break;
      case ast::Dim::Kind::expression: {
        auto axis = dimension(*dim.value, scope);
        failed = failed || !axis;
        if (!axis) break;
        axis->stretch = false;
        if (!axis->from && !axis->extent.batched && !in_library(dim.span))
          axis->from = because("", source(type.span), dim.span, nullptr);
        if (!axis->id && !axis->extent.batched) axis->id = new_axis();
        result.axes.push_back(*axis);
        break;
      }
    }
  }
  separate(result.axes);
  failed = !countable(result.axes, type.span) || failed;
  if (failed) return std::nullopt;
  return result;
}

bool Elaborator::belongs_here(Value node, Span span) {
  if (node.builder == &builder()) return true;
  error(Code::not_compile_time, span, "this is computed in training, and an initial value cannot depend on it", "",
        "an initializer can use numbers, lists and other initializers");
  return false;
}

bool Elaborator::countable(const std::vector<Axis>& axes, Span span) {
  constexpr std::int64_t most = std::int64_t{1} << 53;
  std::int64_t count = 1;
  int batched = 0;
  for (const Axis& axis : axes) {
    batched += axis.extent.batched;
    if (axis.extent.count > most / count) {
      error(Code::bad_number, span, fmt::format("a tensor of shape [{}] has too many elements", describe(axes)));
      return false;
    }
    count *= axis.extent.count;
  }
  if (batched <= 1) return true;
  error(Code::shape_mismatch, span, "a tensor can have only one axis as long as the batch");
  return false;
}

// ---- places ------------------------------------------------------------------------------------------------------

Term Elaborator::materialise(const Term& term, const ArrayType& type) {
  if (const Shapeless* shapeless = term.as<Shapeless>()) return shapeless->make(*this, type);
  return term;
}

std::optional<Array> Elaborator::place(const Term& given, const ArrayType& type, Span span, const std::string& what) {
  if (given.failed()) return std::nullopt;
  builder().set_origin(origin(span));
  const auto wrong_kind = [&]() -> std::optional<Array> {
    error(Code::type_mismatch, span, fmt::format("{} is {}, not {}", what, describe(type), describe(given)));
    return std::nullopt;
  };
  Term term = materialise(given, type);
  if (term.failed()) return std::nullopt;
  if (const List* list = term.as<List>()) {
    term = list_to_array(*list, type.dtype, span);
    if (term.failed()) return std::nullopt;
  }
  if (const Number* number = term.as<Number>()) {
    if (type.dtype == DType::boolean) return wrong_kind();
    if (type.dtype == DType::i32 && !fits_i32(number->value)) return wrong_kind();
    const Array filled{builder().constant(number->value, type.dtype), {}};
    return Array{align(filled, type.axes, true), type.axes};
  }
  if (const Flag* known = term.as<Flag>()) {
    if (type.dtype != DType::boolean) return wrong_kind();
    const Array filled{builder().constant(known->value, DType::boolean), {}};
    return Array{align(filled, type.axes, true), type.axes};
  }
  if (const Scalar* scalar = term.as<Scalar>()) {
    if (!belongs_here(scalar->node, span)) return std::nullopt;
    const bool truth = scalar->node.type().dtype == DType::boolean;
    if (truth != (type.dtype == DType::boolean)) return wrong_kind();
    const Array filled{truth ? scalar->node : rank0(term, type.dtype), {}};
    return Array{align(filled, type.axes, true), type.axes};
  }
  const Array* array = term.as<Array>();
  if (!array) return wrong_kind();
  if (graph_->rows && frames_.empty() && array->axes.size() == 1 && array->axes[0].extent.batched) {
    Array spread = *array;  // one number a row fills the row
    spread.axes.resize(type.axes.size(), Axis{Extent{1, false}, true, nullptr});
    term = spread;
    array = term.as<Array>();
  }
  if (!belongs_here(array->node, span)) return std::nullopt;
  if (array->node.type().dtype != type.dtype) {
    error(Code::type_mismatch, span,
          fmt::format("{} has elements of type {}, and this has {}", what, dtype_word(type.dtype),
                      dtype_word(array->node.type().dtype)),
          "", fmt::format("no element type is converted by itself: write `{}(...)`", dtype_word(type.dtype)));
    return std::nullopt;
  }
  if (same_extents(array->axes, type.axes)) {
    Array placed{array->node, array->axes};
    bool differs = false;
    for (std::size_t i = 0; i < type.axes.size(); ++i) {
      differs = differs || placed.axes[i].stretch != type.axes[i].stretch;
      placed.axes[i].stretch = type.axes[i].stretch;
      if (!placed.axes[i].from) placed.axes[i].from = type.axes[i].from;
      if (!placed.axes[i].id) placed.axes[i].id = type.axes[i].id;
    }
    if (differs) placed.node = builder().reshape(placed.node, node_shape(placed.axes));
    return placed;
  }
  // A stretched axis takes the length of the place; a rank-0 tensor fills it; a row of a data block repeats.
  const bool one_row = graph_->rows && array->axes.size() + 1 == type.axes.size();
  const bool fits = array->axes.empty() || ((array->axes.size() == type.axes.size() || one_row) && [&] {
                      const std::size_t missing = type.axes.size() - array->axes.size();
                      for (std::size_t i = 0; i < array->axes.size(); ++i)
                        if (!array->axes[i].stretch && array->axes[i].extent != type.axes[i + missing].extent)
                          return false;
                      return true;
                    }());
  if (fits) return Array{align(*array, type.axes, true), type.axes};
  Diagnostic diagnostic{.code = Code::shape_mismatch,
                        .message = fmt::format("{} is {}, and this is {}", what, describe(type), describe(term)),
                        .primary = span,
                        .primary_label = describe(term)};
  if (array->axes.size() != type.axes.size()) {
    diagnostic.notes.push_back(
        fmt::format("{} axes are declared, and this has {}", type.axes.size(), array->axes.size()));
  } else {
    for (std::size_t i = 0; i < type.axes.size(); ++i)
      if (array->axes[i].extent != type.axes[i].extent && !array->axes[i].stretch) {
        diagnostic.notes.push_back(
            fmt::format("axis {} differs: {} and {}", i, length(type.axes[i]), length(array->axes[i])));
        diagnostic.notes.push_back(fmt::format("declared: {}", story(type.axes[i])));
        diagnostic.notes.push_back(fmt::format("here:     {}", story(array->axes[i])));
        break;
      }
  }
  report(std::move(diagnostic));
  return std::nullopt;
}

Term Elaborator::list_to_array(const List& list, DType dtype, Span span) {
  if (holds_tensors(list)) return stack(list, dtype, span);
  std::vector<double> values;
  std::vector<std::int64_t> dims;
  bool failed = false;
  std::optional<std::size_t> depth;  // of the numbers
  const auto walk = [&](auto&& self, const List& at, std::size_t level) -> void {
    const auto count = static_cast<std::int64_t>(at.elements.size());
    if (level == dims.size()) dims.push_back(count);
    if (dims[level] != count) {
      if (!failed)
        error(Code::shape_mismatch, at.span,
              fmt::format("this list has {} elements, and the one before it {}", count, dims[level]));
      failed = true;
      return;
    }
    for (const Term& element : at.elements) {
      if (failed) return;
      const List* inner = element.as<List>();
      if (inner ? depth && *depth <= level : depth && *depth != level) {
        error(Code::shape_mismatch, at.span, "numbers and lists stand side by side in this list");
        failed = true;
        return;
      }
      if (inner) {
        self(self, *inner, level + 1);
        continue;
      }
      depth = level;
      const Number* number = element.as<Number>();
      const Flag* truth = element.as<Flag>();
      if ((number && dtype != DType::boolean) || (truth && dtype == DType::boolean)) {
        if (number && dtype == DType::i32 && !fits_i32(number->value)) {
          error(Code::type_mismatch, at.span, fmt::format("{} is no i32", number->value));
          failed = true;
        }
        values.push_back(number ? number->value : truth->value);
      } else {
        error(Code::type_mismatch, at.span, fmt::format("this list cannot be a tensor of {}", dtype_word(dtype)));
        failed = true;
      }
    }
  };
  walk(walk, list, 0);
  if (failed) return Failed{};
  Type type{dtype, {}};
  for (std::int64_t dim : dims) type.shape.push_back({dim, false});
  if (std::ranges::find(dims, 0) != dims.end())
    return error(Code::no_shape, span, "an empty list has no elements to be a tensor of");
  builder().set_origin(origin(span));
  return wrap(builder().constant(std::move(values), type));
}

Value Elaborator::rank0(const Term& term, DType dtype) {
  if (const Number* number = term.as<Number>()) return builder().constant(number->value, dtype);
  const Value node = term.as<Scalar>()->node;
  if (!is_float(dtype)) return builder().cast(node, dtype);
  if (const auto* size = std::get_if<Size>(&builder()[node.id].attributes)) return builder().size(size->extent, dtype);
  if (const auto* known = std::get_if<Constant>(&builder()[node.id].attributes))
    return builder().constant(known->values.front(), dtype);
  return builder().cast(node, dtype);
}

std::optional<Array> Elaborator::array(const Term& term, Span span, const std::string& what, DType dtype) {
  if (term.failed()) return std::nullopt;
  if (const Array* known = term.as<Array>()) return *known;
  if (const Number* number = term.as<Number>();
      number && dtype != DType::boolean && (dtype != DType::i32 || fits_i32(number->value)))
    return Array{rank0(term, dtype), {}};
  if (const Scalar* scalar = term.as<Scalar>()) {
    if (!belongs_here(scalar->node, span)) return std::nullopt;
    const bool truth = scalar->node.type().dtype == DType::boolean;
    if (truth && dtype == DType::boolean) return Array{scalar->node, {}};
    if (!truth && dtype != DType::boolean) return Array{rank0(term, dtype), {}};
  }
  if (const List* list = term.as<List>()) {
    const Term made = list_to_array(*list, dtype, span);
    if (const Array* known = made.as<Array>()) return *known;
    return std::nullopt;
  }
  if (const Shapeless* shapeless = term.as<Shapeless>())
    error(Code::no_shape, span, fmt::format("nothing says which shape `{}` has here", shapeless->what), "",
          "give it one: `let a: f32[2, 3] = ...`");
  else
    error(Code::type_mismatch, span, fmt::format("{} is a tensor, not {}", what, describe(term)));
  return std::nullopt;
}

/// In a data block shapes are those of one row, lined up at their last axes behind the batch that the text does not
/// see.
void Elaborator::align_rows(std::vector<Term>& terms) const {
  const auto has_batch = [](const Array& array) { return !array.axes.empty() && array.axes[0].extent.batched; };
  std::size_t rank = 0;
  for (const Term& term : terms)
    if (const Array* array = term.as<Array>()) rank = std::max(rank, array->axes.size() - (has_batch(*array) ? 1 : 0));
  for (Term& term : terms) {
    const Array* array = term.as<Array>();
    if (!array || !has_batch(*array)) continue;
    Array aligned = *array;
    aligned.axes.insert(aligned.axes.begin() + 1, rank + 1 - array->axes.size(), Axis{Extent{1, false}, true, nullptr});
    term = aligned;
  }
}

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
    const bool hidden = operand && graph_->rows && !operand->axes.empty() && operand->axes[0].extent.batched;
    ranks.push_back(operand ? operand->axes.size() - (hidden ? 1 : 0) : 0);
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
          .message = fmt::format("element types differ in `{}`: {} and {}", shown, dtype_word(elements),
                                 dtype_word(operand->node.type().dtype)),
          .primary = span,
          .help = fmt::format("no element type is converted by itself: write `{}(...)` around one side",
                              dtype_word(elements))};
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
      const std::size_t rank = joined.size();
      Diagnostic diagnostic{
          .code = Code::shape_mismatch, .message = fmt::format("shapes do not match in `{}`", shown), .primary = span};
      const Array* left = terms[widest].as<Array>();
      diagnostic.labels = {{spans[widest], describe(terms[widest])}, {spans[i], describe(terms[i])}};
      diagnostic.notes = {fmt::format("axis {} differs: {} and {}", rank - back, length(x), length(y)),
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

/// The array with axis `at` in its node, as long as it is, where it stretched.
Array with_axis(Array array, std::size_t at) {
  if (!array.axes[at].stretch) return array;
  array.axes[at].stretch = false;
  Shape shape;
  for (const Axis& axis : array.axes)
    if (!axis.stretch) shape.push_back(axis.extent);
  array.node = array.node.builder->reshape(array.node, shape);
  return array;
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

// ---- rows by their numbers -----------------------------------------------------------------------------------------

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

// ---- compile-time values
// -----------------------------------------------------------------------------------------------

std::optional<double> Elaborator::number(const Term& term, Span span, const std::string& what) {
  if (term.failed()) return std::nullopt;
  if (const Number* known = term.as<Number>()) return known->value;
  if (term.as<Scalar>() || term.as<Array>())
    error(Code::not_compile_time, span,
          fmt::format("{} must be a number known at compile time, not {}", what, describe(term)));
  else
    error(Code::type_mismatch, span, fmt::format("{} is a number, not {}", what, describe(term)));
  return std::nullopt;
}

std::optional<std::int64_t> Elaborator::whole(const Term& term, Span span, const std::string& what) {
  const auto known = number(term, span, what);
  if (!known) return std::nullopt;
  if (*known == std::floor(*known) && std::abs(*known) <= 9e15) return static_cast<std::int64_t>(*known);
  error(Code::not_whole, span, fmt::format("{} must come out whole, and this is {}", what, *known));
  return std::nullopt;
}

std::optional<bool> Elaborator::flag(const Term& term, Span span, const std::string& what) {
  if (term.failed()) return std::nullopt;
  if (const Flag* known = term.as<Flag>()) return known->value;
  const bool run_time = (term.as<Scalar>() && term.as<Scalar>()->node.type().dtype == DType::boolean) ||
                        (term.as<Array>() && term.as<Array>()->node.type().dtype == DType::boolean);
  if (run_time)
    error(Code::not_compile_time, span, fmt::format("{} must be known at compile time", what), "",
          "`select(condition, a, b)` chooses at run time");
  else
    error(Code::type_mismatch, span, fmt::format("{} is true or false, not {}", what, describe(term)), "",
          what.find("`Dense`") != std::string::npos && term.as<Number>()
              ? fmt::format("`Dense({})` is enough: the input's width is read off the input", source(span))
              : "");
  return std::nullopt;
}

std::optional<std::string> Elaborator::text(const Term& term, Span span, const std::string& what) {
  if (term.failed()) return std::nullopt;
  if (const Text* known = term.as<Text>()) return known->value;
  error(Code::type_mismatch, span, fmt::format("{} is a string, not {}", what, describe(term)));
  return std::nullopt;
}

Term Elaborator::scalar_of(const ast::TypeExpr& type, const Term& term, Span span, const std::string& what) {
  using enum ast::TypeExpr::Base;
  switch (type.base) {
    case integer:
      return whole(term, span, what) ? term : Term(Failed{});
    case boolean:
      return flag(term, span, what) ? term : Term(Failed{});
    case string:
      return text(term, span, what) ? term : Term(Failed{});
    case floating:
    case f32:
    case f64:
    case i32:
      break;
  }
  if (term.failed() || term.as<Number>()) return term;
  if (const Scalar* scalar = term.as<Scalar>(); scalar && scalar->node.type().dtype == DType::f64) return term;
  return error(Code::type_mismatch, span, fmt::format("{} is a number (`float`), not {}", what, describe(term)), "",
               term.as<Array>() ? "a tensor without axes is declared as float[]" : "");
}

}  // namespace nnc
