// What is part of the language but not built yet is answered with an error that says so, never with a guess. The list
// is not_built.def.
#pragma once

#include <cstdint>

#include "frontend/diagnostics.h"

namespace nnc {

enum class NotBuilt : std::uint8_t {
#define NNC_NOT_BUILT(name, what, help) name,
#include "frontend/not_built.def"
#undef NNC_NOT_BUILT
};

/// E0901 at `where`: "`import` is not built yet".
void report_not_built(NotBuilt what, Span where, Diagnostics& diagnostics);

}  // namespace nnc
