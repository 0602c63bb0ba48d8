// What to try after training went wrong: columns that are not scaled, units that are dead.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/data.h"
#include "runtime/weights.h"

namespace nnc::driver {

/// Lines that begin with "help:", of what is seen in the first rows of `train`: columns whose values are large, and
/// units that a choice (`relu`) makes 0 in every row, by `evaluate_graph` (the opt of evaluation) and `weights`.
std::vector<std::string> advice_of(const Graph& evaluate_graph, const SplitColumns& train, const Weights& weights);

}  // namespace nnc::driver
