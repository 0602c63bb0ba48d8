#include "codegen/fold_trees.h"

#include <algorithm>
#include <bit>
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

/// Halves a vector of `lanes` lanes, the first `present` of which exist, until `width` are left.
llvm::Value* halved(Emitter& emit, llvm::Value* vector, int lanes, int present, int width) {
  for (int half = lanes / 2; half >= width; half /= 2) {
    llvm::Value* low = slice(emit, vector, 0, half);
    llvm::Value* high = slice(emit, vector, half, half);
    const int added = present - half;
    if (added > 0 && added < half)
      high = emit.ir.CreateSelect(emit.mask(half, added), high, llvm::Constant::getNullValue(high->getType()));
    vector = added > 0 ? emit.ir.CreateFAdd(low, high) : low;
    present = std::min(present, half);
  }
  return vector;
}

}  // namespace

llvm::Value* sum_of_present(Emitter& emit, llvm::Value* vector, int lanes, int present) {
  return halved(emit, vector, lanes, present, 1);
}

namespace {

int lanes_of(const llvm::Value* vector) {
  return static_cast<int>(llvm::cast<llvm::FixedVectorType>(vector->getType())->getNumElements());
}

/// Of a vector in which partial sums of several lie side by side: the piece [i * n, (i + 1) * n) is that of owners[i],
/// or of none.
using Owners = std::vector<std::optional<std::size_t>>;

struct Shared {
  llvm::Value* value = nullptr;
  Owners owners;
};

/// Pieces of two vectors of `lanes` lanes, a half of each, in the order in which they lie in one: as they alternate in
/// runs of `unit` lanes. Calls with where a piece came from.
template <typename Take>
void each_piece(int lanes, int piece, int bits, Take take) {
  const int unit = std::max(piece, 128 / bits);
  for (int begin = 0; begin < lanes; begin += unit)
    for (const bool is_low : {true, false})
      for (int at = begin; at < std::min(begin + unit, lanes); at += piece) take(is_low, at);
}

Owners owners_together(const Owners& low, const Owners& high, int lanes, int bits) {
  Owners both;
  const int piece = lanes / static_cast<int>(low.size());
  each_piece(lanes, piece, bits, [&](bool is_low, int at) {
    const auto owner = static_cast<std::size_t>(at / piece);
    both.push_back(is_low ? low[owner] : high.empty() ? std::nullopt : high[owner]);
  });
  return both;
}

/// Whether a shuffle of two vectors leaves every element where it is: one instruction on any port, where others wait
/// for the port of shuffles.
bool chooses_in_place(const llvm::SmallVector<int, 16>& from, int lanes) {
  for (int lane = 0; lane < lanes; ++lane)
    if (from[lane] % lanes != lane) return false;
  return true;
}

/// One level of the tree for the owners of two vectors (`high` may be nothing), of whose pieces the first `present`
/// lanes exist: all lower and all upper halves come to lie above one another, by shuffles that stay within 128 bits
/// where the pieces do. Of the second vector it may be the upper halves that lie with the lower ones of the first, if
/// these then stay where they are.
Shared halve(Emitter& emit, const Shared& low, const Shared& high, int present) {
  const int lanes = lanes_of(low.value), piece = lanes / static_cast<int>(low.owners.size()), half = piece / 2;
  const int bits = static_cast<int>(low.value->getType()->getScalarSizeInBits());
  llvm::SmallVector<int, 16> lower, upper, crossed, other;
  llvm::SmallVector<llvm::Constant*, 16> added;
  Shared both{nullptr, owners_together(low.owners, high.owners, lanes, bits)};
  each_piece(lanes, piece, bits, [&](bool is_low, int at) {
    for (int lane = at; lane < at + half; ++lane) {
      lower.push_back(is_low ? lane : lanes + lane);
      upper.push_back(lower.back() + half);
      crossed.push_back(is_low ? lower.back() : upper.back());
      other.push_back(is_low ? upper.back() : lower.back());
      added.push_back(emit.ir.getInt1(lane - at + half < present));
    }
  });
  // Lanes that are nobody's go on as copies: left to chance, an update of them might become slow to compute with.
  llvm::Value* second = high.value ? high.value : low.value;
  const auto shuffled = [&](const llvm::SmallVector<int, 16>& from) {
    return emit.ir.CreateShuffleVector(low.value, second, from);
  };
  if (present >= piece) {
    const bool cross = chooses_in_place(crossed, lanes);
    both.value = emit.ir.CreateFAdd(shuffled(cross ? crossed : lower), shuffled(cross ? other : upper));
    return both;
  }
  both.value = shuffled(lower);
  if (present > half) {
    llvm::Value* zeros = llvm::Constant::getNullValue(low.value->getType());
    both.value =
        emit.ir.CreateFAdd(both.value, emit.ir.CreateSelect(llvm::ConstantVector::get(added), shuffled(upper), zeros));
  }
  return both;
}

/// Calls with those of `count` vectors that share one after the other, the first of them and how many: from the last
/// ones on, since a loss stands before the gradients, which are wanted side by side.
template <typename Share>
void each_share(std::size_t count, std::size_t most, Share share) {
  for (std::size_t end = count, taken = 0; end > 0; end -= taken) {
    taken = std::min(end, most);
    share(end - taken, taken);
  }
}

/// The sums of `count` vectors from number `begin` on, in the lanes of one.
Shared side_by_side(Emitter& emit, const Carried& vectors, std::size_t begin, std::size_t count, int width,
                    int present) {
  std::vector<Shared> row;
  for (std::size_t i = begin; i < begin + count; ++i)
    row.push_back({halved(emit, vectors[i], lanes_of(vectors[i]), present, width), {i}});
  for (int piece = width; piece > 1; piece /= 2) {
    std::vector<Shared> next;
    for (std::size_t i = 0; i < row.size(); i += 2)
      next.push_back(halve(emit, row[i], i + 1 < row.size() ? row[i + 1] : Shared(), std::min(present, piece)));
    row = std::move(next);
  }
  return row.front();
}

}  // namespace

bool adds_zeros(int lanes, int present) {
  return present < lanes && !std::has_single_bit(static_cast<unsigned>(present));
}

Carried sums_of_lanes(Emitter& emit, const Carried& vectors, int register_lanes, int present, bool has_positive) {
  const auto from_zero = [&](llvm::Value* sum) {
    const bool never_negative = has_positive || adds_zeros(lanes_of(vectors.front()), present);
    return never_negative ? sum : emit.ir.CreateFAdd(llvm::Constant::getNullValue(sum->getType()), sum);
  };
  Carried sums(vectors);
  const int lanes = lanes_of(vectors.front()), width = std::min(register_lanes, lanes);
  each_share(vectors.size(), static_cast<std::size_t>(width), [&](std::size_t begin, std::size_t count) {
    if (count == 1) {
      sums[begin] = from_zero(sum_of_present(emit, vectors[begin], lanes, present));
      return;
    }
    const Shared shared = side_by_side(emit, vectors, begin, count, width, present);
    llvm::Value* totals = from_zero(shared.value);
    for (std::size_t lane = 0; lane < shared.owners.size(); ++lane)
      if (const auto owner = shared.owners[lane]) sums[*owner] = emit.ir.CreateExtractElement(totals, lane);
  });
  return sums;
}

std::vector<Home> homes_of_sums(std::size_t count, int lanes, int register_lanes, int bits) {
  std::vector<Home> homes(count);
  const int width = std::min(register_lanes, lanes);
  each_share(count, static_cast<std::size_t>(width), [&](std::size_t begin, std::size_t shared) {
    if (shared == 1) return;
    std::vector<Owners> row;
    for (std::size_t i = begin; i < begin + shared; ++i) row.push_back({i});
    for (int piece = width; piece > 1; piece /= 2) {
      std::vector<Owners> next;
      for (std::size_t i = 0; i < row.size(); i += 2)
        next.push_back(owners_together(row[i], i + 1 < row.size() ? row[i + 1] : Owners(), width, bits));
      row = std::move(next);
    }
    for (int lane = 0; lane < width; ++lane)
      if (const auto owner = row.front()[static_cast<std::size_t>(lane)])
        homes[*owner] = {static_cast<int>(begin), lane, width};
  });
  return homes;
}

}  // namespace nnc
