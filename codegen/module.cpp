#include "codegen/module.h"

#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <numeric>

#include "codegen/fma.h"
#include "codegen/kernel.h"
#include "codegen/target.h"
#include "runtime/abi.h"

namespace nnc {

namespace {

/// Function attributes that code generation reads. Nothing is ever thrown, so no unwind tables are made.
void set_attributes(llvm::Function& function, const Target& target) {
  function.addFnAttr(llvm::Attribute::NoUnwind);
  function.addFnAttr("target-cpu", target.cpu);
  if (!target.features.empty()) function.addFnAttr("target-features", target.features);
  if (!function.hasFnAttribute("prefer-vector-width"))
    function.addFnAttr("prefer-vector-width", "512");  // else LLVM prefers 256 bits on some processors that have 512
  function.addFnAttr("frame-pointer", "none");
}

/// Kernels of one piece both run on thread 0, so nobody waits between them.
bool needs_barrier(const Kernel& before, const Kernel& after) {
  return before.schedule.parallel > 1 || after.schedule.parallel > 1;
}

/// Whether threads meet before a kernel: after the one before it, and where a loop begins, after that loop's last one.
bool follows_others(const Program& program, std::size_t kernel) {
  const Kernel& here = program.kernels[kernel];
  return (kernel > 0 && needs_barrier(program.kernels[kernel - 1], here)) ||
         std::ranges::any_of(program.loops, [&](const SerialLoop& loop) {
           return loop.first == kernel && needs_barrier(program.kernels[loop.end - 1], here);
         });
}

void call_barrier(Emitter& emit) {
  llvm::Type* pointer = emit.ir.getPtrTy();
  auto* type = llvm::FunctionType::get(emit.ir.getVoidTy(), {pointer}, false);
  emit.ir.CreateCall(type, emit.call_member(offsetof(nnc_call, barrier), pointer),
                     {emit.call_member(offsetof(nnc_call, team), pointer)});
}

void emit_barrier(Emitter& emit) {
  llvm::Type* i32 = emit.ir.getInt32Ty();
  llvm::Value* threads = emit.call_member(offsetof(nnc_call, threads), i32);
  emit_if(emit, emit.ir.CreateICmpUGT(threads, emit.ir.getInt32(1)), {}, [&] {
    call_barrier(emit);
    return Carried();
  });
}

/// Points of a program's nests that take about as long as calling its kernels.
constexpr std::int64_t most_points_in_entry = 1 << 16;

std::int64_t points_of(const Kernel& kernel) {
  const auto product = [](const std::vector<std::int64_t>& loops) {
    return std::accumulate(loops.begin(), loops.end(), std::int64_t{1}, std::multiplies<>());
  };
  std::int64_t inner = kernel.core ? kernel.core->k : 0;
  for (const Stage& stage : kernel.stages) inner += product(stage.inner);
  return product(kernel.outer) * inner;
}

/// Whether kernels are code of the entry itself: what would be saved and loaded again for each is most of their work.
bool in_entry(const Program& program) {
  std::int64_t points = 0;
  for (const Kernel& kernel : program.kernels) points += points_of(kernel);
  return program.loops.empty() && !repeats(program) && points <= most_points_in_entry &&
         std::ranges::all_of(program.kernels, [](const Kernel& kernel) { return kernel.schedule.parallel == 1; });
}

llvm::Function* make_entry(llvm::Module& module, const std::string& symbol) {
  llvm::LLVMContext& context = module.getContext();
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {llvm::PointerType::get(context, 0)}, false);
  return llvm::Function::Create(type, llvm::Function::ExternalLinkage, symbol, module);
}

/// All kernels one after the other, by thread 0.
llvm::Function* emit_small_entry(llvm::Module& module, const Program& program, const std::string& symbol) {
  llvm::Function* function = make_entry(module, symbol);
  Emitter emit(program, *function);
  share_of_thread(emit, 1, 1);
  emit.one_thread = true;
  for (const Kernel& kernel : program.kernels) emit_body(emit, kernel);
  emit.finish();
  return function;
}

/// The functions of a program's kernels, and which one a kernel is.
struct KernelFunctions {
  std::vector<SharedKernel> shared;
  std::vector<llvm::Function*> functions;                            ///< of these
  std::vector<std::pair<std::size_t, std::size_t>> of_kernels = {};  ///< by kernel: which of these, and its place there

  KernelFunctions(llvm::Module& module, const Program& program)
      : shared(shared_kernels(program)), of_kernels(program.kernels.size()) {
    for (std::size_t i = 0; i < shared.size(); ++i) {
      functions.push_back(emit_kernel(module, program, shared[i]));
      for (std::size_t place = 0; place < shared[i].kernels.size(); ++place)
        of_kernels[shared[i].kernels[place]] = {i, place};
    }
  }

  /// Calls a kernel; `arguments` are those that a kernel's function has whoever shares it.
  void call(Emitter& emit, std::size_t kernel, llvm::SmallVector<llvm::Value*> arguments) const {
    const auto [which, place] = of_kernels[kernel];
    for (const SharedKernel::Moved& moved : shared[which].moved)
      arguments.push_back(emit.byte_offset(emit.region(moved.region), emit.index(moved.by[place])));
    for (const SharedKernel::Streams& streams : shared[which].streams)
      arguments.push_back(emit.ir.getInt64(streams.numbers[place]));
    emit.ir.CreateCall(functions[which], arguments);
  }
};

llvm::Function* emit_entry(llvm::Module& module, const Program& program, const std::string& symbol,
                           const KernelFunctions& kernels, bool watched = false) {
  llvm::Function* function = make_entry(module, symbol);
  Emitter emit(program, *function);
  llvm::SmallVector<llvm::Value*> arguments{emit.call()};  // then the indices of the loops around
  if (repeats(program)) arguments.push_back(emit.index(1));
  const auto call = [&](std::size_t kernel) {
    if (watched)
      call_barrier(emit);
    else if (follows_others(program, kernel))
      emit_barrier(emit);
    kernels.call(emit, kernel, arguments);
  };
  const auto loop = [&](std::uint32_t number, const std::function<void()>& step) {
    const SerialLoop& at = program.loops[number];
    emit_loop(emit, emit.index(0), emit.index(at.steps), 1, {}, [&](llvm::Value* index, const Carried&) {
      arguments.push_back(at.backwards ? emit.ir.CreateSub(emit.index(at.steps - 1), index) : index);
      step();
      arguments.pop_back();
      return Carried();
    });
  };
  walk(program, call, loop);
  if (watched) call_barrier(emit);
  emit.finish();
  return function;
}

/// A program's only kernel, call after call.
void emit_repeated(llvm::Module& module, const Program& program, llvm::Function* kernel) {
  llvm::LLVMContext& context = module.getContext();
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                                       {llvm::PointerType::get(context, 0), llvm::Type::getInt64Ty(context)}, false);
  auto* function = llvm::Function::Create(type, llvm::Function::ExternalLinkage, repeated_symbol, module);
  Emitter emit(program, *function);
  llvm::Value* times = function->getArg(1);
  emit_if(emit, emit.ir.CreateICmpSGT(times, emit.index(0)), {}, [&] {
    emit.ir.CreateCall(kernel, {emit.call(), times});
    return Carried();
  });
  emit.finish();
}

}  // namespace

llvm::Function* emit_program(llvm::Module& module, const Program& program, const std::string& symbol) {
  if (in_entry(program)) return emit_small_entry(module, program, symbol);
  return emit_entry(module, program, symbol, KernelFunctions(module, program));
}

void finish_module(llvm::Module& module, const Target& target) {
  if (!has_fma(target)) expand_fma(module);
  for (llvm::Function& function : module)
    if (!function.isDeclaration()) set_attributes(function, target);
  std::string faults;
  llvm::raw_string_ostream stream(faults);
  if (llvm::verifyModule(module, &stream)) internal_error("code of '" + module.getName().str() + "': " + faults);
}

std::unique_ptr<llvm::Module> emit_module(const Program& program, const Target& target, llvm::LLVMContext& context,
                                          bool watched) {
  auto module = std::make_unique<llvm::Module>(program.entry, context);
  if (repeats(program) || watched) {
    const KernelFunctions kernels(*module, program);
    emit_entry(*module, program, entry_symbol, kernels, watched);
    if (repeats(program)) emit_repeated(*module, program, kernels.functions[0]);
  } else {
    emit_program(*module, program, entry_symbol);
  }
  finish_module(*module, target);
  return module;
}

}  // namespace nnc
