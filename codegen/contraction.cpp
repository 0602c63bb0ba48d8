// The tiles of a contraction: their heights and widths, blocks of them, and which thread has which.
#include <algorithm>

#include "codegen/contraction.h"

namespace nnc {

namespace {

/// Instructions that the copies of the stages may take together; a body as short as an SGD update is always copied.
constexpr int unrolled_limit = 128, short_body = 5;

/// The loops of a's map: those that m counts, then those of k.
std::vector<std::int64_t> loops_of_a(const Contract& core) {
  std::vector<std::int64_t> loops = core.row_loops();
  const std::vector<std::int64_t> steps = core.step_loops();
  loops.insert(loops.end(), steps.begin(), steps.end());
  return loops;
}

}  // namespace

Contraction::Contraction(Emitter& emit, const Kernel& kernel)
    : emit_(emit),
      kernel_(kernel),
      core_(*kernel.core),
      work_(work_of(emit.program, kernel)),
      lanes_(kernel.schedule.lanes),
      width_(panel_width(kernel.schedule)),
      stacked_(kernel.outer.size() == 3),
      digits_(digits_of_a(emit.program, kernel)),
      tiles_(row_tiles(emit.program, kernel)),
      a_(form_of(core_.a, loops_of_a(core_), stack_step_a_)),
      b_(form_of(core_.b, {core_.k, core_.n}, stack_step_b_)),
      a_buffer_(emit.program.buffers[core_.a.buffer]),
      b_buffer_(emit.program.buffers[core_.b.buffer]),
      element_(memory_type(emit.context, a_buffer_.dtype)),
      vector_(lanes_type(element_, lanes_)) {
  a_.flat.coefficients = {digits_.rows.back().step, digits_.steps.back().step};
  Nest nest;
  const int m = stacked_ ? 1 : 0, n = m + 1;
  const bool panels_first = kernel.schedule.panels_outside;
  nest.levels = {{panels_first ? n : m}, {panels_first ? m : n}, {n}, {m}};
  if (stacked_) nest.levels.insert(nest.levels.begin(), Nest::Level{0});
  nest.vector_loop = lanes_ > 1 ? n : -1;
  nest.lanes = nest.active = lanes_;
  stages_ = std::make_unique<StageRow>(emit_, kernel_, nest, false);
}

/// An operand's address as a form of the loops that a tile goes along; `step` from one product of a stack to the next.
AccessForm Contraction::form_of(const Access& access, const std::vector<std::int64_t>& loops,
                                std::int64_t& step) const {
  if (!stacked_) return access_form(emit_.program, access, loops);
  std::vector<std::int64_t> all{kernel_.outer[0]};
  all.insert(all.end(), loops.begin(), loops.end());
  AccessForm form = access_form(emit_.program, access, all);
  step = form.flat.coefficients[0];
  form.flat.coefficients.erase(form.flat.coefficients.begin());
  return form;
}

void Contraction::share_work() {
  const bool share_panels = kernel_.schedule.shared == Schedule::Shared::panels;
  const Share share = share_of_thread(emit_, share_panels ? panels() : tiles_.count, kernel_.schedule.parallel);
  tile_begin_ = share_panels ? emit_.index(0) : share.begin;
  tile_end_ = share_panels ? emit_.index(tiles_.count) : share.end;
  panel_begin_ = share_panels ? share.begin : emit_.index(0);
  panel_end_ = share_panels ? share.end : emit_.index(panels());
}

void Contraction::choose_epilogue() {
  int cost = 0;
  for (const auto& stage : stages_->stages) cost += stage->cost();
  bool loops = false;
  for (const Stage& stage : kernel_.stages) loops = loops || !stage.folds.empty() || !stage.inner.empty();
  const std::int64_t copies = tiles_.tallest() * kernel_.schedule.tile_vectors;
  rolled_ = loops || (cost > short_body && cost * copies > unrolled_limit);
  tile_scratch_ = copies;
  if (work_.sums > 0)
    scratch_ = work(0);
  else if (rolled_)
    scratch_ = emit_.scratch(vector_, copies);
}

/// Threads share the products of a stack, or the tiles or panels of each.
void Contraction::run() {
  Share stack{emit_.index(0), emit_.index(products())};
  if (kernel_.schedule.shared == Schedule::Shared::stack) {
    stack = share_of_thread(emit_, products(), kernel_.schedule.parallel);
    tile_begin_ = panel_begin_ = emit_.index(0);
    tile_end_ = emit_.index(tiles_.count);
    panel_end_ = emit_.index(panels());
  } else {
    share_work();
  }
  choose_epilogue();
  stages_->enter(0, nullptr);
  for (auto& stage : stages_->stages) stage->park();
  if (!stacked_) return run_blocks();
  emit_loop(emit_, stack.begin, stack.end, 1, {}, [&](llvm::Value* product, const Carried&) {
    stack_ = product;
    run_blocks();
    return Carried();
  });
}

/// Blocks of a's rows that stay in the cache while all of b passes by.
void Contraction::run_blocks() {
  const int block = kernel_.schedule.block_tiles;
  if (block == 0) return run_tiles();
  llvm::Value *const begin = tile_begin_, *const end = tile_end_;
  first_tile_ = begin;
  emit_loop(emit_, begin, end, block, {}, [&](llvm::Value* first, const Carried&) {
    tile_begin_ = first;
    tile_end_ = lesser(emit_, emit_.add(first, emit_.index(block)), end);
    if (whole_sums())
      run_whole_sums();
    else
      by_steps() ? run_tiles_by_steps() : run_tiles();
    return Carried();
  });
  tile_begin_ = begin;
  tile_end_ = end;
}

void Contraction::run_tiles() {
  if (kernel_.schedule.panels_outside)
    each_columns([&](const Columns& columns) { each_rows([&](const Rows& rows) { run_tile(rows, columns); }); });
  else
    each_rows([&](const Rows& rows) { each_columns([&](const Columns& columns) { run_tile(rows, columns); }); });
}

/// This thread's tiles of columns: whole ones, then the narrower last one.
void Contraction::each_columns(llvm::function_ref<void(const Columns&)> at) {
  const std::int64_t whole = core_.n / width_;
  const int rest = static_cast<int>(core_.n % width_);
  emit_loop(emit_, panel_begin_, lesser(emit_, panel_end_, emit_.index(whole)), 1, {},
            [&](llvm::Value* panel, const Carried&) {
              at({panel, emit_.scaled(panel, width_), kernel_.schedule.tile_vectors, lanes_});
              return Carried();
            });
  if (rest == 0) return;
  emit_if(emit_, emit_.ir.CreateICmpEQ(panel_end_, emit_.index(panels())), {}, [&] {
    const int vectors = (rest + lanes_ - 1) / lanes_;
    at({emit_.index(whole), emit_.index(whole * width_), vectors, rest - (vectors - 1) * lanes_});
    return Carried();
  });
}

/// This thread's tiles of rows. One loop where the code after the micro-kernel takes any height, else one for each.
void Contraction::each_rows(llvm::function_ref<void(const Rows&)> at) {
  llvm::Value* tall = emit_.index(tiles_.tall);
  const auto height = static_cast<int>(tiles_.rows);
  if (rolled_ && tiles_.tall > 0) {
    emit_loop(emit_, tile_begin_, tile_end_, 1, {}, [&](llvm::Value* tile, const Carried&) {
      llvm::Value* m = emit_.add(emit_.scaled(tile, tiles_.rows), lesser(emit_, tile, tall));
      at({tile, m, height, emit_.ir.CreateICmpSLT(tile, tall)});
      return Carried();
    });
    return;
  }
  if (tiles_.tall > 0)
    emit_loop(emit_, tile_begin_, lesser(emit_, tile_end_, tall), 1, {}, [&](llvm::Value* tile, const Carried&) {
      at({tile, emit_.scaled(tile, tiles_.rows + 1), height + 1});
      return Carried();
    });
  if (tiles_.tall == tiles_.count) return;
  emit_loop(emit_, greater(emit_, tile_begin_, tall), tile_end_, 1, {}, [&](llvm::Value* tile, const Carried&) {
    at({tile, emit_.add(emit_.scaled(tile, tiles_.rows), tall), height});
    return Carried();
  });
}

void Contraction::enter_tile(const Tile& tile) {
  const bool panels_first = kernel_.schedule.panels_outside;
  if (stacked_) stages_->enter(1, stack_);
  stages_->enter(level(level_first), panels_first ? tile.n : tile.m);
  stages_->enter(level(level_second), panels_first ? tile.m : tile.n);
}

/// The tile of rows and columns, in each of the heights that it may have when the code runs.
void Contraction::each_height(const Rows& rows, const Columns& columns, llvm::function_ref<void(const Tile&)> at) {
  Tile tile{rows.m, columns.n, rows.rows, columns.vectors, columns.last_active};
  if (!rows.is_tall) return at(tile);
  for (const bool tall : {true, false}) {
    tile.rows = rows.rows + (tall ? 1 : 0);
    emit_if(emit_, tall ? rows.is_tall : emit_.ir.CreateNot(rows.is_tall), {}, [&] {
      at(tile);
      return Carried();
    });
  }
}

void emit_contraction(Emitter& emit, const Kernel& kernel) { Contraction(emit, kernel).run(); }

}  // namespace nnc
