// Long sums: all tiles of a block take some steps of k before the next ones, with copies of what they meet again and
// again: of panels of b, and of the block's rows of a where many panels meet them.
#include <algorithm>
#include <array>
#include <cstddef>

#include "codegen/contraction.h"
#include "runtime/abi.h"

namespace nnc {

namespace {

/// Tiles whose rows are copied together, as many as there are left: what one line of memory holds is wanted by several.
constexpr std::array<std::int64_t, 3> tiles_copied_at_once{16, 4, 1};

}  // namespace

/// Long sums, whose operands would fill the first cache and more pages than a processor remembers: all tiles of the
/// block take the first steps of k, then all the next, for several panels of b at a time, so that a is fetched once for
/// them. Between the steps a tile's accumulators lie in work memory, as they are.
///
/// Read where it lies, a stays for a few panels and each of its tiles meets these; copied, it lies close together, and
/// each panel meets all of it.
void Contraction::run_tiles_by_steps() {
  llvm::Value *const scratch = scratch_, *const begin = panel_begin_, *const end = panel_end_;
  llvm::Value* panels = emit_.index(work_.panels_at_once);
  emit_loop(emit_, begin, end, work_.panels_at_once, {}, [&](llvm::Value* first, const Carried&) {
    panel_begin_ = first;
    panel_end_ = lesser(emit_, emit_.add(first, panels), end);
    const auto at_tile = [&](const Rows& rows, const Columns& columns) {
      llvm::Value* tile = emit_.ir.CreateSub(rows.tile, tile_begin_);
      tile = emit_.add(emit_.ir.CreateNSWMul(tile, panels), emit_.ir.CreateSub(columns.panel, first));
      scratch_ = emit_.element(vector_, scratch, emit_.scaled(tile, tile_scratch_));
    };
    const std::int64_t step = work_.steps;
    const bool windows = digits_.steps.size() > 1;
    emit_loop(emit_, emit_.index(0), emit_.index(core_.k), step, {}, [&](llvm::Value* k, const Carried&) {
      const Steps steps{k, lesser(emit_, emit_.add(k, emit_.index(step)), emit_.index(core_.k)), true};
      const auto multiply_tile = [&](const Rows& rows, const Columns& columns) {
        at_tile(rows, columns);
        if (work_.copies_panels) b_panel_ = packed_panel(columns);
        if (work_.copies_rows) a_tile_ = packed_tile(rows.tile);
        packed_ = work_.copies_panels;
        const Ahead ahead =
            windows ? next_block(rows, columns) : next_accumulators(work_.copies_rows ? panels : emit_.index(1));
        fetch_next_copy(rows, columns, steps);
        multiply_and_finish(rows, columns, steps, ahead);
        packed_ = false;
        a_tile_ = nullptr;
      };
      const auto pack_panel = [&](const Columns& columns) {
        if (work_.copies_panels) pack_b(columns, steps);
      };
      if (work_.copies_rows) {
        pack_a(steps);
        each_columns([&](const Columns& columns) {
          pack_panel(columns);
          each_rows([&](const Rows& rows) { multiply_tile(rows, columns); });
        });
      } else {
        each_columns(pack_panel);
        each_rows(
            [&](const Rows& rows) { each_columns([&](const Columns& columns) { multiply_tile(rows, columns); }); });
      }
      return Carried();
    });
    return Carried();
  });
  scratch_ = scratch;
  panel_begin_ = begin;
  panel_end_ = end;
}

/// These steps of a tile. After the last ones the stages have its accumulators as they are; before that, and where the
/// stages are loops, they go to work memory.
void Contraction::multiply_and_finish(const Rows& rows, const Columns& columns, const Steps& steps,
                                      const Ahead& ahead) {
  llvm::Value* last = emit_.ir.CreateICmpEQ(steps.end, emit_.index(core_.k));
  each_height(rows, columns, [&](const Tile& tile) {
    const Carried values = multiply(tile, steps, ahead);
    if (rolled_) return to_scratch(values);
    when(emit_.ir.CreateNot(last), [&] { to_scratch(values); });
    when(last, [&] {
      enter_tile(tile);
      epilogue_unrolled(tile, values);
    });
  });
  if (!rolled_) return;
  when(last, [&] {
    enter_tile({rows.m, columns.n, rows.rows, columns.vectors, columns.last_active});
    epilogue_rolled(rows, columns);
  });
}

/// The accumulators of the tile that comes next, so many tiles on in work memory: whole lines a turn, so that the last
/// of them are there before the tile begins.
Contraction::Ahead Contraction::next_accumulators(llvm::Value* tiles) {
  if (!kernel_.schedule.fetch_ahead) return {};
  const std::int64_t bytes = tile_scratch_ * lanes_ * static_cast<std::int64_t>(size_of(a_buffer_.dtype));
  const std::int64_t turns = std::max<std::int64_t>(1, work_.steps / steps_of_turn({.resume = true}));
  const std::int64_t lines = (bytes + line_bytes - 1) / line_bytes, of_turn = (lines + turns - 1) / turns;
  return to_write(emit_.element(vector_, scratch_, emit_.scaled(tiles, tile_scratch_)), of_turn * line_bytes);
}

/// Blocks whose tiles take all of k at once, so that no accumulators wait: what is copied is all that differs. Panels
/// that are kept are copied for the first block.
void Contraction::run_whole_sums() {
  const Steps all = all_steps();
  const bool copies_b = work_.copies_panels;
  const auto copy_panel = [&](const Columns& columns) {
    if (!work_.keeps_panels) return pack_b(columns, all);
    when(emit_.ir.CreateICmpEQ(tile_begin_, first_tile_), [&] { pack_b(columns, all); });
  };
  if (work_.copies_rows) pack_a(all);
  each_columns([&](const Columns& columns) {
    if (copies_b) copy_panel(columns);
    llvm::Value* panel = copies_b ? packed_panel(columns) : nullptr;
    each_rows([&](const Rows& rows) {
      b_panel_ = panel;
      if (work_.copies_rows) a_tile_ = packed_tile(rows.tile);
      packed_ = copies_b;
      run_tile(rows, columns);
      packed_ = false;
      a_tile_ = nullptr;
    });
  });
}

void Contraction::when(llvm::Value* condition, llvm::function_ref<void()> then) {
  emit_if(emit_, condition, {}, [&] {
    then();
    return Carried();
  });
}

/// This piece's memory from so many elements on.
llvm::Value* Contraction::work(std::int64_t elements) {
  llvm::IRBuilder<>& entry = emit_.entry;
  llvm::Value* thread = emit_.call_member(offsetof(nnc_call, thread), entry.getInt32Ty());
  thread = entry.CreateZExt(thread, entry.getInt64Ty());
  llvm::Value* at = entry.CreateGEP(element_, emit_.base_of(*kernel_.work),
                                    entry.CreateNSWMul(thread, emit_.index(work_.elements())));
  return entry.CreateConstGEP1_64(element_, at, static_cast<std::uint64_t>(elements));
}

/// The memory for a tile's steps.
llvm::Value* Contraction::packed_tile(llvm::Value* tile) {
  if (!packed_a_) packed_a_ = work(work_.sums);
  return emit_.element(element_, packed_a_, emit_.scaled(emit_.ir.CreateSub(tile, tile_begin_), work_.tile_distance));
}

/// Copies the block's rows: those of the tall tiles, then those of the others.
void Contraction::pack_a(const Steps& steps) {
  llvm::Value* tall = emit_.index(tiles_.tall);
  const auto copy = [&](llvm::Value* begin, llvm::Value* end, std::int64_t height) {
    for (const std::int64_t tiles : tiles_copied_at_once) {
      if (tiles > tiles_at_once()) continue;
      llvm::Value* rest = emit_.ir.CreateURem(emit_.ir.CreateSub(end, begin), emit_.index(tiles));
      llvm::Value* whole = emit_.ir.CreateSub(end, rest);
      emit_loop(emit_, begin, whole, tiles, {}, [&](llvm::Value* first, const Carried&) {
        pack_tiles(first, tiles, height, steps);
        return Carried();
      });
      begin = whole;
    }
  };
  llvm::Value* tall_end = lesser(emit_, tile_end_, tall);
  if (tiles_.tall > 0) copy(lesser(emit_, tile_begin_, tall_end), tall_end, tiles_.rows + 1);
  if (tiles_.tall < tiles_.count)
    copy(lesser(emit_, greater(emit_, tile_begin_, tall), tile_end_), tile_end_, tiles_.rows);
}

/// Copies tiles of one height. Whole vectors are written, of which the next step's take back what is too much.
void Contraction::pack_tiles(llvm::Value* first, std::int64_t tiles, std::int64_t height, const Steps& steps) {
  llvm::Value* m = emit_.add(emit_.scaled(first, tiles_.rows), lesser(emit_, first, emit_.index(tiles_.tall)));
  const bool looked_up = walk_of_a() == Walk::looked_up;
  const auto copy = [&](llvm::Value* k, const Carried& now) {
    llvm::Value* from = looked_up ? address(a_, m, k) : now[0];
    for (std::int64_t tile = 0; tile < tiles; ++tile)
      for (std::int64_t row = 0; row < height; row += lanes_) {
        llvm::Value* value = load_rows(emit_.element(element_, from, emit_.index(tile * height + row)), height - row);
        llvm::Value* to = emit_.element(element_, now[1], emit_.index(tile * work_.tile_distance + row));
        emit_.ir.CreateAlignedStore(value, to, element_align());
      }
    return Carried{emit_.element(element_, now[0], emit_.index(digits_.steps[0].step)),
                   emit_.element(element_, now[1], emit_.index(work_.step_distance))};
  };
  emit_loop(emit_, steps.begin, steps.end, 1, {address(a_, m, steps.begin), packed_tile(first)}, copy);
}

/// A vector of a's rows, of which so many are wanted.
llvm::Value* Contraction::load_rows(llvm::Value* at, std::int64_t rows) {
  if (rows >= lanes_) return emit_.ir.CreateAlignedLoad(vector_, at, element_align());
  return emit_.ir.CreateMaskedLoad(vector_, at, element_align(), emit_.mask(lanes_, static_cast<int>(rows)),
                                   llvm::PoisonValue::get(vector_));
}

/// The memory for a panel's steps: a panel's at a time where all of a block meets it, else those of several panels.
llvm::Value* Contraction::packed_panel(const Columns& columns) {
  if (work_.keeps_panels && kernel_.schedule.shared == Schedule::Shared::panels) return kept_panel(columns);
  if (!packed_b_) packed_b_ = work(work_.sums + work_.rows);
  if (work_.panel_distance == 0) return packed_b_;
  llvm::Value* panel = emit_.ir.CreateSub(columns.panel, panel_begin_);
  return emit_.element(vector_, packed_b_, emit_.scaled(panel, work_.panel_distance / lanes_));
}

/// Panels that threads share and keep lie in the memory of the piece that they would be of if each had a thread: a team
/// of fewer threads has more panels for each than a piece has room for, and fewer pieces that use theirs.
llvm::Value* Contraction::kept_panel(const Columns& columns) {
  llvm::Value* each = emit_.index(panels_of_thread());
  llvm::Value* piece = emit_.scaled(emit_.ir.CreateUDiv(columns.panel, each), work_.elements());
  llvm::Value* place = emit_.scaled(emit_.ir.CreateURem(columns.panel, each), work_.panel_distance);
  llvm::Value* at = emit_.add(emit_.add(piece, place), emit_.index(work_.sums + work_.rows));
  return emit_.element(element_, emit_.base_of(*kernel_.work), at);
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
