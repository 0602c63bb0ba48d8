// Programs compiled into this process. The memory that the linker makes is never writable and executable at once, and
// no symbol resolves but the three that code generation may call by itself: a stray libm call is an error, not a
// surprise.
#include <llvm/ExecutionEngine/Orc/AbsoluteSymbols.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>

#include <cstring>

#include "codegen/compile.h"
#include "codegen/emitter.h"
#include "codegen/kernel.h"
#include "codegen/module.h"
#include "codegen/tables.h"
#include "codegen/target.h"

namespace nnc {

namespace {

template <class T>
T expect(llvm::Expected<T> value, const char* what) {
  if (!value) internal_error(std::string(what) + ": " + llvm::toString(value.takeError()));
  return std::move(*value);
}
void expect(llvm::Error error, const char* what) {
  if (error) internal_error(std::string(what) + ": " + llvm::toString(std::move(error)));
}

std::unique_ptr<llvm::orc::LLJIT> make_jit(const CompileOptions& options) {
  llvm::orc::LLJITBuilder builder;
  builder.setJITTargetMachineBuilder(target_machine(options))
      .setPlatformSetUp(llvm::orc::setUpInactivePlatform)
      .setLinkProcessSymbolsByDefault(false);
  return expect(builder.create(), "JIT");
}

void define_symbols(llvm::orc::LLJIT& jit) {
  using llvm::orc::ExecutorAddr;
  llvm::orc::SymbolMap symbols;
  const auto define = [&](const char* name, void* (*function)(void*, const void*, std::size_t)) {
    symbols[jit.mangleAndIntern(name)] = {ExecutorAddr::fromPtr(function), llvm::JITSymbolFlags::Exported};
  };
  define("memcpy", std::memcpy);
  define("memmove", std::memmove);
  void* (*set)(void*, int, std::size_t) = std::memset;
  symbols[jit.mangleAndIntern("memset")] = {ExecutorAddr::fromPtr(set), llvm::JITSymbolFlags::Exported};
  expect(jit.getMainJITDylib().define(llvm::orc::absoluteSymbols(std::move(symbols))), "symbols");
}

class JitCompiled final : public Compiled {
 public:
  JitCompiled(const Program& program, const CompileOptions& options)
      : jit_(make_jit(options)), code_(link(program, options)), tables_(program, code_, repeated(program)) {}
  const nnc_entry& entry() const override { return tables_.entry(); }

 private:
  nnc_function link(const Program& program, const CompileOptions& options) {
    define_symbols(*jit_);
    auto context = std::make_unique<llvm::LLVMContext>();
    auto module = emit_module(program, options.target, *context, options.watched);
    module->setDataLayout(jit_->getDataLayout());
    module->setTargetTriple(jit_->getTargetTriple());
    expect(jit_->addIRModule(llvm::orc::ThreadSafeModule(std::move(module), std::move(context))), "module");
    return expect(jit_->lookup(entry_symbol), "code").toPtr<nnc_function>();
  }

  nnc_repeated repeated(const Program& program) {
    return repeats(program) ? expect(jit_->lookup(repeated_symbol), "code").toPtr<nnc_repeated>() : nullptr;
  }

  std::unique_ptr<llvm::orc::LLJIT> jit_;
  nnc_function code_;
  EntryTables tables_;
};

}  // namespace

std::unique_ptr<Compiled> compile(const Program& program, const CompileOptions& options) {
  return std::make_unique<JitCompiled>(program, options);
}

}  // namespace nnc
