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
//
// The class is written in five files, each with one idea: which tiles there are and who has them (contraction.cpp), how
// operands are reached (contraction_operands.cpp), what a tile does (contraction_tile.cpp), long sums by steps
// (contraction_steps.cpp), and what is fetched for the tiles that follow (contraction_ahead.cpp).
#pragma once

#include <algorithm>
#include <memory>

#include "codegen/kernel.h"
#include "ir/program/contraction.h"

namespace nnc {

/// The code of one kernel with a contraction.
class Contraction {
 public:
  Contraction(Emitter& emit, const Kernel& kernel);
  void run();

 private:
  /// Fmas of a tile's steps that are written out rather than a loop; steps of a run of k, one of many.
  static constexpr std::int64_t most_fmas_written_out = 96, most_steps_written_out = 4;

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
  /// What the turns of a tile's innermost loop fetch to be written: so many bytes each, of each of these.
  struct Ahead {
    llvm::SmallVector<llvm::Value*, 4> at;  ///< none: nothing
    std::int64_t step = 0;
    llvm::Value* part = nullptr;  ///< of what the next block of steps meets, which falls to this tile; null: none does
  };
  /// Steps of k, and whether the accumulators begin with what work memory holds rather than with 0. Where k counts
  /// several loops, whole runs of the innermost one.
  struct Steps {
    llvm::Value* begin = nullptr;
    llvm::Value* end = nullptr;
    bool resume = false;
  };
  /// Of the loops around a tile's elements; in a stack of products its loop is level 1, and these are one further.
  enum Level { level_first = 1, level_second = 2, level_vector = 3, level_row = 4 };
  bool by_steps() const { return kernel_.schedule.block_tiles > 0 && kernel_.schedule.block_k > 0; }
  /// Blocks whose tiles take all steps of k at once.
  bool whole_sums() const { return by_steps() && work_.steps >= core_.k; }
  int level(Level which) const { return which + (stacked_ ? 1 : 0); }

  AccessForm form_of(const Access& access, const std::vector<std::int64_t>& loops, std::int64_t& step) const;
  std::int64_t distance(std::int64_t row) const;
  std::int64_t panels() const { return panels_of(core_, kernel_.schedule); }
  std::int64_t products() const { return stacked_ ? kernel_.outer[0] : 1; }
  void share_work();
  void run_blocks();
  void run_tiles();
  void choose_epilogue();
  void each_columns(llvm::function_ref<void(const Columns&)> at);
  void each_rows(llvm::function_ref<void(const Rows&)> at);
  void run_tiles_by_steps();
  void run_whole_sums();
  Steps all_steps() const { return {emit_.index(0), emit_.index(core_.k)}; }
  llvm::Value* packed_panel(const Columns& columns);
  llvm::Value* kept_panel(const Columns& columns);
  void multiply_and_finish(const Rows& rows, const Columns& columns, const Steps& steps, const Ahead& ahead);
  void when(llvm::Value* condition, llvm::function_ref<void()> then);
  void run_tile(const Rows& rows, const Columns& columns);
  void enter_tile(const Tile& tile);
  void each_height(const Rows& rows, const Columns& columns, llvm::function_ref<void(const Tile&)> at);
  /// A run of steps that the innermost loop counts, and what its turns need.
  struct Run {
    const Tile& tile;
    const Ahead& ahead;
    Steps steps;
    Carried rows;                    ///< where a's rows begin
    llvm::Value* before = nullptr;   ///< the number of the step that is counted as 0
    llvm::Value* fetched = nullptr;  ///< bytes that the turns of the runs before this one fetched
    std::size_t pointers_a = 0;      ///< of the values carried from step to step: pointers to a, then
    std::size_t pointers = 0;        ///< to b until here, then the accumulators
  };
  llvm::Value* work(std::int64_t elements);
  std::int64_t steps_of_turn(const Steps& steps) const;
  std::int64_t turns_of_tile() const { return std::max<std::int64_t>(1, core_.k / steps_of_turn({})); }
  llvm::Value* packed_tile(llvm::Value* tile);
  void pack_a(const Steps& steps);
  void pack_tiles(llvm::Value* first, std::int64_t tiles, std::int64_t height, const Steps& steps);
  llvm::Value* load_rows(llvm::Value* at, std::int64_t rows);
  llvm::Align element_align() const { return llvm::Align(size_of(a_buffer_.dtype)); }
  void pack_b(const Columns& columns, const Steps& steps);
  /// Whether so many steps of k are written out rather than a loop.
  bool few_fmas(const Tile& tile, std::int64_t steps) const {
    return steps * tile.rows * tile.vectors <= most_fmas_written_out;
  }
  Carried multiply(const Tile& tile, const Steps& steps, const Ahead& ahead);
  Run run_of(const Tile& tile, const Steps& steps, const Ahead& ahead, std::size_t pointers_b);
  Carried innermost(const Run& run, const Carried& carried);
  Carried one_step(const Run& run, llvm::Value* inner, const Carried& now);
  llvm::SmallVector<llvm::Value*, 8> vectors_of_b(const Run& run, llvm::Value* k, const Carried& now);
  llvm::SmallVector<llvm::Value*, 16> elements_of_a(const Run& run, llvm::Value* inner, const Carried& now);
  std::int64_t step_of_a() const { return a_tile_ ? work_.step_distance : digits_.steps.back().step; }
  std::int64_t step_of_b() const { return packed_ ? width_ : b_.flat.coefficients[0]; }
  Carried row_addresses(const Tile& tile);
  llvm::Value* distance_of_run(llvm::Value* run);
  std::int64_t tiles_of_thread() const;
  std::int64_t panels_of_thread() const;
  std::int64_t tiles_at_once() const;
  Ahead next_block(const Rows& rows, const Columns& columns);
  void fetch_next_block(llvm::Value* run, llvm::Value* distance, llvm::Value* part);
  llvm::Value* distance_of_next(llvm::Value* next, llvm::Value* distance);
  void fetch_rows(llvm::ArrayRef<llvm::Value*> rows);
  void fetch_line(llvm::Value* at, bool written, bool first_cache);
  void fetch_next_copy(const Rows& rows, const Columns& columns, const Steps& steps);
  Ahead results(const Rows& rows, const Columns& columns);
  Ahead next_accumulators(llvm::Value* tiles);
  Ahead to_write(llvm::ArrayRef<llvm::Value*> at, std::int64_t step) const;
  bool lies_in_tiles(const Access& access) const;
  llvm::Value* fetch(const Ahead& ahead, llvm::Value* distance);
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
  ContractionWork work_;
  int lanes_;
  std::int64_t width_;                                ///< columns of a whole tile
  bool stacked_;                                      ///< many products, one after the other
  std::int64_t stack_step_a_ = 0, stack_step_b_ = 0;  ///< elements from one to the next
  llvm::Value* stack_ = nullptr;                      ///< which of them
  DigitsOfA digits_;
  RowTiles tiles_;
  AccessForm a_, b_;  ///< over two loops; of a, with several digits, the offset alone
  const Buffer& a_buffer_;
  const Buffer& b_buffer_;
  llvm::Type* element_;
  llvm::Type* vector_;

  llvm::Value* first_tile_ = nullptr;  ///< of this thread's tiles of rows
  llvm::Value* tile_begin_ = nullptr;  ///< those tiles, or a block of them
  llvm::Value* tile_end_ = nullptr;
  llvm::Value* panel_begin_ = nullptr;  ///< and of columns
  llvm::Value* panel_end_ = nullptr;
  llvm::Value* scratch_ = nullptr;
  std::int64_t tile_scratch_ = 0;    ///< vectors of a tile in it
  llvm::Value* packed_a_ = nullptr;  ///< a block's steps of a, tile after tile, the rows of a step side by side
  llvm::Value* a_tile_ = nullptr;    ///< those of the tile at hand; null where a is read where it lies
  llvm::Value* packed_b_ = nullptr;  ///< a block's steps of b for several panels, one after the other
  llvm::Value* b_panel_ = nullptr;   ///< those of the panel at hand
  bool packed_ = false;              ///< whether b is read there
  bool rolled_ = false;
  std::unique_ptr<StageRow> stages_;
};

}  // namespace nnc
