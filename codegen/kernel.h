// A kernel as a function of its own: the share of its thread, the outer loops, the stages at each point.
#pragma once

#include <memory>

#include "codegen/shared_kernels.h"
#include "codegen/stage.h"

namespace nnc {

/// A contiguous piece of the units of work of one loop: those of the calling thread.
struct Share {
  llvm::Value* begin = nullptr;
  llvm::Value* end = nullptr;
};
/// Divides `units` among the threads of the call, at most `pieces` of them; the rest of the threads return at once.
/// Emitted into the body; call it before anything else. With one piece, thread 0 has all units.
Share share_of_thread(Emitter& emit, std::int64_t units, std::int64_t pieces);

/// The stages of a kernel in their order, with what passes between them.
struct StageRow {
  StageRow(Emitter& emit, const Kernel& kernel, const Nest& outer, bool vectorise_inner);
  void enter(int level, llvm::Value* index);
  void set_active(int lanes);
  void run();

  FoldValues folds;
  std::vector<std::unique_ptr<StageEmitter>> stages;
};

/// A kernel's code where the emitter stands.
void emit_body(Emitter& emit, const Kernel& kernel);
void emit_contraction(Emitter& emit, const Kernel& kernel);

/// Whether a program is one small kernel, whose calls can follow one another within one function (nnc_entry::repeat).
bool repeats(const Program& program);

/// The function of kernels: void(const nnc_call*, the index of each loop around the kernel, for each
/// SharedKernel::Moved where the region begins from which the buffers' places count, for each SharedKernel::Streams its
/// number); of a program that repeats: void(const nnc_call*, how many calls one after the other).
llvm::Function* emit_kernel(llvm::Module& module, const Program& program, const SharedKernel& kernel);

}  // namespace nnc
