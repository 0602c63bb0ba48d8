// Reverse mode over values of a graph under construction: from gradients of some values back to what they depend on, by
// the rule of each op (OpDef::gradient), added up where paths meet. The walk knows no op; all it adds to the rules is
// that the results of one loop are pulled back together.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ir/builder.h"
#include "ir/op.h"

namespace nnc {

/// dL/dx for every x on a way from one of the targets to one of the seeds.
class PullBack {
 public:
  /// A value y and dL/dy, of y's type.
  using Seed = std::pair<NodeId, Value>;

  PullBack(Builder& builder, std::span<const Seed> seeds, std::span<const NodeId> targets,
           const GradientHook* hook = nullptr);

  /// Nothing where no seed depends on the value.
  std::optional<Value> adjoint(NodeId id) const { return id < adjoints_.size() ? adjoints_[id] : std::nullopt; }

 private:
  void mark_ways(std::span<const NodeId> targets);
  void find_loops();
  void visit(NodeId id);
  void pass_on(NodeId id, Value gradient, std::vector<std::pair<NodeId, NodeId>> others);
  void accumulate(NodeId operand, Value gradient);

  Builder& builder_;
  const GradientHook* hook_;
  std::vector<bool> leads_to_target_;
  std::vector<std::optional<Value>> adjoints_;
  std::vector<NodeId> first_result_;  ///< of a loop's result: the first node that is one; else the node itself
};

}  // namespace nnc
