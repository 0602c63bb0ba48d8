// The buffers of a program under construction, made when first asked for. Dense, and without a place: layouts and plan
// come later. Private to the folder.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "passes/lowering.h"

namespace nnc {

class Buffers {
 public:
  Buffers(const Graph& graph, const Clusters& clusters, const LowerOptions& options, Draft& draft);
  /// Of a loop's step: its inputs and results, by their numbers, lie in memory of the graph around it.
  Buffers(const Graph& step, const Clusters& clusters, const LowerOptions& options, Draft& draft,
          const std::map<std::size_t, BufferId>& inputs, const std::map<std::string, BufferId>& results);

  /// Where readers find a node's value in memory: its leaf's buffer, or its place in the arena.
  BufferId of(NodeId node);
  BufferId leaf(NodeId node) const { return leaves_.at(node); }
  bool is_leaf(NodeId node) const { return leaves_.contains(node); }
  BufferId arena(NodeId node);

  /// Memory that another buffer has: row `row` of it, or another one at each step of a loop.
  BufferId part(BufferId of, std::string name, Dims dims, std::int64_t row, std::optional<std::uint32_t> loop = {});
  /// Where the node's value lies from here on.
  void place(NodeId node, BufferId at) { arena_[node] = at; }
  /// Where an output goes; a result is written under `dims`.
  BufferId output(const Output& output, const Dims& dims);
  /// The same memory under other dims of the same count.
  BufferId under(BufferId id, const Dims& dims);
  /// Memory for a value that no node stands for.
  BufferId scratch(std::string name, DType dtype, Dims dims);

 private:
  Program& program() { return draft_.program; }
  BufferId add(std::string name, DType dtype, Dims dims, Region region);
  void variable(const std::string& name, const Type& type, Region region, std::vector<Slot>& slots);
  void declare(const std::vector<std::pair<std::string, Type>>& variables, Region region, std::vector<Slot>& slots);
  void declare_leaf(NodeId id);
  void declare_late(const Node& node, const Named& named);

  const Graph& graph_;
  const Clusters& clusters_;
  const LowerOptions& options_;
  Draft& draft_;
  std::map<NodeId, BufferId> leaves_, arena_;
  std::map<std::string, BufferId> named_, results_;
  std::map<std::pair<BufferId, Dims>, BufferId> aliases_;
};

}  // namespace nnc
