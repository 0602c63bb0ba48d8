// Index maps: where a loop nest's point lies in a tensor, one affine row for each axis. Views are never computed: a map
// goes through them. Beyond what a pad surrounds, and outside of its own piece of a concat, an operand has no element:
// there the map's guards do not hold.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ir/graph.h"
#include "ir/program/program.h"

namespace nnc {

using Dims = std::vector<std::int64_t>;
struct IndexMap {
  std::vector<AffineRow> rows;
  std::vector<Guard> guards = {};

  std::size_t size() const { return rows.size(); }
  AffineRow& operator[](std::size_t axis) { return rows[axis]; }
  const AffineRow& operator[](std::size_t axis) const { return rows[axis]; }
  bool operator==(const IndexMap&) const = default;
};

/// The extents of a specialised type.
Dims dims_of(const Type& type);
std::int64_t count_of(const Dims& dims);
/// Dense row-major strides in elements.
Dims dense_strides(const Dims& dims);

/// Axis i is loop first + i, for `axes` axes in a nest of `loops` loops.
IndexMap identity_map(std::size_t axes, std::size_t loops, std::size_t first = 0);
/// Axis i is loop `loop_of_axis[i]`.
IndexMap loop_map(const std::vector<std::size_t>& loop_of_axis, std::size_t loops);

/// The map with rows for `loops` loops; further ones have no part in it.
IndexMap widened(IndexMap map, std::size_t loops);
/// The map without trailing loops beyond the first `least` that have no part in it, so that equal maps are equal.
IndexMap narrowed(IndexMap map, std::size_t least);

/// The maps of gather's operands where its result is read at `map`: of the table, whose first axis is loop `index`, and
/// of the ids. A table's map may have one loop more than `map`.
struct GatherMaps {
  IndexMap table, ids;
};
GatherMaps gather_maps(const Graph& graph, NodeId gather, const IndexMap& map, std::size_t index);

/// Whether two maps give the same indices at every point of a nest (a loop of one step has index 0, whatever its
/// factor), guards apart.
bool same_map(const IndexMap& a, const IndexMap& b, const Dims& loops);

/// The map into an operand of a view whose result is indexed by `map`, with those of its guards that may fail;
/// nullopt for a reshape that no affine map expresses.
std::optional<IndexMap> through_view(const Graph& graph, NodeId view, const IndexMap& map, const Dims& loops,
                                     std::size_t operand = 0);

/// The guards under which a fold over windows that overlap finds elements, and where: `map` has a row for each axis of
/// its result, `loop` counts the elements of a window.
IndexMap overlap_map(const OverlapAdd& sum, const Type& operand, const IndexMap& result, std::size_t loop,
                     const Dims& loops);

/// Whether a guard fails at every point of the nest; an element is then nowhere.
bool never_holds(const Guard& guard, const Dims& loops);

/// Whether `node` is one of the ops that maps go through: view ops, and a gradient's stop.
bool is_view(const Node& node);

}  // namespace nnc
