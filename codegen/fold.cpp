// Folds of a stage. The order of additions is part of a program's meaning (docs/architecture.md, "Order of additions"):
// Order::lanes has L logical lanes, 16 of f32 or 8 of f64, whatever the machine's vectors; a lane without an element
// keeps its accumulator.
#include <llvm/IR/Intrinsics.h>

#include "codegen/fold_trees.h"
#include "codegen/stage.h"

namespace nnc {

namespace {

/// The neutral element of a fold as a value of `type`.
llvm::Constant* neutral(const Fold& fold, llvm::Type* type) {
  if (fold.op == FoldOp::sum || fold.op == FoldOp::product) return llvm::Constant::getNullValue(type);
  if (type->isFPOrFPVectorTy()) return llvm::ConstantFP::getInfinity(type, true);
  return llvm::ConstantInt::get(type, llvm::APInt::getSignedMinValue(type->getScalarSizeInBits()));
}

}  // namespace

/// The type of an accumulator.
llvm::Type* StageEmitter::fold_type(const FoldPlan& plan, const Fold& fold) const {
  llvm::Type* element = llvm_type(emit_.context, scalar_type(fold.dtype));
  if (plan.place != FoldPlace::along) return lanes_type(element, plan.varying ? nest_.lanes : 1);
  return lanes_type(element, fold.op == FoldOp::maximum ? nest_.lanes : plan.order_lanes);
}

Carried StageEmitter::first_accumulators() {
  Carried values;
  for (std::size_t i = 0; i < folds_.size(); ++i) {
    const Fold& fold = stage_.folds[i];
    const FoldPlan& plan = folds_[i];
    if (plan.place == FoldPlace::in_memory) continue;
    llvm::Type* type = fold_type(plan, fold);
    values.push_back(neutral(fold, type));
    if (fold.op == FoldOp::argmax)
      values.push_back(llvm::Constant::getNullValue(lanes_type(emit_.ir.getInt32Ty(), plan.varying ? nest_.lanes : 1)));
  }
  return values;
}

Carried StageEmitter::first_totals() {
  Carried values;
  for (FoldPlan& plan : folds_) {
    if (!plan.chunked) continue;
    llvm::Type* type = lanes_type(emit_.ir.getDoubleTy(), plan.varying ? nest_.lanes : 1);
    llvm::Value* total = llvm::Constant::getNullValue(type);
    if (plan.carry) {
      total = plan.carry->load();
      if (plan.varying && !plan.carry->varying()) total = emit_.splat(total, nest_.lanes);
    }
    values.push_back(total);
  }
  return values;
}

/// `all`: when the stage begins; otherwise what starts anew with each chunk.
void StageEmitter::clear_memory(bool all) {
  for (std::size_t i = 0; i < folds_.size(); ++i) {
    if (folds_[i].place != FoldPlace::in_memory || !(all || folds_[i].chunked)) continue;
    llvm::Value* zero = llvm::Constant::getNullValue(fold_type(folds_[i], stage_.folds[i]));
    for (int lane = 0; lane < folds_[i].memory_lanes; ++lane)
      emit_.ir.CreateAlignedStore(zero, memory_lane(i, emit_.index(lane)), scratch_align(zero->getType()));
  }
}

llvm::Value* StageEmitter::memory_lane(std::size_t fold, llvm::Value* lane) {
  return emit_.element(fold_type(folds_[fold], stage_.folds[fold]), folds_[fold].memory, lane);
}

/// Whether a fold's sums are added to a total that begins with +0, so that none of them shows the sign of a zero.
bool StageEmitter::adds_to_zero(std::size_t i) const { return folds_[i].chunked && !folds_[i].carry; }

/// Whether the only tail adds zeros to the lanes that it does not reach, which costs nothing while those are computed
/// that it does: the total is what the next step of a small net waits for, and need not be made +0 from -0 at the end.
bool StageEmitter::tail_adds_zeros(std::size_t i) const {
  const std::int64_t length = extents_[static_cast<std::size_t>(inner_.back())];
  return adds_to_zero(i) && inner_.size() == 1 && folds_[i].order_lanes == nest_.lanes && length > nest_.lanes &&
         length % nest_.lanes != 0;
}

/// The next accumulator. The first may be what is added to it: 0 + x is x, but for the sign of a zero.
llvm::Value* StageEmitter::step(std::size_t i, llvm::Value* accumulator, llvm::Value* value, llvm::Value* factor) {
  const Fold& fold = stage_.folds[i];
  const bool floats = value->getType()->isFPOrFPVectorTy();
  const auto* known = llvm::dyn_cast<llvm::Constant>(accumulator);
  const bool first = known && known->isNullValue() && adds_to_zero(i);
  switch (fold.op) {
    case FoldOp::sum:
      if (first) return value;
      return floats ? emit_.ir.CreateFAdd(accumulator, value) : emit_.ir.CreateAdd(accumulator, value);
    case FoldOp::product:
      if (first) return emit_.ir.CreateFMul(value, factor);
      return floats ? emit_fma(emit_, value, factor, accumulator)
                    : emit_.ir.CreateAdd(accumulator, emit_.ir.CreateMul(value, factor));
    case FoldOp::maximum:
      return emit_maximum(emit_, accumulator, value);
    case FoldOp::argmax:
      break;
  }
  internal_error("step of a fold");
}

void StageEmitter::accumulate(std::size_t i, Carried& carried) {
  const Fold& fold = stage_.folds[i];
  const FoldPlan& plan = folds_[i];
  if (fold.op == FoldOp::argmax) return accumulate_argmax(i, carried);
  switch (plan.place) {
    case FoldPlace::across: {
      llvm::Value* factor = fold.op == FoldOp::product ? uniform_or_vector(result(fold.factor), plan.varying) : nullptr;
      carried[plan.first] = step(i, carried[plan.first], uniform_or_vector(result(fold.value), plan.varying), factor);
      return;
    }
    case FoldPlace::along:
      carried[plan.first] = accumulate_lanes(i, carried[plan.first]);
      return;
    case FoldPlace::in_memory:
      return accumulate_in_memory(i);
    case FoldPlace::lane_by_lane:
      internal_error("points of a fold that goes lane by lane");
  }
}

/// One vector of values: each group of L lanes is one step of the accumulator.
llvm::Value* StageEmitter::accumulate_lanes(std::size_t i, llvm::Value* accumulator) {
  const Fold& fold = stage_.folds[i];
  const int width = fold.op == FoldOp::maximum ? nest_.lanes : folds_[i].order_lanes;
  for (int first = 0; first < nest_.lanes && first < nest_.active; first += width) {
    llvm::Value* value = slice(emit_, splats_[result(fold.value)], first, width);
    llvm::Value* factor =
        fold.op == FoldOp::product ? slice(emit_, splats_[result(fold.factor)], first, width) : nullptr;
    llvm::Value* next = step(i, accumulator, value, factor);
    const int present = std::min(width, nest_.active - first);
    // Lanes that never exist are left out by the tree.
    const bool whole = present == width || present == folds_[i].present_lanes;
    if (!whole && tail_adds_zeros(i))
      accumulator = emit_.ir.CreateFAdd(accumulator, llvm::Constant::getNullValue(accumulator->getType()));
    accumulator = whole ? next : emit_.ir.CreateSelect(emit_.mask(width, present), next, accumulator);
  }
  return accumulator;
}

void StageEmitter::accumulate_in_memory(std::size_t i) {
  const Fold& fold = stage_.folds[i];
  const FoldPlan& plan = folds_[i];
  llvm::Value* lane = emit_.index(0);
  if (!inner_.empty())
    lane = emit_.ir.CreateAnd(index_of(emit_, nest_, inner_.back()), emit_.index(plan.order_lanes - 1));
  llvm::Value* at = memory_lane(i, lane);
  llvm::Value* factor = fold.op == FoldOp::product ? uniform_or_vector(result(fold.factor), plan.varying) : nullptr;
  llvm::Value* before = emit_.ir.CreateAlignedLoad(fold_type(plan, fold), at, scratch_align(fold_type(plan, fold)));
  emit_.ir.CreateAlignedStore(step(i, before, uniform_or_vector(result(fold.value), plan.varying), factor), at,
                              scratch_align(before->getType()));
}

/// The first greatest; the first NaN is the greatest of all.
void StageEmitter::accumulate_argmax(std::size_t i, Carried& carried) {
  const Fold& fold = stage_.folds[i];
  const FoldPlan& plan = folds_[i];
  llvm::Value*& best = carried[plan.first];
  llvm::Value*& where = carried[plan.first + 1];
  llvm::Value* value = uniform_or_vector(result(fold.value), plan.varying);
  llvm::Value* better = nullptr;
  if (value->getType()->isFPOrFPVectorTy()) {
    better = emit_.ir.CreateAnd(emit_.ir.CreateFCmpUGT(value, best), emit_.ir.CreateFCmpORD(best, best));
  } else {
    better = emit_.ir.CreateICmpSGT(value, best);
  }
  llvm::Value* here = inner_.empty() ? emit_.index(0) : index_of(emit_, nest_, inner_.back());
  here = emit_.ir.CreateTrunc(here, emit_.ir.getInt32Ty());
  if (plan.varying) here = emit_.splat(here, nest_.lanes);
  best = emit_.ir.CreateSelect(better, value, best);
  where = emit_.ir.CreateSelect(better, here, where);
}

/// The sum of one chunk in the element type.
llvm::Value* StageEmitter::chunk_sum(std::size_t i, const Carried& carried) {
  const FoldPlan& plan = folds_[i];
  const auto plus = [&](llvm::Value* a, llvm::Value* b) { return emit_.ir.CreateFAdd(a, b); };
  if (plan.place == FoldPlace::across) return carried[plan.first];
  if (plan.place == FoldPlace::along)
    return sum_of_present(emit_, carried[plan.first], plan.order_lanes, plan.present_lanes);
  // Lanes without an element are +0; of products that underflow the others may be -0, which a carry would show.
  const auto with_absent = [&](llvm::Value* sum) {
    const bool absent = plan.carry && plan.memory_lanes < plan.order_lanes;
    return absent ? plus(sum, llvm::Constant::getNullValue(sum->getType())) : sum;
  };
  if (plan.place == FoldPlace::lane_by_lane) return with_absent(carried[plan.first]);

  llvm::Type* type = fold_type(plan, stage_.folds[i]);
  Carried lanes;
  for (int lane = 0; lane < plan.memory_lanes; ++lane)
    lanes.push_back(emit_.ir.CreateAlignedLoad(type, memory_lane(i, emit_.index(lane)), scratch_align(type)));
  for (int width = plan.order_lanes / 2; width >= 1; width /= 2)
    for (int lane = 0; lane < width && lane + width < plan.memory_lanes; ++lane)
      lanes[lane] = plus(lanes[lane], lanes[lane + width]);
  return with_absent(lanes[0]);
}

/// 0.0 + the sum of the only chunk, for each fold that goes by chunks.
Carried StageEmitter::sums_of_only_chunk(const Carried& carried) {
  Carried sums;
  std::size_t first = folds_.size();
  for (std::size_t i = folds_.size(); i-- > 0;)
    if (folds_[i].chunked) first = i;
  const bool together = sums_side_by_side();
  for (std::size_t i = first; i < folds_.size(); ++i) {
    if (!folds_[i].chunked) continue;
    llvm::Value* sum = together ? carried[folds_[i].first] : chunk_sum(i, carried);
    sums.push_back(together ? sum : emit_.ir.CreateFAdd(llvm::Constant::getNullValue(sum->getType()), sum));
  }
  return together
             ? sums_of_lanes(emit_, sums, kernel_.schedule.lanes, folds_[first].present_lanes, tail_adds_zeros(first))
             : sums;
}

/// Results for later stages, and the new values of carries.
void StageEmitter::finish_folds(const Carried& state) {
  for (std::size_t i = 0; i < folds_.size(); ++i) {
    const Fold& fold = stage_.folds[i];
    FoldPlan& plan = folds_[i];
    llvm::Value* value = nullptr;
    if (plan.chunked) {
      value = state[plan.total];
    } else if (fold.op == FoldOp::argmax) {
      value = state[plan.first + 1];
    } else {
      value = state[plan.first];
      const bool greatest = fold.op == FoldOp::maximum;
      if (plan.place == FoldPlace::along)
        value = tree(emit_, value, greatest ? nest_.lanes : plan.order_lanes, [&](llvm::Value* a, llvm::Value* b) {
          return greatest ? emit_maximum(emit_, a, b) : emit_.ir.CreateAdd(a, b);
        });
      if (plan.carry && greatest) {
        llvm::Value* before = plan.carry->load();
        if (plan.varying && !plan.carry->varying()) before = emit_.splat(before, nest_.lanes);
        value = emit_maximum(emit_, before, value);
      }
    }
    if (plan.carry) plan.carry->store(value);
    llvm::Type* wanted = llvm_type(emit_.context, scalar_type(fold.result), plan.varying ? nest_.lanes : 1);
    if (wanted->isFPOrFPVectorTy() && value->getType() != wanted) value = emit_.ir.CreateFPCast(value, wanted);
    fold_values_[index_][i].value = value;
  }
}

}  // namespace nnc
