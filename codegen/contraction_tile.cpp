// What a tile does: the innermost loop over k, then the stages after it, on the accumulators or on a copy of them in
// scratch memory.
#include <numeric>

#include "codegen/contraction.h"

namespace nnc {

void Contraction::run_tile(const Rows& rows, const Columns& columns) {
  const Steps all = all_steps();
  const Tile tile{rows.m, columns.n, rows.rows, columns.vectors, columns.last_active};
  const Ahead ahead = results(rows, columns);
  if (!rolled_) {
    const Carried values = multiply(tile, all, ahead);
    enter_tile(tile);
    return epilogue_unrolled(tile, values);
  }
  each_height(rows, columns, [&](const Tile& high) { to_scratch(multiply(high, all, ahead)); });
  enter_tile(tile);
  epilogue_rolled(rows, columns);
}

/// The accumulators of a tile, row by row, after these steps of k.
Carried Contraction::multiply(const Tile& tile, const Steps& steps, const Ahead& ahead) {
  const auto column = [&](std::int64_t j) { return emit_.add(tile.n, emit_.index(j * lanes_)); };
  Carried carried;  // pointers to b, then the accumulators
  const bool looked_up = !b_contiguous() || walk_of(b_, 0) == Walk::looked_up;
  const unsigned pointers = looked_up ? 0 : b_shared() ? 1 : static_cast<unsigned>(tile.vectors);
  for (unsigned j = 0; j < pointers; ++j) carried.push_back(packed_ ? b_panel_ : address(b_, steps.begin, column(j)));
  const Carried zeros(static_cast<unsigned>(tile.rows * tile.vectors), llvm::Constant::getNullValue(vector_));
  const auto waiting = [&] { return from_scratch(tile); };
  llvm::Value* begun = steps.resume ? emit_.ir.CreateICmpNE(steps.begin, emit_.index(0)) : nullptr;
  carried.append(begun ? emit_if(emit_, begun, zeros, waiting) : zeros);
  Run run = run_of(tile, steps, ahead, pointers);
  const Carried rows = run.rows;
  Carried after;
  if (digits_.steps.size() == 1) {
    after = innermost(run, carried);
  } else {
    llvm::Value* length = emit_.index(digits_.steps.back().extent);
    run.steps = {emit_.index(0), length, steps.resume};
    const auto at_run = [&](llvm::Value* number, const Carried& now) {
      llvm::Value* distance = distance_of_run(number);
      for (unsigned row = 0; row < rows.size(); ++row) run.rows[row] = emit_.element(element_, rows[row], distance);
      run.before = emit_.ir.CreateMul(number, length);
      llvm::Value* turns =
          emit_.ir.CreateUDiv(emit_.ir.CreateSub(run.before, steps.begin), emit_.index(steps_of_turn(steps)));
      if (ahead.part) fetch_next_block(number, distance, ahead.part);
      run.fetched = ahead.at.empty() ? nullptr : emit_.scaled(turns, ahead.step);
      return innermost(run, now);
    };
    if (!steps.resume && few_fmas(tile, core_.k))
      after = write_out(emit_, 0, core_.k / digits_.steps.back().extent, 1, carried, at_run);
    else
      after = emit_loop(emit_, emit_.ir.CreateUDiv(steps.begin, length), emit_.ir.CreateUDiv(steps.end, length), 1,
                        carried, at_run);
  }
  return Carried(after.begin() + pointers, after.end());
}

/// What the innermost loop needs for these steps, a's rows being where they are now.
Contraction::Run Contraction::run_of(const Tile& tile, const Steps& steps, const Ahead& ahead, std::size_t pointers_b) {
  // Rows apart share one index, so that each takes one register only; rows together share one pointer.
  const std::size_t pointers_a = walk_of_a() == Walk::together ? 1 : 0;
  return {tile, ahead, steps, row_addresses(tile), emit_.index(0), emit_.index(0), pointers_a, pointers_a + pointers_b};
}

/// As many as the schedule wants, if every run of steps is a multiple of that, else a divisor.
std::int64_t Contraction::steps_of_turn(const Steps& steps) const {
  const std::int64_t most = std::gcd(std::int64_t{kernel_.schedule.tile_steps}, digits_.steps.back().extent);
  return steps.resume ? std::gcd(most, work_.steps) : most;
}

/// The innermost loop: turns of several steps, which fetch too.
Carried Contraction::innermost(const Run& run, const Carried& carried) {
  Carried initial;
  if (run.pointers_a == 1)  // a copy begins with the first step
    initial.push_back(a_tile_ ? run.rows[0]
                              : emit_.element(element_, run.rows[0], emit_.scaled(run.steps.begin, step_of_a())));
  initial.append(carried.begin(), carried.end());
  const std::int64_t length = digits_.steps.back().extent;
  // What a row of a step is in the next step of its neighbour (pixels of a window) is then read once.
  const bool short_run = digits_.steps.size() > 1 && length <= most_steps_written_out && few_fmas(run.tile, length);
  const auto without_a = [&](const Carried& after) {
    return Carried(after.begin() + static_cast<std::ptrdiff_t>(run.pointers_a), after.end());
  };
  if (!run.steps.resume && (short_run || few_fmas(run.tile, core_.k))) {
    const auto step = [&](llvm::Value* inner, const Carried& now) { return one_step(run, inner, now); };
    return without_a(write_out(emit_, 0, length, 1, initial, step));
  }
  const bool fetches = !run.ahead.at.empty();
  const std::int64_t at_once = steps_of_turn(run.steps);
  // Between two steps: no load of the second is moved before it, and accumulators leave no registers for b's vectors
  // of both.
  const std::int64_t fetching = at_once == 2 ? 0 : at_once - 1;
  if (fetches) initial.push_back(run.fetched);
  const auto turn = [&](llvm::Value* inner, const Carried& now) {
    Carried next(now);
    if (fetches) next.pop_back();
    llvm::Value* fetched = nullptr;
    for (std::int64_t i = 0; i < at_once; ++i) {
      next = one_step(run, emit_.add(inner, emit_.index(i)), next);
      if (fetches && i == fetching) fetched = fetch(run.ahead, now.back());
    }
    if (fetches) next.push_back(fetched);
    return next;
  };
  Carried after = emit_loop(emit_, run.steps.begin, run.steps.end, at_once, initial, turn);
  if (fetches) after.pop_back();
  return without_a(after);
}

/// A tile's fmas for one step of k, and the pointers to the next one.
Carried Contraction::one_step(const Run& run, llvm::Value* inner, const Carried& now) {
  const auto vectors = static_cast<std::size_t>(run.tile.vectors);
  const auto a = elements_of_a(run, inner, now);
  fetch_rows(a);
  const auto b = vectors_of_b(run, emit_.add(run.before, inner), now);
  Carried next(now);
  for (std::size_t i = 0; i < a.size(); ++i) {
    llvm::Value* broadcast = emit_.splat(emit_.ir.CreateLoad(element_, a[i]), lanes_);
    for (std::size_t j = 0; j < vectors; ++j) {
      llvm::Value*& sum = next[run.pointers + i * vectors + j];
      sum = emit_fma(emit_, broadcast, b[j], sum);
    }
  }
  const auto onward = [&](std::size_t pointer, std::int64_t step) {
    next[pointer] = emit_.element(element_, now[pointer], emit_.index(step));
  };
  for (std::size_t pointer = 0; pointer < run.pointers; ++pointer)
    onward(pointer, pointer < run.pointers_a ? step_of_a() : step_of_b());
  return next;
}

/// The vectors of b that step number k meets.
llvm::SmallVector<llvm::Value*, 8> Contraction::vectors_of_b(const Run& run, llvm::Value* k, const Carried& now) {
  const bool contiguous = b_contiguous(), shared = b_shared();
  llvm::Value* row = contiguous && walk_of(b_, 0) == Walk::looked_up ? address(b_, k, run.tile.n) : nullptr;
  if (!row && shared) row = now[run.pointers_a];
  llvm::SmallVector<llvm::Value*, 8> b;
  for (int j = 0; j < run.tile.vectors; ++j) {
    const bool last = j + 1 == run.tile.vectors;
    if (!contiguous)
      b.push_back(gather_b(run.tile, k, j));
    else if (row)
      b.push_back(load_b(emit_.element(element_, row, emit_.index(std::int64_t{j} * lanes_)), last, run.tile));
    else
      b.push_back(load_b(now[run.pointers_a + static_cast<std::size_t>(j)], last, run.tile));
  }
  return b;
}

/// Where a step's elements of a lie, row by row.
llvm::SmallVector<llvm::Value*, 16> Contraction::elements_of_a(const Run& run, llvm::Value* inner, const Carried& now) {
  const Walk walk = walk_of_a();
  llvm::Value* k = emit_.add(run.before, inner);
  // A row of a feed at this k: one look-up, its elements at constant distances.
  const bool one_lookup = walk == Walk::looked_up && !(a_.row && a_.row->depends(0)) && !a_.column;
  llvm::Value* first = walk == Walk::together ? now[0] : one_lookup ? address(a_, run.tile.m, k) : nullptr;
  llvm::SmallVector<llvm::Value*, 16> at;
  for (int i = 0; i < run.tile.rows; ++i) {
    if (first)
      at.push_back(emit_.element(element_, first, emit_.index(distance(i))));
    else if (walk == Walk::apart)
      at.push_back(emit_.element(element_, run.rows[static_cast<unsigned>(i)], emit_.scaled(inner, step_of_a())));
    else
      at.push_back(address(a_, emit_.add(run.tile.m, emit_.index(i)), k));
  }
  return at;
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
