// Graphs for other programs: Graphviz, and readers of JSON.
#pragma once

#include <string>

#include "ir/graph.h"

namespace nnc {

/// For Graphviz: clusters for layer instances, gradients and updates; edges carry types.
std::string print_dot(const Graph& graph);
/// One JSON object, schema "nnc.graph.1" (docs/graph-json.md).
std::string print_json(const Graph& graph);

}  // namespace nnc
