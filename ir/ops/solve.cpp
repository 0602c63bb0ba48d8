// Ops that are formulas in others: `expand` puts the formula in their place, after they were differentiated as what
// they are.
#include <algorithm>
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

/// Row j is column j of the factor L with L Lt = A, zeros above the diagonal (Cholesky, Golub and Van Loan 4.2.5, outer
/// products): l = a[:, j] / sqrt(a[j, j]) from row j on, then A - l lt goes to the next step. A pivot that is not
/// positive makes what follows NaN.
Value factor(Value a, Value here, Value below) {
  Builder& builder = *a.builder;
  const Type type = a.type(), row{type.dtype, {type.shape[0]}}, mask{DType::boolean, row.shape};
  Builder step("cholesky");
  const Value rest = step.leaf(Op::input, "rest", type), at = step.leaf(Op::input, "at", mask),
              under = step.leaf(Op::input, "under", mask);
  const Value column = element_at(at, rest);
  const Value pivot = element_at(at, column);
  const Value positive = apply(Op::less, step.constant(0, type.dtype), pivot);
  const Value root = step.select(positive, apply(Op::sqrt, pivot), step.constant(std::nan(""), type.dtype));
  const Value l = step.select(under, column / root, zeros(step, type.dtype, row.shape));
  const Value next = rest - outer_product(l, l, type.shape);
  return loop(builder, step, {"rest", "at", "under"}, std::vector{next.id, l.id}, std::vector{a, here, below},
              over(type.shape[0].count, 1, false, 2));
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

// ---- is it singular, but for rounding?

/// Additions and other roundings that lie between what a graph is given and one of its values, on the longest way: so
/// many, and so many for each row of the batch.
struct Roundings {
  double fixed = 0, of_rows = 0;
};

void add_terms(Roundings& roundings, const Shape& shape, std::span<const int> axes) {
  double terms = 1;
  bool rows = false;
  for (const int axis : axes) {
    terms *= static_cast<double>(shape[static_cast<std::size_t>(axis)].count);
    rows = rows || shape[static_cast<std::size_t>(axis)].batched;
  }
  (rows ? roundings.of_rows : roundings.fixed) += terms;
}

Roundings roundings_of(const Graph& graph, NodeId id) {
  std::vector<Roundings> found(id + 1);
  for (NodeId at = 0; at <= id; ++at) {
    const Node& node = graph.nodes[at];
    Roundings& here = found[at];
    for (const NodeId operand : node.operands) {
      here.fixed = std::max(here.fixed, found[operand].fixed);
      here.of_rows = std::max(here.of_rows, found[operand].of_rows);
    }
    if (const auto* dot = std::get_if<Dot>(&node.attributes))
      add_terms(here, graph.nodes[node.operands[0]].type.shape, dot->a);
    else if (const auto* reduce = std::get_if<Reduce>(&node.attributes); reduce && node.op == Op::sum)
      add_terms(here, graph.nodes[node.operands[0]].type.shape, reduce->axes);
    else if (const auto* scan = std::get_if<Scan>(&node.attributes))
      here.fixed += static_cast<double>(scan->steps);
    else if (definition(node.op).cls == OpClass::elementwise)
      here.fixed += 1;
  }
  return found[id];
}

/// How far an element a[i, j] may be from what it would be without rounding, as a share of sqrt(a[i, i] a[j, j]). k
/// roundings, each as likely up as down, come to more than 6 sqrt(k) units with a probability of 3e-8 (Higham and Mary
/// 2019, theorem 2.4: 2 exp(-18)); the factorisation of n rows adds n + 1 units (Higham 2002, theorem 10.3), and that
/// the numbers of A are rounded at all, one.
Value rounding_of(Value a) {
  Builder& builder = *a.builder;
  const Type type = a.type();
  const double unit = type.dtype == DType::f64 ? 0x1p-53 : 0x1p-24, n = static_cast<double>(type.shape[0].count);
  const Roundings roundings = roundings_of(builder.graph(), a.id);
  const Value k = roundings.fixed + roundings.of_rows * builder.size(Extent{1, true}, type.dtype);
  return (6 * unit) * apply(Op::sqrt, k) + (n + 2) * unit;
}

/// Whether no matrix that is as near to A as rounding is singular, as far as the factorisation tells. Row j of
/// L^-1, times l[j, j], is a v with v[j] = 1 and vt A v = l[j, j]^2, the pivot. The elements of A can be changed by the
/// share e so that vt A v = 0 where e (sum |v[i]| sqrt(a[i, i]))^2 is the pivot or more: what v amplifies is counted,
/// and units of measurement are not. With Z = L^-1 diag(sqrt(a[i, i])) that is e |Z[j, :]|^2 >= 1 in the 1-norm. (The
/// componentwise distance to singularity of the equilibrated matrix: Demmel 1992; Higham 2002, 7.5 and 10.1.)
Value is_regular(Value a, Value l, Value here) {
  Builder& builder = *a.builder;
  const Type type = a.type();
  const Value none = zeros(builder, type.dtype, type.shape);
  const Value z = forward_substitution(l, builder.select(here, apply(Op::sqrt, a), none), here);
  const Value reach = builder.sum(apply(Op::abs, z), {1});
  const Value greatest = builder.make(Op::reduce_max, std::vector{reach}, Reduce{.axes = {0}});
  return apply(Op::less, rounding_of(a) * greatest * greatest, builder.constant(1, type.dtype));
}

/// x with A x = b by a factorisation and two substitutions.
Value solution(Builder& builder, std::span<const Value> operands) {
  const Type type = operands[1].type();
  const Shape square = operands[0].type().shape;
  const Value row = builder.make(Op::iota, {}, Iota{0}, {DType::i32, square});
  const Value column = builder.make(Op::iota, {}, Iota{1}, {DType::i32, square});
  const Value here = apply(Op::equal, row, column), below = apply(Op::less_equal, row, column);
  Shape matrix = type.shape;
  if (matrix.size() == 1) matrix.push_back(Extent{1, false});
  const Value a = symmetric_part(operands[0]), l = factor(a, here, below);
  const Value z = forward_substitution(l, builder.reshape(operands[1], matrix), here);
  const Value x = builder.reshape(back_substitution(l, z, here), type.shape);
  return builder.select(is_regular(a, l, here), x, builder.constant(std::nan(""), type.dtype));
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
// NaN where A is not positive definite, or where a matrix as near to it as rounding is singular.
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
