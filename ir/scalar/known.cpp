// What of a program can be computed before it runs: where log(0.9) is part of a body, its two dozen instructions are a
// number. And what another operation gives to the bit: dividing by a power of two, as a mean over 32 rows does, is
// multiplying by its inverse; by one, as over a single row, nothing at all. What a known condition chooses is that, and
// +0 is added to a sum of zeros once. Where +0 + x is multiplied by a positive number, as a gradient is by a learning
// rate, one fma does both: of a zero of either sign it makes +0, and of other numbers the product.
#include <map>
#include <optional>
#include <tuple>

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

bool is_constant(const ScalarInstruction& x, std::uint64_t bits) {
  return x.op == ScalarOp::constant && x.bits == bits;
}
bool is_one(const ScalarInstruction& x) { return is_float(x.type) && is_constant(x, scalar::format_of(x.type).one); }
bool is_zero(const ScalarInstruction& x) { return is_float(x.type) && is_constant(x, 0); }
bool is_minus_zero(const ScalarInstruction& x) {
  return is_float(x.type) && is_constant(x, scalar::format_of(x.type).sign);
}

/// Whether this is a number above zero, not infinite.
bool is_positive(const ScalarInstruction& x) {
  const std::uint64_t infinite = x.type == ScalarType::f32 ? 0x7f800000 : 0x7ff0000000000000;
  return is_float(x.type) && x.op == ScalarOp::constant && x.bits != 0 && x.bits < infinite;
}

/// The same program, instruction after instruction, without those that give what one of their operands is; and with a
/// multiplication in the place of a division by a power of two.
class Shortened {
 public:
  explicit Shortened(const ScalarProgram& program) {
    result_.inputs = program.inputs;
    std::vector<ScalarId> now;
    for (ScalarInstruction x : program.code) {
      for (int i = 0; i < operand_count(x.op); ++i) x.operands[i] = now[x.operands[i]];
      x = cheaper(x);
      const std::optional<ScalarId> same = operand_it_is(x);
      now.push_back(same ? *same : append(x));
    }
    for (const ScalarId id : program.results) result_.results.push_back(now[id]);
  }

  ScalarProgram finish() && { return without_unused(std::move(result_)); }

 private:
  const ScalarInstruction& at(ScalarId id) const { return result_.code[id]; }

  ScalarId append(const ScalarInstruction& x) {
    const auto next = static_cast<ScalarId>(result_.code.size());
    const auto [known, is_new] = known_.try_emplace({x.op, x.type, x.operands, x.bits}, next);
    if (is_new) result_.code.push_back(x);
    return known->second;
  }

  ScalarInstruction cheaper(ScalarInstruction x) {
    if (x.op == ScalarOp::div) {
      if (const auto inverse = exact_inverse(at(x.operands[1]))) {
        x.op = ScalarOp::mul;
        x.operands[1] = append({.op = ScalarOp::constant, .type = x.type, .bits = *inverse});
      }
    } else if (x.op == ScalarOp::mul) {
      if (const auto product = product_of_sum(x.operands[0], x.operands[1])) return *product;
      if (const auto product = product_of_sum(x.operands[1], x.operands[0])) return *product;
    } else if (x.op == ScalarOp::fma && is_one(at(x.operands[1]))) {
      return {.op = ScalarOp::add, .type = x.type, .operands = {x.operands[0], x.operands[2]}};
    } else if (x.op == ScalarOp::fma && is_one(at(x.operands[0]))) {
      return {.op = ScalarOp::add, .type = x.type, .operands = {x.operands[1], x.operands[2]}};
    }
    return x;
  }

  /// factor * (+0 + x) as fma(factor, x, +0), where the factor is a positive number.
  std::optional<ScalarInstruction> product_of_sum(ScalarId factor, ScalarId sum) const {
    const ScalarInstruction& x = at(sum);
    if (x.op != ScalarOp::add || !is_positive(at(factor))) return std::nullopt;
    for (int i = 0; i < 2; ++i)
      if (is_zero(at(x.operands[i])))
        return ScalarInstruction{
            .op = ScalarOp::fma, .type = x.type, .operands = {factor, x.operands[1 - i], x.operands[i]}};
    return std::nullopt;
  }

  /// Where an instruction is one of its operands, whatever that is.
  std::optional<ScalarId> operand_it_is(const ScalarInstruction& x) const {
    const ScalarId a = x.operands[0], b = x.operands[1];
    if (x.op == ScalarOp::mul && is_one(at(b))) return a;
    if (x.op == ScalarOp::mul && is_one(at(a))) return b;
    if (x.op == ScalarOp::add && adds_nothing(a, b)) return b;
    if (x.op == ScalarOp::add && adds_nothing(b, a)) return a;
    if (x.op == ScalarOp::sub && is_zero(at(b))) return a;
    if (x.op == ScalarOp::select && x.operands[1] == x.operands[2]) return b;
    if (x.op == ScalarOp::select && at(a).op == ScalarOp::constant) return at(a).bits != 0 ? b : x.operands[2];
    return std::nullopt;
  }

  /// Whether zero + x is x: of -0 and +0 the sum is +0.
  bool adds_nothing(ScalarId zero, ScalarId x) const {
    return is_minus_zero(at(zero)) || (is_zero(at(zero)) && never_minus_zero(x, most_looked_at));
  }

  /// A sum is -0 where both of its operands are, and no other time.
  bool never_minus_zero(ScalarId id, int depth) const {
    const ScalarInstruction& x = at(id);
    if (x.op == ScalarOp::constant) return !is_minus_zero(x);
    if (x.op == ScalarOp::abs) return true;
    if (x.op == ScalarOp::mul) return x.operands[0] == x.operands[1];
    if (depth == 0) return false;
    const auto never = [&](int operand) { return never_minus_zero(x.operands[operand], depth - 1); };
    if (x.op == ScalarOp::add) return never(0) || never(1);
    if (x.op == ScalarOp::sub || x.op == ScalarOp::sqrt) return never(0);
    return x.op == ScalarOp::select && never(1) && never(2);
  }

  static ScalarProgram without_unused(ScalarProgram program) {
    std::vector<bool> used(program.code.size(), false);
    for (const ScalarId id : program.results) used[id] = true;
    for (std::size_t id = program.code.size(); id-- > 0;)
      for (int i = 0; used[id] && i < operand_count(program.code[id].op); ++i)
        used[program.code[id].operands[i]] = true;
    std::vector<ScalarId> now(program.code.size(), 0);
    std::size_t kept = 0;
    for (std::size_t id = 0; id < program.code.size(); ++id) {
      if (!used[id]) continue;
      ScalarInstruction x = program.code[id];
      for (int i = 0; i < operand_count(x.op); ++i) x.operands[i] = now[x.operands[i]];
      now[id] = static_cast<ScalarId>(kept);
      program.code[kept++] = x;
    }
    program.code.resize(kept);
    for (ScalarId& id : program.results) id = now[id];
    return program;
  }

  static constexpr int most_looked_at = 4;  ///< operations between a sum and what shows that it isn't -0

  ScalarProgram result_;
  std::map<std::tuple<ScalarOp, ScalarType, std::array<ScalarId, 3>, std::uint64_t>, ScalarId> known_;
};

}  // namespace

ScalarProgram with_known_values(ScalarProgram program) {
  for (;;) {
    ScalarProgram shorter = Shortened(with_numbers(program)).finish();
    if (shorter == program) return program;
    program = std::move(shorter);
  }
}

}  // namespace nnc
