// Whether a graph over a whole split can be computed block by block, which `blockwise` takes for granted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ir/graph.h"

namespace nnc {

/// The first op that no block of rows can compute a part of, and an output that needs it.
struct NotBlockwise {
  std::string output;
  std::string op, why;
  std::uint32_t line = 0;  ///< in the user's file; 0: nowhere
};

/// Nothing where `blockwise(graph)` succeeds.
std::optional<NotBlockwise> why_not_blockwise(const Graph& graph);

}  // namespace nnc
