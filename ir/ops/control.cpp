// Ops about the gradient itself. None computes anything of its own.
#include "ir/ops/rules.h"

namespace nnc {

using namespace rules;

namespace ops {

// The operand, seen as a constant by every gradient.
constinit const OpDef stop_gradient{
    .name = "stop_gradient",
    .cls = OpClass::control,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (!std::holds_alternative<NoAttributes>(query.attributes)) return wrong_attributes();
      return query.operands[0];
    },
    .gradient = none,
    .scalar = element_of_one<[](Scalar x) { return x; }>,
    .range = [](const RangeQuery& query) { return query.operands[0]; },
};

// The operand, as a value of its own: `grad(e, point)` is the derivative by this one and by no other that happens to be
// computed alike. (Equal nodes are one, and numbers are computed before gradients are taken.)
constinit const OpDef point{
    .name = "point",
    .cls = OpClass::control,
    .arity = 1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (!std::holds_alternative<Numbered>(query.attributes)) return wrong_attributes();
      if (const auto error = check_dtype(query, 0, floats)) return *error;
      return query.operands[0];
    },
    .gradient = of_one<[](Value, Value, Value dy) { return dy; }>,
    .scalar = element_of_one<[](Scalar x) { return x; }>,
    .range = [](const RangeQuery& query) { return query.operands[0]; },
};

// grad(e, x): the derivative of the number e by x. `differentiate` removes it, innermost first, so it has no rule
// itself.
constinit const OpDef grad{
    .name = "grad",
    .cls = OpClass::control,
    .arity = 2,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (!std::holds_alternative<NoAttributes>(query.attributes)) return wrong_attributes();
      if (const auto error = check_dtype(query, 0, floats)) return *error;
      if (const auto error = check_dtype(query, 1, floats)) return *error;
      if (query.operands[0].rank() != 0) return ShapeError{.kind = ShapeError::Kind::rank};
      return query.operands[1];
    },
};

}  // namespace ops
}  // namespace nnc
