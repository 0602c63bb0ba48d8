// A program as an LLVM module: its kernels, and the entry that runs them in order with barriers between them.
#pragma once

#include <llvm/IR/Module.h>

#include <memory>

#include "ir/program/program.h"

namespace nnc {

/// The symbol of the entry: void(const nnc_call*).
inline constexpr const char* entry_symbol = "nnc_entry_call";
/// Of a program that repeats, calls that follow one another: void(const nnc_call*, i64 times).
inline constexpr const char* repeated_symbol = "nnc_entry_repeat";

/// Adds a program to a module: its kernels, and the function `symbol` that runs them, void(const nnc_call*).
llvm::Function* emit_program(llvm::Module& module, const Program& program, const std::string& symbol);
/// Gives every function the target's attributes, then verifies. Ends the process where LLVM's verifier finds a fault.
void finish_module(llvm::Module& module, const Target& target);
/// The finished module of one program; `watched` as CompileOptions has it.
std::unique_ptr<llvm::Module> emit_module(const Program& program, const Target& target, llvm::LLVMContext& context,
                                          bool watched = false);

}  // namespace nnc
