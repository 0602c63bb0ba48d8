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
constexpr std::size_t scalar_count = 5;  // step, epoch, steps_per_epoch, total_steps, rows

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
    llvm::Value *params, *state, *order;
    std::uint64_t params_bytes, state_bytes;
  };

  Wrapper(llvm::Module& module, const ObjectFunction& function, const Constants& constants)
      : module_(module), source_(function), constants_(constants), ir_(module.getContext()) {}

  void write() {
    declare();
    ir_.SetInsertPoint(block("entry"));
    if (source_.weights == ObjectFunction::Weights::begun) begin_weights();
    if (!source_.programs.empty()) {
      const Program& shape = source_.programs.back();
      fill_call(shape);
      for (std::size_t i = 0; i < shape.obligations.size(); ++i) check(shape, shape.obligations[i], i + 1);
    }
    switch (source_.rows) {
      case ObjectFunction::Rows::blocks: {
        llvm::Value* at = ir_.getInt64(0);
        for (const Program& program : source_.programs) at = run_blocks(program, at);
        break;
      }
      case ObjectFunction::Rows::listed:
        for (const Program& program : source_.programs) run_where_equal(program);
        ir_.CreateRet(ir_.getInt32(static_cast<std::uint32_t>(-1)));
        return;
      case ObjectFunction::Rows::none:
        for (const Program& program : source_.programs) run(program, entry_of(program), ir_.getInt64(0));
        break;
    }
    ir_.CreateRet(ir_.getInt32(0));
  }

 private:
  llvm::BasicBlock* block(const char* name) { return llvm::BasicBlock::Create(module_.getContext(), name, function_); }

  /// The function with its arguments, in the order that ObjectFunction says.
  void declare() {
    std::vector<llvm::Type*> types;
    const auto argument = [&](bool asked, llvm::Type* type) {
      if (asked) types.push_back(type);
      return asked ? static_cast<int>(types.size()) - 1 : -1;
    };
    if (!source_.programs.empty()) {
      const Program& shape = source_.programs.back();
      types.assign(shape.feeds.size() + shape.outputs.size(), ir_.getPtrTy());
    }
    const bool given = source_.weights != ObjectFunction::Weights::inside;
    const int rows = argument(source_.rows != ObjectFunction::Rows::none, ir_.getInt64Ty());
    const int params = argument(given, ir_.getPtrTy()), state = argument(given, ir_.getPtrTy());
    const int seed = argument(source_.numbers == ObjectFunction::Numbers::seed, ir_.getInt64Ty());
    const int progress = argument(source_.numbers == ObjectFunction::Numbers::progress, ir_.getPtrTy());
    const int arrays = argument(source_.arrays, ir_.getPtrTy());
    const int work = argument(!source_.programs.empty(), ir_.getPtrTy());
    function_ = llvm::Function::Create(llvm::FunctionType::get(ir_.getInt32Ty(), types, false),
                                       llvm::Function::ExternalLinkage, source_.symbol, module_);
    llvm::Value* null = llvm::ConstantPointerNull::get(ir_.getPtrTy());
    const auto value = [&](int at, llvm::Value* otherwise) {
      return at < 0 ? otherwise : function_->getArg(static_cast<unsigned>(at));
    };
    rows_ = value(rows, ir_.getInt64(0));
    params_ = value(params, constants_.params), state_ = value(state, constants_.state);
    seed_ = value(seed, ir_.getInt64(0));
    progress_ = value(progress, nullptr);
    arrays_ = value(arrays, null);
    work_ = value(work, null);
  }

  llvm::Value* input(std::size_t i) { return function_->getArg(static_cast<unsigned>(i)); }
  llvm::Value* output(std::size_t i) { return input(source_.programs.back().feeds.size() + i); }

  /// The file's weights, or zeros, where the caller's are to be.
  void begin_weights() {
    const llvm::Align aligned(region_alignment);
    for (const auto& [to, from, bytes] : {std::tuple{params_, constants_.params, constants_.params_bytes},
                                          {state_, constants_.state, constants_.state_bytes}})
      ir_.CreateMemCpy(to, aligned, from, aligned, bytes);
  }

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
  void fill_call(const Program& shape) {
    call_ = memory(sizeof(nnc_call));
    feeds_ = memory(sizeof(nnc_feed) * shape.feeds.size());
    outputs_ = memory(sizeof(void*) * shape.outputs.size());
    llvm::Value* null = llvm::ConstantPointerNull::get(ir_.getPtrTy());
    llvm::Value* arena =
        ir_.CreateAnd(ir_.CreateAdd(ir_.CreatePtrToInt(work_, ir_.getInt64Ty()), ir_.getInt64(region_alignment - 1)),
                      ir_.getInt64(~(region_alignment - 1)));
    set(call_, offsetof(nnc_call, params), params_);
    set(call_, offsetof(nnc_call, state), state_);
    set(call_, offsetof(nnc_call, grads), arrays_);
    set(call_, offsetof(nnc_call, carry), null);
    set(call_, offsetof(nnc_call, arena), ir_.CreateIntToPtr(arena, ir_.getPtrTy()));
    set(call_, offsetof(nnc_call, feeds), feeds_);
    set(call_, offsetof(nnc_call, outputs), outputs_);
    set_numbers();
    set(call_, offsetof(nnc_call, thread), ir_.getInt32(0));
    set(call_, offsetof(nnc_call, threads), ir_.getInt32(1));
    set(call_, offsetof(nnc_call, barrier), null);
    set(call_, offsetof(nnc_call, team), null);
    for (std::size_t i = 0; i < shape.feeds.size(); ++i) {
      const std::size_t feed = shape.buffers[shape.feeds[i].buffer].offset * sizeof(nnc_feed);
      set(feeds_, feed + offsetof(nnc_feed, row_stride), ir_.getInt64(row_bytes(shape, shape.feeds[i])));
      set(feeds_, feed + offsetof(nnc_feed, order), constants_.order);
    }
  }

  /// What the driver's loop passes to a step: epochs and steps count from 1.
  void set_numbers() {
    scalars_ = memory(scalar_count * sizeof(double));
    const auto number = [&](std::size_t i) {
      return progress_ ? static_cast<llvm::Value*>(ir_.CreateLoad(ir_.getInt64Ty(), member(progress_, i * 8)))
                       : ir_.getInt64(0);
    };
    llvm::Value *seed = progress_ ? number(0) : seed_, *step = number(1), *steps = number(2), *total = number(3);
    llvm::Value* one = ir_.getInt64(1);
    llvm::Value* divisor = ir_.CreateSelect(ir_.CreateICmpEQ(steps, ir_.getInt64(0)), one, steps);
    llvm::Value* epoch = progress_ ? ir_.CreateAdd(ir_.CreateUDiv(ir_.CreateSub(step, one), divisor), one) : number(0);
    llvm::Value* values[] = {step, epoch, steps, total, ir_.getInt64(0)};  // runtime/programs.h, ScalarSlot
    for (std::size_t i = 0; i < scalar_count; ++i)
      set(scalars_, i * sizeof(double), ir_.CreateUIToFP(values[i], ir_.getDoubleTy()));
    set(call_, offsetof(nnc_call, scalars), scalars_);
    set(call_, offsetof(nnc_call, seed), seed);
    set(call_, offsetof(nnc_call, step), step);
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
      llvm::Value* end = ir_.CreateMul(rows_, ir_.getInt64(elements));
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

  llvm::Function* entry_of(const Program& program) {
    llvm::Function* entry = emit_program(module_, program, source_.symbol + ".rows" + std::to_string(program.rows));
    entry->setLinkage(llvm::GlobalValue::InternalLinkage);
    return entry;
  }

  /// One call, of the rows from `at` on.
  void run(const Program& program, llvm::Function* entry, llvm::Value* at) {
    const bool by_rows = source_.rows == ObjectFunction::Rows::blocks;
    const auto from_row = [&](llvm::Value* base, const Slot& slot) {
      if (!by_rows) return base;
      return ir_.CreateGEP(ir_.getInt8Ty(), base, ir_.CreateMul(at, ir_.getInt64(row_bytes(program, slot))));
    };
    const auto place = [&](const Slot& slot) { return program.buffers[slot.buffer].offset; };
    for (std::size_t i = 0; i < program.feeds.size(); ++i)
      set(feeds_, place(program.feeds[i]) * sizeof(nnc_feed) + offsetof(nnc_feed, base),
          from_row(input(i), program.feeds[i]));
    for (std::size_t i = 0; i < program.outputs.size(); ++i)
      set(outputs_, place(program.outputs[i]) * sizeof(void*), from_row(output(i), program.outputs[i]));
    set(call_, offsetof(nnc_call, row_offset), at);
    set(scalars_, (scalar_count - 1) * sizeof(double),
        llvm::ConstantFP::get(ir_.getDoubleTy(), static_cast<double>(program.rows)));
    ir_.CreateCall(entry, {call_});
  }

  llvm::Value* run_blocks(const Program& program, llvm::Value* begin) {
    llvm::Function* entry = entry_of(program);
    return loop(begin, rows_, program.rows, [&](llvm::Value* at) { run(program, entry, at); });
  }

  void run_where_equal(const Program& program) {
    llvm::BasicBlock *inside = block("rows"), *after = block("after");
    ir_.CreateCondBr(ir_.CreateICmpEQ(rows_, ir_.getInt64(static_cast<std::uint64_t>(program.rows))), inside, after);
    ir_.SetInsertPoint(inside);
    run(program, entry_of(program), ir_.getInt64(0));
    ir_.CreateRet(ir_.getInt32(0));
    ir_.SetInsertPoint(after);
  }

  llvm::Module& module_;
  const ObjectFunction& source_;
  Constants constants_;
  llvm::IRBuilder<> ir_;
  llvm::Function* function_ = nullptr;
  llvm::Value *rows_ = nullptr, *params_ = nullptr, *state_ = nullptr, *seed_ = nullptr, *progress_ = nullptr,
              *arrays_ = nullptr, *work_ = nullptr;
  llvm::Value *call_ = nullptr, *feeds_ = nullptr, *outputs_ = nullptr, *scalars_ = nullptr;
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
                                     file.params.size(), file.state.size()};
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
