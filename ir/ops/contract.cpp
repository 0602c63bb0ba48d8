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
  std::vector<int> batch;       ///< likewise
  std::vector<int> free;        ///< ascending: the order in which they stand in the result
};

std::vector<int> free_axes(const std::vector<int>& contracted, const std::vector<int>& batch, int rank) {
  std::vector<int> taken = contracted;
  taken.insert(taken.end(), batch.begin(), batch.end());
  return other_axes(taken, rank);
}

std::vector<int> counted_from(std::size_t first, std::size_t count) {
  std::vector<int> axes(count);
  for (std::size_t i = 0; i < count; ++i) axes[i] = static_cast<int>(first + i);
  return axes;
}

/// Where a factor's contracted axes come to stand among themselves when they are the free axes of another contraction.
int place_among(const std::vector<int>& axes, int axis) {
  return static_cast<int>(std::ranges::count_if(axes, [&](int other) { return other < axis; }));
}

/// dx where `other` has no free axes: there is nothing to sum, and dx is dy times `other`, each repeated along the axes
/// that it does not have. `other` is brought into the order of the axes that it shares with x.
Value gradient_by_repetition(const Factor& x, const Factor& other, Value dy) {
  Builder& builder = *dy.builder;
  const Shape shape = x.value.type().shape;
  std::vector<int> shared = x.contracted, partners = other.contracted;
  shared.insert(shared.end(), x.batch.begin(), x.batch.end());
  partners.insert(partners.end(), other.batch.begin(), other.batch.end());
  std::vector<int> axes = shared, permutation;
  std::ranges::sort(axes);
  for (int axis : axes) permutation.push_back(partners[std::ranges::find(shared, axis) - shared.begin()]);
  const Value repeated = builder.broadcast(builder.transpose(other.value, permutation), axes, shape);

  std::vector<int> kept = x.batch;  // where the axes of dy stand in x
  kept.insert(kept.end(), x.free.begin(), x.free.end());
  std::vector<int> ascending = kept, order;
  std::ranges::sort(ascending);
  for (int axis : ascending) order.push_back(static_cast<int>(std::ranges::find(kept, axis) - kept.begin()));
  return builder.broadcast(builder.transpose(dy, order), ascending, shape) * repeated;
}

/// The gradient of `x` in x . other, where dy's axes `from_other` are other's free axes and `x_last` says that x is
/// the second factor; dy's first axes are the batch.
///
/// dx = dy . other, summed over other's free axes: it comes out as [batch, x's free axes, x's contracted axes in the
/// order that `other` has them] (the last two groups the other way round if x is the second factor), and a transpose
/// puts them where x has them.
Value gradient_of(const Factor& x, const Factor& other, Value dy, const std::vector<int>& from_other, bool x_last) {
  if (other.free.empty()) return gradient_by_repetition(x, other, dy);
  Builder& builder = *dy.builder;
  const std::size_t batch = x.batch.size();
  const std::vector<int> from_batch = counted_from(0, batch);
  const Value product = x_last ? builder.dot(other.value, dy, other.free, from_other, other.batch, from_batch)
                               : builder.dot(dy, other.value, from_other, other.free, from_batch, other.batch);
  const std::size_t free_at = batch + (x_last ? x.contracted.size() : 0);
  const std::size_t contracted_at = batch + (x_last ? 0 : x.free.size());
  std::vector<int> permutation(x.value.type().shape.size());
  for (std::size_t i = 0; i < batch; ++i) permutation[x.batch[i]] = static_cast<int>(i);
  for (std::size_t i = 0; i < x.free.size(); ++i) permutation[x.free[i]] = static_cast<int>(free_at + i);
  for (std::size_t p = 0; p < x.contracted.size(); ++p)
    permutation[x.contracted[p]] = static_cast<int>(contracted_at) + place_among(other.contracted, other.contracted[p]);
  return builder.transpose(product, permutation);
}

/// Whether two lists pair axes of both operands, and no axis stands in two pairs.
bool pairs_fit(const Dot& pairs, int rank_a, int rank_b) {
  std::vector<int> a = pairs.a, b = pairs.b;
  a.insert(a.end(), pairs.batch_a.begin(), pairs.batch_a.end());
  b.insert(b.end(), pairs.batch_b.begin(), pairs.batch_b.end());
  return !pairs.a.empty() && pairs.a.size() == pairs.b.size() && pairs.batch_a.size() == pairs.batch_b.size() &&
         distinct_axes(a, rank_a) && distinct_axes(b, rank_b);
}

/// The first pair whose extents differ.
std::optional<ShapeError> check_pairs(const Type& a, const Type& b, const std::vector<int>& axes_a,
                                      const std::vector<int>& axes_b) {
  for (std::size_t p = 0; p < axes_a.size(); ++p)
    if (a.shape[axes_a[p]] != b.shape[axes_b[p]])
      return ShapeError{
          .kind = ShapeError::Kind::extents_differ, .a = 0, .b = 1, .axis_a = axes_a[p], .axis_b = axes_b[p]};
  return std::nullopt;
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
      if (!pairs_fit(*pairs, a.rank(), b.rank())) return wrong_axes();
      if (const auto error = check_pairs(a, b, pairs->a, pairs->b)) return *error;
      if (const auto error = check_pairs(a, b, pairs->batch_a, pairs->batch_b)) return *error;
      Type type{a.dtype, {}};
      for (int axis : pairs->batch_a) type.shape.push_back(a.shape[axis]);
      for (int axis : free_axes(pairs->a, pairs->batch_a, a.rank())) type.shape.push_back(a.shape[axis]);
      for (int axis : free_axes(pairs->b, pairs->batch_b, b.rank())) type.shape.push_back(b.shape[axis]);
      if (!sound(type.shape)) return ShapeError{.kind = ShapeError::Kind::rank, .a = 1};
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const Dot pairs = std::get<Dot>(query.builder[query.y].attributes);
      const Value a_value = operand(query, 0), b_value = operand(query, 1), dy = incoming(query);
      const Factor a{a_value, pairs.a, pairs.batch_a, free_axes(pairs.a, pairs.batch_a, a_value.type().rank())};
      const Factor b{b_value, pairs.b, pairs.batch_b, free_axes(pairs.b, pairs.batch_b, b_value.type().rank())};
      const std::size_t batch = pairs.batch_a.size();
      const std::vector<int> from_a = counted_from(batch, a.free.size());
      const std::vector<int> from_b = counted_from(batch + a.free.size(), b.free.size());
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
