// What is known about the values of a node without running it. A fact is never guessed: it follows from the ops, and in
// one case from a promise about the data that loaders check (Obligation).
#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"
#include "ir/range.h"

namespace nnc {

struct Facts {
  Range range;  ///< of every element, as the ops say
  /// Axes along which the elements sum to 1: a one-hot encoding of a label that is known to be in range, also smoothed.
  std::vector<int> sums_to_one;
};

/// Facts of a graph that may still grow, each derived when first asked for.
class FactTable {
 public:
  explicit FactTable(const std::vector<Obligation>& obligations) : obligations_(obligations) {}

  /// Facts of node `id`; `nodes` may have grown since the last call, but not changed.
  const Facts& of(const std::vector<Node>& nodes, NodeId id);

 private:
  Range range_of(const Node& node) const;
  Facts derive(const std::vector<Node>& nodes, NodeId id) const;
  std::vector<int> one_hot_axes(const std::vector<Node>& nodes, const Node& equality) const;
  std::vector<int> smoothed_axes(const std::vector<Node>& nodes, const Node& sum) const;
  bool in_range(const std::vector<Node>& nodes, NodeId label, std::int64_t classes) const;

  std::vector<Obligation> obligations_;
  std::vector<Facts> known_;
};

}  // namespace nnc
