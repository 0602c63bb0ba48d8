#include "ir/program/calls.h"

#include <algorithm>

#include "ir/op.h"
#include "ir/scalar/pieces.h"

namespace nnc {

namespace {

constexpr std::size_t shortest = 8;  ///< instructions; what is shorter is read as well as its name
constexpr ScalarId unbound = static_cast<ScalarId>(-1);

struct Pattern {
  std::string_view name;
  ScalarProgram program;
};

/// All elementwise functions of floats, and what others use of exp, longest first.
const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> all = [] {
    std::vector<Pattern> result;
    for (const Op op : all_ops()) {
      const OpDef& def = definition(op);
      if (def.cls != OpClass::elementwise || !def.scalar || def.arity < 1 || def.arity > 2) continue;
      for (const DType dtype : {DType::f32, DType::f64}) {
        const std::vector<DType> operands(static_cast<std::size_t>(def.arity), dtype);
        ScalarProgram program = def.scalar(operands, dtype, NoAttributes{});
        if (program.code.size() >= shortest && program.results.size() == 1)
          result.push_back({def.name, std::move(program)});
      }
    }
    for (const ScalarType type : {ScalarType::f32, ScalarType::f64}) {
      ScalarBuilder builder;
      const Scalar made[] = {scalar::exp_of_negative(builder.input(type))};
      result.push_back({definition(Op::exp).name, std::move(builder).finish(made)});
    }
    std::ranges::stable_sort(result, std::ranges::greater{}, [](const Pattern& p) { return p.program.code.size(); });
    return result;
  }();
  return all;
}

bool is_commutative(ScalarOp op) {
  static constexpr ScalarOp ops[] = {ScalarOp::add,     ScalarOp::mul,     ScalarOp::fma,         ScalarOp::minimum,
                                     ScalarOp::maximum, ScalarOp::equal,   ScalarOp::logical_and, ScalarOp::logical_or,
                                     ScalarOp::int_add, ScalarOp::int_mul, ScalarOp::int_and,     ScalarOp::int_or,
                                     ScalarOp::int_xor};
  return std::ranges::find(ops, op) != std::end(ops);
}

/// Which instruction of the body each one of the pattern is.
struct Match {
  const ScalarProgram& pattern;
  const ScalarProgram& body;
  std::vector<ScalarId> found;

  bool is(ScalarId wanted, ScalarId there) {
    if (found[wanted] != unbound) return found[wanted] == there;
    const ScalarInstruction &a = pattern.code[wanted], &b = body.code[there];
    if (a.type != b.type) return false;
    if (a.op != ScalarOp::input) {
      if (a.op != b.op || a.bits != b.bits) return false;
      const std::vector<ScalarId> before = found;
      if (!operands_are(a, b, 0, 1)) {
        found = before;
        if (!is_commutative(a.op) || !operands_are(a, b, 1, 0)) {
          found = before;
          return false;
        }
      }
    }
    found[wanted] = there;
    return true;
  }

  bool operands_are(const ScalarInstruction& a, const ScalarInstruction& b, std::size_t first, std::size_t second) {
    const int count = operand_count(a.op);
    if (count > 0 && !is(a.operands[0], b.operands[first])) return false;
    if (count > 1 && !is(a.operands[1], b.operands[second])) return false;
    return count < 3 || is(a.operands[2], b.operands[2]);
  }
};

}  // namespace

std::optional<ScalarCall> call_at(const ScalarProgram& program, ScalarId id) {
  for (const Pattern& pattern : patterns()) {
    const std::vector<ScalarInstruction>& code = pattern.program.code;
    Match match{pattern.program, program, std::vector<ScalarId>(code.size(), unbound)};
    if (code[pattern.program.results[0]].op != program.code[id].op || !match.is(pattern.program.results[0], id))
      continue;
    ScalarCall call{pattern.name, std::vector<ScalarId>(pattern.program.inputs.size(), unbound)};
    for (std::size_t i = 0; i < code.size(); ++i)
      if (code[i].op == ScalarOp::input) call.arguments[code[i].bits] = match.found[i];
    if (std::ranges::find(call.arguments, unbound) == call.arguments.end()) return call;
  }
  return std::nullopt;
}

}  // namespace nnc
