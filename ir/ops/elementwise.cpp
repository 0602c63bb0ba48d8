// Ops that work on each element alone. Operands have one shape, or are of rank 0 and meet every element.
//
// Conventions at the edges: max(a, b) at a == b gives half its gradient to each; abs and sign are 0 at 0, so is their
// derivative; a NaN goes through max, min, abs and sign.
#include <array>
#include <numbers>

#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

/// The shape that operands of one shape or of rank 0 have together.
std::variant<Shape, ShapeError> common_shape(std::span<const Type> operands) {
  int widest = 0;
  for (int i = 1; i < static_cast<int>(operands.size()); ++i)
    if (operands[widest].shape.empty()) widest = i;
  const Shape& shape = operands[widest].shape;
  for (int i = 0; i < static_cast<int>(operands.size()); ++i) {
    const Shape& other = operands[i].shape;
    if (other.empty()) continue;
    if (other.size() != shape.size()) return ShapeError{.kind = ShapeError::Kind::rank, .a = i, .b = widest};
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
      if (other[axis] != shape[axis])
        return ShapeError{
            .kind = ShapeError::Kind::extents_differ, .a = widest, .b = i, .axis_a = axis, .axis_b = axis};
  }
  return shape;
}

TypeOrError with_dtype(DType dtype, std::variant<Shape, ShapeError> shape) {
  if (const auto* error = std::get_if<ShapeError>(&shape)) return *error;
  return Type{dtype, std::get<Shape>(std::move(shape))};
}

/// Operands from number `first` on have one element type out of `accepted`.
std::optional<ShapeError> check_one_dtype(const ShapeQuery& query, int first, DTypes accepted) {
  if (!std::holds_alternative<NoAttributes>(query.attributes)) return wrong_attributes();
  if (auto error = check_dtype(query, first, accepted)) return error;
  for (int i = first + 1; i < static_cast<int>(query.operands.size()); ++i)
    if (query.operands[i].dtype != query.operands[first].dtype)
      return ShapeError{.kind = ShapeError::Kind::types_differ, .a = first, .b = i};
  return std::nullopt;
}

template <DTypes accepted>
TypeOrError same_type(const ShapeQuery& query) {
  if (const auto error = check_one_dtype(query, 0, accepted)) return *error;
  return with_dtype(query.operands[0].dtype, common_shape(query.operands));
}

template <DTypes accepted>
TypeOrError truth_type(const ShapeQuery& query) {
  if (const auto error = check_one_dtype(query, 0, accepted)) return *error;
  return with_dtype(DType::boolean, common_shape(query.operands));
}

TypeOrError select_type(const ShapeQuery& query) {
  if (const auto error = check_dtype(query, 0, booleans)) return *error;
  if (const auto error = check_one_dtype(query, 1, anything)) return *error;
  return with_dtype(query.operands[1].dtype, common_shape(query.operands));
}

/// To any number type; a number is made a truth value by comparing it.
TypeOrError cast_type(const ShapeQuery& query) {
  if (!std::holds_alternative<NoAttributes>(query.attributes)) return wrong_attributes();
  if (!contains(numbers, query.wanted.dtype)) return ShapeError{.kind = ShapeError::Kind::element_type, .a = -1};
  return Type{query.wanted.dtype, query.operands[0].shape};
}

Value zero_like(Value x) { return x.builder->constant(0, x.type().dtype); }
Value where(Value condition, Value yes, Value no) { return condition.builder->select(condition, yes, no); }

/// The gradient of max and min for the operand that is taken where `wins`; equal operands share it.
Value winners_share(Value wins, Value a, Value b, Value dy) {
  return where(wins, dy, where(apply(Op::equal, a, b), dy * 0.5, zero_like(dy)));
}

/// Within `widest`, with the sign of x, and 0 only where x is.
Range as_signed(const Range& x, const Range& widest) {
  return {x.low >= 0 ? 0 : widest.low, x.high <= 0 ? 0 : widest.high, false, x.nonzero};
}

/// The exponent of a power where it is a number known now.
std::optional<double> known_number(Value x) {
  const auto* constant = std::get_if<Constant>(&(*x.builder)[x.id].attributes);
  if (!constant || constant->values.size() != 1) return std::nullopt;
  return constant->values.front();
}

/// d(a^b)/da = b a^(b-1), and 0 for b = 0 even where a is 0; d(a^b)/db = y log a, whose limit at a = 0 is 0.
Gradients power_gradient(Value a, Value b, Value y, Value dy) {
  if (const auto exponent = known_number(b)) {
    if (*exponent == 0) return {std::nullopt, std::nullopt};
    if (*exponent == 1) return {dy, std::nullopt};
    if (*exponent == 2) return {dy * (b * a), std::nullopt};
    return {dy * (b * apply(Op::pow, a, b - 1)), std::nullopt};
  }
  const Value one = y.builder->constant(1, y.type().dtype), zero = zero_like(y);
  const Value lower = where(apply(Op::equal, b, zero), one, b - one);
  const Value safe = where(apply(Op::equal, a, zero), one, a);
  return {dy * (b * apply(Op::pow, a, lower)), dy * (y * apply(Op::log, safe))};
}

Scalar sign_of(Scalar x) {
  const Scalar zero = number_like(x, 0), one = number_like(x, 1), minus_one = number_like(x, -1);
  const Scalar of_negative = select(less(x, zero), minus_one, select(equal(x, zero), zero, x));
  return select(less(zero, x), one, of_negative);
}

/// Towards zero, kept inside the range, NaN to 0. The greatest float below 2^31 converts; 2^31 itself would not.
Scalar to_i32(Scalar x) {
  const Scalar limit = number_like(x, 2147483648.0), lowest = number_like(x, -2147483648.0);
  const Scalar inside = less(x, limit);  // false for NaN
  const Scalar clamped = select(less(x, lowest), lowest, select(inside, x, number_like(x, 0)));
  const Scalar beyond = select(less_equal(limit, x), x.builder->constant(2147483647.0, ScalarType::i32),
                               convert(clamped, ScalarType::i32));
  return beyond;
}

ScalarProgram cast_program(std::span<const DType> operands, DType to, const Attributes&) {
  ScalarBuilder builder;
  const Scalar x = builder.input(scalar_type(operands[0]));
  if (operands[0] == to) return finish(std::move(builder), x);
  if (is_float(operands[0]) && to == DType::i32) return finish(std::move(builder), to_i32(x));
  return finish(std::move(builder), convert(x, scalar_type(to)));
}

ScalarProgram select_program(std::span<const DType> operands, DType, const Attributes&) {
  ScalarBuilder builder;
  const Scalar condition = builder.input(ScalarType::boolean);
  const Scalar yes = builder.input(scalar_type(operands[1])), no = builder.input(scalar_type(operands[2]));
  return finish(std::move(builder), select(condition, yes, no));
}

bool whole(Scalar x) { return x.type() == ScalarType::i32; }

/// An op's range from its operands' alone.
template <auto rule>
Range range_rule(const RangeQuery& query) {
  return rule(query.operands);
}

/// |x|
Range size_of(const Range& x) {
  if (x.low >= 0) return x;
  if (x.high <= 0) return -x;
  return {0, std::max(-x.low, x.high), x.whole, x.nonzero};
}

}  // namespace

namespace ops {

constinit const OpDef neg{
    .name = "neg",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<numbers>,
    .gradient = of_one<[](Value, Value, Value dy) { return -dy; }>,
    .scalar = element_of_one<[](Scalar x) {
      return whole(x) ? arithmetic(ScalarOp::sub, ScalarOp::int_sub, number_like(x, 0), x) : -x;
    }>,
    .range = range_rule<[](std::span<const Range> x) -> Range { return -x[0]; }>,
    .infix = "-",
};

// exp is its own derivative, so the rule reuses the result.
constinit const OpDef exp{
    .name = "exp",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value, Value y, Value dy) { return dy * y; }>,
    .scalar = element_of_one<nnc::scalar::exp>,
    .range = range_rule<[](std::span<const Range>) { return Range{.low = 0, .nonzero = true}; }>,
};

// exp(x) - 1; its derivative is exp(x) = y + 1, computed anew because y + 1 loses small exp(x).
constinit const OpDef expm1{
    .name = "expm1",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) { return dy * apply(Op::exp, x); }>,
    .scalar = element_of_one<nnc::scalar::expm1>,
    .range = range_rule<[](std::span<const Range> x) {
      return as_signed(x[0], {-1, std::numeric_limits<double>::infinity()});
    }>,
};

constinit const OpDef log{
    .name = "log",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) { return dy / x; }>,
    .scalar = element_of_one<nnc::scalar::log>,
};

// log(1 + x)
constinit const OpDef log1p{
    .name = "log1p",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) { return dy / (1 + x); }>,
    .scalar = element_of_one<nnc::scalar::log1p>,
    .range = range_rule<[](std::span<const Range> x) { return as_signed(x[0], {}); }>,
};

constinit const OpDef sqrt{
    .name = "sqrt",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value, Value y, Value dy) { return dy / (2 * y); }>,
    .scalar = element_of_one<[](Scalar x) { return nnc::sqrt(x); }>,
    .range = range_rule<[](std::span<const Range> x) { return Range{.low = 0, .nonzero = x[0].nonzero}; }>,
};

constinit const OpDef tanh{
    .name = "tanh",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value, Value y, Value dy) { return dy * (1 - y * y); }>,
    .scalar = element_of_one<nnc::scalar::tanh>,
    .range = range_rule<[](std::span<const Range> x) { return Range{-1, 1, false, x[0].nonzero}; }>,
};

// 1 / (1 + exp(-x))
constinit const OpDef logistic{
    .name = "logistic",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value, Value y, Value dy) { return dy * y * (1 - y); }>,
    .scalar = element_of_one<nnc::scalar::logistic>,
    .range = range_rule<[](std::span<const Range>) { return Range{0, 1, false, true}; }>,
};

// log(1 + exp(x))
constinit const OpDef softplus{
    .name = "softplus",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) { return dy * apply(Op::logistic, x); }>,
    .scalar = element_of_one<nnc::scalar::softplus>,
    .range = range_rule<[](std::span<const Range>) { return Range{.low = 0, .nonzero = true}; }>,
};

constinit const OpDef sin{
    .name = "sin",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) { return dy * apply(Op::cos, x); }>,
    .scalar = element_of_one<nnc::scalar::sin>,
    .range = range_rule<[](std::span<const Range>) -> Range { return range_between(-1, 1); }>,
};

constinit const OpDef cos{
    .name = "cos",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) { return -dy * apply(Op::sin, x); }>,
    .scalar = element_of_one<nnc::scalar::cos>,
    .range = range_rule<[](std::span<const Range>) -> Range { return range_between(-1, 1); }>,
};

// 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x
constinit const OpDef erf{
    .name = "erf",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) {
      constexpr double two_by_sqrt_pi = 2 * std::numbers::inv_sqrtpi;
      return dy * (two_by_sqrt_pi * apply(Op::exp, -(x * x)));
    }>,
    .scalar = element_of_one<nnc::scalar::erf>,
    .range = range_rule<[](std::span<const Range> x) { return as_signed(x[0], {-1, 1}); }>,
};

// The standard normal distribution function: the integral of exp(-t^2 / 2) / sqrt(2 pi) from -infinity to x. Half of
// 1 + erf(x / sqrt 2), without what that loses where x is far below 0.
constinit const OpDef normal_cdf{
    .name = "normal_cdf",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<floats>,
    .gradient = of_one<[](Value x, Value, Value dy) {
      constexpr double one_by_sqrt_two_pi = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
      return dy * (one_by_sqrt_two_pi * apply(Op::exp, -0.5 * (x * x)));
    }>,
    .scalar = element_of_one<nnc::scalar::normal_cdf>,
    .range = range_rule<[](std::span<const Range>) -> Range { return Range{0, 1, false, true}; }>,
};

constinit const OpDef abs{
    .name = "abs",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<numbers>,
    .gradient = of_one<[](Value x, Value, Value dy) { return dy * apply(Op::sign, x); }>,
    .scalar = element_of_one<[](Scalar x) {
      if (!whole(x)) return nnc::abs(x);
      const Scalar zero = number_like(x, 0);
      return nnc::select(nnc::less(x, zero), arithmetic(ScalarOp::sub, ScalarOp::int_sub, zero, x), x);
    }>,
    .range = range_rule<[](std::span<const Range> x) -> Range { return size_of(x[0]); }>,
};

constinit const OpDef sign{
    .name = "sign",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<numbers>,
    .gradient = none,
    .scalar = element_of_one<sign_of>,
    .range = range_rule<[](std::span<const Range> x) {
      return Range{-1.0 * (x[0].low < 0), 1.0 * (x[0].high > 0), true, x[0].nonzero};
    }>,
};

constinit const OpDef add{
    .name = "add",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<numbers>,
    .gradient = of_two<[](Value, Value, Value, Value dy) { return Gradients{dy, dy}; }>,
    .scalar = element_of_two<[](Scalar a, Scalar b) { return arithmetic(ScalarOp::add, ScalarOp::int_add, a, b); }>,
    .range = range_rule<[](std::span<const Range> x) -> Range { return x[0] + x[1]; }>,
    .infix = "+",
};

constinit const OpDef sub{
    .name = "sub",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<numbers>,
    .gradient = of_two<[](Value, Value, Value, Value dy) { return Gradients{dy, -dy}; }>,
    .scalar = element_of_two<[](Scalar a, Scalar b) { return arithmetic(ScalarOp::sub, ScalarOp::int_sub, a, b); }>,
    .range = range_rule<[](std::span<const Range> x) -> Range { return x[0] + -x[1]; }>,
    .infix = "-",
};

constinit const OpDef mul{
    .name = "mul",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<numbers>,
    .gradient = of_two<[](Value a, Value b, Value, Value dy) { return Gradients{dy * b, dy * a}; }>,
    .scalar = element_of_two<[](Scalar a, Scalar b) { return arithmetic(ScalarOp::mul, ScalarOp::int_mul, a, b); }>,
    .range = range_rule<[](std::span<const Range> x) -> Range { return x[0] * x[1]; }>,
    .infix = "*",
};

// d(a/b)/db = -a/b^2 = -y/b, which reuses the quotient.
constinit const OpDef div{
    .name = "div",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<floats>,
    .gradient = of_two<[](Value, Value b, Value y, Value dy) { return Gradients{dy / b, -dy * y / b}; }>,
    .scalar = element_of_two<[](Scalar a, Scalar b) { return a / b; }>,
    .range = range_rule<[](std::span<const Range> x) -> Range { return x[0] * reciprocal(x[1]); }>,
    .infix = "/",
};

constinit const OpDef pow{
    .name = "pow",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<floats>,
    .gradient = of_two<power_gradient>,
    .scalar = element_of_two<nnc::scalar::pow>,
};

constinit const OpDef max{
    .name = "max",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<numbers>,
    .gradient = of_two<[](Value a, Value b, Value, Value dy) {
      return Gradients{winners_share(apply(Op::less, b, a), a, b, dy), winners_share(apply(Op::less, a, b), a, b, dy)};
    }>,
    .scalar = element_of_two<[](Scalar a, Scalar b) {
      return whole(a) ? nnc::select(nnc::less(a, b), b, a) : maximum(a, b);
    }>,
    .range = range_rule<[](std::span<const Range> x) {
      return Range{std::max(x[0].low, x[1].low), std::max(x[0].high, x[1].high), x[0].whole && x[1].whole,
                   (x[0].nonzero && x[1].nonzero) || x[0].positive() || x[1].positive()};
    }>,
};

constinit const OpDef min{
    .name = "min",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<numbers>,
    .gradient = of_two<[](Value a, Value b, Value, Value dy) {
      return Gradients{winners_share(apply(Op::less, a, b), a, b, dy), winners_share(apply(Op::less, b, a), a, b, dy)};
    }>,
    .scalar = element_of_two<[](Scalar a, Scalar b) {
      return whole(a) ? nnc::select(nnc::less(b, a), b, a) : minimum(a, b);
    }>,
    .range = range_rule<[](std::span<const Range> x) {
      return Range{std::min(x[0].low, x[1].low), std::min(x[0].high, x[1].high), x[0].whole && x[1].whole,
                   x[0].nonzero && x[1].nonzero};
    }>,
};

constinit const OpDef equal{
    .name = "equal",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = truth_type<numbers>,
    .scalar = element_of_two<[](Scalar a, Scalar b) { return nnc::equal(a, b); }>,
    .infix = "==",
};

constinit const OpDef less{
    .name = "less",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = truth_type<numbers>,
    .scalar = element_of_two<[](Scalar a, Scalar b) { return nnc::less(a, b); }>,
    .infix = "<",
};

constinit const OpDef less_equal{
    .name = "less_equal",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = truth_type<numbers>,
    .scalar = element_of_two<[](Scalar a, Scalar b) { return nnc::less_equal(a, b); }>,
    .infix = "<=",
};

constinit const OpDef logical_and{
    .name = "logical_and",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<booleans>,
    .scalar = element_of_two<[](Scalar a, Scalar b) {
      return a.builder->make(ScalarOp::logical_and, ScalarType::boolean, {{a, b}});
    }>,
};

constinit const OpDef logical_or{
    .name = "logical_or",
    .cls = OpClass::elementwise,
    .arity = 2,
    .shape = same_type<booleans>,
    .scalar = element_of_two<[](Scalar a, Scalar b) {
      return a.builder->make(ScalarOp::logical_or, ScalarType::boolean, {{a, b}});
    }>,
};

constinit const OpDef logical_not{
    .name = "logical_not",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = same_type<booleans>,
    .scalar =
        element_of_one<[](Scalar x) { return x.builder->make(ScalarOp::logical_not, ScalarType::boolean, {{x}}); }>,
};

constinit const OpDef select{
    .name = "select",
    .cls = OpClass::elementwise,
    .arity = 3,
    .shape = select_type,
    .gradient = [](const GradientQuery& query) -> Gradients {
      const Value condition = operand(query, 0), dy = incoming(query), zero = zero_like(dy);
      return {std::nullopt, where(condition, dy, zero), where(condition, zero, dy)};
    },
    .scalar = select_program,
    .range = range_rule<[](std::span<const Range> x) -> Range { return either(x[1], x[2]); }>,
};

constinit const OpDef cast{
    .name = "cast",
    .cls = OpClass::elementwise,
    .arity = 1,
    .shape = cast_type,
    .gradient = [](const GradientQuery& query) -> Gradients {
      const DType from = operand(query, 0).type().dtype, to = result(query).type().dtype;
      if (!is_float(from) || !is_float(to)) return {std::nullopt};
      return {query.builder.cast(incoming(query), from)};
    },
    .scalar = cast_program,
    .range =
        [](const RangeQuery& query) {
          Range x = query.operands[0];
          if (query.type.dtype != DType::i32 || x.whole) return x;
          return Range{std::trunc(x.low), std::trunc(x.high), true, false};  // towards 0
        },
};

}  // namespace ops
}  // namespace nnc
