// Scalar programs: what an elementwise op does to one element, as data. The evaluator interprets them, codegen emits
// them over vectors, kernel bodies are made of them: one rule gives the code and its oracle. Every opcode is exact
// (IEEE 754, round to nearest even, no contraction), so both give the same bits. What is long and often needed is an
// opcode that is a function of others, as data too.
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
  // functions (function_of): all i64
  philox,  // (row, column, key): word column mod 4 of Philox4x32-10 at the counter (column / 4, row)
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
/// for other ops), seed, step, stream (Random::stream; 0 for other ops).
struct ScalarProgram {
  std::vector<ScalarType> inputs;
  std::vector<ScalarInstruction> code;
  std::vector<ScalarId> results;
  bool operator==(const ScalarProgram&) const = default;
};

/// An opcode that is more than an instruction: `first` makes the values of a loop out of its operands, `step` the next
/// ones out of these, `steps` times, and `last` the result out of the loop's values and the operands. The last operand
/// is the same for all elements that are computed at once.
struct ScalarFunction {
  const char* name = "";
  ScalarProgram first, step, last;
  int steps = 0;
};
/// Philox for many numbers of one key: the opcode's words, without a loop. `keys` makes what the rounds take out of a
/// key; `words` the four words of a counter, those of four neighbouring columns, out of its four (column / 4 and row,
/// the lower half of each first, where what stands above 32 bits is anything) and the keys.
struct PhiloxParts {
  ScalarProgram keys, words;
};
const PhiloxParts& philox_parts();
/// The function that an opcode is; nullptr for an instruction.
const ScalarFunction* function_of(ScalarOp op);
/// Instructions that are executed for an opcode.
int length_of(ScalarOp op);

}  // namespace nnc
