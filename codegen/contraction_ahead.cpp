// What comes after a tile is fetched while the tile's steps run: the fmas leave loads to spare, and what is farther
// away than the second cache is waited for by nobody who asked a tile earlier. A turn of the innermost loop fetches a
// part of what is needed, so that memory is asked evenly.
//
// Fetching changes no value and never fails, so an address may lie a little behind a buffer's end.
#include <algorithm>

#include "codegen/contraction.h"

namespace nnc {

namespace {

/// Lines that a turn fetches; more would wait for one another.
constexpr std::int64_t most_lines = 2;

}  // namespace

/// The most tiles of rows that one thread has.
std::int64_t Contraction::tiles_of_thread() const {
  const std::int64_t pieces = kernel_.schedule.shared == Schedule::Shared::tiles ? kernel_.schedule.parallel : 1;
  return (tiles_ + pieces - 1) / pieces;
}

/// The part of the next panel of b that falls to this tile; after the last panel, of the first: for the next block.
Contraction::Ahead Contraction::next_panel(const Rows& rows, const Columns& columns) {
  const bool in_panels = b_shared() && b_.column && b_.panel == width_;
  std::int64_t tiles = tiles_of_thread();
  if (kernel_.schedule.block_tiles > 0) tiles = std::min<std::int64_t>(tiles, kernel_.schedule.block_tiles);
  if (!kernel_.schedule.fetch_ahead || !kernel_.schedule.panels_outside || !in_panels || tiles < 2) return {};
  const std::int64_t turns = turns_of_tile();
  const std::int64_t bytes = core_.k * width_ * static_cast<std::int64_t>(size_of(b_buffer_.dtype));
  const std::int64_t step = (bytes + tiles * turns - 1) / (tiles * turns);
  if (step > most_lines * line_bytes) return {};
  llvm::Value* next = emit_.add(columns.panel, emit_.index(1));
  next = emit_.ir.CreateSelect(emit_.ir.CreateICmpSLT(next, panel_end_), next, panel_begin_);
  llvm::Value* part = emit_.scaled(emit_.ir.CreateSub(rows.tile, tile_begin_), turns * step);
  return {{emit_.byte_offset(address(b_, emit_.index(0), emit_.scaled(next, width_)), part)}, step};
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
  return to_write(at, bytes, turns_of_tile());
}

/// Memory that is read and written, from its beginning: as much of it as these turns have time for.
Contraction::Ahead Contraction::to_write(llvm::ArrayRef<llvm::Value*> at, std::int64_t bytes,
                                         std::int64_t turns) const {
  const std::int64_t lines = (bytes + line_bytes - 1) / line_bytes;
  return {{at.begin(), at.end()}, std::min(most_lines, (lines + turns - 1) / turns) * line_bytes, true};
}

/// A turn's part, at so many bytes; gives those of the next turn.
llvm::Value* Contraction::fetch(const Ahead& ahead, llvm::Value* distance) {
  // What is written belongs into the first cache, what a whole panel needs into the second.
  // As LLVM counts: 3 is the first cache, 2 the second.
  const unsigned near = ahead.written ? 3 : 2;
  for (llvm::Value* from : ahead.at)
    for (std::int64_t line = 0; line < ahead.step; line += line_bytes) {
      llvm::Value* at = emit_.byte_offset(from, emit_.add(distance, emit_.index(line)));
      emit_.ir.CreateIntrinsic(
          llvm::Intrinsic::prefetch, {at->getType()},
          {at, emit_.ir.getInt32(ahead.written ? 1 : 0), emit_.ir.getInt32(near), emit_.ir.getInt32(1)});
    }
  return emit_.add(distance, emit_.index(ahead.step));
}

}  // namespace nnc
