// Contractions by register tiles: MR rows by NR vectors of accumulators live in registers while k runs, one fma an
// element and a step. All three forms (X·W, dZ·Wᵀ, Xᵀ·dZ) are this code with other maps of a and b.
//
// Where a's elements lie in windows of an image (a convolution), rows of a tile are at distances of their own:
// addresses of rows are computed once a tile, and k is a nest of loops through which the accumulators are carried; b
// goes on from step to step.
//
// M is split evenly, so there are at most two heights of tiles; N into tiles of NR vectors and a narrower last one.
// Each combination is a micro-kernel followed by the stages after the contraction: a few instructions go straight to
// the accumulators; longer bodies run as a loop over the tile stored in scratch memory, or they would be copied MR·NR
// times.
#include <algorithm>

#include "codegen/kernel.h"

namespace nnc {

namespace {

/// Instructions that the copies of the stages may take together; a body as short as an SGD update is always copied.
constexpr int unrolled_limit = 64, short_body = 5;
/// The most steps of a short sum; accumulators that keep the fma units busy.
constexpr std::int64_t short_sum = 64, enough_accumulators = 8;
/// Fmas of a tile's steps that are written out rather than a loop.
constexpr std::int64_t most_fmas_written_out = 96;
/// Rows with a pointer each; more would not stay in the general registers.
constexpr int pointer_rows = 12;
/// Panels of b that a block's tiles meet for each of its steps of k.
constexpr std::int64_t panels_at_once = 4;

/// The loops of a's map: those that m counts, then those of k.
std::vector<std::int64_t> loops_of_a(const Contract& core) {
  std::vector<std::int64_t> loops = core.row_loops();
  const std::vector<std::int64_t> steps = core.step_loops();
  loops.insert(loops.end(), steps.begin(), steps.end());
  return loops;
}

class Contraction {
 public:
  Contraction(Emitter& emit, const Kernel& kernel);
  void run();

 private:
  /// A tile of columns: its vectors, and how many lanes of the last one exist.
  struct Columns {
    llvm::Value* panel = nullptr;  ///< its number
    llvm::Value* n = nullptr;      ///< the first
    int vectors = 0, last_active = 0;
  };
  /// A tile of rows. Where `is_tall` is set, it decides between `rows` + 1 and `rows` when the code runs.
  struct Rows {
    llvm::Value* tile = nullptr;  ///< its number
    llvm::Value* m = nullptr;     ///< the first
    int rows = 0;
    llvm::Value* is_tall = nullptr;
  };
  /// A micro-kernel's place and size.
  struct Tile {
    llvm::Value* m = nullptr;
    llvm::Value* n = nullptr;
    int rows = 0, vectors = 0, last_active = 0;
  };
  /// How a's or b's elements are reached while k runs.
  enum class Walk {
    together,  ///< one pointer that steps with k, elements at constant distances
    apart,     ///< a pointer each that steps with k
    looked_up  ///< addresses computed at each k
  };
  /// One of the loops that m or k counts for a: its steps, and a's elements between them.
  struct Digit {
    std::int64_t extent = 1, step = 0;
  };
  /// Of the loops around a tile's elements; in a stack of products its loop is level 1, and these are one further.
  enum Level { level_first = 1, level_second = 2, level_vector = 3, level_row = 4 };
  bool by_steps() const { return kernel_.schedule.block_tiles > 0 && kernel_.schedule.block_k > 0; }
  int level(Level which) const { return which + (stacked_ ? 1 : 0); }

  AccessForm form_of(const Access& access, const std::vector<std::int64_t>& loops, std::int64_t& step) const;
  void find_digits();
  bool at_constant_distances(std::int64_t rows) const;
  std::int64_t distance(std::int64_t row) const;
  void split();
  void share_work();
  void run_blocks();
  void run_tiles();
  void choose_epilogue();
  void each_columns(llvm::function_ref<void(const Columns&)> at);
  void each_rows(llvm::function_ref<void(const Rows&)> at);
  void run_tiles_by_steps();
  bool packs_b() const;
  llvm::Value* packed_panel(const Columns& columns);
  void clear(llvm::Value* at, llvm::Value* vectors);
  void run_tile(const Rows& rows, const Columns& columns);
  void enter_tile(const Tile& tile);
  void each_height(const Rows& rows, const Columns& columns, llvm::function_ref<void(const Tile&)> at);
  /// Steps of k, and whether the accumulators begin with what scratch memory holds rather than with 0. Where k counts
  /// several loops, whole runs of the innermost one.
  struct Steps {
    llvm::Value* begin = nullptr;
    llvm::Value* end = nullptr;
    bool resume = false;
  };
  std::int64_t steps_of_block() const;
  void pack_b(const Columns& columns, const Steps& steps);
  /// Whether so many steps of k are written out rather than a loop.
  bool few_fmas(const Tile& tile, std::int64_t steps) const {
    return steps * tile.rows * tile.vectors <= most_fmas_written_out;
  }
  Carried multiply(const Tile& tile, const Steps& steps);
  Carried row_addresses(const Tile& tile);
  llvm::Value* distance_of_run(llvm::Value* run);
  /// Rows begin at their addresses; `before` is the number of the step that the loop counts as 0.
  Carried innermost(const Tile& tile, const Carried& rows, llvm::Value* before, const Steps& steps,
                    const Carried& carried);
  Carried from_scratch(const Tile& tile);
  void to_scratch(const Carried& values);
  Walk walk_of(const AccessForm& form, int k_loop) const;
  Walk walk_of_a() const;
  bool b_shared() const;
  llvm::Value* address(const AccessForm& form, llvm::Value* first, llvm::Value* second);
  llvm::Value* load_b(llvm::Value* at, bool last, const Tile& tile);
  llvm::Value* gather_b(const Tile& tile, llvm::Value* k, int vector);
  bool b_contiguous() const;
  bool b_whole_vectors() const;
  void epilogue_unrolled(const Tile& tile, const Carried& values);
  void epilogue_rolled(const Rows& rows, const Columns& columns);
  void enter_vector(llvm::Value* vector, int active);
  void run_stages(llvm::Value* row, llvm::Value* value);
  int active_of(const Tile& tile, int vector) const { return vector + 1 == tile.vectors ? tile.last_active : lanes_; }

  Emitter& emit_;
  const Kernel& kernel_;
  const Contract& core_;
  int lanes_;
  std::int64_t width_;                                ///< columns of a whole tile
  bool stacked_;                                      ///< many products, one after the other
  std::int64_t stack_step_a_ = 0, stack_step_b_ = 0;  ///< elements from one to the next
  llvm::Value* stack_ = nullptr;                      ///< which of them
  std::vector<Digit> rows_of_a_, steps_of_a_;         ///< outermost first; neighbours that are one loop are one
  bool tiles_wrap_ = false;                           ///< rows of a tile are at distances that differ from tile to tile
  AccessForm a_, b_;                                  ///< over two loops; of a, with several digits, the offset alone
  const Buffer& a_buffer_;
  const Buffer& b_buffer_;
  llvm::Type* element_;
  llvm::Type* vector_;

  std::int64_t tiles_ = 0, tall_ = 0, rows_ = 0;  ///< tiles of rows: the first `tall_` have rows_ + 1, the rest rows_
  llvm::Value* tile_begin_ = nullptr;             ///< this thread's tiles of rows
  llvm::Value* tile_end_ = nullptr;
  llvm::Value* panel_begin_ = nullptr;  ///< and of columns
  llvm::Value* panel_end_ = nullptr;
  llvm::Value* scratch_ = nullptr;
  std::int64_t tile_scratch_ = 0;    ///< vectors of a tile in it
  llvm::Value* packed_b_ = nullptr;  ///< a block's steps of b for several panels, one after the other
  llvm::Value* b_panel_ = nullptr;   ///< those of the panel at hand
  bool packed_ = false;              ///< whether b is read there
  bool rolled_ = false;
  std::unique_ptr<StageRow> stages_;
};

Contraction::Contraction(Emitter& emit, const Kernel& kernel)
    : emit_(emit),
      kernel_(kernel),
      core_(*kernel.core),
      lanes_(kernel.schedule.lanes),
      width_(std::int64_t{kernel.schedule.lanes} * kernel.schedule.tile_vectors),
      stacked_(kernel.outer.size() == 3),
      a_(form_of(core_.a, loops_of_a(core_), stack_step_a_)),
      b_(form_of(core_.b, {core_.k, core_.n}, stack_step_b_)),
      a_buffer_(emit.program.buffers[core_.a.buffer]),
      b_buffer_(emit.program.buffers[core_.b.buffer]),
      element_(memory_type(emit.context, a_buffer_.dtype)),
      vector_(lanes_type(element_, lanes_)) {
  find_digits();
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

/// What m and k count, as few loops as possible; with one each, the access is over the two of them.
void Contraction::find_digits() {
  const auto digits = [&](const std::vector<std::int64_t>& loops, std::size_t first) {
    std::vector<Digit> made;
    for (std::size_t i = 0; i < loops.size(); ++i) {
      const Digit digit{loops[i], a_.flat.coefficients[first + i]};
      if (digit.extent == 1 && loops.size() > 1) continue;
      if (!made.empty() && made.back().step == digit.step * digit.extent)
        made.back() = {made.back().extent * digit.extent, digit.step};
      else
        made.push_back(digit);
    }
    if (made.empty()) made.push_back({});
    return made;
  };
  const std::vector<std::int64_t> rows = core_.row_loops();
  rows_of_a_ = digits(rows, 0);
  steps_of_a_ = digits(core_.step_loops(), rows.size());
  a_.flat.coefficients = {rows_of_a_.back().step, steps_of_a_.back().step};
}

/// Whether the rows of every tile of so many are at the same distances: no tile wraps round where another one does not.
bool Contraction::at_constant_distances(std::int64_t rows) const {
  for (std::size_t i = rows_of_a_.size(); i-- > 1;) {
    const std::int64_t extent = rows_of_a_[i].extent;
    if (extent % rows == 0) return true;
    if (rows % extent != 0) return false;
    rows /= extent;
  }
  return true;
}

/// Elements of a from the first row to row number `row`.
std::int64_t Contraction::distance(std::int64_t row) const {
  std::int64_t elements = 0;
  for (std::size_t i = rows_of_a_.size(); i-- > 0;) {
    const std::int64_t extent = i == 0 ? core_.m : rows_of_a_[i].extent;
    elements += row % extent * rows_of_a_[i].step;
    row /= extent;
  }
  return elements;
}

/// Tiles of nearly equal height. Where rows are at constant distances only in tiles of certain heights, one of these if
/// it is not much less.
void Contraction::split() {
  std::int64_t most = std::max(1, kernel_.schedule.tile_rows);
  if (rows_of_a_.size() > 1) {
    const std::int64_t apart = std::min<std::int64_t>(most, pointer_rows);
    std::int64_t rows = most;
    while (core_.m % rows != 0 || !at_constant_distances(rows)) --rows;
    // Where k is short, computing an address for each row takes longer than a few more tiles.
    const bool enough = core_.k <= short_sum && rows * kernel_.schedule.tile_vectors >= enough_accumulators;
    tiles_wrap_ = 4 * rows < 3 * apart && !enough;
    most = tiles_wrap_ ? apart : rows;
  }
  if (walk_of_a() == Walk::apart) most = std::min<std::int64_t>(most, pointer_rows);
  tiles_ = (core_.m + most - 1) / most;
  if (tiles_ == 0) return;
  rows_ = core_.m / tiles_;
  tall_ = core_.m % tiles_;
}

/// Threads share the outside loop if it has several steps for each, else whichever has more.
void Contraction::share_work() {
  const std::int64_t panels = (core_.n + width_ - 1) / width_, pieces = kernel_.schedule.parallel;
  const bool outside_panels = kernel_.schedule.panels_outside;
  const std::int64_t outside = outside_panels ? panels : tiles_, inside = outside_panels ? tiles_ : panels;
  const bool share_outside = outside >= 4 * pieces || outside >= inside;
  const bool share_panels = share_outside == outside_panels;
  const Share share = share_of_thread(emit_, share_panels ? panels : tiles_, pieces);
  tile_begin_ = share_panels ? emit_.index(0) : share.begin;
  tile_end_ = share_panels ? emit_.index(tiles_) : share.end;
  panel_begin_ = share_panels ? share.begin : emit_.index(0);
  panel_end_ = share_panels ? share.end : emit_.index(panels);
}

void Contraction::choose_epilogue() {
  int cost = 0;
  for (const auto& stage : stages_->stages) cost += stage->cost();
  bool loops = false;
  for (const Stage& stage : kernel_.stages) loops = loops || !stage.folds.empty() || !stage.inner.empty();
  const std::int64_t copies = (rows_ + (tall_ > 0)) * kernel_.schedule.tile_vectors;
  rolled_ = loops || (cost > short_body && cost * copies > unrolled_limit);
  tile_scratch_ = copies;
  if (by_steps())
    scratch_ = emit_.scratch(vector_, copies * kernel_.schedule.block_tiles * panels_at_once);
  else if (rolled_)
    scratch_ = emit_.scratch(vector_, copies);
}

/// Threads share the products of a stack where there are enough, else the tiles of each.
void Contraction::run() {
  split();
  const std::int64_t products = stacked_ ? kernel_.outer[0] : 1, pieces = kernel_.schedule.parallel;
  Share stack{emit_.index(0), emit_.index(products)};
  if (products > 1 && products >= pieces) {
    stack = share_of_thread(emit_, products, pieces);
    tile_begin_ = panel_begin_ = emit_.index(0);
    tile_end_ = emit_.index(tiles_);
    panel_end_ = emit_.index((core_.n + width_ - 1) / width_);
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
  emit_loop(emit_, begin, end, block, {}, [&](llvm::Value* first, const Carried&) {
    tile_begin_ = first;
    tile_end_ = lesser(emit_, emit_.add(first, emit_.index(block)), end);
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
  const std::int64_t whole = core_.n / width_, panels = (core_.n + width_ - 1) / width_;
  const int rest = static_cast<int>(core_.n % width_);
  emit_loop(emit_, panel_begin_, lesser(emit_, panel_end_, emit_.index(whole)), 1, {},
            [&](llvm::Value* panel, const Carried&) {
              at({panel, emit_.scaled(panel, width_), kernel_.schedule.tile_vectors, lanes_});
              return Carried();
            });
  if (rest == 0) return;
  emit_if(emit_, emit_.ir.CreateICmpEQ(panel_end_, emit_.index(panels)), {}, [&] {
    const int vectors = (rest + lanes_ - 1) / lanes_;
    at({emit_.index(whole), emit_.index(whole * width_), vectors, rest - (vectors - 1) * lanes_});
    return Carried();
  });
}

/// This thread's tiles of rows. One loop where the code after the micro-kernel takes any height, else one for each.
void Contraction::each_rows(llvm::function_ref<void(const Rows&)> at) {
  llvm::Value* tall = emit_.index(tall_);
  const auto height = static_cast<int>(rows_);
  if (rolled_ && tall_ > 0) {
    emit_loop(emit_, tile_begin_, tile_end_, 1, {}, [&](llvm::Value* tile, const Carried&) {
      llvm::Value* m = emit_.add(emit_.scaled(tile, rows_), lesser(emit_, tile, tall));
      at({tile, m, height, emit_.ir.CreateICmpSLT(tile, tall)});
      return Carried();
    });
    return;
  }
  if (tall_ > 0)
    emit_loop(emit_, tile_begin_, lesser(emit_, tile_end_, tall), 1, {}, [&](llvm::Value* tile, const Carried&) {
      at({tile, emit_.scaled(tile, rows_ + 1), height + 1});
      return Carried();
    });
  if (tall_ == tiles_) return;
  llvm::Value* first = emit_.ir.CreateSelect(emit_.ir.CreateICmpSLT(tile_begin_, tall), tall, tile_begin_);
  emit_loop(emit_, first, tile_end_, 1, {}, [&](llvm::Value* tile, const Carried&) {
    at({tile, emit_.add(emit_.scaled(tile, rows_), tall), height});
    return Carried();
  });
}

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

void Contraction::run_tile(const Rows& rows, const Columns& columns) {
  const Steps all{emit_.index(0), emit_.index(core_.k)};
  const Tile tile{rows.m, columns.n, rows.rows, columns.vectors, columns.last_active};
  if (!rolled_) {
    const Carried values = multiply(tile, all);
    enter_tile(tile);
    return epilogue_unrolled(tile, values);
  }
  each_height(rows, columns, [&](const Tile& high) { to_scratch(multiply(high, all)); });
  enter_tile(tile);
  epilogue_rolled(rows, columns);
}

// ---- the innermost loop

/// `k_loop` is the number of k among the access's two loops.
Contraction::Walk Contraction::walk_of(const AccessForm& form, int k_loop) const {
  const auto bent = [&](int loop) {
    return (form.row && form.row->depends(loop)) || (form.column && form.column->depends(loop));
  };
  if (bent(k_loop)) return Walk::looked_up;
  return bent(1 - k_loop) ? Walk::apart : Walk::together;
}

/// Address of an element from the two indices of its access.
llvm::Value* Contraction::address(const AccessForm& form, llvm::Value* first, llvm::Value* second) {
  const Buffer& buffer = emit_.program.buffers[form.buffer];
  llvm::Type* type = memory_type(emit_.context, buffer.dtype);
  const auto value = [&](const Affine& affine) {
    llvm::Value* sum = emit_.index(affine.offset);
    if (affine.coefficients[0] != 0) sum = emit_.add(sum, emit_.scaled(first, affine.coefficients[0]));
    if (affine.coefficients[1] != 0) sum = emit_.add(sum, emit_.scaled(second, affine.coefficients[1]));
    return sum;
  };
  llvm::Value* at = emit_.element(type, emit_.base_of(form.buffer), value(form.flat));
  if (stacked_) at = emit_.element(type, at, emit_.scaled(stack_, &form == &a_ ? stack_step_a_ : stack_step_b_));
  if (form.row) {
    llvm::Type* u32 = emit_.ir.getInt32Ty();
    llvm::Value* row = emit_.ir.CreateLoad(u32, emit_.element(u32, emit_.feed_order(form.buffer), value(*form.row)));
    at = emit_.byte_offset(
        at, emit_.ir.CreateMul(emit_.ir.CreateZExt(row, emit_.ir.getInt64Ty()), emit_.feed_row_stride(form.buffer)));
  }
  if (form.column) {
    llvm::Value* column = value(*form.column);
    llvm::Value* panel = emit_.index(form.panel);
    llvm::Value* first_of_panel = emit_.scaled(emit_.ir.CreateUDiv(column, panel), form.panel_rows * form.panel);
    at = emit_.element(type, at, emit_.add(first_of_panel, emit_.ir.CreateURem(column, panel)));
  }
  return at;
}

/// Whether the columns of a vector of b lie side by side.
bool Contraction::b_contiguous() const {
  if (b_.row && b_.row->depends(1)) return false;
  if (!b_.column || !b_.column->depends(1)) return b_.flat.coefficients[1] == 1 || core_.n == 1;
  return b_.flat.coefficients[1] == 0 && b_.column->coefficients[1] == 1 && b_.column->offset % lanes_ == 0 &&
         b_.panel % lanes_ == 0 && !b_.column->depends(0);
}

/// Whether the last vector of b may be loaded whole.
bool Contraction::b_whole_vectors() const {
  if (b_.column) return true;
  const std::int64_t whole = (core_.n + lanes_ - 1) / lanes_ * lanes_, stride = b_.flat.coefficients[0];
  const auto bytes = static_cast<std::uint64_t>((core_.k - 1) * stride + whole) * size_of(b_buffer_.dtype);
  return b_buffer_.padded_rows && !b_.row && b_.flat.offset == 0 && stride >= whole && b_buffer_.bytes >= bytes;
}

llvm::Value* Contraction::load_b(llvm::Value* at, bool last, const Tile& tile) {
  if (packed_) return emit_.ir.CreateAlignedLoad(vector_, at, scratch_align(vector_));
  const llvm::Align align(size_of(b_buffer_.dtype));
  if (!last || tile.last_active == lanes_ || b_whole_vectors()) return emit_.ir.CreateAlignedLoad(vector_, at, align);
  return emit_.ir.CreateMaskedLoad(vector_, at, align, emit_.mask(lanes_, tile.last_active),
                                   llvm::Constant::getNullValue(vector_));
}

llvm::Value* Contraction::gather_b(const Tile& tile, llvm::Value* k, int vector) {
  llvm::Value* value = llvm::Constant::getNullValue(vector_);
  for (int lane = 0; lane < active_of(tile, vector); ++lane) {
    llvm::Value* n = emit_.add(tile.n, emit_.index(std::int64_t{vector} * lanes_ + lane));
    llvm::Value* element = emit_.ir.CreateLoad(element_, address(b_, k, n));
    value = lanes_ == 1 ? element : emit_.ir.CreateInsertElement(value, element, static_cast<std::uint64_t>(lane));
  }
  return value;
}

Contraction::Walk Contraction::walk_of_a() const { return tiles_wrap_ ? Walk::apart : walk_of(a_, 1); }

/// Whether the vectors of a tile are at constant distances: of one panel, or of a row.
bool Contraction::b_shared() const {
  const Walk walk = walk_of(b_, 0);
  const bool one_panel = walk == Walk::apart && b_.panel % width_ == 0 && b_.column->offset == 0;
  return b_contiguous() && (one_panel || (walk == Walk::together && !b_.column));
}

/// Where the rows of a tile begin: the first one, or each one where they are apart. Each is the one before and a step,
/// and one more wherever a loop begins anew.
Carried Contraction::row_addresses(const Tile& tile) {
  const Walk walk = walk_of_a();
  llvm::Value* zero = emit_.index(0);
  if (walk == Walk::looked_up) return {};
  if (rows_of_a_.size() == 1) {
    Carried rows{address(a_, tile.m, zero)};
    for (int i = 1; walk == Walk::apart && i < tile.rows; ++i)
      rows.push_back(address(a_, emit_.add(tile.m, emit_.index(i)), zero));
    return rows;
  }
  llvm::SmallVector<llvm::Value*, 4> digits(rows_of_a_.size());
  llvm::Value* left = tile.m;
  llvm::Value* at = address(a_, zero, zero);
  for (std::size_t i = rows_of_a_.size(); i-- > 0;) {
    llvm::Value* extent = emit_.index(rows_of_a_[i].extent);
    digits[i] = i == 0 ? left : emit_.ir.CreateURem(left, extent);
    left = emit_.ir.CreateUDiv(left, extent);
    at = emit_.element(element_, at, emit_.scaled(digits[i], rows_of_a_[i].step));
  }
  Carried rows{at};
  for (int row = 1; walk == Walk::apart && row < tile.rows; ++row) {
    llvm::Value* step = emit_.index(rows_of_a_.back().step);
    llvm::Value* begins = nullptr;  // whether the loop inside begins anew
    for (std::size_t i = rows_of_a_.size(); i-- > 0;) {
      llvm::Value* next =
          emit_.add(digits[i], begins ? emit_.ir.CreateZExt(begins, emit_.ir.getInt64Ty()) : emit_.index(1));
      if (begins) {
        const Digit& inside = rows_of_a_[i + 1];
        llvm::Value* onward = emit_.index(rows_of_a_[i].step - inside.extent * inside.step);
        step = emit_.add(step, emit_.ir.CreateSelect(begins, onward, zero));
      }
      if (i == 0) break;
      begins = emit_.ir.CreateICmpEQ(next, emit_.index(rows_of_a_[i].extent));
      digits[i] = emit_.ir.CreateSelect(begins, zero, next);
    }
    rows.push_back(emit_.element(element_, rows.back(), step));
  }
  return rows;
}

/// Elements of a from the first step to the innermost loop's run number `run`.
llvm::Value* Contraction::distance_of_run(llvm::Value* run) {
  llvm::Value* sum = emit_.index(0);
  for (std::size_t i = steps_of_a_.size() - 1; i-- > 0;) {
    llvm::Value* extent = emit_.index(steps_of_a_[i].extent);
    llvm::Value* index = i == 0 ? run : emit_.ir.CreateURem(run, extent);
    if (i > 0) run = emit_.ir.CreateUDiv(run, extent);
    sum = emit_.add(sum, emit_.scaled(index, steps_of_a_[i].step));
  }
  return sum;
}

/// Steps of k that a block's tiles take at once.
std::int64_t Contraction::steps_of_block() const {
  const std::int64_t steps = kernel_.schedule.block_k, run = steps_of_a_.back().extent;
  return steps_of_a_.size() == 1 ? steps : std::max<std::int64_t>(1, steps / run) * run;
}

/// The accumulators of a tile, row by row, after these steps of k.
Carried Contraction::multiply(const Tile& tile, const Steps& steps) {
  const bool contiguous = b_contiguous();
  const auto column = [&](int j) { return emit_.add(tile.n, emit_.index(std::int64_t{j} * lanes_)); };
  Carried carried;  // pointers to b, then the accumulators
  const int pointers = !contiguous || walk_of(b_, 0) == Walk::looked_up ? 0 : b_shared() ? 1 : tile.vectors;
  for (int j = 0; j < pointers; ++j) carried.push_back(packed_ ? b_panel_ : address(b_, steps.begin, column(j)));
  const Carried zeros(static_cast<unsigned>(tile.rows * tile.vectors), llvm::Constant::getNullValue(vector_));
  carried.append(steps.resume ? from_scratch(tile) : zeros);
  const Carried rows = row_addresses(tile);
  Carried after;
  if (steps_of_a_.size() == 1) {
    after = innermost(tile, rows, emit_.index(0), steps, carried);
  } else {
    llvm::Value* length = emit_.index(steps_of_a_.back().extent);
    const Steps run{emit_.index(0), length};
    const auto at_run = [&](llvm::Value* number, const Carried& now) {
      llvm::Value* distance = distance_of_run(number);
      Carried here;
      for (llvm::Value* row : rows) here.push_back(emit_.element(element_, row, distance));
      return innermost(tile, here, emit_.ir.CreateMul(number, length), run, now);
    };
    if (!steps.resume && few_fmas(tile, core_.k))
      after = write_out(emit_, 0, core_.k / steps_of_a_.back().extent, 1, carried, at_run);
    else
      after = emit_loop(emit_, emit_.ir.CreateUDiv(steps.begin, length), emit_.ir.CreateUDiv(steps.end, length), 1,
                        carried, at_run);
  }
  return Carried(after.begin() + pointers, after.end());
}

/// The innermost loop, a step of which is the tile's fmas.
Carried Contraction::innermost(const Tile& tile, const Carried& rows, llvm::Value* before, const Steps& steps,
                               const Carried& carried) {
  const Walk walk_a = walk_of_a(), walk_b = walk_of(b_, 0);
  const bool contiguous = b_contiguous(), shared = b_shared();
  // Rows apart share one index, so that each takes one register only; rows together share one pointer.
  const std::size_t pointers_a = walk_a == Walk::together ? 1 : 0;
  const std::size_t pointers = pointers_a + carried.size() - static_cast<std::size_t>(tile.rows * tile.vectors);
  const std::int64_t step_a = steps_of_a_.back().step, step_b = packed_ ? width_ : b_.flat.coefficients[0];
  Carried initial;
  if (pointers_a == 1) initial.push_back(emit_.element(element_, rows[0], emit_.scaled(steps.begin, step_a)));
  initial.append(carried.begin(), carried.end());
  const auto step = [&](llvm::Value* inner, const Carried& now) {
    llvm::Value* k = emit_.add(before, inner);
    Carried next(now);
    llvm::SmallVector<llvm::Value*, 8> b;
    llvm::Value* b_row = contiguous && walk_b == Walk::looked_up ? address(b_, k, tile.n) : nullptr;
    for (int j = 0; j < tile.vectors; ++j) {
      const bool last = j + 1 == tile.vectors;
      llvm::Value* distance = emit_.index(std::int64_t{j} * lanes_);
      if (!contiguous)
        b.push_back(gather_b(tile, k, j));
      else if (b_row)
        b.push_back(load_b(emit_.element(element_, b_row, distance), last, tile));
      else if (shared)
        b.push_back(load_b(emit_.element(element_, now[pointers_a], distance), last, tile));
      else
        b.push_back(load_b(now[pointers_a + static_cast<std::size_t>(j)], last, tile));
    }
    llvm::Value* a_first = walk_a == Walk::together ? now[0] : nullptr;
    // A row of a feed at this k: one look-up, its elements at constant distances.
    const bool one_lookup = walk_a == Walk::looked_up && !(a_.row && a_.row->depends(0)) && !a_.column;
    if (one_lookup) a_first = address(a_, tile.m, k);
    for (int i = 0; i < tile.rows; ++i) {
      llvm::Value* at = nullptr;
      if (a_first)
        at = emit_.element(element_, a_first, emit_.index(distance(i)));
      else if (walk_a == Walk::apart)
        at = emit_.element(element_, rows[static_cast<unsigned>(i)], emit_.scaled(inner, step_a));
      else
        at = address(a_, emit_.add(tile.m, emit_.index(i)), k);
      llvm::Value* broadcast = emit_.splat(emit_.ir.CreateLoad(element_, at), lanes_);
      for (int j = 0; j < tile.vectors; ++j) {
        llvm::Value*& sum = next[pointers + static_cast<std::size_t>(i * tile.vectors + j)];
        sum = emit_fma(emit_, broadcast, b[static_cast<std::size_t>(j)], sum);
      }
    }
    if (pointers_a == 1) next[0] = emit_.element(element_, now[0], emit_.index(step_a));
    for (std::size_t p = pointers_a; p < pointers; ++p) next[p] = emit_.element(element_, now[p], emit_.index(step_b));
    return next;
  };
  const std::int64_t run = steps_of_a_.back().extent;
  const Carried after = !steps.resume && few_fmas(tile, core_.k)
                            ? write_out(emit_, 0, run, 1, initial, step)
                            : emit_loop(emit_, steps.begin, steps.end, 1, initial, step);
  return Carried(after.begin() + static_cast<std::ptrdiff_t>(pointers_a), after.end());
}

// ---- the stages after it

void Contraction::enter_vector(llvm::Value* vector, int active) {
  stages_->set_active(active);
  stages_->enter(level(level_vector), emit_.scaled(vector, lanes_));
}

void Contraction::run_stages(llvm::Value* row, llvm::Value* value) {
  for (auto& stage : stages_->stages) stage->set_core(value);
  stages_->enter(level(level_row), row);
  stages_->run();
}

void Contraction::epilogue_unrolled(const Tile& tile, const Carried& values) {
  for (int j = 0; j < tile.vectors; ++j) {
    enter_vector(emit_.index(j), active_of(tile, j));
    for (int i = 0; i < tile.rows; ++i)
      run_stages(emit_.index(i), values[static_cast<std::size_t>(i * tile.vectors + j)]);
  }
  stages_->set_active(lanes_);
}

void Contraction::to_scratch(const Carried& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    emit_.ir.CreateAlignedStore(values[i], emit_.element(vector_, scratch_, emit_.index(static_cast<std::int64_t>(i))),
                                scratch_align(vector_));
}

Carried Contraction::from_scratch(const Tile& tile) {
  Carried values;
  for (std::int64_t i = 0; i < std::int64_t{tile.rows} * tile.vectors; ++i)
    values.push_back(
        emit_.ir.CreateAlignedLoad(vector_, emit_.element(vector_, scratch_, emit_.index(i)), scratch_align(vector_)));
  return values;
}

/// The stages as a loop over the tile in scratch memory.
void Contraction::epilogue_rolled(const Rows& rows, const Columns& columns) {
  llvm::Value* height = emit_.index(rows.rows);
  if (rows.is_tall) height = emit_.ir.CreateSelect(rows.is_tall, emit_.index(rows.rows + 1), height);
  const auto all_rows = [&](llvm::Value* vector, int active) {
    enter_vector(vector, active);
    emit_loop(emit_, emit_.index(0), height, 1, {}, [&](llvm::Value* row, const Carried&) {
      llvm::Value* at = emit_.add(emit_.scaled(row, columns.vectors), vector);
      run_stages(row,
                 emit_.ir.CreateAlignedLoad(vector_, emit_.element(vector_, scratch_, at), scratch_align(vector_)));
      return Carried();
    });
    return Carried();
  };
  const int whole = columns.last_active == lanes_ ? columns.vectors : columns.vectors - 1;
  emit_loop(emit_, emit_.index(0), emit_.index(whole), 1, {},
            [&](llvm::Value* vector, const Carried&) { return all_rows(vector, lanes_); });
  if (whole < columns.vectors) all_rows(emit_.index(whole), columns.last_active);
  stages_->set_active(lanes_);
}

}  // namespace

void emit_contraction(Emitter& emit, const Kernel& kernel) { Contraction(emit, kernel).run(); }

}  // namespace nnc
