// LLVM's target machine for a Target, set up once in a process.
#pragma once

#include <llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h>

#include <llvm/Target/TargetMachine.h>

#include "codegen/compile.h"

namespace nnc {

llvm::orc::JITTargetMachineBuilder target_machine(const CompileOptions& options);
/// The same for those who emit files.
std::unique_ptr<llvm::TargetMachine> make_target_machine(const CompileOptions& options);
/// Registers the x86 target and sets LLVM's own options; does nothing the second time.
void initialise_llvm();

}  // namespace nnc
