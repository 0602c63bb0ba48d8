// Seeing through views: a broadcast, a transpose or a reshape that only adds or drops axes of extent 1 shows the
// elements of another node, and says which of its axes follow which axes of the result.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace nnc {

struct View {
  NodeId base = 0;
  /// For each axis of the base, the axis of the viewing node that it follows; -1 for an axis of extent 1.
  std::vector<int> axes;
  bool operator==(const View&) const = default;
};

bool is_unit(Extent extent);

/// The node that `id` is a view of in the end, `id` itself where it is none.
View see_through(const std::vector<Node>& nodes, NodeId id);
/// One step of it: the operand, as a view from node `id`; nothing where `id` is no such view.
bool see_through_once(const std::vector<Node>& nodes, NodeId id, View& step);

/// The rank-0 constant that a node repeats, through views; false where it is none.
bool repeats_number(const std::vector<Node>& nodes, NodeId id, double& number);

}  // namespace nnc
