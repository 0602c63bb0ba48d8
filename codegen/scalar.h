// Scalar emission: one instruction of a scalar program as LLVM IR over `lanes` elements. Only operations that LLVM's
// code generator keeps exact are emitted, and no fast-math flag is ever set; see docs/architecture.md, "Code".
#pragma once

#include <span>

#include "codegen/emitter.h"

namespace nnc {

/// The value of a constant instruction over `lanes` lanes.
llvm::Constant* emit_constant(Emitter& emit, const ScalarInstruction& instruction, int lanes);

/// The value of any instruction but inputs and constants. All operands have the instruction's lanes; `from` is the type
/// of the first operand's elements.
llvm::Value* emit_instruction(Emitter& emit, const ScalarInstruction& instruction, ScalarType from,
                              std::span<llvm::Value* const> operands, int lanes);

/// The values of a program's instructions over vectors, or scalars where all lanes have the same; null where they need
/// an input that is null. What stands in `known` is not computed again. An input is asked for where it is used.
using InputOf = llvm::function_ref<llvm::Value*(std::size_t)>;
Carried emit_values(Emitter& emit, const ScalarProgram& program, InputOf input, int lanes, const Carried& known = {});

llvm::Value* emit_fma(Emitter& emit, llvm::Value* a, llvm::Value* b, llvm::Value* c);
/// IEEE 754-2019 maximum of floats; the greater of integers.
llvm::Value* emit_maximum(Emitter& emit, llvm::Value* a, llvm::Value* b);

}  // namespace nnc
