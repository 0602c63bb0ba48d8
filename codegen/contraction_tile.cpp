// What a tile does: the innermost loop over k, then the stages after it, on the accumulators or on a copy of them in
// scratch memory.
#include <numeric>

#include "codegen/contraction.h"

namespace nnc {

void Contraction::run_tile(const Rows& rows, const Columns& columns) {
  const Steps all{emit_.index(0), emit_.index(core_.k)};
  const Tile tile{rows.m, columns.n, rows.rows, columns.vectors, columns.last_active};
  fetch_next_panel(rows, columns);
  if (ahead_.at.empty()) fetch_results(rows, columns);
  if (!rolled_) {
    const Carried values = multiply(tile, all);
    enter_tile(tile);
    return epilogue_unrolled(tile, values);
  }
  each_height(rows, columns, [&](const Tile& high) { to_scratch(multiply(high, all)); });
  enter_tile(tile);
  epilogue_rolled(rows, columns);
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
  ahead_.first = steps_of_a_.size() == 1 ? emit_.index(0) : steps.begin;
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

/// As many as the schedule wants, if every run of steps is a multiple of that, else a divisor.
std::int64_t Contraction::steps_of_turn(const Steps& steps) const {
  const std::int64_t most = std::gcd(std::int64_t{kernel_.schedule.tile_steps}, steps_of_a_.back().extent);
  return steps.resume ? std::gcd(most, steps_of_block()) : most;
}

/// The innermost loop, a step of which is the tile's fmas.
Carried Contraction::innermost(const Tile& tile, const Carried& rows, llvm::Value* before, const Steps& steps,
                               const Carried& carried) {
  const Walk walk_a = walk_of_a(), walk_b = walk_of(b_, 0);
  const bool contiguous = b_contiguous(), shared = b_shared();
  // Rows apart share one index, so that each takes one register only; rows together share one pointer.
  const std::size_t pointers_a = walk_a == Walk::together ? 1 : 0;
  const std::size_t pointers = pointers_a + carried.size() - static_cast<std::size_t>(tile.rows * tile.vectors);
  const std::int64_t step_a = a_tile_ ? tallest() : steps_of_a_.back().step;
  const std::int64_t step_b = packed_ ? width_ : b_.flat.coefficients[0];
  Carried initial;
  if (pointers_a == 1)  // a copy begins with the first step
    initial.push_back(a_tile_ ? rows[0] : emit_.element(element_, rows[0], emit_.scaled(steps.begin, step_a)));
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
  const std::int64_t at_once = steps_of_turn(steps);
  const auto turn = [&](llvm::Value* inner, const Carried& now) {
    Carried next(now);
    if (!ahead_.at.empty()) next.pop_back();
    for (std::int64_t i = 0; i < at_once; ++i) next = step(emit_.add(inner, emit_.index(i)), next);
    if (!ahead_.at.empty()) next.push_back(fetch(now.back()));
    return next;
  };
  // What a row of a step is in the next step of its neighbour (pixels of a window) is then read once.
  const bool short_run = steps_of_a_.size() > 1 && run <= most_steps_written_out && few_fmas(tile, run);
  Carried after;
  if (!steps.resume && (short_run || few_fmas(tile, core_.k))) {
    after = write_out(emit_, 0, run, 1, initial, step);
  } else {
    llvm::Value* fetched = emit_.ir.CreateSub(before, ahead_.first);
    fetched = emit_.scaled(emit_.ir.CreateUDiv(fetched, emit_.index(at_once)), ahead_.step);
    if (!ahead_.at.empty()) initial.push_back(fetched);
    after = emit_loop(emit_, steps.begin, steps.end, at_once, initial, turn);
    if (!ahead_.at.empty()) after.pop_back();
  }
  return Carried(after.begin() + static_cast<std::ptrdiff_t>(pointers_a), after.end());
}

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

}  // namespace nnc
