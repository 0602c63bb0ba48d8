// Calls compiled code the way a runtime does, on memory that shows mistakes: every region ends at a page that may not
// be touched, what is undefined at entry holds NaN (the stack too), rows of feeds lie in a random order.
#pragma once

#include <map>
#include <string>

#include "ir/evaluate.h"
#include "ir/program/program.h"
#include "runtime/abi.h"

namespace nnc::test {

/// Which end of each region the inaccessible page is at; the other end has bytes that must not change.
enum class Guard { behind, before };

/// Moves the buffers of a program's regions so far apart that each is alone on its pages: it ends where a page ends
/// (but for its alignment), or begins where one begins. Buffers that share memory go on sharing it.
void move_apart(Program& program, Guard guard);

/// What is left in memory after one call by a team of `threads`: results by name, every parameter, state and carry as
/// "update NAME", written or not; gradients, which `grads` writes and `update` reads as inputs, by their names. Throws
/// std::runtime_error where padding of a parameter or state is not zero afterwards. With `apart`, the entry's program
/// after move_apart: no page may be touched that holds none of its buffers.
std::map<std::string, Tensor> run_native(const nnc_entry& entry, const Environment& environment, unsigned threads,
                                         Guard guard = Guard::behind, const Program* apart = nullptr);

}  // namespace nnc::test
