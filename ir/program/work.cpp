// What a contraction in blocks keeps beside its operands: sums of tiles that wait for their next steps, and copies of
// what tiles meet again and again. It is memory of the arena like any other, so a program needs no more stack than a
// thread of any system has, and says how much memory it needs.
#include <algorithm>

#include "ir/program/contraction.h"

namespace nnc {

namespace {

/// Panels that a block's tiles meet for each of their steps where a is read where it lies.
constexpr std::int64_t panels_of_group = 4;
/// Rows of b that whole sums meet where they lie: of more, a copy spares more than it takes.
constexpr std::int64_t most_rows_in_place = 256;
/// Of a copied step, elements for each one that only fills its last vector.
constexpr std::int64_t elements_for_filling = 7;

/// The steps that a block takes, in whole runs of the innermost of the loops that k counts; where an eighth more at
/// most is whole rounds of the loop around it (an image), these: the next block then begins a constant distance on.
std::int64_t steps_of_block(const Program& program, const Kernel& kernel) {
  const std::vector<Digit> digits = digits_of_a(program, kernel).steps;
  const std::int64_t most = kernel.schedule.block_k, run = digits.back().extent;
  if (digits.size() == 1) return most;
  const std::int64_t round = digits[digits.size() - 2].extent * run, rounds = (most + most / 8) / round;
  return rounds > 0 ? rounds * round : std::max<std::int64_t>(1, most / run) * run;
}

/// Elements from a step of a copied tile to the next one: whole vectors where these are little more, so that none of
/// those that are written crosses a line.
std::int64_t distance_of_steps(std::int64_t rows, int lanes) {
  const std::int64_t whole = (rows + lanes - 1) / lanes * lanes;
  return elements_for_filling * whole <= (elements_for_filling + 1) * rows ? whole : rows;
}

}  // namespace

ContractionWork work_of(const Program& program, const Kernel& kernel) {
  ContractionWork work;
  const Schedule& schedule = kernel.schedule;
  if (!kernel.core || schedule.block_tiles == 0 || schedule.block_k == 0) return work;
  const Contract& core = *kernel.core;
  const Buffer& b = program.buffers[core.b.buffer];
  const std::int64_t line = line_bytes / static_cast<std::int64_t>(size_of(b.dtype));
  const auto whole_lines = [&](std::int64_t elements) { return (elements + line - 1) / line * line; };
  const std::int64_t width = panel_width(schedule);
  const RowTiles tiles = row_tiles(program, kernel);
  const std::int64_t tallest = tiles.tallest();
  work.steps = steps_of_block(program, kernel);
  const bool whole = work.steps >= core.k;
  work.copies_rows = schedule.packed_for > 0 && rows_side_by_side(core);
  work.panels_at_once = work.copies_rows ? schedule.packed_for : panels_of_group;
  if (!whole) work.sums = whole_lines(tallest * width * schedule.block_tiles * work.panels_at_once);
  if (work.copies_rows) work.step_distance = distance_of_steps(tallest, schedule.lanes);
  // A line more, so that tiles are not all in the same sets of the cache, and since the last step's vector may be
  // longer than the tile is high.
  if (work.copies_rows) work.tile_distance = whole_lines(work.steps * work.step_distance) + line;
  work.rows = whole_lines(work.tile_distance * schedule.block_tiles);
  work.copies_panels = b.layout.kind == Layout::Kind::row_major && !(whole && core.k <= most_rows_in_place);
  if (!work.copies_panels) return work;
  const bool one_at_a_time = work.copies_rows || whole;  // for then all of the block meets each
  work.keeps_panels = whole && tiles_of_piece(tiles, schedule) > schedule.block_tiles;
  const std::int64_t kept = panels_of_piece(core, schedule);
  const std::int64_t places = work.keeps_panels ? kept : one_at_a_time ? 1 : work.panels_at_once;
  work.panel_distance = places == 1 ? 0 : work.steps * width;
  work.panels = whole_lines(work.steps * width * places);
  return work;
}

void give_work(Program& program, Kernel& kernel) {
  const std::int64_t elements = work_of(program, kernel).elements();
  if (elements == 0) return;
  Buffer work;
  work.name = "work";
  work.dtype = program.buffers[kernel.core->a.buffer].dtype;
  work.dims = {kernel.schedule.parallel, elements};
  work.layout.strides = {elements, 1};
  work.region = Region::arena;
  work.bytes = static_cast<std::uint64_t>(kernel.schedule.parallel * elements) * size_of(work.dtype);
  kernel.work = static_cast<BufferId>(program.buffers.size());
  program.buffers.push_back(std::move(work));
}

}  // namespace nnc
