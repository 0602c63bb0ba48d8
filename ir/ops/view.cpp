// Ops that only say where elements lie: another shape over the same row-major elements, repetition, another order of
// axes, parts, zeros around, pieces side by side, windows. Those that choose elements along an axis show the batch
// whole.
#include <algorithm>

#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

using Dims = std::vector<std::int64_t>;

std::vector<int> inverse(const std::vector<int>& permutation) {
  std::vector<int> result(permutation.size());
  for (std::size_t i = 0; i < permutation.size(); ++i) result[permutation[i]] = static_cast<int>(i);
  return result;
}

constexpr std::int64_t longest = std::int64_t{1} << 31;  // of what is padded, so that nothing overflows

/// Whether start, start + step, ... (`count` of them) all lie in [0, extent).
bool lies_inside(std::int64_t start, std::int64_t step, std::int64_t count, std::int64_t extent) {
  if (count == 0) return start == 0;
  if (start < 0 || start >= extent || step == 0) return false;
  if (count == 1) return true;
  return step <= extent && step >= -extent && count - 1 <= (step > 0 ? (extent - 1 - start) / step : start / -step);
}

bool is_between(std::int64_t low, std::int64_t number, std::int64_t high) { return low <= number && number <= high; }

/// The gradient of a slice: dy, turned round where a step is negative, with zeros wherever no element was taken.
Value unsliced(Value x, Value dy, const Slice& slice) {
  const Shape shape = x.type().shape, taken = dy.type().shape;
  Slice forwards{Dims(shape.size(), 0), Dims(shape.size(), 1)};
  Pad pad{Dims(shape.size(), 0), Dims(shape.size(), 0), Dims(shape.size(), 0)};
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const std::int64_t count = taken[axis].count;
    if (shape[axis].batched) continue;
    if (count == 0) {
      pad.high[axis] = shape[axis].count;
      continue;
    }
    const std::int64_t first = slice.starts[axis], last = first + slice.steps[axis] * (count - 1);
    if (first > last) forwards.starts[axis] = count - 1, forwards.steps[axis] = -1;
    pad.low[axis] = std::min(first, last);
    pad.high[axis] = shape[axis].count - 1 - std::max(first, last);
    if (count > 1) pad.between[axis] = std::abs(slice.steps[axis]) - 1;
  }
  const Value turned = dy.builder->slice(dy, std::move(forwards.starts), std::move(forwards.steps), taken);
  return dy.builder->pad(turned, std::move(pad.low), std::move(pad.high), std::move(pad.between));
}

}  // namespace

namespace ops {

constinit const OpDef reshape{
    .name = "reshape",
    .cls = OpClass::view,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (!std::holds_alternative<NoAttributes>(query.attributes)) return wrong_attributes();
      const Type& x = query.operands[0];
      if (!sound(query.wanted.shape) || element_count(x.shape) != element_count(query.wanted.shape))
        return ShapeError{.kind = ShapeError::Kind::element_counts};
      return Type{x.dtype, query.wanted.shape};
    },
    .gradient = of_one<[](Value x, Value, Value dy) { return dy.builder->reshape(dy, x.type().shape); }>,
};

constinit const OpDef broadcast{
    .name = "broadcast",
    .cls = OpClass::view,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<Broadcast>(&query.attributes);
      if (!attributes) return wrong_attributes();
      const Type& x = query.operands[0];
      const Shape& shape = query.wanted.shape;
      if (!sound(shape)) return ShapeError{.kind = ShapeError::Kind::element_counts};
      if (static_cast<int>(attributes->axes.size()) != x.rank()) return ShapeError{.kind = ShapeError::Kind::rank};
      if (!ascending_axes(attributes->axes, static_cast<int>(shape.size()))) return wrong_axes();
      for (int axis = 0; axis < x.rank(); ++axis)
        if (x.shape[axis] != shape[attributes->axes[axis]])
          return ShapeError{.kind = ShapeError::Kind::element_counts, .axis_a = axis};
      return Type{x.dtype, shape};
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const auto& axes = std::get<Broadcast>(query.builder[query.y].attributes).axes;
      return {query.builder.sum(incoming(query), other_axes(axes, result(query).type().rank()))};
    },
};

constinit const OpDef transpose{
    .name = "transpose",
    .cls = OpClass::view,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<Transpose>(&query.attributes);
      if (!attributes) return wrong_attributes();
      const Type& x = query.operands[0];
      if (static_cast<int>(attributes->permutation.size()) != x.rank() ||
          !distinct_axes(attributes->permutation, x.rank()))
        return wrong_axes();
      Type type{x.dtype, {}};
      for (int axis : attributes->permutation) type.shape.push_back(x.shape[axis]);
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const auto& permutation = std::get<Transpose>(query.builder[query.y].attributes).permutation;
      return {query.builder.transpose(incoming(query), inverse(permutation))};
    },
};

// Gradient: zeros where nothing was taken.
constinit const OpDef slice{
    .name = "slice",
    .cls = OpClass::view,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<Slice>(&query.attributes);
      if (!attributes) return wrong_attributes();
      const Type& x = query.operands[0];
      const Shape& shape = query.wanted.shape;
      if (!sound(shape)) return ShapeError{.kind = ShapeError::Kind::element_counts};
      for (const std::size_t given : {shape.size(), attributes->starts.size(), attributes->steps.size()})
        if (given != x.shape.size()) return ShapeError{.kind = ShapeError::Kind::rank};
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        const std::int64_t start = attributes->starts[axis], step = attributes->steps[axis];
        const bool whole = shape[axis] == x.shape[axis] && start == 0 && step == 1;
        const bool is_static = !x.shape[axis].batched && !shape[axis].batched;
        if (!whole && (!is_static || !lies_inside(start, step, shape[axis].count, x.shape[axis].count)))
          return wrong_attributes();
      }
      return Type{x.dtype, shape};
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const Slice attributes = std::get<Slice>(query.builder[query.y].attributes);
      return {unsliced(operand(query, 0), incoming(query), attributes)};
    },
};

// Gradient: the elements between the zeros.
constinit const OpDef pad{
    .name = "pad",
    .cls = OpClass::view,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<Pad>(&query.attributes);
      if (!attributes) return wrong_attributes();
      Type type = query.operands[0];
      for (const std::vector<std::int64_t>* list : {&attributes->low, &attributes->high, &attributes->between})
        if (list->size() != type.shape.size()) return ShapeError{.kind = ShapeError::Kind::rank};
      for (std::size_t axis = 0; axis < type.shape.size(); ++axis) {
        const std::int64_t low = attributes->low[axis], high = attributes->high[axis];
        const std::int64_t between = attributes->between[axis];
        if (low == 0 && high == 0 && between == 0) continue;
        std::int64_t& count = type.shape[axis].count;
        if (type.shape[axis].batched || count > longest || !is_between(0, low, longest) ||
            !is_between(0, high, longest) || !is_between(0, between, longest))
          return wrong_attributes();
        count = low + count + between * std::max<std::int64_t>(count - 1, 0) + high;
      }
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const Pad attributes = std::get<Pad>(query.builder[query.y].attributes);
      const Shape shape = operand(query, 0).type().shape;
      std::vector<std::int64_t> steps = attributes.between;
      for (std::int64_t& step : steps) ++step;
      return {query.builder.slice(incoming(query), attributes.low, steps, shape)};
    },
    .range = [](const RangeQuery& query) { return either(query.operands[0], range_of_number(0)); },
};

// Gradient: each operand's own part.
constinit const OpDef concat{
    .name = "concat",
    .cls = OpClass::view,
    .arity = -1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<Concat>(&query.attributes);
      if (!attributes) return wrong_attributes();
      if (query.operands.empty()) return ShapeError{.kind = ShapeError::Kind::operand_count};
      Type type = query.operands[0];
      const int along = attributes->axis;
      if (along < 0 || along >= type.rank() || type.shape[along].batched) return wrong_axes();
      for (int i = 1; i < static_cast<int>(query.operands.size()); ++i) {
        const Type& x = query.operands[i];
        if (x.dtype != type.dtype) return ShapeError{.kind = ShapeError::Kind::types_differ, .a = 0, .b = i};
        if (x.rank() != type.rank()) return ShapeError{.kind = ShapeError::Kind::rank, .a = i};
        if (x.shape[along].batched) return wrong_axes();
        for (int axis = 0; axis < type.rank(); ++axis)
          if (axis != along && x.shape[axis] != type.shape[axis])
            return ShapeError{.kind = ShapeError::Kind::extents_differ, .a = 0, .b = i, .axis_a = axis, .axis_b = axis};
        type.shape[along].count += x.shape[along].count;
      }
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const int along = std::get<Concat>(query.builder[query.y].attributes).axis;
      const std::size_t count = query.builder[query.y].operands.size();
      Gradients gradients;
      std::int64_t start = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const Shape shape = operand(query, i).type().shape;
        std::vector<std::int64_t> starts(shape.size(), 0), steps(shape.size(), 1);
        if (shape[along].count > 0) starts[along] = start;
        start += shape[along].count;
        gradients.push_back(query.builder.slice(incoming(query), std::move(starts), std::move(steps), shape));
      }
      return gradients;
    },
};

// Gradient: an element gets the sum of what arrives in all windows that show it.
constinit const OpDef window{
    .name = "window",
    .cls = OpClass::view,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<Window>(&query.attributes);
      if (!attributes) return wrong_attributes();
      Type type = query.operands[0];
      const int axis = attributes->axis;
      if (axis < 0 || axis >= type.rank() || type.shape[axis].batched) return wrong_axes();
      const auto count =
          window_count(type.shape[axis].count, attributes->size, attributes->stride, attributes->dilation);
      if (!count) return wrong_attributes();
      type.shape[axis].count = *count;
      type.shape.insert(type.shape.begin() + axis + 1, Extent{attributes->size});
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const Window shown = std::get<Window>(query.builder[query.y].attributes);
      const std::int64_t extent = operand(query, 0).type().shape[shown.axis].count;
      return {query.builder.overlap_add(incoming(query), shown.axis, extent, shown.stride, shown.dilation)};
    },
};

}  // namespace ops
}  // namespace nnc
