// What comes after a tile is fetched while the tile's steps run: the fmas leave loads to spare, and what is farther
// away than the second cache is waited for by nobody who asked a tile earlier. A turn of the innermost loop fetches a
// part of what is needed, so that memory is asked evenly.
//
// Fetching changes no value and never fails, so an address may lie behind a buffer's end, by a block's steps at most.
#include <algorithm>

#include "codegen/contraction.h"

namespace nnc {

namespace {

/// Lines that a turn fetches, and a tile at its beginning; more would wait for one another.
constexpr std::int64_t most_lines = 2, most_lines_of_tile = 16;

}  // namespace

/// The most tiles of rows that one thread has.
std::int64_t Contraction::tiles_of_thread() const { return tiles_of_piece(tiles_, kernel_.schedule); }

/// And of columns.
std::int64_t Contraction::panels_of_thread() const { return panels_of_piece(core_, kernel_.schedule); }

/// The tiles of rows that meet a panel one after the other.
std::int64_t Contraction::tiles_at_once() const {
  const std::int64_t block = kernel_.schedule.block_tiles;
  return block > 0 ? std::min(block, tiles_of_thread()) : tiles_of_thread();
}

/// Whether the rows of a tile lie in it one after the other, without a gap.
bool Contraction::lies_in_tiles(const Access& access) const {
  const Layout& layout = emit_.program.buffers[access.buffer].layout;
  if (stacked_ || layout.kind != Layout::Kind::panels || layout.panel != width_) return false;
  const auto is_loop = [](const AffineRow& row, std::size_t loop) {
    return row.offset == 0 && row.divisor == 1 && row.coefficients[loop] == 1 && row.coefficients[1 - loop] == 0;
  };
  return access.map.size() == 2 && is_loop(access.map[0], 0) && is_loop(access.map[1], 1);
}

/// What the stages after the tile write in panels: parameters that they read before, and what belongs to these.
Contraction::Ahead Contraction::results(const Rows& rows, const Columns& columns) {
  if (!kernel_.schedule.fetch_ahead) return {};
  llvm::SmallVector<llvm::Value*, 4> at;
  std::int64_t bytes = 0;
  for (const Stage& stage : kernel_.stages)
    for (const Store& store : stage.stores) {
      if (!stage.inner.empty() || !lies_in_tiles(store.to)) continue;
      const Buffer& buffer = emit_.program.buffers[store.to.buffer];
      llvm::Value* row = emit_.add(emit_.scaled(columns.panel, buffer.dims[0]), rows.m);
      llvm::Type* type = memory_type(emit_.context, buffer.dtype);
      at.push_back(emit_.element(type, emit_.base_of(store.to.buffer), emit_.scaled(row, width_)));
      bytes = std::max(bytes, rows.rows * width_ * static_cast<std::int64_t>(size_of(buffer.dtype)));
    }
  return to_write(at, (bytes + turns_of_tile() - 1) / turns_of_tile());
}

/// Memory that is read and written, so many bytes of it a turn, if turns have time for that.
Contraction::Ahead Contraction::to_write(llvm::ArrayRef<llvm::Value*> at, std::int64_t step) const {
  return {{at.begin(), at.end()}, std::min(most_lines * line_bytes, step)};
}

/// The part of what a block's tiles meet in their next steps that falls to this one.
Contraction::Ahead Contraction::next_block(const Rows& rows, const Columns& columns) {
  Ahead ahead;
  if (!kernel_.schedule.fetch_ahead) return ahead;
  llvm::Value* tile = emit_.ir.CreateSub(rows.tile, tile_begin_);
  llvm::Value* panel = emit_.ir.CreateSub(columns.panel, panel_begin_);
  ahead.part = emit_.add(emit_.scaled(tile, std::min(work_.panels_at_once, panels_of_thread())), panel);
  return ahead;
}

/// Where the run begins that stands in the next block where the one at this distance stands in its own. Of blocks of
/// whole images that is a constant further on, behind the last block too; otherwise it is computed from its number.
llvm::Value* Contraction::distance_of_next(llvm::Value* next, llvm::Value* distance) {
  const std::vector<Digit>& steps = digits_.steps;
  const std::int64_t runs = work_.steps / steps.back().extent;
  if (steps.size() != 3 || runs % steps[1].extent != 0) return distance_of_run(next);
  return emit_.add(distance, emit_.index(runs / steps[1].extent * steps[0].step));
}

/// Of the run of steps that stands in this one's place in the next block: what its last windows meet, the others having
/// been met by the runs before, and its rows of b. In the last block, which nobody follows, that is memory behind the
/// images, or the last run again.
void Contraction::fetch_next_block(llvm::Value* run, llvm::Value* distance, llvm::Value* part) {
  const std::int64_t bytes = static_cast<std::int64_t>(size_of(a_buffer_.dtype)), length = digits_.steps.back().extent;
  const std::int64_t parts = tiles_at_once() * std::min(work_.panels_at_once, panels_of_thread());
  const auto fetch_part = [&](llvm::Value* from, std::int64_t elements) {
    const std::int64_t lines = (elements * bytes + line_bytes - 1) / line_bytes, own = (lines + parts - 1) / parts;
    if (own > length) return;
    from = emit_.byte_offset(from, emit_.scaled(part, own * line_bytes));
    for (std::int64_t line = 0; line < own; ++line)
      fetch_line(emit_.byte_offset(from, emit_.index(line * line_bytes)), false, false);
  };
  llvm::Value* next = emit_.add(run, emit_.index(work_.steps / length));
  next = lesser(emit_, next, emit_.index(core_.k / length - 1));
  llvm::Value* zero = emit_.index(0);
  std::int64_t last = 0;
  for (std::size_t i = 0; i + 1 < digits_.rows.size(); ++i) last += (digits_.rows[i].extent - 1) * digits_.rows[i].step;
  const Digit &rows = digits_.rows.back(), &steps = digits_.steps.back();
  fetch_part(
      emit_.element(element_, address(a_, zero, zero), emit_.add(distance_of_next(next, distance), emit_.index(last))),
      (length - 1) * steps.step + rows.extent * rows.step);
  if (work_.copies_panels) fetch_part(address(b_, emit_.scaled(next, length), zero), length * b_.flat.coefficients[0]);
}

/// Of the rows of b that the next panel copies, or after the last panel those of the next steps: as much of the part
/// that falls to this tile as may wait for memory at once.
void Contraction::fetch_next_copy(const Rows& rows, const Columns& columns, const Steps& steps) {
  if (!kernel_.schedule.fetch_ahead || !work_.copies_rows || !work_.copies_panels) return;
  if (walk_of(b_, 0) == Walk::looked_up) return;
  const std::int64_t tiles = tiles_at_once(), part = (work_.steps + tiles - 1) / tiles;
  const std::int64_t bytes = width_ * static_cast<std::int64_t>(size_of(b_buffer_.dtype));
  llvm::Value* next = emit_.add(columns.panel, emit_.index(1));
  llvm::Value* more = emit_.ir.CreateICmpSLT(next, panel_end_);
  llvm::Value* column = emit_.scaled(emit_.ir.CreateSelect(more, next, panel_begin_), width_);
  llvm::Value* row = emit_.ir.CreateSelect(more, steps.begin, steps.end);
  row = emit_.add(row, emit_.scaled(emit_.ir.CreateSub(rows.tile, tile_begin_), part));
  llvm::Value* from = address(b_, row, column);
  const std::int64_t lines = (bytes + line_bytes - 1) / line_bytes;
  for (std::int64_t i = 0; i < std::min(part, most_lines_of_tile / lines); ++i) {
    for (std::int64_t line = 0; line < bytes; line += line_bytes)
      fetch_line(emit_.byte_offset(from, emit_.index(line)), false, false);
    from = emit_.element(element_, from, emit_.index(b_.flat.coefficients[0]));
  }
}

/// What these rows are so many steps later, where steps are lines apart: it is a line, or a line that the tile before
/// has met and another one.
void Contraction::fetch_rows(llvm::ArrayRef<llvm::Value*> rows) {
  const std::int64_t step = digits_.steps.back().step, bytes = static_cast<std::int64_t>(size_of(a_buffer_.dtype));
  if (kernel_.schedule.fetch_steps == 0 || a_tile_ || walk_of_a() != Walk::together || step * bytes < line_bytes)
    return;
  fetch_line(emit_.element(element_, rows.back(), emit_.index(kernel_.schedule.fetch_steps * step)), false, true);
}

/// A turn's part, at so many bytes; gives those of the next turn.
llvm::Value* Contraction::fetch(const Ahead& ahead, llvm::Value* distance) {
  for (llvm::Value* from : ahead.at)
    for (std::int64_t line = 0; line < ahead.step; line += line_bytes)
      fetch_line(emit_.byte_offset(from, emit_.add(distance, emit_.index(line))), true, true);
  return emit_.add(distance, emit_.index(ahead.step));
}

void Contraction::fetch_line(llvm::Value* at, bool written, bool first_cache) {
  // As LLVM counts: 3 is the first cache, 2 the second.
  emit_.ir.CreateIntrinsic(
      llvm::Intrinsic::prefetch, {at->getType()},
      {at, emit_.ir.getInt32(written ? 1 : 0), emit_.ir.getInt32(first_cache ? 3 : 2), emit_.ir.getInt32(1)});
}

}  // namespace nnc
