// How a contraction is cut where it runs: panels of columns, tiles of rows, and the memory that a piece works in. All
// of it follows from the kernel with its schedule, and whoever plans, checks or compiles one asks here.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/program/program.h"

namespace nnc {

/// Whether a's elements lie in windows.
bool has_windows(const Contract& core);
/// Whether a's rows lie side by side and its steps far apart: those of Xᵀ·dZ, of windows or not.
bool goes_down(const Contract& core);
bool rows_side_by_side(const Contract& core);  ///< that, without windows
/// Whether each of a tile's rows is a feed's, anywhere in memory, and how many these are at most: each has a pointer,
/// and large products of a feed go in blocks, whose loops take another register.
bool rows_of_feed(const Program& program, const Contract& core);
constexpr int pointer_rows_of_feed = 11;

/// Columns of a whole panel, and the panels of all columns, the last one perhaps narrower.
std::int64_t panel_width(const Schedule& schedule);
std::int64_t panels_of(const Contract& core, const Schedule& schedule);
std::int64_t panels_of_piece(const Contract& core, const Schedule& schedule);  ///< the most that one thread has

/// One of the loops that an index counts: its steps, and an address's elements between them.
struct Digit {
  std::int64_t extent = 1, step = 0;
};
/// What the rows and the steps of a count, from the outside in, as few loops as possible; a feed's rows, which lie
/// anywhere, are no elements apart.
struct DigitsOfA {
  std::vector<Digit> rows, steps;
};
DigitsOfA digits_of_a(const Program& program, const Kernel& kernel);

/// Tiles of nearly equal height: the first `tall` ones have a row more than the others.
struct RowTiles {
  std::int64_t count = 0, tall = 0;
  std::int64_t rows = 0;  ///< of a tile that is not tall
  bool wrap = false;      ///< rows of a tile are at distances that differ from tile to tile
  std::int64_t tallest() const { return rows + (tall > 0 ? 1 : 0); }
};
RowTiles row_tiles(const Program& program, const Kernel& kernel);
std::int64_t tiles_of_piece(const RowTiles& tiles, const Schedule& schedule);  ///< the most that one thread has

/// What a piece of a contraction in blocks with steps needs of memory of its own, in elements of its operands: one part
/// after the other, each whole lines. Nothing for any other kernel.
struct ContractionWork {
  std::int64_t steps = 0;           ///< of k that a block's tiles take at once: whole runs of the innermost loop of k
  std::int64_t panels_at_once = 0;  ///< that a block's tiles meet for each of its steps
  bool copies_rows = false;         ///< of a: a block's, tile by tile, each step's side by side
  bool copies_panels = false;       ///< of b, whose rows lie far apart
  bool keeps_panels = false;        ///< their copies, for the blocks after the first: those of its own panels
  std::int64_t step_distance = 0;   ///< from a step in a tile's copy to the next one
  std::int64_t tile_distance = 0;   ///< from a tile's copy to the next one's
  std::int64_t panel_distance = 0;  ///< likewise of panels; 0: they are copied one at a time, to the same place
  std::int64_t sums = 0, rows = 0, panels = 0;
  std::int64_t elements() const { return sums + rows + panels; }
};
ContractionWork work_of(const Program& program, const Kernel& kernel);
/// Gives a kernel with its schedule the memory that its pieces work in as a new buffer, if it needs any.
void give_work(Program& program, Kernel& kernel);

}  // namespace nnc
