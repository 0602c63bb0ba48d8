// What every part of the emission shares: one LLVM function under construction, its program, and the pointers that come
// with a call. Values that are computed once a call (base pointers, scratch memory) are emitted at the function's
// entry, so that they may be asked for anywhere.
#pragma once

#include <llvm/ADT/STLFunctionalExtras.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <map>
#include <span>
#include <string>
#include <tuple>

#include "ir/program/program.h"

namespace nnc {

using Carried = llvm::SmallVector<llvm::Value*, 32>;

/// A mistake of the compiler itself: says what and ends the process.
[[noreturn]] void internal_error(const std::string& what);

llvm::Type* llvm_type(llvm::LLVMContext& context, ScalarType type);
/// The type of a value that has `lanes` lanes: a plain scalar where that is 1.
llvm::Type* lanes_type(llvm::Type* element, int lanes);
inline llvm::Type* llvm_type(llvm::LLVMContext& context, ScalarType type, int lanes) {
  return lanes_type(llvm_type(context, type), lanes);
}
/// The type of an element in memory: booleans are bytes there.
llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype);

/// What a function knows by its arguments and not from the program, by the number of the argument: kernels that differ
/// in nothing else share it.
struct Told {
  std::map<BufferId, unsigned> regions;       ///< where the region begins that a buffer's place counts from
  std::map<std::uint64_t, unsigned> streams;  ///< the number that stands for a random stream's
};

/// An element of a buffer by its place in a region: what a repeated kernel alone reads and writes.
struct KeptElement {
  Region region{};
  std::uint64_t offset = 0;  ///< in bytes
  DType dtype{};
};

class Emitter {
 public:
  /// `loops` are those around a kernel: their indices are arguments of the function, behind the call.
  Emitter(const Program& owner, llvm::Function& target, std::vector<std::uint32_t> loops = {}, Told told = {});
  /// The function does what the body does `times` > 0 times, call after call (nnc_entry::repeat): what differs from one
  /// call to the next goes on from turn to turn. These elements stay in registers meanwhile. Before anything else.
  void repeat(llvm::Value* times, const std::vector<KeptElement>& kept);
  /// Which of the kept elements an element of a buffer is; -1 if it is none.
  int kept_number(BufferId buffer, std::int64_t at) const;
  /// Of every kept element: whether code has been planned that wants it as a single value.
  const std::vector<bool>& wanted_alone() const { return wanted_alone_; }
  void want_alone(int number) { wanted_alone_[static_cast<std::size_t>(number)] = true; }
  /// These kept elements stay in the lanes of one vector, where -1 is a lane of none. Before any is read or set.
  void keep_together(const std::vector<int>& numbers);
  /// Joins the entry to the body and returns after it; call once, when the body is complete.
  void finish(llvm::Value* result = nullptr);

  const Program& program;
  llvm::Function& function;
  llvm::LLVMContext& context;
  llvm::IRBuilder<> ir;     ///< where the next instruction goes
  llvm::IRBuilder<> entry;  ///< computed once a call
  bool one_thread = false;  ///< what follows is run by thread 0 alone: nothing is shared out
  /// The most lanes of i64 that a call passes: what a loop of the function keeps in registers; fewer where this
  /// function uses narrower registers than others do, for it would look for a wide vector in two of them.
  int most_lanes_of_call = 8;

  llvm::Value* call() { return function.getArg(0); }
  llvm::Constant* index(std::int64_t value) { return ir.getInt64(static_cast<std::uint64_t>(value)); }

  /// What is computed from indices in one place and asked for in many (rows of feeds, guards): by the block of code,
  /// what it is and by which numbers, and the indices.
  struct IndexKey {
    llvm::BasicBlock* block = nullptr;
    enum class Kind : std::uint8_t { row, guard } kind{};
    std::vector<std::int64_t> numbers;
    std::vector<llvm::Value*> indices;
    auto operator<=>(const IndexKey&) const = default;
  };
  std::map<IndexKey, llvm::Value*> of_indices;

  /// A member of nnc_call by its byte offset, loaded at entry once.
  llvm::Value* call_member(std::size_t byte_offset, llvm::Type* type);
  /// Where a region of the call begins: its memory, or for feeds and outputs, and for scalars, their list.
  llvm::Value* region(Region region);
  /// Address of a buffer's first element; for a feed, of row 0 of its column.
  llvm::Value* base_of(BufferId buffer);
  /// The same as a pointer that others share and the bytes from there: the offset is part of an instruction's address.
  struct Place {
    llvm::Value* pointer = nullptr;
    std::int64_t bytes = 0;
  };
  Place place_of(BufferId buffer);
  /// pointer + factor * index, in bytes: one value for all who ask within a block of code.
  llvm::Value* address(llvm::Value* pointer, llvm::Value* index, std::int64_t factor);
  llvm::Value* feed_row_stride(BufferId buffer);  ///< in bytes
  llvm::Value* feed_order(BufferId buffer);       ///< address of u32[rows]
  llvm::Value* step_number();                     ///< i64
  llvm::Value* stream(std::uint64_t number);      ///< i64
  /// What element number `at` of a buffer is now, to be read or to be set, if it is kept in a register; else null.
  llvm::Value** kept(BufferId buffer, std::int64_t at);
  /// Memory of this call, aligned to 64 bytes.
  llvm::Value* scratch(llvm::Type* element, std::int64_t count);
  /// Memory that holds a zero of this type.
  llvm::Value* zeros(llvm::Type* type);

  llvm::Value* add(llvm::Value* a, llvm::Value* b) { return ir.CreateNSWAdd(a, b); }
  llvm::Value* scaled(llvm::Value* a, std::int64_t factor) {
    return factor == 1 ? a : ir.CreateNSWMul(a, index(factor));
  }
  llvm::Value* byte_offset(llvm::Value* pointer, llvm::Value* bytes) {
    return ir.CreateGEP(ir.getInt8Ty(), pointer, bytes);
  }
  llvm::Value* element(llvm::Type* type, llvm::Value* pointer, llvm::Value* at) {
    return ir.CreateGEP(type, pointer, at);
  }
  llvm::Value* splat(llvm::Value* scalar, int lanes);
  /// Single values as the lanes of a vector, null where a lane may have any number. Those that lie in one or two
  /// vectors are moved together.
  llvm::Value* side_by_side(std::span<llvm::Value* const> scalars);
  /// A constant <lanes x i1> whose first `active` lanes are set.
  llvm::Constant* mask(int lanes, int active);

 private:
  llvm::Value* region_of(BufferId buffer);
  llvm::Value* feed_member(BufferId buffer, std::size_t member, llvm::Type* type);
  llvm::Value* constant_data(const Buffer& buffer);
  llvm::Value* at_turn(llvm::Value* pointer, std::uint64_t bytes);
  llvm::Value* base_of_part(const Part& part);
  void next_turn();

  struct Kept {
    KeptElement element;
    llvm::Value* address = nullptr;
    llvm::Value* now = nullptr;
  };
  struct KeptVector {
    llvm::PHINode* first = nullptr;  ///< when a turn begins
    std::vector<int> lanes;          ///< elements by their numbers, or -1; of a single value one
  };
  std::vector<std::uint32_t> loops_;
  Told told_;
  llvm::IRBuilder<> turn_ir_;  ///< computed once a turn
  llvm::PHINode* turn_ = nullptr;
  llvm::Value* times_ = nullptr;
  std::vector<Kept> kept_;
  std::vector<bool> wanted_alone_;
  std::vector<KeptVector> kept_vectors_;
  llvm::Value* step_number_ = nullptr;

  llvm::BasicBlock* body_;
  std::map<std::size_t, llvm::Value*> members_;
  std::map<BufferId, llvm::Value*> bases_, orders_;
  std::map<std::tuple<llvm::BasicBlock*, llvm::Value*, llvm::Value*, std::int64_t>, llvm::Value*> addresses_;
  std::map<llvm::Type*, llvm::Value*> zeros_;
  std::map<std::pair<BufferId, std::size_t>, llvm::Value*> feed_members_;
};

/// What the address of every element of scratch memory is a multiple of, as far as it is known.
llvm::Align scratch_align(llvm::Type* element);

/// for (index = begin; index < end; index += step) carried = body(index, carried). With constant bounds, no loop that
/// runs once or never is emitted.
using LoopBody = llvm::function_ref<Carried(llvm::Value* index, const Carried& carried)>;
Carried emit_loop(Emitter& emit, llvm::Value* begin, llvm::Value* end, std::int64_t step, const Carried& initial,
                  LoopBody body);
/// The same for numbers that are known, one step after the other without a loop: the index is a constant in each.
Carried write_out(Emitter& emit, std::int64_t begin, std::int64_t end, std::int64_t step, const Carried& initial,
                  LoopBody body);
/// condition ? then() : otherwise; no branch where the condition is known.
Carried emit_if(Emitter& emit, llvm::Value* condition, const Carried& otherwise, llvm::function_ref<Carried()> then);
/// The lesser and the greater of two signed numbers; constants where both are.
llvm::Value* lesser(Emitter& emit, llvm::Value* a, llvm::Value* b);
llvm::Value* greater(Emitter& emit, llvm::Value* a, llvm::Value* b);

}  // namespace nnc
