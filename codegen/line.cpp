#include "codegen/line.h"

#include <llvm/ADT/DenseMap.h>
#include <llvm/IR/InstrTypes.h>
#include <llvm/IR/IntrinsicInst.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace nnc {

namespace {

/// Cycles from when its operands are known until an instruction's result is, about, on processors of today.
int latency(const llvm::Instruction& instruction) {
  if (const auto* call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction)) {
    const llvm::Intrinsic::ID id = call->getIntrinsicID();
    if (id == llvm::Intrinsic::fma) return 4;
    if (id == llvm::Intrinsic::maximum || id == llvm::Intrinsic::minimum) return 8;
    return id == llvm::Intrinsic::sqrt ? 18 : 1;
  }
  switch (instruction.getOpcode()) {
    case llvm::Instruction::FAdd:
    case llvm::Instruction::FSub:
    case llvm::Instruction::Mul:
      return 3;
    case llvm::Instruction::FMul:
    case llvm::Instruction::FCmp:
    case llvm::Instruction::Load:
      return 4;
    case llvm::Instruction::FDiv:
      return 14;
    default:  // LLVM's opcodes, not ours: moves, shuffles, integers
      return 1;
  }
}

/// The instructions of a block between its phis and its end, and for each how many cycles there are from its beginning
/// to the end of the block.
struct Line {
  std::vector<llvm::Instruction*> instructions;
  std::vector<int> until_end;
};

/// Users are seen before their operands. What writes memory waits for all that used it before, and others for writes.
Line line_of(llvm::BasicBlock& block) {
  Line line;
  for (llvm::Instruction& instruction : block)
    if (!llvm::isa<llvm::PHINode>(instruction) && !instruction.isTerminator())
      line.instructions.push_back(&instruction);
  llvm::DenseMap<const llvm::Value*, int> of_users;
  line.until_end.resize(line.instructions.size());
  int writes = 0, uses = 0;  // of memory, further on
  for (std::size_t at = line.instructions.size(); at-- > 0;) {
    const llvm::Instruction& here = *line.instructions[at];
    const bool writes_memory = here.mayHaveSideEffects(), uses_memory = writes_memory || here.mayReadFromMemory();
    int after = of_users.lookup(&here);
    if (uses_memory) after = std::max(after, writes_memory ? uses : writes);
    const int until_end = line.until_end[at] = after + latency(here);
    if (uses_memory) uses = std::max(uses, until_end);
    if (writes_memory) writes = std::max(writes, until_end);
    for (const llvm::Value* operand : here.operands()) {
      int& known = of_users[operand];
      known = std::max(known, until_end);
    }
  }
  return line;
}

}  // namespace

void order_lines(llvm::Function& function) {
  for (llvm::BasicBlock& block : function) {
    const Line line = line_of(block);
    std::vector<std::size_t> order(line.instructions.size());
    for (std::size_t at = 0; at < order.size(); ++at) order[at] = at;
    std::ranges::stable_sort(order, std::ranges::greater(), [&](std::size_t at) { return line.until_end[at]; });
    for (const std::size_t at : order) line.instructions[at]->moveBefore(block.getTerminator()->getIterator());
  }
}

}  // namespace nnc
