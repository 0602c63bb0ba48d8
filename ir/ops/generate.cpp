// Values made from indices alone. Their scalar programs take row, column, index, seed and step (ir/scalar/program.h).
#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

struct Indices {
  Scalar row, column, index, seed, step, stream;
};

/// A program over the inputs that every generate op has, in their fixed order.
template <class Make>
ScalarProgram generated(Make&& make) {
  ScalarBuilder builder;
  const Scalar row = builder.input(ScalarType::i64), column = builder.input(ScalarType::i64),
               index = builder.input(ScalarType::i64), seed = builder.input(ScalarType::i64),
               step = builder.input(ScalarType::i64), stream = builder.input(ScalarType::i64);
  const Scalar y = make(Indices{row, column, index, seed, step, stream});
  return finish(std::move(builder), y);
}

}  // namespace

namespace ops {

// Counts along one axis; along the batch, from the start of the data.
constinit const OpDef iota{
    .name = "iota",
    .cls = OpClass::generate,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      const auto* attributes = std::get_if<Iota>(&query.attributes);
      if (!attributes) return wrong_attributes();
      if (!contains(numbers, query.wanted.dtype)) return ShapeError{.kind = ShapeError::Kind::element_type, .a = -1};
      if (!sound(query.wanted.shape)) return ShapeError{.kind = ShapeError::Kind::element_counts};
      if (attributes->axis < 0 || attributes->axis >= query.wanted.rank()) return wrong_axes();
      return query.wanted;
    },
    .scalar =
        [](std::span<const DType>, DType dtype, const Attributes&) {
          return generated([&](const Indices& at) { return convert(at.index, scalar_type(dtype)); });
        },
    .range =
        [](const RangeQuery& query) {
          const Extent extent = query.type.shape[std::get<Iota>(query.attributes).axis];
          return extent.batched ? Range{.low = 0, .whole = true}
                                : range_of_counts(static_cast<double>(extent.count - 1));
        },
};

// Uniform in [0, 1), the same for the same seed, step, stream and place, wherever it is computed.
constinit const OpDef random{
    .name = "random",
    .cls = OpClass::generate,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (!std::holds_alternative<Random>(query.attributes)) return wrong_attributes();
      if (!is_float(query.wanted.dtype)) return ShapeError{.kind = ShapeError::Kind::element_type, .a = -1};
      if (!sound(query.wanted.shape)) return ShapeError{.kind = ShapeError::Kind::element_counts};
      return query.wanted;
    },
    .scalar =
        [](std::span<const DType>, DType dtype, const Attributes&) {
          return generated([&](const Indices& at) {
            return nnc::scalar::uniform(at.row, at.column, at.seed, at.step, at.stream, scalar_type(dtype));
          });
        },
    .range = [](const RangeQuery&) { return range_between(0, 1); },
};

}  // namespace ops
}  // namespace nnc
