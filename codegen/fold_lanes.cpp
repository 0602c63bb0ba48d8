// Folds by lanes (Order::lanes) where the lanes are not those of a vector: point k of the innermost loop belongs to
// lane k mod L.
//
// Lane after lane in the order of the tree that joins them at the end, so that few accumulators live at a time and none
// of them in memory: the sum of lanes {0, 2, 4, ...} of the sixteen, say, then that of {1, 3, 5, ...}, then both.
// A few points are written out one lane at a time; more go by once for each half or quarter of the lanes, as long as
// they are still in the first cache the second time.
#include <algorithm>

#include "codegen/stage.h"
#include "ir/order.h"

namespace nnc {

namespace {

constexpr std::int64_t most_instructions = 256;  ///< that a stage may take when its points are written out
constexpr int accumulators_at_once = 8;          ///< half of the registers of AVX2
constexpr std::int64_t most_points = 256;  ///< that go by more than once: of more, a row is no longer in the cache

}  // namespace

/// Whether the folds of the stage are all of this kind, and few enough instructions.
bool StageEmitter::goes_lane_by_lane() const {
  if (inner_.empty() || nest_.vector_loop >= static_cast<int>(kernel_.outer.size())) return false;
  if (stage_.folds.empty() || !stage_.stores.empty()) return false;
  const DType dtype = stage_.folds.front().dtype;
  const bool alike = std::ranges::all_of(stage_.folds, [&](const Fold& fold) {
    const bool sum = fold.op == FoldOp::sum || fold.op == FoldOp::product;
    return sum && fold.order == Order::lanes && fold.dtype == dtype;
  });
  if (!alike || !is_float(dtype)) return false;
  const std::int64_t lanes = order_lanes(dtype), length = extents_[static_cast<std::size_t>(inner_.back())];
  const bool at_once = std::min(length, lanes) * static_cast<std::int64_t>(stage_.folds.size()) <= accumulators_at_once;
  return (at_once || points() <= most_points) && std::min(length, lanes + length % lanes) * cost() <= most_instructions;
}

/// Of the inner loops.
std::int64_t StageEmitter::points() const {
  std::int64_t points = 1;
  for (const int loop : inner_) points *= extents_[static_cast<std::size_t>(loop)];
  return points;
}

bool StageEmitter::lanes_written_out() const { return points() * std::max(cost(), 1) <= most_instructions; }

/// The sum of each fold over the lanes first, first + stride, ...; nothing where no point belongs to them. From begin
/// to end of the outermost loop, and all of the others.
Carried StageEmitter::sum_of_lanes(int first, int stride, llvm::Value* begin, llvm::Value* end) {
  const std::int64_t length = extents_[static_cast<std::size_t>(inner_.back())];
  const int width = folds_.front().order_lanes, folds = static_cast<int>(folds_.size());
  std::vector<int> lanes;
  for (int lane = first; lane < width && lane < length; lane += stride) lanes.push_back(lane);
  if (lanes.empty()) return {};
  const int present = static_cast<int>(lanes.size());
  if (present > 1 && (lanes_written_out() || present * folds > accumulators_at_once)) {
    const Carried low = sum_of_lanes(first, 2 * stride, begin, end);
    return join_lanes(low, sum_of_lanes(first + stride, 2 * stride, begin, end));
  }
  const Carried fresh = first_accumulators();
  Carried sums;
  for (int lane = 0; lane < present; ++lane) sums.append(fresh);
  sums = run_lanes(lanes, 0, begin, end, sums);
  std::vector<Carried> tree;
  for (int lane = 0; lane < present; ++lane)
    tree.emplace_back(sums.begin() + lane * folds, sums.begin() + (lane + 1) * folds);
  for (int half = width / stride / 2; half >= 1; half /= 2)
    for (int lane = 0; lane < half && lane + half < present; ++lane)
      tree[lane] = join_lanes(tree[lane], tree[lane + half]);
  return tree.front();
}

/// The loop at `depth` of the inner ones from begin to end, and those inside it. Carries the accumulators of these
/// lanes, those of one lane's folds side by side.
Carried StageEmitter::run_lanes(const std::vector<int>& lanes, std::size_t depth, llvm::Value* begin, llvm::Value* end,
                                const Carried& carried) {
  const std::int64_t length = extents_[static_cast<std::size_t>(inner_[depth])];
  const auto loop = [&](llvm::Value* to, std::int64_t step, LoopBody body) {
    return lanes_written_out() ? write_out(emit_, 0, length / step * step, step, carried, body)
                               : emit_loop(emit_, begin, to, step, carried, body);
  };
  if (depth + 1 < inner_.size())
    return loop(end, 1, [&](llvm::Value* index, const Carried& sums) {
      enter(inner_level(depth), index);
      const std::int64_t inside = extents_[static_cast<std::size_t>(inner_[depth + 1])];
      return run_lanes(lanes, depth + 1, emit_.index(0), emit_.index(inside), sums);
    });

  const std::int64_t width = folds_.front().order_lanes, whole = length / width * width;
  const auto at = [&](llvm::Value* index, const Carried& sums) { return run_lanes_at(lanes, index, sums); };
  const Carried sums = loop(lesser(emit_, end, emit_.index(whole)), width, at);
  if (whole == length) return sums;
  return emit_if(emit_, emit_.ir.CreateICmpEQ(end, emit_.index(length)), sums,
                 [&] { return at(emit_.index(whole), sums); });
}

/// The points index + lane of these lanes, those that there are.
Carried StageEmitter::run_lanes_at(const std::vector<int>& lanes, llvm::Value* index, const Carried& carried) {
  const std::int64_t length = extents_[static_cast<std::size_t>(inner_.back())];
  Carried next(carried);
  std::size_t at = 0;
  for (const int lane : lanes) {
    llvm::Value* point = lane == 0 ? index : emit_.add(index, emit_.index(lane));
    const auto* known = llvm::dyn_cast<llvm::ConstantInt>(point);
    if (known != nullptr && known->getSExtValue() >= length) break;
    enter(inner_level(inner_.size() - 1), point);
    for (std::size_t i = 0; i < folds_.size(); ++i, ++at) {
      const Fold& fold = stage_.folds[i];
      const bool varying = folds_[i].varying;
      llvm::Value* factor = fold.op == FoldOp::product ? uniform_or_vector(result(fold.factor), varying) : nullptr;
      next[at] = step(i, next[at], uniform_or_vector(result(fold.value), varying), factor);
    }
  }
  return next;
}

/// Each fold's sum of two sets of lanes; of the first where the second has none.
Carried StageEmitter::join_lanes(const Carried& low, const Carried& high) {
  if (high.empty()) return low;
  Carried joined;
  for (std::size_t i = 0; i < low.size(); ++i) joined.push_back(emit_.ir.CreateFAdd(low[i], high[i]));
  return joined;
}

}  // namespace nnc
