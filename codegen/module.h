// A program as an LLVM module: its kernels, and the entry that runs them in order with barriers between them.
#pragma once

#include <llvm/IR/Module.h>

#include <memory>

#include "ir/program/program.h"

namespace nnc {

/// The symbol of the entry: void(const nnc_call*).
inline constexpr const char* entry_symbol = "nnc_entry_call";

/// The verified module of a program for a target. Ends the process where LLVM's verifier finds a fault.
std::unique_ptr<llvm::Module> emit_module(const Program& program, const Target& target, llvm::LLVMContext& context);

}  // namespace nnc
