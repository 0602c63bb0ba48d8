// Panels of columns and tiles of rows.
#include "ir/program/contraction.h"

#include <algorithm>

namespace nnc {

namespace {

/// The most steps of a short sum; accumulators that keep the fma units busy.
constexpr std::int64_t short_sum = 64, enough_accumulators = 8;
/// Rows with a pointer each; more would not stay in the general registers.
constexpr std::int64_t pointer_rows = 12;

/// Loops, from the outside in, by which an address moves so many elements each, as few of them as possible.
std::vector<Digit> merged_loops(const std::vector<std::int64_t>& loops, const std::vector<std::int64_t>& steps) {
  std::vector<Digit> made;
  for (std::size_t i = 0; i < loops.size(); ++i) {
    if (loops[i] == 1 && loops.size() > 1) continue;
    if (!made.empty() && made.back().step == steps[i] * loops[i])
      made.back() = {made.back().extent * loops[i], steps[i]};
    else
      made.push_back({loops[i], steps[i]});
  }
  if (made.empty()) made.push_back({});
  return made;
}

/// Elements of a row-major buffer from a step of the loop `loop` to the next.
std::int64_t step_of(const Buffer& buffer, const Access& access, std::size_t loop) {
  std::int64_t step = 0;
  for (std::size_t axis = buffer.region == Region::feed ? 1 : 0; axis < access.map.size(); ++axis)
    step += access.map[axis].coefficients[loop] * buffer.layout.strides[axis];
  return step;
}

/// The loops of a from number `first` on; one of a single step moves nothing.
std::vector<Digit> digits(const Program& program, const Access& a, const std::vector<std::int64_t>& loops,
                          std::size_t first) {
  std::vector<std::int64_t> steps;
  for (std::size_t i = 0; i < loops.size(); ++i)
    steps.push_back(loops[i] == 1 ? 0 : step_of(program.buffers[a.buffer], a, first + i));
  return merged_loops(loops, steps);
}

/// Whether the rows of every tile of so many are at the same distances: no tile wraps round where another one does not.
bool at_constant_distances(const std::vector<Digit>& digits, std::int64_t rows) {
  for (std::size_t i = digits.size(); i-- > 1;) {
    const std::int64_t extent = digits[i].extent;
    if (extent % rows == 0) return true;
    if (rows % extent != 0) return false;
    rows /= extent;
  }
  return true;
}

}  // namespace

bool rows_of_feed(const Program& program, const Contract& core) {
  if (program.buffers[core.a.buffer].region != Region::feed) return false;
  const std::vector<std::int64_t>& row = core.a.map[0].coefficients;
  return core.m > 1 && row.end()[-2] != 0 && (core.k == 1 || row.end()[-1] == 0);
}

bool has_windows(const Contract& core) { return !core.rows.empty() || !core.steps.empty(); }

bool goes_down(const Contract& core) {
  if (core.a.map.empty()) return false;  // one number in all places
  const std::vector<std::int64_t>& last = core.a.map.back().coefficients;
  const auto steps = static_cast<std::ptrdiff_t>(core.step_loops().size());
  return last.end()[-steps - 1] == 1 && last.end()[-1] == 0;
}

bool rows_side_by_side(const Contract& core) { return !has_windows(core) && goes_down(core); }

std::int64_t panel_width(const Schedule& schedule) { return std::int64_t{schedule.lanes} * schedule.tile_vectors; }

std::int64_t panels_of(const Contract& core, const Schedule& schedule) {
  const std::int64_t width = panel_width(schedule);
  return (core.n + width - 1) / width;
}

std::int64_t panels_of_piece(const Contract& core, const Schedule& schedule) {
  const std::int64_t pieces = schedule.shared == Schedule::Shared::panels ? schedule.parallel : 1;
  return (panels_of(core, schedule) + pieces - 1) / pieces;
}

std::int64_t tiles_of_piece(const RowTiles& tiles, const Schedule& schedule) {
  const std::int64_t pieces = schedule.shared == Schedule::Shared::tiles ? schedule.parallel : 1;
  return (tiles.count + pieces - 1) / pieces;
}

DigitsOfA digits_of_a(const Program& program, const Kernel& kernel) {
  const Contract& core = *kernel.core;
  const std::size_t stack = kernel.outer.size() - 2;
  const std::vector<std::int64_t> rows = core.row_loops();
  return {digits(program, core.a, rows, stack), digits(program, core.a, core.step_loops(), stack + rows.size())};
}

/// Where rows are at constant distances only in tiles of certain heights, one of these if it is not much less.
RowTiles row_tiles(const Program& program, const Kernel& kernel) {
  const Contract& core = *kernel.core;
  const std::vector<Digit> digits = digits_of_a(program, kernel).rows;
  std::int64_t most = std::max(1, kernel.schedule.tile_rows);
  RowTiles tiles;
  if (digits.size() > 1) {
    const std::int64_t apart = std::min(most, pointer_rows);
    std::int64_t rows = most;
    while (core.m % rows != 0 || !at_constant_distances(digits, rows)) --rows;
    // Where k is short, computing an address for each row takes longer than a few more tiles.
    const bool enough = core.k <= short_sum && rows * kernel.schedule.tile_vectors >= enough_accumulators;
    tiles.wrap = 4 * rows < 3 * apart && !enough;
    most = tiles.wrap ? apart : rows;
  }
  if (rows_of_feed(program, core)) most = std::min<std::int64_t>(most, pointer_rows_of_feed);
  tiles.count = (core.m + most - 1) / most;
  if (tiles.count == 0) return tiles;
  tiles.rows = core.m / tiles.count;
  tiles.tall = core.m % tiles.count;
  return tiles;
}

}  // namespace nnc
