#include "codegen/fold_trees.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace nnc {

llvm::Value* slice(Emitter& emit, llvm::Value* vector, int first, int count) {
  const auto* type = llvm::dyn_cast<llvm::FixedVectorType>(vector->getType());
  if (!type || (first == 0 && count == static_cast<int>(type->getNumElements()))) return vector;
  if (count == 1) return emit.ir.CreateExtractElement(vector, static_cast<std::uint64_t>(first));
  llvm::SmallVector<int, 32> lanes;
  for (int lane = 0; lane < count; ++lane) lanes.push_back(first + lane);
  return emit.ir.CreateShuffleVector(vector, lanes);
}

llvm::Value* tree(Emitter& emit, llvm::Value* vector, int lanes,
                  llvm::function_ref<llvm::Value*(llvm::Value*, llvm::Value*)> join) {
  for (int width = lanes / 2; width >= 1; width /= 2)
    vector = join(slice(emit, vector, 0, width), slice(emit, vector, width, width));
  return vector;
}

namespace {

int lanes_of(const llvm::Value* vector) {
  return static_cast<int>(llvm::cast<llvm::FixedVectorType>(vector->getType())->getNumElements());
}

/// A vector in which partial sums of several lie side by side: the piece [i * n, (i + 1) * n) is that of owners[i], or
/// of none.
struct Shared {
  llvm::Value* value = nullptr;
  std::vector<std::optional<std::size_t>> owners;
};

/// One level of the tree for the owners of two vectors (`high` may be nothing): all lower and all upper halves come to
/// lie above one another, by shuffles that stay within 128 bits where the pieces do.
Shared halve(Emitter& emit, const Shared& low, const Shared& high) {
  const int lanes = lanes_of(low.value), piece = lanes / static_cast<int>(low.owners.size());
  const int unit = std::max(piece, 128 / static_cast<int>(low.value->getType()->getScalarSizeInBits()));
  llvm::SmallVector<int, 16> lower, upper;
  Shared both;
  for (int begin = 0; begin < lanes; begin += unit)
    for (const bool is_low : {true, false})
      for (int at = begin; at < std::min(begin + unit, lanes); at += piece) {
        for (int lane = at; lane < at + piece / 2; ++lane) {
          lower.push_back(is_low ? lane : lanes + lane);
          upper.push_back(lower.back() + piece / 2);
        }
        const auto owner = static_cast<std::size_t>(at / piece);
        both.owners.push_back(is_low ? low.owners[owner] : high.value ? high.owners[owner] : std::nullopt);
      }
  llvm::Value* other = high.value ? high.value : llvm::PoisonValue::get(low.value->getType());
  both.value = emit.ir.CreateFAdd(emit.ir.CreateShuffleVector(low.value, other, lower),
                                  emit.ir.CreateShuffleVector(low.value, other, upper));
  return both;
}

/// The sums of `count` vectors from number `begin` on, in the lanes of one.
Shared side_by_side(Emitter& emit, const Carried& vectors, std::size_t begin, std::size_t count, int width) {
  const auto plus = [&](llvm::Value* a, llvm::Value* b) { return emit.ir.CreateFAdd(a, b); };
  std::vector<Shared> row;
  for (std::size_t i = begin; i < begin + count; ++i) {
    llvm::Value* part = vectors[i];
    for (int half = lanes_of(part) / 2; half >= width; half /= 2)
      part = plus(slice(emit, part, 0, half), slice(emit, part, half, half));
    row.push_back({part, {i}});
  }
  for (int piece = width; piece > 1; piece /= 2) {
    std::vector<Shared> next;
    for (std::size_t i = 0; i < row.size(); i += 2)
      next.push_back(halve(emit, row[i], i + 1 < row.size() ? row[i + 1] : Shared()));
    row = std::move(next);
  }
  return row.front();
}

}  // namespace

Carried sums_of_lanes(Emitter& emit, const Carried& vectors, int register_lanes) {
  const auto plus = [&](llvm::Value* a, llvm::Value* b) { return emit.ir.CreateFAdd(a, b); };
  const auto from_zero = [&](llvm::Value* sum) { return plus(llvm::Constant::getNullValue(sum->getType()), sum); };
  Carried sums(vectors);
  // From the last ones on: a loss stands before the gradients, which are wanted side by side.
  for (std::size_t end = vectors.size(), count = 0; end > 0; end -= count) {
    const int lanes = lanes_of(vectors.front()), width = std::min(register_lanes, lanes);
    count = std::min(end, static_cast<std::size_t>(width));
    if (count == 1) {
      sums[end - 1] = from_zero(tree(emit, vectors[end - 1], lanes, plus));
      continue;
    }
    const Shared shared = side_by_side(emit, vectors, end - count, count, width);
    llvm::Value* totals = from_zero(shared.value);
    for (std::size_t lane = 0; lane < shared.owners.size(); ++lane)
      if (const auto owner = shared.owners[lane]) sums[*owner] = emit.ir.CreateExtractElement(totals, lane);
  }
  return sums;
}

}  // namespace nnc
