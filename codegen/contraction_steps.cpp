// Long sums: all tiles of a block take some steps of k before the next ones, with a copy of the panels of b that they
// meet.
#include "codegen/contraction.h"

namespace nnc {

/// Long sums, whose operands would fill the first cache and more pages than a processor remembers: all tiles of the
/// block take the first steps of k, then all the next, for several panels of b at a time, so that a is fetched once for
/// them. Between the steps a tile's accumulators lie in scratch memory, as they are.
void Contraction::run_tiles_by_steps() {
  llvm::Value *const scratch = scratch_, *const begin = panel_begin_, *const end = panel_end_;
  llvm::Value* panels = emit_.index(panels_at_once);
  emit_loop(emit_, begin, end, panels_at_once, {}, [&](llvm::Value* first, const Carried&) {
    panel_begin_ = first;
    panel_end_ = lesser(emit_, emit_.add(first, panels), end);
    const auto at_tile = [&](const Rows& rows, const Columns& columns) {
      llvm::Value* tile = emit_.ir.CreateSub(rows.tile, tile_begin_);
      tile = emit_.add(emit_.ir.CreateNSWMul(tile, panels), emit_.ir.CreateSub(columns.panel, first));
      scratch_ = emit_.element(vector_, scratch, emit_.scaled(tile, tile_scratch_));
    };
    clear(scratch, emit_.scaled(emit_.ir.CreateSub(tile_end_, tile_begin_), tile_scratch_ * panels_at_once));
    const std::int64_t step = steps_of_block();
    emit_loop(emit_, emit_.index(0), emit_.index(core_.k), step, {}, [&](llvm::Value* k, const Carried&) {
      const Steps steps{k, lesser(emit_, emit_.add(k, emit_.index(step)), emit_.index(core_.k)), true};
      if (packs_b()) each_columns([&](const Columns& columns) { pack_b(columns, steps); });
      packed_ = packs_b();
      each_rows([&](const Rows& rows) {
        each_columns([&](const Columns& columns) {
          at_tile(rows, columns);
          if (packed_) b_panel_ = packed_panel(columns);
          each_height(rows, columns, [&](const Tile& tile) { to_scratch(multiply(tile, steps)); });
        });
      });
      packed_ = false;
      return Carried();
    });
    each_columns([&](const Columns& columns) {
      each_rows([&](const Rows& rows) {
        at_tile(rows, columns);
        const Tile tile{rows.m, columns.n, rows.rows, columns.vectors, columns.last_active};
        enter_tile(tile);
        rolled_ ? epilogue_rolled(rows, columns) : epilogue_unrolled(tile, from_scratch(tile));
      });
    });
    return Carried();
  });
  scratch_ = scratch;
  panel_begin_ = begin;
  panel_end_ = end;
}

/// Sets so many vectors to 0.
void Contraction::clear(llvm::Value* at, llvm::Value* vectors) {
  emit_loop(emit_, emit_.index(0), vectors, 1, {}, [&](llvm::Value* i, const Carried&) {
    emit_.ir.CreateAlignedStore(llvm::Constant::getNullValue(vector_), emit_.element(vector_, at, i),
                                scratch_align(vector_));
    return Carried();
  });
}

/// Steps of k that a block's tiles take at once.
std::int64_t Contraction::steps_of_block() const {
  const std::int64_t steps = kernel_.schedule.block_k, run = steps_of_a_.back().extent;
  return steps_of_a_.size() == 1 ? steps : std::max<std::int64_t>(1, steps / run) * run;
}

/// Rows of b that lie far apart are in as many pages as there are steps: a block's tiles read a copy of them.
bool Contraction::packs_b() const { return b_contiguous() && !b_.column && !b_.row; }

/// The memory for a panel's steps.
llvm::Value* Contraction::packed_panel(const Columns& columns) {
  const std::int64_t vectors = steps_of_block() * kernel_.schedule.tile_vectors;
  if (!packed_b_) packed_b_ = emit_.scratch(vector_, vectors * panels_at_once);
  llvm::Value* panel = emit_.ir.CreateSub(columns.panel, panel_begin_);
  return emit_.element(vector_, packed_b_, emit_.scaled(panel, vectors));
}

void Contraction::pack_b(const Columns& columns, const Steps& steps) {
  const Tile tile{nullptr, columns.n, 0, columns.vectors, columns.last_active};
  const Carried from{address(b_, steps.begin, columns.n), packed_panel(columns)};
  emit_loop(emit_, steps.begin, steps.end, 1, from, [&](llvm::Value*, const Carried& now) {
    for (int j = 0; j < columns.vectors; ++j) {
      llvm::Value* distance = emit_.index(std::int64_t{j} * lanes_);
      llvm::Value* value = load_b(emit_.element(element_, now[0], distance), j + 1 == columns.vectors, tile);
      emit_.ir.CreateAlignedStore(value, emit_.element(element_, now[1], distance), scratch_align(vector_));
    }
    return Carried{emit_.element(element_, now[0], emit_.index(b_.flat.coefficients[0])),
                   emit_.element(element_, now[1], emit_.index(width_))};
  });
}

}  // namespace nnc
