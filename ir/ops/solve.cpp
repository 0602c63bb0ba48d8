// Ops that are formulas in others: `expand` puts the formula in their place, after they were differentiated as what
// they are.
#include <cmath>

#include "ir/loops.h"
#include "ir/ops/rules.h"

namespace nnc {

using namespace rules;

namespace {

Value outer_product(Value column, Value row, const Shape& shape) {
  Builder& builder = *column.builder;
  return builder.broadcast(column, {0}, shape) * builder.broadcast(row, {1}, shape);
}

Value zeros(Builder& builder, DType dtype, const Shape& shape) {
  return builder.spread(builder.constant(0, dtype), shape);
}

/// A loop's result; `names` call the inputs of the step in the order of the operands.
Value loop(Builder& builder, const Builder& step, const std::vector<std::string>& names,
           std::span<const NodeId> results, std::span<const Value> operands, Scan scan) {
  scan.body = loop_body(step.graph(), names, results);
  return builder.make(Op::scan, operands, std::move(scan));
}
Scan over(std::int64_t steps, int result, bool backwards = false, int sequences = 3) {
  return {.body = ScanBody(Graph{}),
          .carries = 1,
          .sequences = sequences,
          .steps = steps,
          .backwards = backwards,
          .result = result};
}

/// What stands at `here` along axis 0, which has one true element; the axis goes.
Value element_at(Value here, Value x) {
  Builder& builder = *x.builder;
  const Type type = x.type();
  const Value zero = zeros(builder, type.dtype, type.shape);
  return builder.sum(builder.select(builder.broadcast(here, {0}, type.shape), x, zero), {0});
}

/// A pivot is what is left of a diagonal element when all that the rows before it explain is taken off. Below this
/// share of the element it is nothing but rounding: the row is a combination of those before it, and A is singular.
double least_pivot(const Type& a) {
  const double unit = a.dtype == DType::f64 ? 0x1p-53 : 0x1p-24;
  return 16 * static_cast<double>(a.shape[0].count) * unit;
}

/// Row j is column j of the factor L with L Lt = A, zeros above the diagonal (Cholesky, Golub and Van Loan 4.2.5, outer
/// products): l = a[:, j] / sqrt(a[j, j]) from row j on, then A - l lt goes to the next step. A pivot that is not
/// positive, or as good as zero, makes what follows NaN.
Value factor(Value a, Value here, Value below) {
  Builder& builder = *a.builder;
  const Type type = a.type(), row{type.dtype, {type.shape[0]}}, mask{DType::boolean, row.shape};
  Builder step("cholesky");
  const Value rest = step.leaf(Op::input, "rest", type), at = step.leaf(Op::input, "at", mask),
              under = step.leaf(Op::input, "under", mask), least = step.leaf(Op::input, "least", {type.dtype, {}});
  const Value column = element_at(at, rest);
  const Value pivot = element_at(at, column);
  const Value positive = apply(Op::less, least, pivot);
  const Value root = step.select(positive, apply(Op::sqrt, pivot), step.constant(std::nan(""), type.dtype));
  const Value l = step.select(under, column / root, zeros(step, type.dtype, row.shape));
  const Value next = rest - outer_product(l, l, type.shape);
  const Value diagonal = builder.sum(builder.select(here, a, zeros(builder, type.dtype, type.shape)), {1});
  const Value smallest = builder.constant(least_pivot(type), type.dtype) * diagonal;
  return loop(builder, step, {"rest", "at", "under", "least"}, std::vector{next.id, l.id},
              std::vector{a, here, below, smallest}, over(type.shape[0].count, 1, false, 3));
}

/// L z = b, b [n, m]: z[j] = b[j] / l[j, j], and l[:, j] z[j] is taken off what is left of b.
Value forward_substitution(Value l, Value b, Value here) {
  Builder& builder = *b.builder;
  const Type type = b.type(), row{l.type().dtype, {l.type().shape[1]}}, mask{DType::boolean, row.shape};
  Builder step("forward");
  const Value rest = step.leaf(Op::input, "rest", type), column = step.leaf(Op::input, "column", row),
              at = step.leaf(Op::input, "at", mask);
  const Value z = element_at(at, rest) / element_at(at, column);
  const Value next = rest - outer_product(column, z, type.shape);
  return loop(builder, step, {"rest", "column", "at"}, std::vector{next.id, z.id}, std::vector{b, l, here},
              over(row.shape[0].count, 1, false, 2));
}

/// Lt x = z, from the last row on: x[j] = (z[j] - sum_i l[i, j] x[i]) / l[j, j], where x is 0 from row j up so far.
Value back_substitution(Value l, Value z, Value here) {
  Builder& builder = *z.builder;
  const Type type = z.type(), row{l.type().dtype, {l.type().shape[1]}}, mask{DType::boolean, row.shape};
  Builder step("back");
  const Value done = step.leaf(Op::input, "done", type), column = step.leaf(Op::input, "column", row),
              at = step.leaf(Op::input, "at", mask),
              right = step.leaf(Op::input, "right", {type.dtype, {type.shape[1]}});
  const Value x = (right - step.dot(column, done, {0}, {0})) / element_at(at, column);
  const Value next = step.select(step.broadcast(at, {0}, type.shape), step.broadcast(x, {1}, type.shape), done);
  const Value start = zeros(builder, type.dtype, type.shape);
  return loop(builder, step, {"done", "column", "at", "right"}, std::vector{next.id}, std::vector{start, l, here, z},
              over(row.shape[0].count, 0, true));
}

Value symmetric_part(Value a) { return 0.5 * (a + a.builder->transpose(a, {1, 0})); }

/// x with A x = b by a factorisation and two substitutions.
Value solution(Builder& builder, std::span<const Value> operands) {
  const Type type = operands[1].type();
  const Shape square = operands[0].type().shape;
  const Value row = builder.make(Op::iota, {}, Iota{0}, {DType::i32, square});
  const Value column = builder.make(Op::iota, {}, Iota{1}, {DType::i32, square});
  const Value here = apply(Op::equal, row, column), below = apply(Op::less_equal, row, column);
  Shape matrix = type.shape;
  if (matrix.size() == 1) matrix.push_back(Extent{1, false});
  const Value l = factor(symmetric_part(operands[0]), here, below);
  const Value z = forward_substitution(l, builder.reshape(operands[1], matrix), here);
  return builder.reshape(back_substitution(l, z, here), type.shape);
}

/// A x = b: b's gradient is A^-1 dx, and A's is minus that times xt, of which the symmetric part counts.
Gradients solve_gradient(const GradientQuery& query) {
  const Value a = operand(query, 0), x = result(query);
  Builder& builder = query.builder;
  const Value db = builder.make(Op::solve, {{a, incoming(query)}});
  const Shape square = a.type().shape;
  const Value product = x.type().rank() == 1 ? outer_product(db, x, square) : builder.dot(db, x, {1}, {1});
  return {-symmetric_part(product), db};
}

}  // namespace

namespace ops {

// x with A x = b, A [n, n] symmetric (of another, the symmetric part counts) and positive definite, b [n] or [n, m];
// NaN where A is not positive definite, or so nearly singular that a pivot is nothing but rounding.
constinit const OpDef solve{
    .name = "solve",
    .cls = OpClass::formula,
    .arity = 2,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (!std::holds_alternative<NoAttributes>(query.attributes)) return wrong_attributes();
      const Type &a = query.operands[0], &b = query.operands[1];
      if (const auto error = check_dtype(query, 0, floats)) return *error;
      if (a.dtype != b.dtype) return ShapeError{.kind = ShapeError::Kind::types_differ, .a = 0, .b = 1};
      if (a.rank() != 2) return ShapeError{.kind = ShapeError::Kind::rank, .a = 0};
      if (b.rank() != 1 && b.rank() != 2) return ShapeError{.kind = ShapeError::Kind::rank, .a = 1};
      if (a.shape[0] != a.shape[1])
        return ShapeError{.kind = ShapeError::Kind::extents_differ, .a = 0, .b = 0, .axis_a = 0, .axis_b = 1};
      if (a.shape[1] != b.shape[0])
        return ShapeError{.kind = ShapeError::Kind::extents_differ, .a = 0, .b = 1, .axis_a = 1, .axis_b = 0};
      if (a.shape[0].batched || a.shape[0].count < 1) return ShapeError{.kind = ShapeError::Kind::element_counts};
      return b;
    },
    .gradient = solve_gradient,
    .formula = solution,
};

}  // namespace ops
}  // namespace nnc
