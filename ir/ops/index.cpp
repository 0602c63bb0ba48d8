// Scatter by their numbers. gather reads rows of a table, scatter_add adds rows to those of a table of zeros; each is
// the other's adjoint. A number outside the table means the nearest row that there is, so that no memory beside the
// table is ever touched; that there is none outside is an obligation, which loaders check.
#include "ir/ops/rules.h"

namespace nnc {

namespace {

using namespace rules;

/// Ids are i32 of any shape, in operand 1.
std::optional<ShapeError> check_ids(const ShapeQuery& query) { return check_dtype(query, 1, only(DType::i32)); }

Value ids_of(const GradientQuery& query) { return operand(query, 1); }

}  // namespace

namespace ops {

// gather(table [N, rest...], ids) is [ids..., rest...].
constinit const OpDef gather{
    .name = "gather",
    .cls = OpClass::index,
    .arity = 2,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (!std::holds_alternative<NoAttributes>(query.attributes)) return wrong_attributes();
      if (const auto error = check_ids(query)) return *error;
      const Type &table = query.operands[0], &ids = query.operands[1];
      if (table.rank() == 0 || table.shape[0].batched) return ShapeError{.kind = ShapeError::Kind::rank, .a = 0};
      if (table.shape[0].count < 1) return ShapeError{.kind = ShapeError::Kind::element_counts};
      Type type{table.dtype, ids.shape};
      type.shape.insert(type.shape.end(), table.shape.begin() + 1, table.shape.end());
      if (!sound(type.shape)) return ShapeError{.kind = ShapeError::Kind::rank, .a = 1};
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      const std::int64_t rows = operand(query, 0).type().shape[0].count;
      return {query.builder.scatter_add(incoming(query), ids_of(query), rows), std::nullopt};
    },
    .range = [](const RangeQuery& query) { return query.operands[0]; },
};

// scatter_add(x [ids..., rest...], ids) is [n, rest...]: row i is the sum of the rows of x whose id is i, in row-major
// order of ids, from +0 or from a carry (operand 2) of the result's type.
constinit const OpDef scatter_add{
    .name = "scatter_add",
    .cls = OpClass::index,
    .arity = -1,
    .shape = [](const ShapeQuery& query) -> TypeOrError {
      if (query.operands.size() < 2 || query.operands.size() > 3)
        return ShapeError{.kind = ShapeError::Kind::operand_count};
      const auto* scatter = std::get_if<Scatter>(&query.attributes);
      if (!scatter) return wrong_attributes();
      if (const auto error = check_dtype(query, 0, numbers)) return *error;
      if (const auto error = check_ids(query)) return *error;
      if (scatter->count < 1) return ShapeError{.kind = ShapeError::Kind::element_counts};
      const Type &x = query.operands[0], &ids = query.operands[1];
      if (x.rank() < ids.rank()) return ShapeError{.kind = ShapeError::Kind::rank, .a = 0};
      for (int axis = 0; axis < ids.rank(); ++axis)
        if (x.shape[axis] != ids.shape[axis])
          return ShapeError{.kind = ShapeError::Kind::extents_differ, .a = 0, .b = 1, .axis_a = axis, .axis_b = axis};
      Type type{x.dtype, {Extent{scatter->count}}};
      type.shape.insert(type.shape.end(), x.shape.begin() + ids.rank(), x.shape.end());
      if (query.operands.size() < 3) return type;
      if (query.operands[2].dtype != type.dtype) return ShapeError{.kind = ShapeError::Kind::element_type, .a = 2};
      if (query.operands[2].rank() != type.rank()) return ShapeError{.kind = ShapeError::Kind::rank, .a = 2};
      if (query.operands[2].shape != type.shape) return ShapeError{.kind = ShapeError::Kind::element_counts};
      return type;
    },
    .gradient = [](const GradientQuery& query) -> Gradients {
      Gradients gradients{query.builder.gather(incoming(query), ids_of(query)), std::nullopt};
      if (query.builder[query.y].operands.size() > 2) gradients.push_back(incoming(query));
      return gradients;
    },
};

}  // namespace ops
}  // namespace nnc
