// Division by a number that stays the same while many are divided by it, as Adam's corrections of bias: a few fmas with
// its reciprocal, which processors do in a sixth of the time that their dividers take for a long vector. The quotient
// is correctly rounded, as a division's is: there is no bit between the two.
#pragma once

#include "codegen/emitter.h"

namespace nnc {

/// 1 / value as a sum: `high` is correctly rounded, `low` about what it lacks. Scalars, or the same in all lanes.
struct Reciprocal {
  llvm::Value* high = nullptr;  ///< 0: the value has none that could be used
  llvm::Value* low = nullptr;
};

/// Of a scalar float.
Reciprocal emit_reciprocal(Emitter& emit, llvm::Value* value);

/// Whether a reciprocal may be used, as a condition that does not change with what is divided.
llvm::Value* emit_usable(Emitter& emit, const Reciprocal& reciprocal);

/// x / y for vectors of floats, in all of whose lanes something lies. Reciprocal and `y` have the same in all lanes;
/// where a lane of x is too large or too small, or `usable` does not hold, all are divided.
llvm::Value* emit_quotient(Emitter& emit, llvm::Value* x, llvm::Value* y, const Reciprocal& reciprocal,
                           llvm::Value* usable);

}  // namespace nnc
