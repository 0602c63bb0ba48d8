// Instructions are appended one by one; an instruction that equals an earlier one is that one. Operands of commutative
// opcodes keep their order: a + b and b + a give the same bits, but NaN payloads aside nobody gains from merging them.
#include "ir/scalar/builder.h"

#include <bit>
#include <cassert>
#include <limits>

namespace nnc {

namespace {

std::size_t hash_of(const ScalarInstruction& instruction) {
  std::uint64_t hash = instruction.bits;
  const auto mix = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15U + (hash >> 29); };
  mix(static_cast<std::uint64_t>(instruction.op));
  mix(static_cast<std::uint64_t>(instruction.type));
  for (ScalarId operand : instruction.operands) mix(operand);
  return static_cast<std::size_t>(hash);
}

Scalar binary(ScalarOp op, Scalar a, Scalar b) {
  assert(a.builder == b.builder && a.type() == b.type());
  const Scalar operands[] = {a, b};
  return a.builder->make(op, a.type(), operands);
}

Scalar compare(ScalarOp op, Scalar a, Scalar b) {
  assert(a.builder == b.builder && a.type() == b.type() && a.type() != ScalarType::boolean);
  const Scalar operands[] = {a, b};
  return a.builder->make(op, ScalarType::boolean, operands);
}

Scalar unary(ScalarOp op, Scalar a, ScalarType type) { return a.builder->make(op, type, std::span(&a, 1)); }

Scalar float_unary(ScalarOp op, Scalar a) {
  assert(is_float(a.type()));
  return unary(op, a, a.type());
}

Scalar float_binary(ScalarOp op, Scalar a, Scalar b) {
  assert(is_float(a.type()));
  return binary(op, a, b);
}

Scalar int_binary(ScalarOp op, Scalar a, Scalar b) {
  assert(a.type() == ScalarType::i32 || a.type() == ScalarType::i64);
  return binary(op, a, b);
}

Scalar logical(ScalarOp op, Scalar a, Scalar b) {
  assert(a.type() == ScalarType::boolean);
  return binary(op, a, b);
}

Scalar shift(ScalarOp op, Scalar a, int count) {
  assert(a.type() == ScalarType::i32 || a.type() == ScalarType::i64);
  assert(count >= 0 && count < (a.type() == ScalarType::i32 ? 32 : 64));
  return int_binary(op, a, a.builder->bits(static_cast<std::uint64_t>(count), a.type()));
}

}  // namespace

ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ScalarType::f32;
    case DType::f64:
      return ScalarType::f64;
    case DType::i32:
      return ScalarType::i32;
    case DType::boolean:
      return ScalarType::boolean;
  }
  assert(false);
  return ScalarType::f32;
}

int operand_count(ScalarOp op) {
  switch (op) {
    case ScalarOp::input:
    case ScalarOp::constant:
      return 0;
    case ScalarOp::sqrt:
    case ScalarOp::neg:
    case ScalarOp::abs:
    case ScalarOp::logical_not:
    case ScalarOp::bitcast:
    case ScalarOp::convert:
      return 1;
    case ScalarOp::add:
    case ScalarOp::sub:
    case ScalarOp::mul:
    case ScalarOp::div:
    case ScalarOp::minimum:
    case ScalarOp::maximum:
    case ScalarOp::equal:
    case ScalarOp::less:
    case ScalarOp::less_equal:
    case ScalarOp::logical_and:
    case ScalarOp::logical_or:
    case ScalarOp::int_add:
    case ScalarOp::int_sub:
    case ScalarOp::int_mul:
    case ScalarOp::int_and:
    case ScalarOp::int_or:
    case ScalarOp::int_xor:
    case ScalarOp::shift_left:
    case ScalarOp::shift_right:
    case ScalarOp::shift_right_signed:
      return 2;
    case ScalarOp::fma:
    case ScalarOp::select:
    case ScalarOp::philox:
      return 3;
  }
  assert(false);
  return 0;
}

ScalarType Scalar::type() const { return builder->program_.code[id].type; }

/// |-x| is |x| to the bit, so logistic(-x) shares with logistic(x) what both make of it.
Scalar ScalarBuilder::append(ScalarInstruction instruction) {
  if (instruction.op == ScalarOp::abs)
    if (const ScalarInstruction& of = program_.code[instruction.operands[0]]; of.op == ScalarOp::neg)
      instruction.operands[0] = of.operands[0];
  const std::size_t hash = hash_of(instruction);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto found = first; found != last; ++found)
    if (program_.code[found->second] == instruction) return {this, found->second};

  assert(program_.code.size() <= std::numeric_limits<ScalarId>::max());
  const auto id = static_cast<ScalarId>(program_.code.size());
  program_.code.push_back(instruction);
  by_hash_.emplace(hash, id);
  return {this, id};
}

Scalar ScalarBuilder::input(ScalarType type) {
  const std::uint64_t index = program_.inputs.size();
  program_.inputs.push_back(type);
  return append({.op = ScalarOp::input, .type = type, .bits = index});
}

Scalar ScalarBuilder::constant(double value, ScalarType type) {
  switch (type) {
    case ScalarType::f32:
      return bits(std::bit_cast<std::uint32_t>(static_cast<float>(value)), type);
    case ScalarType::f64:
      return bits(std::bit_cast<std::uint64_t>(value), type);
    case ScalarType::i32:
      return bits(static_cast<std::uint32_t>(static_cast<std::int32_t>(value)), type);
    case ScalarType::i64:
      return bits(static_cast<std::uint64_t>(static_cast<std::int64_t>(value)), type);
    case ScalarType::boolean:
      return bits(value != 0 ? 1 : 0, type);
  }
  assert(false);
  return {};
}

Scalar ScalarBuilder::bits(std::uint64_t bits, ScalarType type) {
  return append({.op = ScalarOp::constant, .type = type, .bits = bits});
}

Scalar ScalarBuilder::make(ScalarOp op, ScalarType type, std::span<const Scalar> operands, std::uint64_t bits) {
  assert(static_cast<int>(operands.size()) == operand_count(op));
  ScalarInstruction instruction{.op = op, .type = type, .bits = bits};
  for (std::size_t i = 0; i < operands.size(); ++i) {
    assert(operands[i].builder == this);
    instruction.operands[i] = operands[i].id;
  }
  return append(instruction);
}

std::vector<Scalar> ScalarBuilder::inline_program(const ScalarProgram& program, std::span<const Scalar> inputs) {
  assert(inputs.size() == program.inputs.size());
  std::vector<Scalar> made;
  made.reserve(program.code.size());
  for (const ScalarInstruction& instruction : program.code) {
    if (instruction.op == ScalarOp::input) {
      assert(inputs[instruction.bits].type() == instruction.type);
      made.push_back(inputs[instruction.bits]);
      continue;
    }
    ScalarInstruction copy = instruction;
    for (int i = 0; i < operand_count(copy.op); ++i) copy.operands[i] = made[instruction.operands[i]].id;
    made.push_back(append(copy));
  }
  std::vector<Scalar> results;
  for (ScalarId id : program.results) results.push_back(made[id]);
  return results;
}

ScalarProgram ScalarBuilder::finish(std::span<const Scalar> results) && {
  for (Scalar result : results) {
    assert(result.builder == this);
    program_.results.push_back(result.id);
  }
  return std::move(program_);
}

Scalar operator+(Scalar a, Scalar b) { return float_binary(ScalarOp::add, a, b); }
Scalar operator-(Scalar a, Scalar b) { return float_binary(ScalarOp::sub, a, b); }
Scalar operator*(Scalar a, Scalar b) { return float_binary(ScalarOp::mul, a, b); }
Scalar operator/(Scalar a, Scalar b) { return float_binary(ScalarOp::div, a, b); }
Scalar operator-(Scalar a) { return float_unary(ScalarOp::neg, a); }
Scalar sqrt(Scalar a) { return float_unary(ScalarOp::sqrt, a); }
Scalar abs(Scalar a) { return float_unary(ScalarOp::abs, a); }
Scalar minimum(Scalar a, Scalar b) { return float_binary(ScalarOp::minimum, a, b); }
Scalar maximum(Scalar a, Scalar b) { return float_binary(ScalarOp::maximum, a, b); }

Scalar fma(Scalar a, Scalar b, Scalar c) {
  assert(is_float(a.type()) && a.type() == b.type() && a.type() == c.type());
  const Scalar operands[] = {a, b, c};
  return a.builder->make(ScalarOp::fma, a.type(), operands);
}

Scalar equal(Scalar a, Scalar b) { return compare(ScalarOp::equal, a, b); }
Scalar less(Scalar a, Scalar b) { return compare(ScalarOp::less, a, b); }
Scalar less_equal(Scalar a, Scalar b) { return compare(ScalarOp::less_equal, a, b); }

Scalar select(Scalar condition, Scalar yes, Scalar no) {
  assert(condition.type() == ScalarType::boolean && yes.type() == no.type());
  const Scalar operands[] = {condition, yes, no};
  return condition.builder->make(ScalarOp::select, yes.type(), operands);
}

Scalar logical_and(Scalar a, Scalar b) { return logical(ScalarOp::logical_and, a, b); }
Scalar logical_or(Scalar a, Scalar b) { return logical(ScalarOp::logical_or, a, b); }
Scalar logical_not(Scalar a) {
  assert(a.type() == ScalarType::boolean);
  return unary(ScalarOp::logical_not, a, ScalarType::boolean);
}

Scalar int_add(Scalar a, Scalar b) { return int_binary(ScalarOp::int_add, a, b); }
Scalar int_sub(Scalar a, Scalar b) { return int_binary(ScalarOp::int_sub, a, b); }
Scalar int_mul(Scalar a, Scalar b) { return int_binary(ScalarOp::int_mul, a, b); }
Scalar int_and(Scalar a, Scalar b) { return int_binary(ScalarOp::int_and, a, b); }
Scalar int_or(Scalar a, Scalar b) { return int_binary(ScalarOp::int_or, a, b); }
Scalar int_xor(Scalar a, Scalar b) { return int_binary(ScalarOp::int_xor, a, b); }
Scalar shift_left(Scalar a, int count) { return shift(ScalarOp::shift_left, a, count); }
Scalar shift_right(Scalar a, int count) { return shift(ScalarOp::shift_right, a, count); }
Scalar shift_right_signed(Scalar a, int count) { return shift(ScalarOp::shift_right_signed, a, count); }

Scalar philox_word(Scalar row, Scalar column, Scalar key) {
  assert(row.type() == ScalarType::i64 && column.type() == ScalarType::i64 && key.type() == ScalarType::i64);
  const Scalar operands[] = {row, column, key};
  return row.builder->make(ScalarOp::philox, ScalarType::i64, operands);
}

Scalar bitcast(Scalar a, ScalarType type) {
  if (a.type() == type) return a;
  assert(size_of(a.type()) == size_of(type) && is_float(a.type()) != is_float(type));
  return unary(ScalarOp::bitcast, a, type);
}

Scalar convert(Scalar a, ScalarType type) {
  if (a.type() == type) return a;
  assert(type != ScalarType::boolean);
  return unary(ScalarOp::convert, a, type);
}

}  // namespace nnc
