// Ops that take axes away. A second operand of sum and reduce_max is a carry: the total that a fold over a whole split
// starts from (docs/architecture.md, "Order of additions").
#include <algorithm>

#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

Type without_axes(const Type& type, const std::vector<int>& axes) {
  Type kept{type.dtype, {}};
  for (int axis : other_axes(axes, type.rank())) kept.shape.push_back(type.shape[axis]);
  return kept;
}

/// The type of a reduction of operand 0 to `result` elements; a carry has `carried` elements and sets the result.
TypeOrError reduced_type(const ShapeQuery& query, DType result, DType carried) {
  if (query.operands.empty() || query.operands.size() > 2) return ShapeError{.kind = ShapeError::Kind::operand_count};
  const auto* reduce = std::get_if<Reduce>(&query.attributes);
  if (!reduce) return wrong_attributes();
  if (const auto error = check_dtype(query, 0, numbers)) return *error;
  if (reduce->axes.empty() || !ascending_axes(reduce->axes, query.operands[0].rank())) return wrong_axes();
  Type type = without_axes(query.operands[0], reduce->axes);
  type.dtype = result;
  if (query.operands.size() == 1) return type;

  type.dtype = carried;
  const Type& carry = query.operands[1];
  if (carry.dtype != carried) return ShapeError{.kind = ShapeError::Kind::element_type, .a = 1};
  if (carry.rank() != type.rank()) return ShapeError{.kind = ShapeError::Kind::rank, .a = 1};
  if (carry.shape != type.shape) return ShapeError{.kind = ShapeError::Kind::element_counts};
  return type;
}

/// The axes of x that y = reduce(x) still has.
std::vector<int> kept_axes(const GradientQuery& query) {
  const auto& reduce = std::get<Reduce>(query.builder[query.y].attributes);
  return other_axes(reduce.axes, operand(query, 0).type().rank());
}

/// For a carry, if there is one: what came before adds to the total as it is, and takes no part in a maximum's
/// gradient.
Gradients with_carry(const GradientQuery& query, Value dx, std::optional<Value> dcarry) {
  if (query.builder[query.y].operands.size() == 1) return {dx};
  return {dx, dcarry};
}

}  // namespace

namespace ops {

constinit const OpDef sum{
    .name = "sum",
    .cls = OpClass::reduce,
    .arity = -1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      return reduced_type(query, query.operands.empty() ? DType::f32 : query.operands[0].dtype, DType::f64);
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const Type x = operand(query, 0).type();
      const Value dy = incoming(query);
      return with_carry(query, query.builder.broadcast(query.builder.cast(dy, x.dtype), kept_axes(query), x.shape), dy);
    },
    .range = [](const RangeQuery& query) { return range_of_sum(query.operands); },
};

// The greatest elements share the gradient evenly.
constinit const OpDef reduce_max{
    .name = "reduce_max",
    .cls = OpClass::reduce,
    .arity = -1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const DType dtype = query.operands.empty() ? DType::f32 : query.operands[0].dtype;
      const auto* reduce = std::get_if<Reduce>(&query.attributes);
      if (reduce && reduce->order != Order::unset) return wrong_attributes();
      return reduced_type(query, dtype, dtype);
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      Builder& builder = query.builder;
      const Value x = operand(query, 0);
      const Shape shape = x.type().shape;
      const DType dtype = x.type().dtype;
      const std::vector<int> kept = kept_axes(query);
      const Value greatest = apply(Op::equal, x, builder.broadcast(result(query), kept, shape));
      const Value ties = builder.sum(builder.cast(greatest, dtype), other_axes(kept, static_cast<int>(shape.size())));
      const Value share = builder.broadcast(incoming(query) / ties, kept, shape);
      return with_carry(query, builder.select(greatest, share, builder.constant(0, dtype)), std::nullopt);
    },
    .range =
        [](const RangeQuery& query) {
          const Range x = query.operands.front();
          return query.operands.size() == 1 ? x : either(x, query.operands[1]);
        },
};

// The index of the first greatest element; a NaN is the greatest.
constinit const OpDef argmax{
    .name = "argmax",
    .cls = OpClass::reduce,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* reduce = std::get_if<Reduce>(&query.attributes);
      if (!reduce || reduce->order != Order::unset) return wrong_attributes();
      if (reduce->axes.size() != 1) return wrong_axes();
      return reduced_type(query, DType::i32, DType::i32);
    },
    .range = [](const RangeQuery&) { return Range{.low = 0, .whole = true}; },
};

// The sum of all elements that windows show of one place; places that no window shows are 0. Its gradient is the
// window.
constinit const OpDef overlap_add{
    .name = "overlap_add",
    .cls = OpClass::reduce,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<OverlapAdd>(&query.attributes);
      if (!attributes) return wrong_attributes();
      if (const auto error = check_dtype(query, 0, numbers)) return *error;
      Type type = query.operands[0];
      const auto [axis, extent, stride, dilation] = *attributes;
      if (axis < 0 || axis + 1 >= type.rank() || type.shape[axis].batched || type.shape[axis + 1].batched)
        return wrong_axes();
      if (window_count(extent, type.shape[axis + 1].count, stride, dilation) != type.shape[axis].count)
        return wrong_attributes();
      type.shape[axis].count = extent;
      type.shape.erase(type.shape.begin() + axis + 1);
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const auto [axis, extent, stride, dilation] = std::get<OverlapAdd>(query.builder[query.y].attributes);
      const std::int64_t shown = operand(query, 0).type().shape[axis + 1].count;
      return {query.builder.window(incoming(query), axis, shown, stride, dilation)};
    },
    .range =
        [](const RangeQuery& query) {
          return either(range_of_sum(query.operands), range_of_number(0));  // a place may be in no window
        },
};

}  // namespace ops
}  // namespace nnc
