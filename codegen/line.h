// The order of a straight line. A step of a tiny net is some hundreds of instructions in a row, most of which wait for
// others, and a processor looks only so far ahead: about a hundred that wait. Unit after unit, the second begins where
// the first is nearly done, and what nobody waits for (the loss) stands in the way of the next layer. So each
// instruction comes when it must for the line to end as early as it can: chains that do not meet run side by side, and
// what is needed late is computed late, which leaves registers to others.
#pragma once

#include <llvm/IR/Function.h>

namespace nnc {

/// Orders the instructions of every block of a function so. What is computed stays as it is, to the bit.
void order_lines(llvm::Function& function);

}  // namespace nnc
