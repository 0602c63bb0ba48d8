// What of a program can be computed before it runs: where log(0.9) is part of a body, its two dozen instructions are a
// number.
#include <optional>

#include "ir/scalar/builder.h"

namespace nnc {

ScalarProgram with_known_values(ScalarProgram program) {
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

}  // namespace nnc
