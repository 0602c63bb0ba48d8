// Declared types, how a value takes the type of its place, and what must be known at compile time.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "frontend/elaborator.h"
#include "frontend/primitives.h"
#include "ir/nearest.h"

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

}  // namespace

Value elaboration::align(const Array& array, const std::vector<Axis>& to, bool spread_numbers) {
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

Array elaboration::with_axis(Array array, std::size_t at) {
  if (!array.axes[at].stretch) return array;
  array.axes[at].stretch = false;
  Shape shape;
  for (const Axis& axis : array.axes)
    if (!axis.stretch) shape.push_back(axis.extent);
  array.node = array.node.builder->reshape(array.node, shape);
  return array;
}

bool elaboration::fits_i32(double value) {
  return value == std::floor(value) && value >= -2147483648.0 && value <= 2147483647.0;
}

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

namespace {

/// Reports a name in a dimension that nothing binds: variables are capital, and bound where they stand alone.
bool unbound(Elaborator& e, const ast::Expr& expr, bool alone, Scope& scope) {
  if (const auto* product = std::get_if<ast::Binary>(&expr.form))
    return unbound(e, *product->left, false, scope) || unbound(e, *product->right, false, scope);
  const auto* use = std::get_if<ast::NameUse>(&expr.form);
  const std::string name = use ? use->name : "";
  if (!use || scope.find(name) || scope.module().find(name) || scope.module().excuses(name) || find_primitive(name) ||
      is_run_time_scalar(name) || name == "training" || e.diagnostics.beyond_help())
    return false;
  const bool capital = name[0] >= 'A' && name[0] <= 'Z';
  std::vector<std::string> known;
  scope.names(known);
  std::erase_if(known, [&](const std::string& one) {
    const Term* bound = scope.find(one);
    return !bound || !bound->as<Length>();
  });
  std::string help = name == "batch" ? "" : did_you_mean(name, known);
  std::string upper = name;
  if (!capital) upper[0] = static_cast<char>(upper[0] - 'a' + 'A');
  if (name == "batch" && e.graph().rows)
    help = "columns are for one row: the batch is not written";
  else if (help.empty() && capital && !alone)
    help = fmt::format("a dimension variable is bound where it stands alone, as in `f32[{}]`", name);
  else if (help.empty() && !capital && alone && name[0] >= 'a' && name[0] <= 'z' && name != "batch")
    help = fmt::format("a dimension variable begins with a capital letter: `{}`", upper);
  else
    return false;
  e.error(Code::unknown_name, expr.span, fmt::format("there is no {}", backquoted(name)), "", std::move(help));
  return true;
}

}  // namespace

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
  if (unbound(*this, expr, true, scope)) return std::nullopt;
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
        .primary = expr.span,
        .help = number->value == -1 && std::holds_alternative<ast::Unary>(expr.form)
                    ? "the length of each axis is written; that of the batch is called `batch`"
                    : ""};
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
          fmt::format("{} has elements of type {}, and this has {}", what, name_of(type.dtype),
                      name_of(array->node.type().dtype)),
          "", fmt::format("no element type is converted by itself: write `{}(...)`", name_of(type.dtype)));
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
  const bool lined_up = array->axes.size() == type.axes.size() || one_row;
  const auto takes = [](const Axis& own, const Axis& there) { return own.stretch || own.extent == there.extent; };
  const bool fits = array->axes.empty() ||
                    (lined_up && std::equal(array->axes.rbegin(), array->axes.rend(), type.axes.rbegin(), takes));
  if (fits) return Array{align(*array, type.axes, true), type.axes};
  Diagnostic diagnostic{.code = Code::shape_mismatch,
                        .message = fmt::format("{} is {}, and this is {}", what, describe(type), describe(term)),
                        .primary = span,
                        .primary_label = describe(term)};
  if (array->axes.size() != type.axes.size()) {
    const std::size_t declared = type.axes.size() - static_cast<std::size_t>(hidden_axes(type.axes));
    diagnostic.notes.push_back(fmt::format("{} {} declared, and this has {}", declared,
                                           declared == 1 ? "axis is" : "axes are",
                                           array->axes.size() - static_cast<std::size_t>(hidden_axes(array->axes))));
  } else {
    for (std::size_t i = 0; i < type.axes.size(); ++i)
      if (array->axes[i].extent != type.axes[i].extent && !array->axes[i].stretch) {
        diagnostic.notes.push_back(fmt::format("axis {} differs: {} and {}",
                                               i - static_cast<std::size_t>(hidden_axes(type.axes)),
                                               length(type.axes[i]), length(array->axes[i])));
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
        error(Code::type_mismatch, at.span, fmt::format("this list cannot be a tensor of {}", name_of(dtype)));
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

int Elaborator::hidden_axes(const std::vector<Axis>& axes) const {
  return graph_ && graph_->rows && !axes.empty() && axes[0].extent.batched ? 1 : 0;
}

/// In a data block shapes are those of one row, lined up at their last axes behind the batch that the text does not
/// see.
void Elaborator::align_rows(std::vector<Term>& terms) const {
  const auto has_batch = [this](const Array& array) { return hidden_axes(array.axes) == 1; };
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

// ---- compile-time values -------------------------------------------------------------------------------------------

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
          term.as<Number>() && (term.as<Number>()->value == 0 || term.as<Number>()->value == 1)
              ? fmt::format("write `{}`", term.as<Number>()->value == 0 ? "false" : "true")
          : what.find("`Dense`") != std::string::npos && term.as<Number>()
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
