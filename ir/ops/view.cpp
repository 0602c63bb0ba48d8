// Ops that only say where elements lie: another shape over the same row-major elements, repetition, another order of
// axes.
#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

std::vector<int> inverse(const std::vector<int>& permutation) {
  std::vector<int> result(permutation.size());
  for (std::size_t i = 0; i < permutation.size(); ++i) result[permutation[i]] = static_cast<int>(i);
  return result;
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

}  // namespace ops
}  // namespace nnc
