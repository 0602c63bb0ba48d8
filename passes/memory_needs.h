// What must lie in memory whatever is fused: operands of contractions, what a reshape shows that no map follows, what a
// loop reads, values that updates are. The first thing that fusion asks.
#pragma once

#include "passes/lowering.h"

namespace nnc {

struct MemoryNeeds {
  std::vector<bool> solid;     ///< of each node: needed in memory
  std::vector<bool> anchored;  ///< of each node: computed in one place
  std::vector<bool> dense;     ///< of each node: as Clusters has it
  std::vector<bool> in_rows;   ///< likewise
  std::vector<bool> apart;     ///< of each node: an input that lies in a region of its own, which no update writes
  std::map<NodeId, NodeId> in_place;  ///< of contractions that see through views: what their `a` shows
  std::vector<LoopClusters> loops;
  std::map<NodeId, std::size_t> loop_numbers;  ///< of one node of each loop

  /// An operand of a node; of a contraction that sees through views, what they show.
  NodeId operand_read(const Graph& graph, NodeId node, std::size_t operand) const {
    const auto at = in_place.find(node);
    return at != in_place.end() && operand == 0 ? at->second : graph[node].operands[operand];
  }
  /// The number of the loop that a node is a result of.
  std::size_t loop_of(const Graph& graph, NodeId node) const;
};

/// `step`: the graph is that of a loop's step, whose inputs lie in memory.
MemoryNeeds memory_needs(const Graph& graph, const LowerOptions& options, bool step);

}  // namespace nnc
