// The order of additions, in one place: which order a reduction gets, and the lanes and chunks that the orders are made
// of. Evaluator, lowering and code generation obey these; docs/architecture.md ("Order of additions") says them in
// words.
#pragma once

#include <cstdint>
#include <span>

#include "ir/graph.h"

namespace nnc {

/// Lanes of Order::lanes, whatever the machine's own width: 8 for f64, else 16.
int order_lanes(DType dtype);

/// Length of a chunk, in elements of the reduced index space (row-major over `extents`, those of the reduced axes): 256
/// indices of the outermost axis of extent > 1, or 4096 elements where only one axis (or none) is longer than 1.
std::int64_t order_chunk(std::span<const std::int64_t> extents);

/// The index among `extents` of the innermost axis of extent > 1, along which lanes are counted; -1 if there is none.
int order_lane_axis(std::span<const std::int64_t> extents);

/// Whether a node carries an order at all: sums and contractions do, a maximum is the same in any order.
bool has_order(const Node& node);
Order order_of(const Node& node);  ///< unset where it has none

/// The order that a node of a graph over an unknown batch is given, from static extents alone; unset if it has none.
Order natural_order(const Graph& graph, NodeId id);

}  // namespace nnc
