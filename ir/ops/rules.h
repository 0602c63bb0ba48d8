// What the op definitions share: checks of shapes, and adapters that let a rule be written as one expression over its
// operands.
#pragma once

#include <array>
#include <optional>

#include "ir/builder.h"
#include "ir/op.h"
#include "ir/scalar/builder.h"

namespace nnc::rules {

/// Sets of element types that an op takes.
using DTypes = unsigned;
constexpr DTypes only(DType dtype) { return 1u << static_cast<unsigned>(dtype); }
inline constexpr DTypes floats = only(DType::f32) | only(DType::f64);
inline constexpr DTypes numbers = floats | only(DType::i32);
inline constexpr DTypes booleans = only(DType::boolean);
inline constexpr DTypes anything = numbers | booleans;
constexpr bool contains(DTypes set, DType dtype) { return (set & only(dtype)) != 0; }

/// Extents are not negative and at most one is batched: what every shape must be.
inline bool sound(const Shape& shape) {
  int batched = 0;
  for (const Extent& extent : shape) {
    if (extent.count < 0) return false;
    batched += extent.batched;
  }
  return batched <= 1;
}

inline std::optional<ShapeError> check_dtype(const ShapeQuery& query, int operand, DTypes accepted) {
  if (contains(accepted, query.operands[operand].dtype)) return std::nullopt;
  return ShapeError{.kind = ShapeError::Kind::element_type, .a = operand};
}

inline ShapeError wrong_attributes() { return {.kind = ShapeError::Kind::attributes}; }
inline ShapeError wrong_axes() { return {.kind = ShapeError::Kind::axis_range}; }

/// Axes of a list are all within `rank` and none stands twice.
inline bool distinct_axes(const std::vector<int>& axes, int rank) {
  std::vector<bool> seen(rank, false);
  for (int axis : axes) {
    if (axis < 0 || axis >= rank || seen[axis]) return false;
    seen[axis] = true;
  }
  return true;
}
inline bool ascending_axes(const std::vector<int>& axes, int rank) {
  for (std::size_t i = 0; i < axes.size(); ++i)
    if (axes[i] < 0 || axes[i] >= rank || (i > 0 && axes[i - 1] >= axes[i])) return false;
  return true;
}
/// The axes below `rank` that `axes` does not list, ascending.
inline std::vector<int> other_axes(const std::vector<int>& axes, int rank) {
  std::vector<bool> listed(rank, false);
  for (int axis : axes) listed[axis] = true;
  std::vector<int> rest;
  for (int axis = 0; axis < rank; ++axis)
    if (!listed[axis]) rest.push_back(axis);
  return rest;
}

/// How many windows of `size` elements, `dilation` apart, fit along an axis when they begin `stride` apart.
inline std::optional<std::int64_t> window_count(std::int64_t extent, std::int64_t size, std::int64_t stride,
                                                std::int64_t dilation) {
  if (extent < 1 || size < 1 || stride < 1 || dilation < 1 || size - 1 > (extent - 1) / dilation) return std::nullopt;
  return (extent - 1 - (size - 1) * dilation) / stride + 1;
}

// Gradient rules as expressions: y is the result, dy its gradient.

inline Value operand(const GradientQuery& query, std::size_t index) {
  return {&query.builder, query.builder[query.y].operands[index]};
}
inline Value result(const GradientQuery& query) { return {&query.builder, query.y}; }
inline Value incoming(const GradientQuery& query) { return {&query.builder, query.dy}; }

/// rule(x, y, dy) -> dx
template <auto rule>
Gradients of_one(const GradientQuery& query) {
  return {rule(operand(query, 0), result(query), incoming(query))};
}
/// rule(a, b, y, dy) -> {da, db}
template <auto rule>
Gradients of_two(const GradientQuery& query) {
  return rule(operand(query, 0), operand(query, 1), result(query), incoming(query));
}
/// Constant almost everywhere: no gradient flows.
inline Gradients none(const GradientQuery& query) { return Gradients(query.builder[query.y].operands.size()); }

// Scalar programs as expressions over the elements.

inline ScalarProgram finish(ScalarBuilder&& builder, Scalar y) { return std::move(builder).finish({&y, 1}); }

template <auto function>
ScalarProgram element_of_one(std::span<const DType> operands, DType, const Attributes&) {
  ScalarBuilder builder;
  const Scalar x = builder.input(scalar_type(operands[0]));
  return finish(std::move(builder), function(x));
}
template <auto function>
ScalarProgram element_of_two(std::span<const DType> operands, DType, const Attributes&) {
  ScalarBuilder builder;
  const Scalar a = builder.input(scalar_type(operands[0]));
  const Scalar b = builder.input(scalar_type(operands[1]));
  return finish(std::move(builder), function(a, b));
}

/// A number of the type of `x`.
inline Scalar number_like(Scalar x, double value) { return x.builder->constant(value, x.type()); }
/// Both floats and integers have these; `floating` and `integer` are the two opcodes.
inline Scalar arithmetic(ScalarOp floating, ScalarOp integer, Scalar a, Scalar b) {
  const bool whole = a.type() == ScalarType::i32 || a.type() == ScalarType::i64;
  return a.builder->make(whole ? integer : floating, a.type(), {{a, b}});
}

}  // namespace nnc::rules
