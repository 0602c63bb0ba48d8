// What an op is: a row of data with its meaning beside it. Printing, parsing, merging, differentiation, fusion,
// evaluation, code generation and the tests work by class and never name an op.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/graph.h"
#include "ir/range.h"
#include "ir/scalar/program.h"

namespace nnc {

class Builder;
struct Value;

enum class OpClass : std::uint8_t {
  leaf,
  generate,
  elementwise,
  reduce,
  view,
  contract,
  index,
  control,
  loop,
  formula
};

/// Why operands do not fit an op; the frontend renders it in the user's words, the graph parser in plain ones.
struct ShapeError {
  enum class Kind : std::uint8_t {
    operand_count,   ///< wrong number of operands
    element_type,    ///< the op does not take operand `a`'s element type, or (a = -1) not make the one asked for
    types_differ,    ///< operands `a` and `b` have different element types
    rank,            ///< operand `a` has a rank that the op does not take
    extents_differ,  ///< operand `a` axis `axis_a` and operand `b` axis `axis_b` differ
    axis_range,      ///< an axis in the attributes does not exist, or stands twice
    element_counts,  ///< a reshape that changes the number of elements, or a size that may not depend on the batch
    attributes       ///< attributes of another op
  };
  Kind kind{};
  int a = 0, b = 0;  ///< operand indices
  int axis_a = -1, axis_b = -1;
};

using TypeOrError = std::variant<Type, ShapeError>;

/// What a shape rule sees. `wanted` is the type asked for, where operands alone do not determine it (leaves, cast,
/// reshape, broadcast, iota); rules of other ops ignore it.
struct ShapeQuery {
  std::span<const Type> operands;
  const Attributes& attributes;
  const Type& wanted;
};

struct GradientQuery;
using Gradients = std::vector<std::optional<Value>>;
/// Called with every rule's answer before it is used; gradcheck's own test breaks rules with it.
using GradientHook = std::function<void(const GradientQuery&, Gradients&)>;

/// What a gradient rule sees: the node y = op(x...), its operands, and dy = dL/dy of y's type. It returns dL/dx for
/// each operand, of that operand's type; nullopt where the op is constant in it. An elementwise rule may return the
/// result's shape for a rank-0 operand: differentiate sums it.
struct GradientQuery {
  Builder& builder;
  NodeId y;
  NodeId dy;
  std::vector<std::pair<NodeId, NodeId>> others = {};  ///< of a loop: its other results and their gradients
  const GradientHook* hook = nullptr;                  ///< for rules that ask other rules: those of a loop's body
};

struct OpDef {
  std::string_view name;
  OpClass cls{};
  int arity = 0;  ///< number of operands; -1 where it varies
  TypeOrError (*shape)(const ShapeQuery&) = nullptr;
  Gradients (*gradient)(const GradientQuery&) = nullptr;  ///< nullptr: no derivative (integers, comparisons, leaves)
  /// Elementwise and generate ops: the meaning for one element, given the operands' (or, for generate, the result's)
  /// element types. Inputs of a generate op's program: see ir/scalar/program.h.
  ScalarProgram (*scalar)(std::span<const DType> operands, DType result, const Attributes& attributes) = nullptr;
  /// What is known of the result's elements from what is known of the operands'. nullptr: what its type says; of a
  /// view, what holds for all operands.
  Range (*range)(const RangeQuery&) = nullptr;
  /// Ops that are a formula in others, which `expand` puts in their place.
  Value (*formula)(Builder& builder, std::span<const Value> operands) = nullptr;
  /// Part of an op's meaning that symbols stand for in printed graphs: "+" for add, "" where it is written as a call.
  std::string_view infix = "";
};

namespace ops {
#define NNC_OP(name) extern const OpDef name;
#include "ir/ops.def"
#undef NNC_OP
}  // namespace ops

/// The type of op(operands): checks the number of operands, then asks the op's rule.
TypeOrError infer_type(Op op, const ShapeQuery& query);
/// A shape error in plain words, with the operands' types: "dot: operand 1 axis 0 is 10, operand 0 axis 1 is 12".
std::string describe(Op op, const ShapeError& error, std::span<const Type> operands);

/// The registry: definition of an op, all ops in the order of ops.def, and an op by its name.
const OpDef& definition(Op op);
std::span<const Op> all_ops();
std::optional<Op> op_named(std::string_view name);

}  // namespace nnc
