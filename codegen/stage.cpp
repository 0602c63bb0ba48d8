// A stage as code: its body, level by level, its points, its stores. What was settled beforehand is stage_plan.cpp's.
#include "codegen/stage.h"

#include <algorithm>
#include <numeric>

#include "codegen/fold_trees.h"
#include "ir/order.h"
#include "runtime/abi.h"

namespace nnc {

void StageEmitter::enter(int level, llvm::Value* index) {
  if (level > 0) nest_.levels[static_cast<std::size_t>(level) - 1].index = index;
  enter_level(level);
}

void StageEmitter::park() {
  std::vector<bool> used_later(body_.code.size(), false);
  for (std::size_t id = 0; id < body_.code.size(); ++id)
    for (int i = 0; i < operand_count(body_.code[id].op); ++i)
      if (levels_[id] > 0) used_later[body_.code[id].operands[i]] = true;
  for (ScalarId id : body_.results) used_later[id] = true;
  for (std::size_t id = 0; id < body_.code.size(); ++id) {
    if (levels_[id] > 0 || !used_later[id]) continue;
    llvm::Value* place = emit_.scratch(values_[id]->getType(), 1);
    emit_.ir.CreateStore(values_[id], place);
    parked_.emplace_back(static_cast<ScalarId>(id), place);
  }
  for (auto& [id, divisor] : divisors_) {
    for (llvm::Value** part : divisor.single.parts()) {
      divisor.parked.push_back(emit_.scratch((*part)->getType(), 1));
      emit_.ir.CreateStore(*part, divisor.parked.back());
    }
  }
}

/// The loads are volatile: LLVM would move any others out of the loops and take registers from the inner one.
void StageEmitter::fetch_parked() {
  for (const auto& [id, place] : parked_) {
    values_[id] = emit_.ir.CreateLoad(values_[id]->getType(), place, true);
    splats_[id] = splatted_[id] ? emit_.splat(values_[id], nest_.lanes) : values_[id];
    note_index(id);
  }
  for (auto& [id, divisor] : divisors_) {
    if (divisor.parked.empty()) continue;
    Reciprocal fetched = divisor.single;
    for (std::size_t i = 0; i < divisor.parked.size(); ++i) {
      llvm::Value*& part = *fetched.parts()[i];
      part = emit_.ir.CreateLoad(part->getType(), divisor.parked[i], true);
    }
    note_reciprocal(id, fetched);
  }
}

/// Takes what a divisor's reciprocal is from here on.
void StageEmitter::note_reciprocal(ScalarId id, const Reciprocal& reciprocal) {
  Divisor& divisor = divisors_[id];
  divisor.single = divisor.lanes = reciprocal;
  for (llvm::Value** part : divisor.lanes.parts()) *part = emit_.splat(*part, nest_.lanes);
}

/// Whether a division is by a reciprocal: not in tails, where some lanes hold nothing.
bool StageEmitter::has_reciprocal(std::size_t id) const {
  const ScalarInstruction& x = body_.code[id];
  return x.op == ScalarOp::div && varying_[id] && nest_.active == nest_.lanes && divisors_.contains(x.operands[1]);
}

void StageEmitter::enter_level(int level) {
  if (level == 1) fetch_parked();
  for (std::optional<Element>& place : input_places_)
    if (place) place->enter(level);
  for (std::optional<Condition>& condition : input_conditions_)
    if (condition) condition->enter(level);
  for (Element& place : store_places_) place.enter(level);
  for (FoldPlan& plan : folds_)
    if (plan.carry) plan.carry->enter(level);
  for (std::size_t id = 0; id < body_.code.size(); ++id)
    if (levels_[id] == level) emit_body_instruction(id);
}

void StageEmitter::emit_body_instruction(std::size_t id) {
  const int pack = packs_.pack_of[id];
  if (pack < 0) return emit_single(id);
  if (packs_.packs[static_cast<std::size_t>(pack)].last == id) emit_pack(static_cast<std::size_t>(pack));
}

void StageEmitter::emit_single(std::size_t id) {
  const ScalarInstruction& x = body_.code[id];
  const int lanes = varying_[id] ? nest_.lanes : 1;
  if (x.op == ScalarOp::constant) {
    values_[id] = emit_constant(emit_, x, 1);
  } else if (x.op == ScalarOp::input) {
    values_[id] = emit_input(id);
  } else if (llvm::Value* words = emit_draw(id)) {
    values_[id] = words;
  } else {
    std::array<llvm::Value*, 3> operands{};
    const int count = operand_count(x.op);
    for (int i = 0; i < count; ++i) operands[i] = uniform_or_vector(x.operands[i], varying_[id]);
    if (has_reciprocal(id)) {
      values_[id] = emit_quotient(emit_, operands[0], operands[1], divisors_.at(x.operands[1]).lanes);
    } else {
      values_[id] = emit_operation(x, std::span(operands).first(count), lanes);
    }
  }
  splats_[id] = splatted_[id] && !varying_[id] ? emit_.splat(values_[id], nest_.lanes) : values_[id];
  if (divisors_.contains(static_cast<ScalarId>(id)))
    note_reciprocal(static_cast<ScalarId>(id), emit_reciprocal(emit_, values_[id]));
  note_index(id);
  prepare_draws(id);
}

/// What is computed for draws as soon as this is known.
void StageEmitter::prepare_draws(std::size_t known) {
  for (Draw& draw : draws_) {
    if (draw.key == known) draw_keys_[draw.key] = std::make_unique<DrawKeys>(emit_, values_[draw.key]);
    const auto place = [&](ScalarId id) { return std::pair(levels_[id], id); };
    const ScalarId last = place(draw.row) < place(draw.key) ? draw.key : draw.row;
    if (last != known) continue;
    const RowReach reach = reach_of({draw.column.offset, draw.column.coefficients}, extents_);
    const bool wide = reach.high >= std::int64_t{1} << 34;
    draw.of_row = std::make_unique<DrawsOfRow>(emit_, *draw_keys_[draw.key], values_[draw.row], wide);
  }
}

/// The words of a draw of neighbours; null for any other instruction.
llvm::Value* StageEmitter::emit_draw(std::size_t id) {
  const auto draw = std::ranges::find(draws_, id, &Draw::id);
  if (draw == draws_.end()) return nullptr;
  return draw->of_row->words(value_of(emit_, nest_, draw->column, 0), nest_.lanes);
}

/// A division takes as long as all of its lanes, those of a tail that do not exist as well: of the few that do, it is
/// one of a narrower vector. Not so what takes no longer: beside wide vectors an Intel processor has fewer ports for
/// narrow ones.
llvm::Value* StageEmitter::emit_operation(const ScalarInstruction& x, std::span<llvm::Value*> operands, int lanes) {
  const ScalarType from = body_.code[x.operands[0]].type;
  const int fewer = std::max(16 / static_cast<int>(size_of(x.type)),
                             static_cast<int>(std::bit_ceil(static_cast<unsigned>(nest_.active))));
  const bool slow = x.op == ScalarOp::div || x.op == ScalarOp::sqrt;
  if (!slow || fewer >= lanes) return emit_instruction(emit_, x, from, operands, lanes);
  for (llvm::Value*& operand : operands) operand = slice(emit_, operand, 0, fewer);
  llvm::SmallVector<int, 16> widened(static_cast<std::size_t>(lanes), -1);
  std::iota(widened.begin(), widened.begin() + fewer, 0);
  return emit_.ir.CreateShuffleVector(emit_instruction(emit_, x, from, operands, fewer), widened);
}

void StageEmitter::emit_pack(std::size_t number) {
  const auto& [members, nobodys, last, kept] = packs_.packs[number];
  const ScalarInstruction& x = body_.code[members.front()];
  std::array<llvm::Value*, 3> operands{};
  const int count = operand_count(x.op);
  for (int i = 0; i < count; ++i) {
    std::vector<ScalarId> lanes;
    for (const ScalarId member : members) lanes.push_back(body_.code[member].operands[i]);
    operands[i] = vector_of(lanes, nobodys);
  }
  llvm::Value* value = emit_instruction(emit_, x, body_.code[x.operands[0]].type, std::span(operands).first(count),
                                        static_cast<int>(members.size()));
  pack_values_[number] = value;
  for (std::size_t lane = members.size(); lane-- > 0;)
    if (packs_.taken_out[members[lane]] && !nobodys[lane])
      values_[members[lane]] = emit_.ir.CreateExtractElement(value, lane);
}

/// Values as the lanes of a vector: a pack as it is, one value for all lanes, others put together.
llvm::Value* StageEmitter::vector_of(const std::vector<ScalarId>& members, const std::vector<bool>& nobodys) {
  const ScalarId first = members.front();
  if (std::ranges::all_of(members, [&](ScalarId id) { return id == first; }))
    return emit_.splat(values_[first], static_cast<int>(members.size()));
  if (const int pack = packs_.pack_of[first]; pack >= 0) {
    const auto number = static_cast<std::size_t>(pack);
    if (packs_.packs[number].members == members) return pack_values_[number];
  }
  Carried lanes;
  for (std::size_t lane = 0; lane < members.size(); ++lane)
    lanes.push_back(nobodys[lane] ? nullptr : values_[members[lane]]);
  return emit_.side_by_side(std::span(lanes.data(), lanes.size()));
}

llvm::Value* StageEmitter::uniform_or_vector(ScalarId id, bool vector) { return vector ? splats_[id] : values_[id]; }

llvm::Value* StageEmitter::emit_input(std::size_t id) {
  const std::size_t number = body_.code[id].bits;
  const BodyInput& input = stage_.body.inputs[number];
  if (std::holds_alternative<Access>(input)) return input_places_[number]->load();
  if (std::holds_alternative<Inside>(input)) return input_conditions_[number]->value();
  if (const auto* fold = std::get_if<FoldResult>(&input)) return fold_values_[fold->stage][fold->fold].value;
  if (std::holds_alternative<CoreValue>(input)) return core_;
  if (const auto* loop = std::get_if<LoopIndex>(&input)) {
    llvm::Value* first = index_of(emit_, nest_, loop->loop);
    if (!varying_[id]) return first;
    llvm::SmallVector<llvm::Constant*, 16> steps;
    for (int lane = 0; lane < nest_.lanes; ++lane) steps.push_back(emit_.index(lane));
    return emit_.ir.CreateAdd(emit_.splat(first, nest_.lanes), llvm::ConstantVector::get(steps));
  }
  if (const auto* stream = std::get_if<RandomStream>(&input)) return emit_.stream(stream->number);
  switch (std::get<CallValue>(input).which) {
    case CallValue::Which::seed:
      return emit_.call_member(offsetof(nnc_call, seed), emit_.ir.getInt64Ty());
    case CallValue::Which::step:
      return emit_.step_number();
    case CallValue::Which::row_offset:
      return emit_.call_member(offsetof(nnc_call, row_offset), emit_.ir.getInt64Ty());
  }
  internal_error("body input");
}

void StageEmitter::write_stores() {
  for (std::size_t i = 0; i < stage_.stores.size(); ++i) {
    Element& place = store_places_[i];
    llvm::Value* value = uniform_or_vector(result(stage_.stores[i].value), place.varying());
    if (stage_.stores[i].add) {
      llvm::Value* before = place.load();
      const bool floats = before->getType()->isFPOrFPVectorTy();
      value = floats ? emit_.ir.CreateFAdd(before, value) : emit_.ir.CreateAdd(before, value);
    }
    place.store(value);
  }
}

// ---- the loops

void StageEmitter::run() {
  enter_level(begin_level());
  clear_memory(true);
  Carried state = first_accumulators();
  state.append(first_totals());
  finish_folds(run_chunks(state));
}

/// How many steps of the outermost loop are a chunk (ir/order.h).
std::int64_t StageEmitter::steps_of_chunk() const {
  std::vector<std::int64_t> lengths;
  for (int loop : inner_) lengths.push_back(extents_[static_cast<std::size_t>(loop)]);
  std::int64_t inside = 1;
  for (std::size_t i = 1; i < lengths.size(); ++i) inside *= lengths[i];
  return inside == 0 ? 0 : order_chunk(lengths) / inside;
}

/// Whether there is one chunk, and no total before it: then the sum is the total. 0.0 + f64(sum), rounded to the sum's
/// type again, is 0.0 + sum, which is sum but for a -0.
bool StageEmitter::sum_is_total() const {
  const std::int64_t length = inner_.empty() ? 1 : extents_[static_cast<std::size_t>(inner_.front())];
  return length > 0 && length <= steps_of_chunk() &&
         std::ranges::none_of(stage_.folds, [](const Fold& fold) { return fold.carry || fold.result != fold.dtype; });
}

/// Whether all sums are of vectors of one type, of which several are added at once.
bool StageEmitter::sums_side_by_side() const {
  const FoldPlan* first = nullptr;
  for (std::size_t i = 0; i < folds_.size(); ++i) {
    if (!folds_[i].chunked) continue;
    first = first ? first : &folds_[i];
    if (folds_[i].place != FoldPlace::along || folds_[i].order_lanes != first->order_lanes) return false;
  }
  return first && sum_is_total();
}

/// Sums go in chunks; other accumulators pass through. Of nothing there is no chunk: what a sum goes on from stays as
/// it is, -0 too.
Carried StageEmitter::run_chunks(const Carried& state) {
  const std::int64_t length = inner_.empty() ? 1 : extents_[static_cast<std::size_t>(inner_.front())];
  const std::int64_t chunk = steps_of_chunk();
  if (length == 0 || chunk == 0) return state;
  const bool chunked = std::any_of(folds_.begin(), folds_.end(), [](const FoldPlan& plan) { return plan.chunked; });
  if (sum_is_total()) return run_only_chunk(state, length);
  if (!chunked || length <= chunk) return run_chunk(state, emit_.index(0), emit_.index(length));
  return emit_loop(emit_, emit_.index(0), emit_.index(length), chunk, state,
                   [&](llvm::Value* begin, const Carried& carried) {
                     llvm::Value* end = lesser(emit_, emit_.add(begin, emit_.index(chunk)), emit_.index(length));
                     return run_chunk(carried, begin, end);
                   });
}

Carried StageEmitter::run_only_chunk(const Carried& state, std::int64_t length) {
  const Carried first(state.begin(), state.begin() + accumulators_);
  Carried next = run_chunk_points(first, emit_.index(0), emit_.index(length));
  next.append(sums_of_only_chunk(next));
  return next;
}

Carried StageEmitter::run_chunk_points(const Carried& carried, llvm::Value* begin, llvm::Value* end) {
  if (lane_by_lane_) return sum_of_lanes(0, 1, begin, end);
  return inner_.empty() ? run_point(carried) : run_inner(0, begin, end, carried);
}

Carried StageEmitter::run_chunk(const Carried& state, llvm::Value* begin, llvm::Value* end) {
  const Carried first(state.begin(), state.begin() + accumulators_);
  const Carried carried = run_chunk_points(first, begin, end);

  Carried next(carried.begin(), carried.end());
  const Carried fresh = first_accumulators();
  for (std::size_t i = 0; i < folds_.size(); ++i) {
    const FoldPlan& plan = folds_[i];
    if (!plan.chunked) continue;
    llvm::Value* sum = chunk_sum(i, carried);
    if (stage_.folds[i].dtype == DType::f32) {
      llvm::Type* f64 = emit_.ir.getDoubleTy();
      sum = emit_.ir.CreateFPExt(sum, plan.varying ? lanes_type(f64, nest_.lanes) : f64);
    }
    if (plan.count == 1) next[plan.first] = fresh[plan.first];
    next.push_back(emit_.ir.CreateFAdd(state[plan.total], sum));
  }
  clear_memory(false);
  return next;
}

/// The loop at `depth` of the inner ones from begin to end, and those inside it.
Carried StageEmitter::run_inner(std::size_t depth, llvm::Value* begin, llvm::Value* end, const Carried& carried) {
  const int level = inner_level(depth), loop = inner_[depth];
  const std::int64_t length = extents_[static_cast<std::size_t>(loop)];
  const auto at = [&](llvm::Value* index, const Carried& values) {
    enter(level, index);
    if (depth + 1 == inner_.size()) return run_point(values);
    return run_inner(depth + 1, emit_.index(0), emit_.index(extents_[static_cast<std::size_t>(inner_[depth + 1])]),
                     values);
  };
  if (loop != nest_.vector_loop) {
    return written_out(depth, begin, end) ? write_out(emit_, 0, length, 1, carried, at)
                                          : emit_loop(emit_, begin, end, 1, carried, at);
  }

  const std::int64_t whole = length / nest_.lanes * nest_.lanes;
  Carried result = emit_loop(emit_, begin, lesser(emit_, end, emit_.index(whole)), nest_.lanes, carried, at);
  if (whole == length) return result;
  return emit_if(emit_, emit_.ir.CreateICmpEQ(end, emit_.index(length)), result, [&] {
    nest_.active = static_cast<int>(length - whole);
    Carried last = at(emit_.index(whole), result);
    nest_.active = nest_.lanes;
    return last;
  });
}

/// Whether a loop over a few points, those inside of it with it, is written out: indices are then numbers, of which
/// guards and addresses of a small window are made.
bool StageEmitter::written_out(std::size_t depth, llvm::Value* begin, llvm::Value* end) const {
  std::int64_t points = 1;
  for (std::size_t i = depth; i < inner_.size(); ++i) points *= extents_[static_cast<std::size_t>(inner_[i])];
  const bool whole = begin == emit_.index(0) && end == emit_.index(extents_[static_cast<std::size_t>(inner_[depth])]);
  return whole && worth_writing_out(points, points * cost());
}

/// One evaluation of the body; everything but folds and stores is emitted by the levels.
Carried StageEmitter::run_point(const Carried& carried) {
  Carried next(carried);
  for (std::size_t i = 0; i < folds_.size(); ++i) accumulate(i, next);
  write_stores();
  return next;
}

}  // namespace nnc
