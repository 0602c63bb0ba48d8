// Scalar programs: what an elementwise op does to one element, as data. The evaluator interprets them, codegen emits
// them over vectors, kernel bodies are made of them: one rule gives the code and its oracle. Every opcode is exact
// (IEEE 754, round to nearest even, no contraction), so both give the same bits.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ir/type.h"

namespace nnc {

enum class ScalarType : std::uint8_t { f32, f64, i32, i64, boolean };
ScalarType scalar_type(DType dtype);
/// Size of one element in memory in bytes (a boolean takes one).
std::size_t size_of(ScalarType type);

enum class ScalarOp : std::uint8_t {
  input,     // bits = index of the input
  constant,  // bits = the bit pattern
  // floats: operands and result of one float type
  add,
  sub,
  mul,
  div,
  fma /* a*b + c, rounded once */,
  sqrt,
  neg,
  abs,
  minimum,
  maximum,  // IEEE 754-2019: NaN wins, -0 < +0
  // comparisons of floats or integers of one type, giving a boolean; false on NaN
  equal,
  less,
  less_equal,
  select,  // a ? b : c, any type for b and c
  logical_and,
  logical_or,
  logical_not,  // booleans
  // integers, wrapping; the second operand of a shift is a constant instruction of the same type, below the width
  int_add,
  int_sub,
  int_mul,
  int_and,
  int_or,
  int_xor,
  shift_left,
  shift_right,
  shift_right_signed,
  // conversions to `type`
  bitcast,  // f32 <-> i32, f64 <-> i64
  convert,  // float -> float rounds; integer/boolean -> float rounds; float -> integer truncates and must be in
            // range (clamp before; NaN must be selected away); i32 -> i64 sign-extends; i64 -> i32 wraps; boolean ->
            // integer 0/1
};

/// Number of operands that an opcode takes.
int operand_count(ScalarOp op);

/// Index of an instruction in ScalarProgram::code; an operand is always an earlier one.
using ScalarId = std::uint16_t;

struct ScalarInstruction {
  ScalarOp op{};
  ScalarType type{};                   ///< type of the result
  std::array<ScalarId, 3> operands{};  ///< as many as the opcode takes; the rest 0
  std::uint64_t bits = 0;

  bool operator==(const ScalarInstruction&) const = default;
};

/// Straight-line code with any number of inputs and results, in single-assignment form. Equal instructions are one
/// (ScalarBuilder merges them), so composing bodies never repeats work.
///
/// Inputs of a generate op's program, in this order, all i64: row (index along the first axis, counted from the start
/// of the data, so row_offset is included), column (index in the flattened remaining axes), index (along Iota::axis; 0
/// for other ops), seed, step.
struct ScalarProgram {
  std::vector<ScalarType> inputs;
  std::vector<ScalarInstruction> code;
  std::vector<ScalarId> results;
};

}  // namespace nnc
