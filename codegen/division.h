// Division by a number that stays the same while many are divided by it, as Adam's corrections of bias: a few fmas with
// its reciprocal, which processors do in a sixth of the time that their dividers take for a long vector. The quotient
// is correctly rounded, as a division's is: there is no bit between the two.
#pragma once

#include <array>

#include "codegen/emitter.h"

namespace nnc {

/// 1 / value as a sum, and which numbers may be multiplied by it, as bits that theirs are compared with: none where the
/// value has no reciprocal that could be used. Scalars, or the same in all lanes.
struct Reciprocal {
  llvm::Value* high = nullptr;   ///< correctly rounded
  llvm::Value* low = nullptr;    ///< about what that lacks
  llvm::Value* range = nullptr;  ///< so many exponents and fractions may be multiplied,
  llvm::Value* zero = nullptr;   ///< and +0

  std::array<llvm::Value**, 4> parts() { return {&high, &low, &range, &zero}; }
};

/// Of a scalar float.
Reciprocal emit_reciprocal(Emitter& emit, llvm::Value* value);

/// x / y for vectors of floats, in all of whose lanes something lies. Reciprocal and `y` have the same in all lanes;
/// where a lane of x may not be multiplied, all are divided.
llvm::Value* emit_quotient(Emitter& emit, llvm::Value* x, llvm::Value* y, const Reciprocal& reciprocal);

}  // namespace nnc
