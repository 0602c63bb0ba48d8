// A reshape is the only view with arithmetic: the row-major position in the result is one affine row, and the operand's
// indices are its digits. A digit is affine where every term is either a multiple of the digit's place or too small to
// carry over.
#include "passes/index_map.h"

#include <algorithm>

#include "ir/op.h"

namespace nnc {

Dims dims_of(const Type& type) {
  Dims dims;
  for (const Extent& extent : type.shape) dims.push_back(extent.count);
  return dims;
}

std::int64_t count_of(const Dims& dims) {
  std::int64_t count = 1;
  for (std::int64_t dim : dims) count *= dim;
  return count;
}

Dims dense_strides(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (std::size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

IndexMap identity_map(std::size_t axes, std::size_t loops, std::size_t first) {
  IndexMap map(axes);
  for (std::size_t i = 0; i < axes; ++i) {
    map[i].coefficients.assign(loops, 0);
    map[i].coefficients[first + i] = 1;
  }
  return map;
}

IndexMap loop_map(const std::vector<std::size_t>& loop_of_axis, std::size_t loops) {
  IndexMap map(loop_of_axis.size());
  for (std::size_t i = 0; i < loop_of_axis.size(); ++i) {
    map[i].coefficients.assign(loops, 0);
    map[i].coefficients[loop_of_axis[i]] = 1;
  }
  return map;
}

IndexMap widened(IndexMap map, std::size_t loops) {
  for (AffineRow& row : map) row.coefficients.resize(std::max(loops, row.coefficients.size()), 0);
  return map;
}

IndexMap narrowed(IndexMap map, std::size_t least) {
  for (AffineRow& row : map)
    while (row.coefficients.size() > least && row.coefficients.back() == 0) row.coefficients.pop_back();
  return map;
}

GatherMaps gather_maps(const Graph& graph, NodeId gather, const IndexMap& map, std::size_t index) {
  const auto ids = static_cast<std::ptrdiff_t>(graph[graph[gather].operands[1]].type.rank());
  GatherMaps maps;
  maps.ids.assign(map.begin(), map.begin() + ids);
  maps.table.push_back(AffineRow{0, Dims(index + 1, 0)});
  maps.table[0].coefficients[index] = 1;
  maps.table.insert(maps.table.end(), map.begin() + ids, map.end());
  maps.table = widened(std::move(maps.table), index + 1);
  return maps;
}

bool same_map(const IndexMap& a, const IndexMap& b, const Dims& loops) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].offset != b[i].offset) return false;
    for (std::size_t j = 0; j < loops.size(); ++j)
      if (loops[j] > 1 && a[i].coefficients[j] != b[i].coefficients[j]) return false;
  }
  return true;
}

bool is_view(const Node& node) { return definition(node.op).cls == OpClass::view || node.op == Op::stop_gradient; }

namespace {

/// Splits row = place * quotient + digit with 0 <= digit < place, or nothing where the parts are not affine.
bool split(const AffineRow& row, std::int64_t place, const Dims& loops, AffineRow& quotient, AffineRow& digit) {
  quotient = digit = AffineRow{0, Dims(loops.size(), 0)};
  if (place == 1) {
    quotient = row;
    return true;
  }
  quotient.offset = row.offset / place;
  digit.offset = row.offset % place;
  std::int64_t greatest = digit.offset;
  for (std::size_t j = 0; j < loops.size(); ++j) {
    const std::int64_t coefficient = row.coefficients[j];
    if (coefficient == 0 || loops[j] <= 1) continue;
    if (coefficient % place == 0) {
      quotient.coefficients[j] = coefficient / place;
    } else {
      digit.coefficients[j] = coefficient;
      greatest += coefficient * (loops[j] - 1);
    }
  }
  return greatest < place;
}

std::optional<IndexMap> through_reshape(const Dims& operand, const Dims& result, const IndexMap& map,
                                        const Dims& loops) {
  IndexMap out(operand.size(), AffineRow{0, Dims(loops.size(), 0)});
  if (count_of(operand) == 0) return out;
  AffineRow position{0, Dims(loops.size(), 0)};
  const Dims strides = dense_strides(result);
  for (std::size_t i = 0; i < result.size(); ++i) {
    position.offset += map[i].offset * strides[i];
    for (std::size_t j = 0; j < loops.size(); ++j) position.coefficients[j] += map[i].coefficients[j] * strides[i];
  }
  for (std::size_t i = operand.size(); i-- > 0;) {
    AffineRow rest;
    if (operand[i] == 1) continue;  // its only index is 0
    if (!split(position, operand[i], loops, rest, out[i])) return std::nullopt;
    position = rest;
  }
  return out;
}

}  // namespace

std::optional<IndexMap> through_view(const Graph& graph, NodeId view, const IndexMap& map, const Dims& loops) {
  const Node& node = graph[view];
  const Type& operand = graph[node.operands[0]].type;
  if (const auto* transpose = std::get_if<Transpose>(&node.attributes)) {
    IndexMap out(map.size());
    for (std::size_t i = 0; i < map.size(); ++i) out[transpose->permutation[i]] = map[i];
    return out;
  }
  if (const auto* broadcast = std::get_if<Broadcast>(&node.attributes)) {
    IndexMap out;
    for (int axis : broadcast->axes) out.push_back(map[axis]);
    return out;
  }
  if (node.op == Op::reshape) return through_reshape(dims_of(operand), dims_of(node.type), map, loops);
  return map;  // a gradient's stop
}

}  // namespace nnc
