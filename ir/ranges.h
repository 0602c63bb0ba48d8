// Ranges of the nodes of a graph: what the ops say (OpDef::range), applied from the leaves up.
#pragma once

#include <span>
#include <vector>

#include "ir/range.h"

namespace nnc {

/// The range of a node whose operands have these.
Range range_of_node(const Node& node, std::span<const Range> operands);

/// Whether every element surely lies in [0, 1]: by its range, or as e / (sum of e) for e >= 0.
bool is_share_of_one(const std::vector<Node>& nodes, NodeId id);

/// Whether a node is sums and products of parameters with something, and so may have any value: what a layer without an
/// activation gives.
bool may_be_any_number(const std::vector<Node>& nodes, NodeId id);

/// Whether a leaf of this op is among what the node is computed from.
bool depends_on(const std::vector<Node>& nodes, NodeId id, Op leaf);

}  // namespace nnc
