// Kernels that do nothing but turn rows into columns, as a weight is turned for its layer's input gradient: squares of
// a register's lanes, which are read and written by whole vectors and turned in between. Element by element, each one
// is an instruction that only one unit has.
#pragma once

#include "codegen/emitter.h"

namespace nnc {

/// Whether a kernel is such a one, and made of whole squares.
bool is_transposition(const Program& program, const Kernel& kernel);

void emit_transposition(Emitter& emit, const Kernel& kernel);

}  // namespace nnc
