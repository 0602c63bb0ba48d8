// Multiplication and addition rounded once, for processors without an instruction for it.
#pragma once

#include <llvm/IR/Module.h>

namespace nnc {

/// Every llvm.fma of the module becomes a call of a function in it that computes the same bits from the plain
/// operations, for all inputs. Slow: about 20 instructions for f32, 100 for f64.
void expand_fma(llvm::Module& module);

}  // namespace nnc
