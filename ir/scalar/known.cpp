// What of a program can be computed before it runs: where log(0.9) is part of a body, its two dozen instructions are a
// number. And what another operation gives to the bit: dividing by a power of two, as a mean over 32 rows does, is
// multiplying by its inverse; by one, as over a single row, nothing at all.
#include <optional>

#include "ir/scalar/builder.h"
#include "ir/scalar/pieces.h"

namespace nnc {

namespace {

ScalarProgram with_numbers(ScalarProgram program) {
  ScalarProgram known;  // what depends on no input
  std::vector<std::optional<ScalarId>> at(program.code.size());
  for (std::size_t id = 0; id < program.code.size(); ++id) {
    ScalarInstruction instruction = program.code[id];
    bool is_known = instruction.op != ScalarOp::input;
    for (int i = 0; i < operand_count(instruction.op); ++i) {
      const auto& operand = at[instruction.operands[i]];
      is_known = is_known && operand;
      if (operand) instruction.operands[i] = *operand;
    }
    if (!is_known) continue;
    at[id] = static_cast<ScalarId>(known.code.size());
    known.code.push_back(instruction);
  }
  for (std::size_t id = 0; id < known.code.size(); ++id) known.results.push_back(static_cast<ScalarId>(id));
  std::vector<std::uint64_t> values(known.code.size(), 0);  // in their low bytes
  std::vector<void*> results;
  for (std::uint64_t& value : values) results.push_back(&value);
  interpret(known, {}, results, 1);
  for (std::size_t id = 0; id < program.code.size(); ++id)
    if (at[id]) program.code[id] = {.op = ScalarOp::constant, .type = program.code[id].type, .bits = values[*at[id]]};
  return program;
}

/// The bits of 1 / c where that is exact and a normal number: c is a power of two, or minus one.
std::optional<std::uint64_t> exact_inverse(const ScalarInstruction& c) {
  const bool f32 = c.type == ScalarType::f32;
  if (c.op != ScalarOp::constant || !is_float(c.type)) return std::nullopt;
  const int mantissa = f32 ? 23 : 52;
  const std::uint64_t exponents = f32 ? 0xff : 0x7ff, exponent = c.bits >> mantissa & exponents;
  const std::uint64_t inverse = exponents - 1 - exponent;
  const std::uint64_t ones = (std::uint64_t{1} << mantissa) - 1;
  if ((c.bits & ones) != 0 || exponent == 0 || exponent >= exponents - 1) return std::nullopt;
  return (c.bits & ~(exponents << mantissa)) | inverse << mantissa;
}

bool is_one(const ScalarInstruction& c) {
  return c.op == ScalarOp::constant && is_float(c.type) && c.bits == scalar::format_of(c.type).one;
}

/// The same program with multiplications in the place of divisions by powers of two, and neither by one.
ScalarProgram without_exact_divisions(const ScalarProgram& program) {
  ScalarProgram result{.inputs = program.inputs, .code = {}, .results = {}};
  std::vector<ScalarId> at;
  const auto append = [&](const ScalarInstruction& instruction) {
    result.code.push_back(instruction);
    return static_cast<ScalarId>(result.code.size() - 1);
  };
  for (ScalarInstruction x : program.code) {
    for (int i = 0; i < operand_count(x.op); ++i) x.operands[i] = at[x.operands[i]];
    const auto operand = [&](int i) -> const ScalarInstruction& { return result.code[x.operands[i]]; };
    if (x.op == ScalarOp::div) {
      if (const auto inverse = exact_inverse(operand(1))) {
        x.op = ScalarOp::mul;
        x.operands[1] = append({.op = ScalarOp::constant, .type = x.type, .bits = *inverse});
      }
    }
    if (x.op == ScalarOp::mul && is_one(operand(1)))
      at.push_back(x.operands[0]);
    else
      at.push_back(append(x));
  }
  for (const ScalarId id : program.results) result.results.push_back(at[id]);
  return result;
}

}  // namespace

ScalarProgram with_known_values(ScalarProgram program) {
  return without_exact_divisions(with_numbers(std::move(program)));
}

}  // namespace nnc
