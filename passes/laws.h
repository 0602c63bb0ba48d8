// The laws by which stabilise and simplify rewrite graphs, by name: what a table states, a log records and a test can
// switch off one by one.
#pragma once

#include <span>
#include <string_view>

#include "ir/graph.h"
#include "passes/passes.h"

namespace nnc {

struct Law {
  std::string_view name;
  std::string_view identity;  ///< the law as mathematics
};

std::span<const Law> stabilise_laws();
std::span<const Law> simplify_laws();

/// Whether the options leave a law in force.
bool in_force(const SimplifyOptions& options, std::string_view law);

}  // namespace nnc
