// How the operands of a contraction are reached while k runs: which of their elements lie at constant distances, which
// have a pointer each, and which are looked up.
#include <algorithm>

#include "codegen/contraction.h"

namespace nnc {

/// Elements of a from the first row to row number `row`.
std::int64_t Contraction::distance(std::int64_t row) const {
  std::int64_t elements = 0;
  for (std::size_t i = digits_.rows.size(); i-- > 0;) {
    const std::int64_t extent = i == 0 ? core_.m : digits_.rows[i].extent;
    elements += row % extent * digits_.rows[i].step;
    row /= extent;
  }
  return elements;
}

/// `k_loop` is the number of k among the access's two loops.
Contraction::Walk Contraction::walk_of(const AccessForm& form, int k_loop) const {
  const auto bent = [&](int loop) {
    return (form.row && form.row->depends(loop)) || (form.column && form.column->depends(loop));
  };
  if (bent(k_loop)) return Walk::looked_up;
  return bent(1 - k_loop) ? Walk::apart : Walk::together;
}

Contraction::Walk Contraction::walk_of_a() const {
  if (a_tile_) return Walk::together;
  return tiles_.wrap ? Walk::apart : walk_of(a_, 1);
}

/// Address of an element from the two indices of its access.
llvm::Value* Contraction::address(const AccessForm& form, llvm::Value* first, llvm::Value* second) {
  llvm::Value* const indices[] = {first, second};
  llvm::Value* at = address_of(emit_, form, indices);
  if (!stacked_) return at;
  llvm::Type* type = memory_type(emit_.context, emit_.program.buffers[form.buffer].dtype);
  return emit_.element(type, at, emit_.scaled(stack_, &form == &a_ ? stack_step_a_ : stack_step_b_));
}

/// Where the rows of a tile begin: the first one, or each one where they are apart. Each is the one before and a step,
/// and one more wherever a loop begins anew.
Carried Contraction::row_addresses(const Tile& tile) {
  const Walk walk = walk_of_a();
  llvm::Value* zero = emit_.index(0);
  if (walk == Walk::looked_up) return {};
  if (a_tile_) return {a_tile_};
  if (digits_.rows.size() == 1) {
    Carried rows{address(a_, tile.m, zero)};
    for (int i = 1; walk == Walk::apart && i < tile.rows; ++i)
      rows.push_back(address(a_, emit_.add(tile.m, emit_.index(i)), zero));
    return rows;
  }
  llvm::SmallVector<llvm::Value*, 4> digits(digits_.rows.size());
  llvm::Value* left = tile.m;
  llvm::Value* at = address(a_, zero, zero);
  for (std::size_t i = digits_.rows.size(); i-- > 0;) {
    llvm::Value* extent = emit_.index(digits_.rows[i].extent);
    digits[i] = i == 0 ? left : emit_.ir.CreateURem(left, extent);
    left = emit_.ir.CreateUDiv(left, extent);
    at = emit_.element(element_, at, emit_.scaled(digits[i], digits_.rows[i].step));
  }
  Carried rows{at};
  for (int row = 1; walk == Walk::apart && row < tile.rows; ++row) {
    llvm::Value* step = emit_.index(digits_.rows.back().step);
    llvm::Value* begins = nullptr;  // whether the loop inside begins anew
    for (std::size_t i = digits_.rows.size(); i-- > 0;) {
      llvm::Value* next =
          emit_.add(digits[i], begins ? emit_.ir.CreateZExt(begins, emit_.ir.getInt64Ty()) : emit_.index(1));
      if (begins) {
        const Digit& inside = digits_.rows[i + 1];
        llvm::Value* onward = emit_.index(digits_.rows[i].step - inside.extent * inside.step);
        step = emit_.add(step, emit_.ir.CreateSelect(begins, onward, zero));
      }
      if (i == 0) break;
      begins = emit_.ir.CreateICmpEQ(next, emit_.index(digits_.rows[i].extent));
      digits[i] = emit_.ir.CreateSelect(begins, zero, next);
    }
    rows.push_back(emit_.element(element_, rows.back(), step));
  }
  return rows;
}

/// Elements of a from the first step to the innermost loop's run number `run`.
llvm::Value* Contraction::distance_of_run(llvm::Value* run) {
  llvm::Value* sum = emit_.index(0);
  for (std::size_t i = digits_.steps.size() - 1; i-- > 0;) {
    llvm::Value* extent = emit_.index(digits_.steps[i].extent);
    llvm::Value* index = i == 0 ? run : emit_.ir.CreateURem(run, extent);
    if (i > 0) run = emit_.ir.CreateUDiv(run, extent);
    sum = emit_.add(sum, emit_.scaled(index, digits_.steps[i].step));
  }
  return sum;
}

/// Whether the columns of a vector of b lie side by side.
bool Contraction::b_contiguous() const {
  if (b_.row && b_.row->depends(1)) return false;
  if (!b_.column || !b_.column->depends(1)) return b_.flat.coefficients[1] == 1 || core_.n == 1;
  return b_.flat.coefficients[1] == 0 && b_.column->coefficients[1] == 1 && b_.column->offset % lanes_ == 0 &&
         b_.panel % lanes_ == 0 && !b_.column->depends(0);
}

/// Whether the last vector of b may be loaded whole.
bool Contraction::b_whole_vectors() const {
  if (b_.column) return true;
  const std::int64_t whole = (core_.n + lanes_ - 1) / lanes_ * lanes_, stride = b_.flat.coefficients[0];
  const auto bytes = static_cast<std::uint64_t>((core_.k - 1) * stride + whole) * size_of(b_buffer_.dtype);
  return b_buffer_.padded_rows && !b_.row && b_.flat.offset == 0 && stride >= whole && b_buffer_.bytes >= bytes;
}

/// Whether the vectors of a tile are at constant distances: of one panel, or of a row.
bool Contraction::b_shared() const {
  const Walk walk = walk_of(b_, 0);
  const bool one_panel = walk == Walk::apart && b_.panel % width_ == 0 && b_.column->offset == 0;
  return b_contiguous() && (one_panel || (walk == Walk::together && !b_.column));
}

llvm::Value* Contraction::load_b(llvm::Value* at, bool last, const Tile& tile) {
  if (packed_) return emit_.ir.CreateAlignedLoad(vector_, at, scratch_align(vector_));
  const llvm::Align align(size_of(b_buffer_.dtype));
  if (!last || tile.last_active == lanes_ || b_whole_vectors()) return emit_.ir.CreateAlignedLoad(vector_, at, align);
  return emit_.ir.CreateMaskedLoad(vector_, at, align, emit_.mask(lanes_, tile.last_active),
                                   llvm::Constant::getNullValue(vector_));
}

llvm::Value* Contraction::gather_b(const Tile& tile, llvm::Value* k, int vector) {
  llvm::Value* value = llvm::Constant::getNullValue(vector_);
  for (int lane = 0; lane < active_of(tile, vector); ++lane) {
    llvm::Value* n = emit_.add(tile.n, emit_.index(std::int64_t{vector} * lanes_ + lane));
    llvm::Value* element = emit_.ir.CreateLoad(element_, address(b_, k, n));
    value = lanes_ == 1 ? element : emit_.ir.CreateInsertElement(value, element, static_cast<std::uint64_t>(lane));
  }
  return value;
}

}  // namespace nnc
