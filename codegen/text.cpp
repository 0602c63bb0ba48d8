// The stages `llvm` and `asm`: the same module and the same code generator as the JIT's, as text.
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>

#include "codegen/compile.h"
#include "codegen/emitter.h"
#include "codegen/module.h"
#include "codegen/target.h"

namespace nnc {

namespace {

std::unique_ptr<llvm::Module> module_for(const Program& program, const CompileOptions& options,
                                         llvm::TargetMachine& machine, llvm::LLVMContext& context) {
  auto module = emit_module(program, options.target, context, options.watched);
  module->setDataLayout(machine.createDataLayout());
  module->setTargetTriple(machine.getTargetTriple());
  return module;
}

}  // namespace

std::string emit_llvm(const Program& program, const CompileOptions& options) {
  const auto machine = make_target_machine(options);
  llvm::LLVMContext context;
  const auto module = module_for(program, options, *machine, context);
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream, nullptr);
  return text;
}

std::string emit_assembly(const Program& program, const CompileOptions& options) {
  const auto machine = make_target_machine(options);
  machine->Options.MCOptions.AsmVerbose = true;  // says which loads and stores are spills
  llvm::LLVMContext context;
  const auto module = module_for(program, options, *machine, context);
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
    internal_error("no assembly for this target");
  passes.run(*module);
  return std::string(text);
}

}  // namespace nnc
