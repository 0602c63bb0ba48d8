#include "codegen/target.h"

#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/SubtargetFeature.h>

#include <mutex>

namespace nnc {

namespace {

llvm::CodeGenOptLevel level_of(CodegenLevel level) {
  switch (level) {
    case CodegenLevel::none:
      return llvm::CodeGenOptLevel::None;
    case CodegenLevel::less:
      return llvm::CodeGenOptLevel::Less;
    case CodegenLevel::normal:
      return llvm::CodeGenOptLevel::Default;
    case CodegenLevel::aggressive:
      return llvm::CodeGenOptLevel::Aggressive;
  }
  return llvm::CodeGenOptLevel::Less;
}

/// Addresses are emitted in their final form; loop strength reduction would only take time and rewrite them.
void set_option(const char* name) {
  auto& options = llvm::cl::getRegisteredOptions();
  const auto option = options.find(name);
  if (option != options.end()) static_cast<llvm::cl::opt<bool>*>(option->second)->setValue(true);
}

}  // namespace

void initialise_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    set_option("disable-lsr");
  });
}

llvm::orc::JITTargetMachineBuilder target_machine(const CompileOptions& options) {
  initialise_llvm();
  llvm::orc::JITTargetMachineBuilder builder{llvm::Triple("x86_64-unknown-linux-gnu")};
  builder.setCPU(options.target.cpu);
  builder.addFeatures(llvm::SubtargetFeatures(options.target.features).getFeatures());
  builder.setCodeGenOptLevel(level_of(options.level));
  builder.setRelocationModel(llvm::Reloc::PIC_);
  builder.setCodeModel(llvm::CodeModel::Small);
  return builder;
}

}  // namespace nnc
