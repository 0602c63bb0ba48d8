// The trees that end a fold by lanes: acc[i] = acc[i] + acc[i + w] for w = L/2, L/4, ... 1, of one vector or of several
// at once.
#pragma once

#include "codegen/emitter.h"
#include "codegen/packs.h"

namespace nnc {

/// Lanes [first, first + count) of a vector; the lane itself where count is 1.
llvm::Value* slice(Emitter& emit, llvm::Value* vector, int first, int count);

/// Halves a vector of `lanes` lanes until one is left.
llvm::Value* tree(Emitter& emit, llvm::Value* vector, int lanes,
                  llvm::function_ref<llvm::Value*(llvm::Value*, llvm::Value*)> join);

/// The tree of the sums of floats, where only the first `present` lanes exist: the others may be anything. In its place
/// goes a zero, or nothing where a whole half would be zeros: the sum of zeros may then have another sign.
llvm::Value* sum_of_present(Emitter& emit, llvm::Value* vector, int lanes, int present);

/// Whether that adds a zero to at least one lane, so that no sum is -0.
bool adds_zeros(int lanes, int present);

/// 0.0 + that of each of these vectors, all of one type: as many as a register of so many lanes holds are added side by
/// side. Each sum is a lane of what they became. `has_positive`: one of the lanes of each is not -0, so that nothing
/// need be added.
Carried sums_of_lanes(Emitter& emit, const Carried& vectors, int register_lanes, int present, bool has_positive);

/// In which lanes of which vectors it gives the sums of so many vectors of `lanes` elements of so many bits.
std::vector<Home> homes_of_sums(std::size_t count, int lanes, int register_lanes, int bits);

}  // namespace nnc
