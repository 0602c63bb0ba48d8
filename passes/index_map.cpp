// Most views multiply, add and reorder rows; a pad with zeros between divides. A reshape has more to it: the row-major
// position in the result is one affine row, and the operand's indices are its digits. A digit is affine where every
// term is either a multiple of the digit's place or too small to carry over.
#include "passes/index_map.h"

#include <algorithm>
#include <numeric>

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
  IndexMap map{std::vector<AffineRow>(axes)};
  for (std::size_t i = 0; i < axes; ++i) {
    map[i].coefficients.assign(loops, 0);
    map[i].coefficients[first + i] = 1;
  }
  return map;
}

IndexMap loop_map(const std::vector<std::size_t>& loop_of_axis, std::size_t loops) {
  IndexMap map{std::vector<AffineRow>(loop_of_axis.size())};
  for (std::size_t i = 0; i < loop_of_axis.size(); ++i) {
    map[i].coefficients.assign(loops, 0);
    map[i].coefficients[loop_of_axis[i]] = 1;
  }
  return map;
}

IndexMap widened(IndexMap map, std::size_t loops) {
  const auto widen = [&](AffineRow& row) { row.coefficients.resize(std::max(loops, row.coefficients.size()), 0); };
  for (AffineRow& row : map.rows) widen(row);
  for (Guard& guard : map.guards) widen(guard.row);
  return map;
}

IndexMap narrowed(IndexMap map, std::size_t least) {
  const auto narrow = [&](AffineRow& row) {
    while (row.coefficients.size() > least && row.coefficients.back() == 0) row.coefficients.pop_back();
  };
  for (AffineRow& row : map.rows) narrow(row);
  for (Guard& guard : map.guards) narrow(guard.row);
  return map;
}

GatherMaps gather_maps(const Graph& graph, NodeId gather, const IndexMap& map, std::size_t index) {
  const auto ids = static_cast<std::ptrdiff_t>(graph[graph[gather].operands[1]].type.rank());
  GatherMaps maps;
  maps.ids = {{map.rows.begin(), map.rows.begin() + ids}, map.guards};
  maps.table = {{AffineRow{0, Dims(index + 1, 0)}}, map.guards};
  maps.table[0].coefficients[index] = 1;
  maps.table.rows.insert(maps.table.rows.end(), map.rows.begin() + ids, map.rows.end());
  maps.table = widened(std::move(maps.table), index + 1);
  return maps;
}

bool same_map(const IndexMap& a, const IndexMap& b, const Dims& loops) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].offset != b[i].offset || a[i].divisor != b[i].divisor) return false;
    for (std::size_t j = 0; j < loops.size(); ++j)
      if (loops[j] > 1 && a[i].coefficients[j] != b[i].coefficients[j]) return false;
  }
  return true;
}

bool is_view(const Node& node) { return definition(node.op).cls == OpClass::view || node.op == Op::stop_gradient; }

namespace {

/// factor * row, as a row.
AffineRow times(AffineRow row, std::int64_t factor) {
  row.offset *= factor;
  for (std::int64_t& coefficient : row.coefficients) coefficient *= factor;
  return row;
}
AffineRow plus(const AffineRow& a, const AffineRow& b) {
  const std::int64_t divisor = std::lcm(a.divisor, b.divisor);
  AffineRow sum = times(a, divisor / a.divisor);
  const AffineRow other = times(b, divisor / b.divisor);
  sum.divisor = divisor;
  sum.offset += other.offset;
  for (std::size_t j = 0; j < sum.coefficients.size(); ++j) sum.coefficients[j] += other.coefficients[j];
  return sum;
}
AffineRow plus(AffineRow row, std::int64_t number) {
  row.offset += number * row.divisor;
  return row;
}

/// Without what numerator and divisor have in common: what is padded and then sliced again need not divide.
AffineRow reduced(AffineRow row) {
  std::int64_t common = std::gcd(row.divisor, row.offset);
  for (std::int64_t coefficient : row.coefficients) common = std::gcd(common, coefficient);
  if (common <= 1) return row;
  row.divisor /= common;
  row.offset /= common;
  for (std::int64_t& coefficient : row.coefficients) coefficient /= common;
  return row;
}

bool always_holds(const Guard& guard, const Dims& loops) {
  const RowReach reach = reach_of(guard.row, loops);
  const bool whole = guard.row.divisor == 1 || (reach.low == reach.high && reach.low % guard.row.divisor == 0);
  return whole && reach.low >= 0 && reach.high <= (guard.extent - 1) * guard.row.divisor;
}

void add_guard(IndexMap& map, Guard guard, const Dims& loops) {
  if (!always_holds(guard, loops) && std::ranges::find(map.guards, guard) == map.guards.end())
    map.guards.push_back(std::move(guard));
}

/// A position in row-major order as a sum of multiples of a tensor's indices, each of which lies in its own range: a
/// digit of it takes what is not a multiple of the digit's place, if that is too small to carry over.
std::optional<IndexMap> through_reshape_by_axes(const Dims& operand, const Dims& result, const IndexMap& map,
                                                const Dims& loops) {
  IndexMap out{std::vector<AffineRow>(operand.size(), AffineRow{0, Dims(loops.size(), 0)}), map.guards};
  Dims factors = dense_strides(result);
  for (std::size_t axis = 0; axis < result.size(); ++axis)
    if (result[axis] == 1) factors[axis] = 0;  // its only index is 0
  for (std::size_t i = operand.size(); i-- > 0;) {
    const std::int64_t place = operand[i];
    if (place == 1) continue;
    std::int64_t greatest = 0;
    for (std::size_t axis = 0; axis < result.size(); ++axis) {
      if (factors[axis] % place == 0) {
        factors[axis] /= place;
        continue;
      }
      greatest += factors[axis] * (result[axis] - 1);
      out[i] = plus(out[i], times(map[axis], factors[axis]));
      factors[axis] = 0;
    }
    if (greatest >= place) return std::nullopt;
  }
  return out;
}

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

/// The same by loops, which finds more where several indices follow one loop.
std::optional<IndexMap> through_reshape_by_loops(const Dims& operand, const Dims& result, const IndexMap& map,
                                                 const Dims& loops) {
  IndexMap out{std::vector<AffineRow>(operand.size(), AffineRow{0, Dims(loops.size(), 0)})};
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

bool is_plain(const IndexMap& map) {
  return map.guards.empty() && std::ranges::all_of(map.rows, [](const AffineRow& row) {
           return row.divisor == 1 && row.offset >= 0 &&
                  std::ranges::all_of(row.coefficients, [](std::int64_t coefficient) { return coefficient >= 0; });
         });
}

std::optional<IndexMap> through_reshape(const Dims& operand, const Dims& result, const IndexMap& map,
                                        const Dims& loops) {
  if (count_of(operand) == 0)
    return IndexMap{std::vector<AffineRow>(operand.size(), AffineRow{0, Dims(loops.size(), 0)}), map.guards};
  if (auto out = through_reshape_by_axes(operand, result, map, loops)) return out;
  return is_plain(map) ? through_reshape_by_loops(operand, result, map, loops) : std::nullopt;
}

IndexMap through_pad(const Pad& pad, const Dims& operand, IndexMap map, const Dims& loops) {
  for (std::size_t axis = 0; axis < operand.size(); ++axis) {
    if (pad.low[axis] == 0 && pad.high[axis] == 0 && pad.between[axis] == 0) continue;
    map[axis] = plus(std::move(map[axis]), -pad.low[axis]);
    map[axis].divisor *= pad.between[axis] + 1;
    map[axis] = reduced(std::move(map[axis]));
    add_guard(map, {map[axis], operand[axis]}, loops);
  }
  return map;
}

}  // namespace

bool never_holds(const Guard& guard, const Dims& loops) {
  const RowReach reach = reach_of(guard.row, loops);
  std::int64_t step = guard.row.divisor;  // all numerators are the offset and a multiple of this
  for (std::size_t loop = 0; loop < loops.size(); ++loop)
    if (loops[loop] > 1) step = std::gcd(step, guard.row.coefficients[loop]);
  return guard.extent == 0 || reach.high < 0 || reach.low > (guard.extent - 1) * guard.row.divisor ||
         guard.row.offset % step != 0;
}

IndexMap overlap_map(const OverlapAdd& sum, const Type& operand, const IndexMap& result, std::size_t loop,
                     const Dims& loops) {
  AffineRow index{0, Dims(loops.size(), 0)};
  if (dims_of(operand)[static_cast<std::size_t>(sum.axis) + 1] > 1) index.coefficients[loop] = 1;
  const auto axis = static_cast<std::size_t>(sum.axis);
  IndexMap map = result;
  map[axis] = plus(map[axis], times(index, -sum.dilation));
  map[axis].divisor *= sum.stride;
  map[axis] = reduced(std::move(map[axis]));
  add_guard(map, {map[axis], dims_of(operand)[axis]}, loops);
  map.rows.insert(map.rows.begin() + static_cast<std::ptrdiff_t>(axis) + 1, index);
  return map;
}

std::optional<IndexMap> through_view(const Graph& graph, NodeId view, const IndexMap& map, const Dims& loops,
                                     std::size_t operand) {
  const Node& node = graph[view];
  const Dims dims = dims_of(graph[node.operands[operand]].type);
  IndexMap out = map;
  if (const auto* transpose = std::get_if<Transpose>(&node.attributes)) {
    for (std::size_t i = 0; i < map.size(); ++i) out[static_cast<std::size_t>(transpose->permutation[i])] = map[i];
  } else if (const auto* broadcast = std::get_if<Broadcast>(&node.attributes)) {
    out.rows.clear();
    for (int axis : broadcast->axes) out.rows.push_back(map[static_cast<std::size_t>(axis)]);
  } else if (const auto* slice = std::get_if<Slice>(&node.attributes)) {
    for (std::size_t i = 0; i < map.size(); ++i) out[i] = plus(times(map[i], slice->steps[i]), slice->starts[i]);
  } else if (const auto* window = std::get_if<Window>(&node.attributes)) {
    const auto axis = static_cast<std::size_t>(window->axis);
    out[axis] = plus(times(map[axis], window->stride), times(map[axis + 1], window->dilation));
    out.rows.erase(out.rows.begin() + window->axis + 1);
  } else if (const auto* pad = std::get_if<Pad>(&node.attributes)) {
    return through_pad(*pad, dims, std::move(out), loops);
  } else if (const auto* concat = std::get_if<Concat>(&node.attributes)) {
    const auto axis = static_cast<std::size_t>(concat->axis);
    for (std::size_t before = 0; before < operand; ++before)
      out[axis] = plus(out[axis], -dims_of(graph[node.operands[before]].type)[axis]);
    add_guard(out, {out[axis], dims[axis]}, loops);
  } else if (node.op == Op::reshape) {
    return through_reshape(dims, dims_of(node.type), map, loops);
  }
  return out;  // a gradient's stop: the same map
}

}  // namespace nnc
