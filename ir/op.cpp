// The registry: ops.def gives every op its place here, ops/*.cpp their definitions.
#include "ir/op.h"

#include <fmt/format.h>

#include <array>
#include <unordered_map>

namespace nnc {

namespace {

constexpr std::array definitions = {
#define NNC_OP(name) &ops::name,
#include "ir/ops.def"
#undef NNC_OP
};
constexpr std::array every_op = {
#define NNC_OP(name) Op::name,
#include "ir/ops.def"
#undef NNC_OP
};

std::string type_of(std::span<const Type> operands, int index) {
  return static_cast<std::size_t>(index) < operands.size() ? to_string(operands[index]) : "nothing";
}
std::string extent_of(std::span<const Type> operands, int index, int axis) {
  if (static_cast<std::size_t>(index) >= operands.size() || axis < 0 || axis >= operands[index].rank())
    return "nothing";
  return to_string(operands[index].shape[axis]);
}

}  // namespace

const OpDef& definition(Op op) { return *definitions[static_cast<std::size_t>(op)]; }
std::span<const Op> all_ops() { return every_op; }

std::optional<Op> op_named(std::string_view name) {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, Op> map;
    for (Op op : every_op) map.emplace(definition(op).name, op);
    return map;
  }();
  const auto found = by_name.find(name);
  if (found == by_name.end()) return std::nullopt;
  return found->second;
}

TypeOrError infer_type(Op op, const ShapeQuery& query) {
  const OpDef& def = definition(op);
  if (def.arity >= 0 && query.operands.size() != static_cast<std::size_t>(def.arity))
    return ShapeError{.kind = ShapeError::Kind::operand_count};
  return def.shape(query);
}

std::string describe(Op op, const ShapeError& error, std::span<const Type> operands) {
  const OpDef& def = definition(op);
  const auto why = [&]() -> std::string {
    switch (error.kind) {
      case ShapeError::Kind::operand_count:
        if (def.arity < 0) return fmt::format("it does not take {} operands", operands.size());
        return fmt::format("it takes {} operand{}, not {}", def.arity, def.arity == 1 ? "" : "s", operands.size());
      case ShapeError::Kind::element_type:
        if (error.a < 0) return "it does not make elements of the type asked for";
        return fmt::format("it does not take the element type of operand {} ({})", error.a, type_of(operands, error.a));
      case ShapeError::Kind::types_differ:
        return fmt::format("the element types of operands {} ({}) and {} ({}) differ", error.a,
                           type_of(operands, error.a), error.b, type_of(operands, error.b));
      case ShapeError::Kind::rank:
        return fmt::format("operand {} ({}) has the wrong number of axes", error.a, type_of(operands, error.a));
      case ShapeError::Kind::extents_differ:
        return fmt::format("axis {} of operand {} is {}, axis {} of operand {} is {}", error.axis_a, error.a,
                           extent_of(operands, error.a, error.axis_a), error.axis_b, error.b,
                           extent_of(operands, error.b, error.axis_b));
      case ShapeError::Kind::axis_range:
        return "its axes do not fit its operands";
      case ShapeError::Kind::element_counts:
        return "the numbers of elements do not agree";
      case ShapeError::Kind::attributes:
        return "its attributes do not fit it";
    }
    return "";
  };
  return fmt::format("{}: {}", def.name, why());
}

}  // namespace nnc
