// The passes: each a function from value to value. Defining passes make the meaning (the graph `opt`); preserving
// passes must not change one bit of it and take the machine into account. passes/pipeline.h has their order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/machine.h"
#include "ir/program/program.h"

namespace nnc {

struct Record;

struct SimplifyOptions {
  std::vector<std::string> disabled_laws;  ///< by name; for tests and study
  Record* record = nullptr;                ///< is told what was done (passes/record.h); not what was done inside loops
  std::int64_t* steps = nullptr;           ///< gets the steps of arithmetic that simplify takes added to it
};

// Defining passes: graph to graph, without machine or batch.
Graph fold_constants(const Graph& graph);  ///< rank-0 elementwise ops over constants become constants
Graph stabilise(const Graph& graph, const SimplifyOptions& options = {});
/// Removes every grad node, innermost first; what it makes is `derived`.
Graph differentiate(const Graph& graph, Record* record = nullptr);
Graph simplify(const Graph& graph, const SimplifyOptions& options = {});
/// What simplify makes less: operations on elements, for a nominal number of rows.
double work_of(const Graph& graph);
Graph expand(const Graph& graph);        ///< whole powers become products, sums of overlapping products convolutions
Graph assign_order(const Graph& graph);  ///< sets Reduce::order and Dot::order

/// Splits a graph over a whole split into graphs over blocks of rows: pass i computes every fold over the batch whose
/// operands are known by then, each with a `carry`; the last graph has no batched value and finishes the results.
struct Blockwise {
  std::vector<Graph> passes;  ///< outputs: update NAME of carries
  Graph finish;               ///< carries -> the outputs of the original graph; `size` of the batch is scalar "rows"
  /// What carries are before the first block, by name, where that is not 0: -inf for a maximum.
  std::map<std::string, double> carry_start;
};
Blockwise blockwise(const Graph& graph);

/// Graphs for the entries `grads` (results: the loss and each gradient) and `update` (gradients as inputs -> updates).
struct Separated {
  Graph grads, update;
  /// Names in both graphs and types: "grad/PATH", and "grad2/1", ... for further derivatives by the same parameters.
  std::vector<std::pair<std::string, Type>> gradients;
};
Separated separate(const Graph& step);

/// Graphs for the entries `pack` (logical arrays as inputs -> every parameter and state in its layout) and `unpack`
/// (the other way). In both the arrays lie dense, one after the other, where gradients lie between `grads` and
/// `update`.
struct Packing {
  Graph pack, unpack;
  std::vector<std::pair<std::string, Type>> arrays;  ///< names in both graphs, "logical/PATH", and types
};
Packing packing(const std::vector<std::pair<std::string, Type>>& params,
                const std::vector<std::pair<std::string, Type>>& state);

// Surgery.
/// The graph with those of its outputs alone that are named, and what they need.
Graph with_outputs(const Graph& graph, const std::set<std::string>& names);
/// Names of the inputs that a graph reads.
std::set<std::string> inputs_of(const Graph& graph);

// Preserving passes.
/// Where parameters and state lie; chosen by the training step, obeyed by every other program over them.
struct VariableLayouts {
  std::vector<std::pair<std::string, Layout>> layouts;
  const Layout* find(const std::string& path) const;
};
struct LowerOptions {
  Machine machine;
  std::int64_t rows = 1;
  int threads = 1;                        ///< the most that a schedule may ask for
  bool fuse = true, layout = true;        ///< optional passes
  bool in_one_piece = false;              ///< a tiny net as one kernel
  const VariableLayouts* obey = nullptr;  ///< layouts to obey; null: this program chooses
  /// Every parameter, state and carry of the job in order (path, type), so that offsets agree between programs. Those
  /// that a graph has and these lists lack are appended in the order of the graph.
  std::vector<std::pair<std::string, Type>> params, state, carry;
  /// Results and inputs (name, type) that lie dense in a region of their own: gradients between `grads` and `update`,
  /// logical arrays around `pack` and `unpack`.
  std::vector<std::pair<std::string, Type>> gradients;
};
Graph specialise(const Graph& graph, std::int64_t rows);  ///< every extent a number; dots two-dimensional
Program lower(const Graph& opt, const std::string& entry, const LowerOptions& options);
VariableLayouts layouts_of(const Program& program);

}  // namespace nnc
