// Cuts a graph that fails down to what fails, so that a fault found by a large random graph can be read.
#pragma once

#include <functional>

#include "ir/graph.h"

namespace nnc::test {

/// The graph is changed step by step, as long as `fails` says that it still fails: its first value that fails alone,
/// fewer outputs, nodes replaced by one of their operands, by a leaf or by zeros (in loops' bodies too), shorter axes.
/// `fails` sees graphs that verify alone.
Graph reduce_failing(Graph graph, const std::function<bool(const Graph&)>& fails);

/// Nodes that compute something: all but leaves, numbers and what only spreads a number.
int computing_nodes(const Graph& graph);

}  // namespace nnc::test
