// Runs a program by its definition, one element after the other: the oracle between graph and native code. Slow.
#pragma once

#include <map>
#include <string>

#include "ir/evaluate.h"
#include "ir/program/program.h"

namespace nnc {

/// What is left in memory after a call: results by name, updates as "update NAME", like evaluate(). Memory that no
/// kernel wrote holds NaN (all bits set), so a read of something undefined shows. Throws std::runtime_error where an
/// access leaves its buffer, or padding of params or state is not zero afterwards.
std::map<std::string, Tensor> run_program(const Program& program, const Environment& environment);

}  // namespace nnc
