// Leaves: what a graph is given from outside, and numbers. Their type is the one that is asked for.
#include <cmath>
#include <limits>

#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

/// Kept from call to call, so its size may not depend on the batch.
TypeOrError kept_type(const ShapeQuery& query) {
  if (!std::holds_alternative<Named>(query.attributes)) return wrong_attributes();
  if (!sound(query.wanted.shape) || is_batched(query.wanted.shape))
    return ShapeError{.kind = ShapeError::Kind::element_counts};
  return query.wanted;
}

TypeOrError given_type(const ShapeQuery& query) {
  if (!std::holds_alternative<Named>(query.attributes)) return wrong_attributes();
  if (!sound(query.wanted.shape)) return ShapeError{.kind = ShapeError::Kind::element_counts};
  return query.wanted;
}

TypeOrError runtime_number_type(const ShapeQuery& query) {
  const auto* named = std::get_if<Named>(&query.attributes);
  if (!named) return wrong_attributes();
  for (std::string_view known : {"step", "epoch", "steps_per_epoch", "total_steps", "rows"})
    if (named->name == known) {
      if (query.wanted != Type{DType::f64, {}}) return ShapeError{.kind = ShapeError::Kind::element_type, .a = -1};
      return query.wanted;
    }
  return wrong_attributes();
}

bool negative_zero(double value) { return value == 0 && std::signbit(value); }

bool representable(double value, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return std::isnan(value) || static_cast<double>(static_cast<float>(value)) == value;
    case DType::f64:
      return true;
    case DType::i32:
      return value == std::trunc(value) && value >= -2147483648.0 && value < 2147483648.0 && !negative_zero(value);
    case DType::boolean:
      return (value == 0 || value == 1) && !negative_zero(value);
  }
  return false;
}

TypeOrError constant_type(const ShapeQuery& query) {
  const auto* constant = std::get_if<Constant>(&query.attributes);
  if (!constant) return wrong_attributes();
  const Type& type = query.wanted;
  if (!sound(type.shape) || element_count(type.shape) != Extent{static_cast<std::int64_t>(constant->values.size())})
    return ShapeError{.kind = ShapeError::Kind::element_counts};
  for (double value : constant->values)
    if (!representable(value, type.dtype)) return wrong_attributes();
  return type;
}

TypeOrError size_type(const ShapeQuery& query) {
  const auto* size = std::get_if<Size>(&query.attributes);
  if (!size || !size->extent.batched || size->extent.count < 0) return wrong_attributes();
  if (!is_float(query.wanted.dtype)) return ShapeError{.kind = ShapeError::Kind::element_type, .a = -1};
  return Type{query.wanted.dtype, {}};
}

}  // namespace

namespace ops {

constinit const OpDef param{
    .name = "param",
    .cls = OpClass::leaf,
    .shape = kept_type,
};
constinit const OpDef state{
    .name = "state",
    .cls = OpClass::leaf,
    .shape = kept_type,
};
constinit const OpDef carry{
    .name = "carry",
    .cls = OpClass::leaf,
    .shape = kept_type,
};
constinit const OpDef input{
    .name = "input",
    .cls = OpClass::leaf,
    .shape = given_type,
};
constinit const OpDef scalar{
    .name = "scalar",
    .cls = OpClass::leaf,
    .shape = runtime_number_type,
};
constinit const OpDef constant{
    .name = "constant",
    .cls = OpClass::leaf,
    .shape = constant_type,
    .range =
        [](const RangeQuery& query) {
          const std::vector<double>& values = std::get<Constant>(query.attributes).values;
          if (values.empty()) return range_of_type(query.type.dtype);
          Range all = range_of_number(values.front());
          for (double value : values) all = std::isnan(value) ? Range{} : either(all, range_of_number(value));
          return all;
        },
};
constinit const OpDef size{
    .name = "size",
    .cls = OpClass::leaf,
    .shape = size_type,
    .range = [](const RangeQuery&) { return Range{.low = 0, .whole = true, .nonzero = true}; },
};

}  // namespace ops
}  // namespace nnc
