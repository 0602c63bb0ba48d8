// Calls compiled code the way a runtime does, on memory that shows mistakes: every region ends at a page that may not
// be touched, what is undefined at entry holds NaN, rows of feeds lie in a random order.
#pragma once

#include <map>
#include <string>

#include "ir/evaluate.h"
#include "runtime/abi.h"

namespace nnc::test {

/// Which end of each region the inaccessible page is at; the other end has bytes that must not change.
enum class Guard { behind, before };

/// What is left in memory after one call by a team of `threads`: results by name, every parameter, state and carry as
/// "update NAME", written or not; gradients, which `grads` writes and `update` reads as inputs, by their names. Throws
/// std::runtime_error where padding of a parameter or state is not zero afterwards.
std::map<std::string, Tensor> run_native(const nnc_entry& entry, const Environment& environment, unsigned threads,
                                         Guard guard = Guard::behind);

}  // namespace nnc::test
