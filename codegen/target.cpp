#include "codegen/target.h"

#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/SubtargetFeature.h>

#include <mutex>

#include "codegen/emitter.h"

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

/// LLVM's own options of no interface but the command line's.
template <class T>
void set_option(const char* name, T value) {
  auto& options = llvm::cl::getRegisteredOptions();
  const auto option = options.find(name);
  if (option != options.end()) static_cast<llvm::cl::opt<T>*>(option->second)->setValue(value);
}

}  // namespace

void initialise_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    // Addresses are emitted in their final form: loop strength reduction would only take time and rewrite them.
    set_option("disable-lsr", true);
    // FastISel, the selector of level none, makes a scalar select of two loads a blend that reads 16 bytes (22.1.8).
    set_option("fast-isel", llvm::cl::boolOrDefault::BOU_FALSE);
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

std::unique_ptr<llvm::TargetMachine> make_target_machine(const CompileOptions& options) {
  auto machine = target_machine(options).createTargetMachine();
  if (!machine) internal_error("target: " + llvm::toString(machine.takeError()));
  return std::move(*machine);
}

}  // namespace nnc
