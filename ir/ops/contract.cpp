// The contraction: products of two operands, summed over paired axes. Matrix products in all their forms are one op.
#include <algorithm>

#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

/// One factor of a contraction, as its own gradient sees it.
struct Factor {
  Value value;
  std::vector<int> contracted;  ///< in the order of the pairs
  std::vector<int> free;        ///< ascending: the order in which they stand in the result
};

/// Where a factor's contracted axes come to stand among themselves when they are the free axes of another contraction.
int place_among(const std::vector<int>& axes, int axis) {
  return static_cast<int>(std::ranges::count_if(axes, [&](int other) { return other < axis; }));
}

/// The gradient of `x` in x . other, where dy's axes `from_other` are other's free axes and `x_last` says that x is
/// the second factor.
///
/// dx = dy . other, summed over other's free axes: it comes out as [x's free axes, x's contracted axes in the order
/// that `other` has them] (the two groups the other way round if x is the second factor), and a transpose puts them
/// where x has them. If `other` has no free axes there is nothing to sum, and dx is a product of repeated elements.
Value gradient_of(const Factor& x, const Factor& other, Value dy, const std::vector<int>& from_other, bool x_last) {
  Builder& builder = *dy.builder;
  const Shape shape = x.value.type().shape;
  if (other.free.empty()) {
    std::vector<int> axes = x.contracted, permutation;
    std::ranges::sort(axes);
    for (int axis : axes)
      permutation.push_back(other.contracted[std::ranges::find(x.contracted, axis) - x.contracted.begin()]);
    const Value repeated = builder.broadcast(builder.transpose(other.value, permutation), axes, shape);
    return builder.broadcast(dy, x.free, shape) * repeated;
  }
  const Value product = x_last ? builder.dot(other.value, dy, other.free, from_other)
                               : builder.dot(dy, other.value, from_other, other.free);
  const int free_at = x_last ? static_cast<int>(x.contracted.size()) : 0;
  const int contracted_at = x_last ? 0 : static_cast<int>(x.free.size());
  std::vector<int> permutation(shape.size());
  for (std::size_t i = 0; i < x.free.size(); ++i) permutation[x.free[i]] = free_at + static_cast<int>(i);
  for (std::size_t p = 0; p < x.contracted.size(); ++p)
    permutation[x.contracted[p]] = contracted_at + place_among(other.contracted, other.contracted[p]);
  return builder.transpose(product, permutation);
}

}  // namespace

namespace ops {

constinit const OpDef dot{
    .name = "dot",
    .cls = OpClass::contract,
    .arity = 2,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* pairs = std::get_if<Dot>(&query.attributes);
      if (!pairs) return wrong_attributes();
      const Type &a = query.operands[0], &b = query.operands[1];
      if (const auto error = check_dtype(query, 0, floats)) return *error;
      if (a.dtype != b.dtype) return ShapeError{.kind = ShapeError::Kind::types_differ, .a = 0, .b = 1};
      if (pairs->a.empty() || pairs->a.size() != pairs->b.size() || !distinct_axes(pairs->a, a.rank()) ||
          !distinct_axes(pairs->b, b.rank()))
        return wrong_axes();
      for (std::size_t p = 0; p < pairs->a.size(); ++p)
        if (a.shape[pairs->a[p]] != b.shape[pairs->b[p]])
          return ShapeError{
              .kind = ShapeError::Kind::extents_differ, .a = 0, .b = 1, .axis_a = pairs->a[p], .axis_b = pairs->b[p]};
      Type type{a.dtype, {}};
      for (int axis : other_axes(pairs->a, a.rank())) type.shape.push_back(a.shape[axis]);
      for (int axis : other_axes(pairs->b, b.rank())) type.shape.push_back(b.shape[axis]);
      if (!sound(type.shape)) return ShapeError{.kind = ShapeError::Kind::rank, .a = 1};
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const Dot pairs = std::get<Dot>(query.builder[query.y].attributes);
      const Value a_value = operand(query, 0), b_value = operand(query, 1), dy = incoming(query);
      const Factor a{a_value, pairs.a, other_axes(pairs.a, a_value.type().rank())};
      const Factor b{b_value, pairs.b, other_axes(pairs.b, b_value.type().rank())};
      std::vector<int> from_a, from_b;
      for (std::size_t i = 0; i < a.free.size(); ++i) from_a.push_back(static_cast<int>(i));
      for (std::size_t i = 0; i < b.free.size(); ++i) from_b.push_back(static_cast<int>(a.free.size() + i));
      return {gradient_of(a, b, dy, from_b, false), gradient_of(b, a, dy, from_a, true)};
    },
    .range =
        [](const RangeQuery& query) {
          const Range product = query.operands[0] * query.operands[1];
          return range_of_sum({&product, 1});
        },
};

}  // namespace ops
}  // namespace nnc
