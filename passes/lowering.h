// What passes between the steps of lowering: clusters (which nodes are computed together), then a draft of the program
// whose buffers get layouts, schedules and places one after the other. Private to the folder's preserving passes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/program/program.h"
#include "passes/index_map.h"
#include "passes/passes.h"

namespace nnc {

/// Nodes that one kernel computes. The outer domain is `outer`; a member's leading axes run over it in order, and the
/// axes that a member has beyond it are inner loops.
struct Cluster {
  Dims outer;
  std::optional<NodeId> core;        ///< a serial contraction, whose result has the shape `outer`
  std::optional<std::size_t> loop;   ///< index into Clusters::loops; then the members are its results
  std::vector<NodeId> members;       ///< computed here, ascending; with the core
  std::vector<std::size_t> outputs;  ///< indices into Graph::outputs that are stored here
};

struct LoopClusters;

struct Clusters {
  std::vector<Cluster> clusters;  ///< in an order in which they can run
  std::vector<int> home;      ///< of each node: its cluster, or -1: leaves, and what is computed wherever it is needed
  std::vector<bool> stored;   ///< of each node: has a buffer in the arena
  std::vector<bool> dense;    ///< of each node: its buffer is read under other dims, so it has no padding
  std::vector<bool> in_rows;  ///< of each leaf: a reader takes it in rows alone, not in panels
  std::vector<LoopClusters> loops;
};

/// A loop's step, a graph like any other: inputs are memory by their operand's number, and so are results.
struct LoopClusters {
  Graph step;  ///< its outputs are what a step stores, by their number among the loop's results
  Clusters clusters;
  /// A result that is no memory of its own: a carry's values before (or after) every step.
  struct Kept {
    std::size_t carry = 0;
    bool after = false;
  };
  std::map<int, Kept> kept;  ///< by number of the result; those carries have a row for each step
};

/// Of the options: whether to fuse, the layouts that leaves have already, and which inputs are gradients.
Clusters fuse(const Graph& graph, const LowerOptions& options);
Clusters fuse_step(const Graph& step, const LowerOptions& options);  ///< of a loop's step, whose inputs lie in memory

/// Moves out of every loop what is the same at each step and worth the memory: its results are whole operands then.
Graph hoist(const Graph& graph);

/// The graph with the steps of its loops in their place; nothing where that were more nodes than these.
std::optional<Graph> unrolled(const Graph& graph, std::size_t most_nodes);

/// Position of an expression among the stages of its cluster: after how many folds in a row, and over which inner
/// loops.
struct StageKey {
  int level = 0;
  Dims inner;
  auto operator<=>(const StageKey&) const = default;
};

/// Levels of the expressions of one cluster: a fold's result is at the level after its own stage.
class Levels {
 public:
  Levels(const Graph& graph, const std::vector<int>& home, int cluster);
  int of(NodeId node) const { return level_[node]; }
  /// Where a node's value is computed: a fold in the stage that accumulates it.
  StageKey stage(NodeId node, const Dims& outer) const;

 private:
  const Graph& graph_;
  std::vector<int> level_;
};

bool is_fold(const Node& node);     ///< sum, reduce_max, argmax, and a contraction that is no core
bool is_core(const Node& node);     ///< a serial contraction: of two matrices, or of two stacks of them
bool is_scatter(const Node& node);  ///< scatter_add: a kernel of its own, over the axes that ids do not index
bool is_scan(const Node& node);     ///< a result of a loop: the cluster of a loop has all of them
/// The inner loops of a fold: the reduced axes of extent other than 1 in order, or {1}.
Dims fold_loops(const Graph& graph, NodeId fold);
/// The maps of a fold's operands over loops (kept axes, then fold_loops); where a guard fails the operand is 0.
std::vector<IndexMap> fold_operand_maps(const Graph& graph, NodeId fold);
/// Where a contraction reads its operand `a` without a copy of it.
struct CoreOperand {
  NodeId base = 0;   ///< in memory, under its own dims
  IndexMap map;      ///< over (stack, rows..., steps...)
  Dims rows, steps;  ///< the loops that m and k count
};
/// Nothing where `a` is best read as it is: it is no view, or what it shows lies under guards, is larger than itself,
/// or has neither rows nor columns side by side.
std::optional<CoreOperand> core_operand(const Graph& graph, NodeId core);
/// The node under a chain of reshapes, whose elements lie in the same order.
NodeId under_reshapes(const Graph& graph, NodeId node);
/// Whether a name stands for a gradient that lies in memory between two programs.
bool is_gradient(const LowerOptions& options, const std::string& name);
/// Number of operations of a node on one element, with those that take long weighted.
int cost_of(const Graph& graph, NodeId node);

/// A program under construction. Buffers that share memory (reshapes of a dense one) have one base.
struct Draft {
  Program program;
  std::vector<BufferId> base;  ///< of each buffer: the buffer whose memory it shares or is a part of, or itself
  std::vector<bool> dense;     ///< of each base: must stay dense row-major
};

/// A tiny net as one kernel, its layouts and places open like those of make_kernels; nothing where it is not tiny or
/// has ops that need loops of their own.
std::optional<Draft> in_one_piece(const Graph& opt, const std::string& entry, const LowerOptions& options);

/// Kernels with their bodies, and buffers that are dense and have no place yet.
Draft make_kernels(const Graph& graph, const Clusters& clusters, const LowerOptions& options);
void choose_layouts(Draft& draft, const LowerOptions& options);
/// The tiles of a contraction of elements of `bytes` bytes; with these and its pieces, the order of its loops, and what
/// it copies. `fed`: a's rows are those of a feed.
void shape_tiles(const Contract& core, std::size_t bytes, const Machine& machine, Schedule& schedule);
void order_tiles(const Contract& core, std::size_t bytes, bool fed, const Machine& machine, Schedule& schedule);
void schedule(Draft& draft, const LowerOptions& options);
/// Into how many pieces threads share each kernel, and of a contraction, pieces of what.
void share_out(Draft& draft, const LowerOptions& options);
/// Whether threads may share panels of a parameter of so many columns, met by a batch of so many rows: else they share
/// tiles, each of which meets all panels.
bool panels_may_be_shared(std::int64_t rows, std::int64_t columns);
void plan(Draft& draft);

/// Panels for which a contraction of whole sums copies a feed's rows: there, each step has to be looked up and is in a
/// page of its own.
constexpr std::int64_t fewest_panels_fed = 4;

/// Rows at multiples of so many bytes are in the same few sets of a cache.
constexpr std::int64_t thrashing_stride = 1024;

/// Elements from row to row where a contraction touches rows of so many elements of `bytes` bytes: whole vectors of any
/// machine, and no thrashing stride.
std::int64_t padded_row(std::int64_t elements, std::size_t bytes);

/// Bytes that a buffer takes with its layout.
std::uint64_t bytes_of(const Buffer& buffer);

}  // namespace nnc
