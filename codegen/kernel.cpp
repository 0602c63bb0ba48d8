#include "codegen/kernel.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/line.h"
#include "codegen/transposition.h"
#include "runtime/abi.h"

namespace nnc {

Share share_of_thread(Emitter& emit, std::int64_t units, std::int64_t pieces) {
  if (emit.one_thread) return {emit.index(0), emit.index(units)};
  llvm::Type* i32 = emit.ir.getInt32Ty();
  llvm::Value* thread = emit.call_member(offsetof(nnc_call, thread), i32);
  const auto leave_unless = [&](llvm::Value* condition) {
    auto* leave = llvm::BasicBlock::Create(emit.context, "leave", &emit.function);
    auto* stay = llvm::BasicBlock::Create(emit.context, "share", &emit.function);
    emit.ir.CreateCondBr(condition, stay, leave);
    emit.ir.SetInsertPoint(leave);
    emit.ir.CreateRetVoid();
    emit.ir.SetInsertPoint(stay);
  };
  if (pieces <= 1) {
    leave_unless(emit.ir.CreateICmpEQ(thread, emit.ir.getInt32(0)));
    return {emit.index(0), emit.index(units)};
  }
  llvm::Type* i64 = emit.ir.getInt64Ty();
  llvm::Value* threads = emit.ir.CreateZExt(emit.call_member(offsetof(nnc_call, threads), i32), i64);
  llvm::Value* parts = lesser(emit, threads, emit.index(pieces));
  llvm::Value* part = emit.ir.CreateZExt(thread, i64);
  leave_unless(emit.ir.CreateICmpULT(part, parts));
  const auto boundary = [&](llvm::Value* at) { return emit.ir.CreateUDiv(emit.scaled(at, units), parts); };
  return {boundary(part), boundary(emit.add(part, emit.index(1)))};
}

StageRow::StageRow(Emitter& emit, const Kernel& kernel, const Nest& outer, bool vectorise_inner)
    : folds(kernel.stages.size()) {
  for (std::size_t i = 0; i < kernel.stages.size(); ++i)
    stages.push_back(std::make_unique<StageEmitter>(emit, kernel, i, outer, vectorise_inner, folds));
}
void StageRow::enter(int level, llvm::Value* index) {
  for (auto& stage : stages) stage->enter(level, index);
}
void StageRow::set_active(int lanes) {
  for (auto& stage : stages) stage->set_active(lanes);
}
void StageRow::run() {
  for (auto& stage : stages) stage->run();
}

namespace {

/// The outer loops of a kernel without a contraction.
class OuterLoops {
 public:
  OuterLoops(Emitter& emit, const Kernel& kernel) : emit_(emit), kernel_(kernel) {
    std::vector<std::size_t> longer;  // than one step
    for (std::size_t loop = 0; loop < kernel.outer.size(); ++loop)
      if (kernel.outer[loop] != 1) longer.push_back(loop);
    const bool vectorised = kernel.schedule.vector == Schedule::Vector::outer && kernel.schedule.lanes > 1;
    if (vectorised && !longer.empty()) {
      nest_.vector_loop = static_cast<int>(longer.back());
      nest_.lanes = nest_.active = kernel.schedule.lanes;
      // Elements that one vector holds are no loop: what is read along them is known before the loops around.
      if (const std::int64_t extent = kernel.outer[longer.back()]; extent > 0 && extent <= nest_.lanes) {
        nest_.active = static_cast<int>(extent);
        longer.pop_back();
      }
    }
    for (const std::size_t loop : longer) nest_.levels.push_back({.loop = static_cast<int>(loop)});
  }

  void run() {
    choose_shared_loop();
    // Without a loop to share there is one point, and it is one thread's: it may add to what it reads.
    const bool shared = shared_level_ != 0;
    const Share share =
        share_of_thread(emit_, shared ? units(shared_level_) : 1, shared ? kernel_.schedule.parallel : 1);
    begin_ = share.begin;
    end_ = share.end;
    StageRow stages(emit_, kernel_, nest_, kernel_.schedule.vector == Schedule::Vector::inner);
    stages_ = &stages;
    stages.enter(0, nullptr);
    run_level(1);
    stages_ = nullptr;
  }

 private:
  std::int64_t extent(int level) const {
    return kernel_.outer[static_cast<std::size_t>(nest_.levels[static_cast<std::size_t>(level) - 1].loop)];
  }
  int lanes(int level) const {
    return nest_.levels[static_cast<std::size_t>(level) - 1].loop == nest_.vector_loop ? nest_.lanes : 1;
  }
  /// Steps of the loop of a level.
  std::int64_t units(int level) const { return (extent(level) + lanes(level) - 1) / lanes(level); }

  /// Threads share the outermost loop that has a step for each of them, else the longest.
  void choose_shared_loop() {
    for (int level = 1; level <= static_cast<int>(nest_.levels.size()); ++level) {
      if (units(level) >= kernel_.schedule.parallel) {
        shared_level_ = level;
        return;
      }
      if (shared_level_ == 0 || units(level) > units(shared_level_)) shared_level_ = level;
    }
  }

  /// Whether a loop over a few points, those inside of it with it, is written out. What a thread's share is may be
  /// known only when the code runs.
  bool written_out(int level) const {
    if (level <= shared_level_ && kernel_.schedule.parallel > 1) return false;
    std::int64_t points = 1, instructions = 0;
    for (int inside = level; inside <= static_cast<int>(nest_.levels.size()); ++inside) points *= units(inside);
    for (const auto& stage : stages_->stages) instructions += stage->work();
    return worth_writing_out(points, points * instructions);
  }

  void run_level(int level) {
    if (level > static_cast<int>(nest_.levels.size())) return stages_->run();
    const auto at = [&](llvm::Value* index, const Carried&) {
      stages_->enter(level, index);
      run_level(level + 1);
      return Carried();
    };
    const std::int64_t step = lanes(level), length = extent(level), whole = length / step * step;
    llvm::Value* begin = emit_.index(0);
    llvm::Value* end = emit_.index(length);
    if (level == shared_level_ && kernel_.schedule.parallel > 1) {
      begin = emit_.scaled(begin_, step);
      end = lesser(emit_, emit_.scaled(end_, step), end);
    }
    if (written_out(level))
      write_out(emit_, 0, whole, step, {}, at);
    else
      emit_loop(emit_, begin, lesser(emit_, end, emit_.index(whole)), step, {}, at);
    if (whole == length) return;
    emit_if(emit_, emit_.ir.CreateICmpEQ(end, emit_.index(length)), {}, [&] {
      stages_->set_active(static_cast<int>(length - whole));
      at(emit_.index(whole), {});
      stages_->set_active(static_cast<int>(step));
      return Carried();
    });
  }

  Emitter& emit_;
  const Kernel& kernel_;
  Nest nest_;
  StageRow* stages_ = nullptr;
  int shared_level_ = 0;
  llvm::Value* begin_ = nullptr;
  llvm::Value* end_ = nullptr;
};

/// Elements of parameters and state that a kernel's straight lines write, and nothing in it reads but one by one: in a
/// repeated kernel they need not go through memory.
class KeptElements {
 public:
  KeptElements(const Program& program, const Kernel& kernel) : program_(program) {
    bool once = true;
    for (std::int64_t extent : kernel.outer) once = once && extent == 1;
    for (const Stage& stage : kernel.stages) {
      std::vector<std::int64_t> extents = kernel.outer;
      extents.insert(extents.end(), stage.inner.begin(), stage.inner.end());
      const bool line = once && std::ranges::all_of(stage.inner, [](std::int64_t extent) { return extent == 1; });
      for (const ComputedIndex& index : stage.body.indices) extents.push_back(index.extent);
      for (const BodyInput& input : stage.body.inputs)
        if (const auto* access = std::get_if<Access>(&input)) see(*access, extents, false, true);
      for (const Store& store : stage.stores) see(store.to, extents, true, line && !store.add);
      for (const Fold& fold : stage.folds)
        if (fold.carry) see(*fold.carry, extents, true, false);
    }
  }

  std::vector<KeptElement> list() const {
    std::vector<KeptElement> kept;
    for (const KeptElement& element : written_) {
      const std::uint64_t end = element.offset + size_of(element.dtype);
      const bool alone = std::ranges::none_of(otherwise_, [&](const Range& range) {
        return range.region == element.region && range.begin < end && element.offset < range.end;
      });
      const bool first = std::ranges::none_of(kept, [&](const KeptElement& other) {
        return other.region == element.region && other.offset == element.offset;
      });
      if (alone && first) kept.push_back(element);
    }
    return kept;
  }

 private:
  struct Range {
    Region region{};
    std::uint64_t begin = 0, end = 0;
  };

  void see(const Access& access, const std::vector<std::int64_t>& extents, bool writes, bool one_by_one) {
    const Buffer& buffer = program_.buffers[access.buffer];
    if (buffer.region != Region::params && buffer.region != Region::state) return;
    const auto at = only_element(access_form(program_, access, extents));
    if (!at || !one_by_one) {
      otherwise_.push_back({buffer.region, buffer.offset, buffer.offset + buffer.bytes});
    } else if (writes) {
      const std::uint64_t offset = buffer.offset + static_cast<std::uint64_t>(*at) * size_of(buffer.dtype);
      written_.push_back({buffer.region, offset, buffer.dtype});
    }
  }

  const Program& program_;
  std::vector<KeptElement> written_;
  std::vector<Range> otherwise_;  ///< memory that is read or written in another way
};

/// A kernel's name as part of a symbol.
std::string symbol_part(const std::string& name) {
  std::string symbol;
  for (char c : name) symbol += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return symbol;
}

}  // namespace

void emit_body(Emitter& emit, const Kernel& kernel) {
  if (kernel.core)
    emit_contraction(emit, kernel);
  else if (is_transposition(emit.program, kernel))
    emit_transposition(emit, kernel);
  else
    OuterLoops(emit, kernel).run();
}

bool repeats(const Program& program) {
  return program.kernels.size() == 1 && program.loops.empty() && !program.kernels[0].core &&
         program.kernels[0].schedule.parallel == 1;
}

llvm::Function* emit_kernel(llvm::Module& module, const Program& program, const SharedKernel& shared) {
  const std::size_t number = shared.kernels.front();
  const Kernel& kernel = program.kernels[number];
  llvm::LLVMContext& context = module.getContext();
  llvm::Type *i64 = llvm::Type::getInt64Ty(context), *pointer = llvm::PointerType::get(context, 0);
  const std::vector<std::uint32_t> loops = loops_around(program, number);
  std::vector<llvm::Type*> arguments{pointer};
  arguments.insert(arguments.end(), repeats(program) ? 1 : loops.size(), i64);
  Told told;
  for (const SharedKernel::Moved& moved : shared.moved) {
    for (BufferId buffer : moved.buffers) told.regions[buffer] = static_cast<unsigned>(arguments.size());
    arguments.push_back(pointer);
  }
  for (const SharedKernel::Streams& streams : shared.streams) {
    told.streams[streams.number] = static_cast<unsigned>(arguments.size());
    arguments.push_back(i64);
  }
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), arguments, false);
  auto* function = llvm::Function::Create(type, llvm::Function::InternalLinkage,
                                          fmt::format("kernel{}_{}", number, symbol_part(kernel.name)), module);
  // Without the second of these LLVM takes vectors that stand in the text for a wish for registers as wide.
  if (const int bytes = kernel.schedule.widest_bytes; bytes != 0) {
    function->addFnAttr("prefer-vector-width", std::to_string(8 * bytes));
    function->addFnAttr("min-legal-vector-width", "0");
  }
  // A vector that is spilled across the border of two pages is fetched again a hundred cycles later.
  if (repeats(program)) function->addFnAttr("stackrealign");
  Emitter emit(program, *function, loops, std::move(told));
  if (const int bytes = kernel.schedule.widest_bytes; bytes != 0) emit.most_lanes_of_call = bytes / 8;
  std::vector<KeptElement> kept;
  if (repeats(program)) {
    kept = KeptElements(program, kernel).list();
    emit.repeat(function->getArg(1), kept);
  }
  emit_body(emit, kernel);
  emit.finish();
  if (!kept.empty()) order_lines(*function);  // the next turn waits for this one
  return function;
}

}  // namespace nnc
