// Programs as an object file that C links without anything of nnc: the same kernels as the JIT's, the weights as
// constants, and for each function a wrapper with a plain signature that fills in the call structure and works through
// the rows in blocks.
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>

#include <algorithm>
#include <cstddef>

#include "codegen/compile.h"
#include "codegen/emitter.h"
#include "codegen/module.h"
#include "codegen/target.h"
#include "runtime/abi.h"

namespace nnc {

namespace {

constexpr std::uint64_t region_alignment = 64;

std::uint64_t row_bytes(const Program& program, const Slot& slot) {
  const Buffer& buffer = program.buffers[slot.buffer];
  std::uint64_t bytes = size_of(buffer.dtype);
  for (std::size_t axis = 1; axis < buffer.dims.size(); ++axis) bytes *= static_cast<std::uint64_t>(buffer.dims[axis]);
  // A first axis of `count * batch` has so many indices a row.
  return bytes * static_cast<std::uint64_t>(buffer.dims[0] / program.rows);
}

llvm::GlobalVariable* constant_bytes(llvm::Module& module, const std::vector<std::byte>& bytes, const char* name) {
  const llvm::StringRef text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  auto* data = llvm::ConstantDataArray::getString(module.getContext(), text, false);
  auto* global = new llvm::GlobalVariable(module, data->getType(), true, llvm::GlobalValue::PrivateLinkage, data, name);
  global->setAlignment(llvm::Align(region_alignment));
  return global;
}

/// The order of rows that are dense: 0, 1, 2, ...
llvm::GlobalVariable* identity_order(llvm::Module& module, std::int64_t rows) {
  std::vector<std::uint32_t> order(static_cast<std::size_t>(rows));
  for (std::size_t row = 0; row < order.size(); ++row) order[row] = static_cast<std::uint32_t>(row);
  auto* data = llvm::ConstantDataArray::get(module.getContext(), order);
  return new llvm::GlobalVariable(module, data->getType(), true, llvm::GlobalValue::PrivateLinkage, data, "order");
}

/// Writes one wrapper.
class Wrapper {
 public:
  struct Constants {
    llvm::Value *params, *state, *order, *scalars;
  };

  Wrapper(llvm::Module& module, const ObjectFunction& function, const Constants& constants)
      : module_(module), source_(function), constants_(constants), ir_(module.getContext()) {}

  void write() {
    const Program& shape = source_.programs.back();
    std::vector<llvm::Type*> types(shape.feeds.size() + shape.outputs.size(), ir_.getPtrTy());
    types.push_back(ir_.getInt64Ty());
    types.push_back(ir_.getPtrTy());
    function_ = llvm::Function::Create(llvm::FunctionType::get(ir_.getInt32Ty(), types, false),
                                       llvm::Function::ExternalLinkage, source_.symbol, module_);
    ir_.SetInsertPoint(block("entry"));
    fill_call();
    for (std::size_t i = 0; i < shape.obligations.size(); ++i) check(shape, shape.obligations[i], i + 1);
    llvm::Value* at = ir_.getInt64(0);
    for (const Program& program : source_.programs) at = run_blocks(program, at);
    ir_.CreateRet(ir_.getInt32(0));
  }

 private:
  llvm::BasicBlock* block(const char* name) { return llvm::BasicBlock::Create(module_.getContext(), name, function_); }
  llvm::Value* input(std::size_t i) { return function_->getArg(static_cast<unsigned>(i)); }
  llvm::Value* output(std::size_t i) { return input(source_.programs.back().feeds.size() + i); }
  llvm::Value* rows() { return function_->getArg(static_cast<unsigned>(function_->arg_size() - 2)); }
  llvm::Value* work() { return function_->getArg(static_cast<unsigned>(function_->arg_size() - 1)); }

  llvm::Value* member(llvm::Value* base, std::size_t offset) {
    return ir_.CreateConstGEP1_64(ir_.getInt8Ty(), base, offset);
  }
  void set(llvm::Value* base, std::size_t offset, llvm::Value* value) { ir_.CreateStore(value, member(base, offset)); }
  llvm::Value* memory(std::uint64_t bytes) {
    auto* type = llvm::ArrayType::get(ir_.getInt8Ty(), std::max<std::uint64_t>(bytes, 8));
    llvm::AllocaInst* made = ir_.CreateAlloca(type);
    made->setAlignment(llvm::Align(16));
    return made;
  }

  /// What is the same for all blocks.
  void fill_call() {
    const Program& shape = source_.programs.back();
    call_ = memory(sizeof(nnc_call));
    feeds_ = memory(sizeof(nnc_feed) * shape.feeds.size());
    outputs_ = memory(sizeof(void*) * shape.outputs.size());
    llvm::Value* null = llvm::ConstantPointerNull::get(ir_.getPtrTy());
    llvm::Value* arena =
        ir_.CreateAnd(ir_.CreateAdd(ir_.CreatePtrToInt(work(), ir_.getInt64Ty()), ir_.getInt64(region_alignment - 1)),
                      ir_.getInt64(~(region_alignment - 1)));
    set(call_, offsetof(nnc_call, params), constants_.params);
    set(call_, offsetof(nnc_call, state), constants_.state);
    set(call_, offsetof(nnc_call, grads), null);
    set(call_, offsetof(nnc_call, carry), null);
    set(call_, offsetof(nnc_call, arena), ir_.CreateIntToPtr(arena, ir_.getPtrTy()));
    set(call_, offsetof(nnc_call, feeds), feeds_);
    set(call_, offsetof(nnc_call, outputs), outputs_);
    set(call_, offsetof(nnc_call, scalars), constants_.scalars);
    set(call_, offsetof(nnc_call, seed), ir_.getInt64(0));
    set(call_, offsetof(nnc_call, step), ir_.getInt64(0));
    set(call_, offsetof(nnc_call, thread), ir_.getInt32(0));
    set(call_, offsetof(nnc_call, threads), ir_.getInt32(1));
    set(call_, offsetof(nnc_call, barrier), null);
    set(call_, offsetof(nnc_call, team), null);
    for (std::size_t i = 0; i < shape.feeds.size(); ++i) {
      const std::size_t feed = i * sizeof(nnc_feed);
      set(feeds_, feed + offsetof(nnc_feed, row_stride), ir_.getInt64(row_bytes(shape, shape.feeds[i])));
      set(feeds_, feed + offsetof(nnc_feed, order), constants_.order);
    }
  }

  /// for (index = begin; index + step <= end; index += step) body(index); gives the first index that is left.
  llvm::Value* loop(llvm::Value* begin, llvm::Value* end, std::int64_t step,
                    llvm::function_ref<void(llvm::Value*)> body) {
    llvm::BasicBlock *before = ir_.GetInsertBlock(), *head = block("head"), *inside = block("body"),
                     *after = block("after");
    ir_.CreateBr(head);
    ir_.SetInsertPoint(head);
    llvm::PHINode* index = ir_.CreatePHI(ir_.getInt64Ty(), 2);
    index->addIncoming(begin, before);
    llvm::Value* next = ir_.CreateAdd(index, ir_.getInt64(static_cast<std::uint64_t>(step)));
    ir_.CreateCondBr(ir_.CreateICmpULE(next, end), inside, after);
    ir_.SetInsertPoint(inside);
    body(index);
    index->addIncoming(next, ir_.GetInsertBlock());
    ir_.CreateBr(head);
    ir_.SetInsertPoint(after);
    return index;
  }

  /// Every element of an input is where its obligation says, else the function ends with `status`.
  void check(const Program& shape, const Obligation& obligation, std::size_t status) {
    for (std::size_t i = 0; i < shape.feeds.size(); ++i) {
      if (shape.feeds[i].name != obligation.input) continue;
      const std::uint64_t elements = row_bytes(shape, shape.feeds[i]) / sizeof(std::int32_t);
      llvm::Value* end = ir_.CreateMul(rows(), ir_.getInt64(elements));
      loop(ir_.getInt64(0), end, 1, [&](llvm::Value* index) {
        llvm::Value* value = ir_.CreateLoad(ir_.getInt32Ty(), ir_.CreateGEP(ir_.getInt32Ty(), input(i), index));
        value = ir_.CreateSExt(value, ir_.getInt64Ty());
        const auto bound = [&](std::int64_t at) { return ir_.getInt64(static_cast<std::uint64_t>(at)); };
        llvm::Value* met = ir_.CreateAnd(ir_.CreateICmpSGE(value, bound(obligation.low)),
                                         ir_.CreateICmpSLT(value, bound(obligation.high)));
        llvm::BasicBlock *broken = block("broken"), *fine = block("fine");
        ir_.CreateCondBr(met, fine, broken);
        ir_.SetInsertPoint(broken);
        ir_.CreateRet(ir_.getInt32(static_cast<std::uint32_t>(status)));
        ir_.SetInsertPoint(fine);
      });
    }
  }

  llvm::Value* run_blocks(const Program& program, llvm::Value* begin) {
    llvm::Function* entry = emit_program(module_, program, source_.symbol + ".rows" + std::to_string(program.rows));
    entry->setLinkage(llvm::GlobalValue::InternalLinkage);
    return loop(begin, rows(), program.rows, [&](llvm::Value* at) {
      const auto from_row = [&](llvm::Value* base, const Slot& slot) {
        return ir_.CreateGEP(ir_.getInt8Ty(), base, ir_.CreateMul(at, ir_.getInt64(row_bytes(program, slot))));
      };
      for (std::size_t i = 0; i < program.feeds.size(); ++i)
        set(feeds_, i * sizeof(nnc_feed) + offsetof(nnc_feed, base), from_row(input(i), program.feeds[i]));
      for (std::size_t i = 0; i < program.outputs.size(); ++i)
        set(outputs_, i * sizeof(void*), from_row(output(i), program.outputs[i]));
      set(call_, offsetof(nnc_call, row_offset), at);
      ir_.CreateCall(entry, {call_});
    });
  }

  llvm::Module& module_;
  const ObjectFunction& source_;
  Constants constants_;
  llvm::IRBuilder<> ir_;
  llvm::Function* function_ = nullptr;
  llvm::Value *call_ = nullptr, *feeds_ = nullptr, *outputs_ = nullptr;
};

}  // namespace

std::uint64_t work_bytes(const ObjectFunction& function) {
  std::uint64_t bytes = 0;
  for (const Program& program : function.programs) bytes = std::max(bytes, program.arena_bytes);
  return bytes + region_alignment;
}

std::string emit_object(const ObjectFile& file, const CompileOptions& options) {
  const auto machine = make_target_machine(options);
  llvm::LLVMContext context;
  llvm::Module module("nnc", context);
  module.setDataLayout(machine->createDataLayout());
  module.setTargetTriple(machine->getTargetTriple());

  std::int64_t most_rows = 1;
  for (const ObjectFunction& function : file.functions)
    for (const Program& program : function.programs) most_rows = std::max(most_rows, program.rows);
  const Wrapper::Constants constants{constant_bytes(module, file.params, "params"),
                                     constant_bytes(module, file.state, "state"), identity_order(module, most_rows),
                                     constant_bytes(module, std::vector<std::byte>(8 * sizeof(double)), "scalars")};
  for (const ObjectFunction& function : file.functions) Wrapper(module, function, constants).write();
  for (const ObjectEntry& entry : file.entries) emit_program(module, entry.program, entry.symbol);
  finish_module(module, options.target);

  llvm::SmallString<0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile))
    internal_error("no object file for this target");
  passes.run(module);
  return std::string(object);
}

}  // namespace nnc
