// The body of a stage as a scalar program. An expression is emitted wherever it is needed, under the map of the place
// that needs it: a node with a buffer is a load, a view changes the map, everything else becomes instructions.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "ir/scalar/builder.h"
#include "passes/buffers.h"
#include "passes/lowering.h"

namespace nnc {

/// The place of a fold's result among a kernel's stages.
using FoldPlaces = std::map<NodeId, FoldResult>;

/// Everything that the emission of one cluster's bodies shares.
struct BodyContext {
  const Graph& graph;
  const Clusters& clusters;
  int cluster;
  const Levels& levels;
  Buffers& buffers;
  Program& program;
  const std::vector<bool>& crossing;  ///< members that later stages load
  const FoldPlaces& folds;
};

/// Writes the body of one stage.
class BodyWriter {
 public:
  BodyWriter(const BodyContext& context, const StageKey& key, Dims loops)
      : context_(context), key_(key), loops_(std::move(loops)), nest_(loops_.size()) {}
  /// Index of a node's value in Body::program.results, at index map `map`. `inside`: computed here, although it may
  /// have a buffer.
  ScalarId result(NodeId node, const IndexMap& map, bool inside);
  /// Likewise of zero of a type.
  ScalarId zero(ScalarType type) { return result_of(builder_.constant(0, type)); }
  /// The number of the loop that row ids[map] of a table with so many rows is.
  std::size_t computed_loop(NodeId ids, const IndexMap& map, std::int64_t rows);
  /// Every map of the stage is over the nest's loops and all computed ones.
  void finish(Stage& stage) &&;

 private:
  const Node& node_at(NodeId node) const { return context_.graph[node]; }
  bool member(NodeId node) const { return context_.clusters.home[node] == context_.cluster; }
  ScalarId result_of(Scalar value);
  Scalar input(BodyInput which, ScalarType type);
  Scalar load(BufferId buffer, const IndexMap& map);
  Scalar zero_of(NodeId node) { return builder_.constant(0, scalar_type(node_at(node).type.dtype)); }
  /// Whether the value is 0 where one of these guards fails: a load under them, or 0 where such a mask does not hold.
  bool is_guarded(Scalar value, const std::vector<Guard>& guards) const;
  Scalar where(const std::vector<Guard>& guards, Scalar value, Scalar otherwise);
  /// The node's value where the guards hold, else 0.
  Scalar only_inside(NodeId node, const std::vector<Guard>& guards, Scalar value);
  /// The value for a reader: from memory, from a fold or the core, or computed on the spot.
  Scalar emit(NodeId node, const IndexMap& map);
  Scalar computed(NodeId node, const IndexMap& wide);
  Scalar compute(NodeId node, const IndexMap& map);
  /// What is inside of a pad, or one piece of a concat: its value, and the guards under which it is there.
  struct Piece {
    Scalar value;
    std::vector<Guard> guards;
  };
  std::optional<Piece> piece(NodeId view, std::size_t operand, const IndexMap& map);
  Scalar padded(NodeId node, const IndexMap& map);
  /// Of the pieces, one is there at each point: the last needs no question.
  Scalar joined(NodeId node, const IndexMap& map);
  Scalar through(NodeId node, const IndexMap& map);
  Scalar gathered(NodeId node, const IndexMap& map);
  Scalar whole(std::int64_t value) { return builder_.bits(static_cast<std::uint64_t>(value), ScalarType::i64); }
  Scalar integer(ScalarOp op, Scalar a, Scalar b);
  /// An i32 as an index of a table: the nearest one that there is.
  Scalar clamped(Scalar id, std::int64_t rows);
  Scalar loop_index(std::size_t loop);
  Scalar affine(const AffineRow& row);
  Scalar number(CallValue::Which which) { return input(CallValue{which}, ScalarType::i64); }
  /// The inputs of a generate op's program (ir/scalar/program.h).
  std::vector<Scalar> indices(const Node& node, const IndexMap& narrow);

  struct Emitted {
    NodeId node;
    IndexMap map;
    Scalar value;
  };

  const BodyContext& context_;
  StageKey key_;
  Dims loops_;        ///< of the nest, then the computed ones
  std::size_t nest_;  ///< number of the former
  std::vector<ComputedIndex> indices_;
  std::vector<Scalar> index_values_;
  ScalarBuilder builder_;
  std::vector<BodyInput> inputs_;
  std::vector<Scalar> input_values_;
  std::vector<Scalar> results_;
  std::vector<Emitted> emitted_;
};

}  // namespace nnc
