#include "codegen/stage.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "codegen/fold_trees.h"
#include "ir/order.h"
#include "ir/scalar/builder.h"
#include "runtime/abi.h"

namespace nnc {

namespace {

/// Loops that are written out: their points, and the instructions that these take.
constexpr std::int64_t most_written_out = 16, most_instructions_written_out = 128;

/// Vectors, stages and loops for which a reciprocal is worth being made.
constexpr int lanes_worth_reciprocals = 16, cost_worth_reciprocals = 8;
constexpr std::int64_t points_worth_reciprocals = 256;

bool additive(const Fold& fold) { return fold.op == FoldOp::sum || fold.op == FoldOp::product; }

}  // namespace

StageEmitter::StageEmitter(Emitter& emit, const Kernel& kernel, std::size_t stage, const Nest& outer,
                           bool vectorise_inner, FoldValues& folds)
    : emit_(emit),
      kernel_(kernel),
      stage_(kernel.stages[stage]),
      body_(with_known_values(stage_.body.program)),
      fold_values_(folds),
      index_(stage),
      nest_(outer),
      outer_levels_(static_cast<int>(outer.levels.size())) {
  extents_ = kernel.outer;
  extents_.insert(extents_.end(), stage_.inner.begin(), stage_.inner.end());
  nest_.levels.push_back({.loop = -1});  // the stage begins
  for (std::size_t loop = kernel.outer.size(); loop < extents_.size(); ++loop) {
    if (extents_[loop] == 1) continue;
    inner_.push_back(static_cast<int>(loop));
    nest_.levels.push_back({.loop = static_cast<int>(loop)});
  }
  nest_.first_computed = static_cast<int>(extents_.size());
  nest_.computed.resize(stage_.body.indices.size());
  for (const ComputedIndex& index : stage_.body.indices) extents_.push_back(index.extent);
  loops_ = static_cast<int>(extents_.size());
  choose_vector_loop(vectorise_inner);
  plan_levels();
  plan_folds();
  plan_packs();
  plan_draws();
  plan_divisors();
}

/// The last inner loop is vectorised unless a fold has to visit its elements one after the other. The vector has as
/// many lanes as the widest of the folds that go by lanes, so each step of the loop is a step of the fold.
void StageEmitter::choose_vector_loop(bool vectorise_inner) {
  if (!vectorise_inner || inner_.empty()) return;
  int by_order = 0;
  for (const Fold& fold : stage_.folds) {
    if (fold.op == FoldOp::argmax || (additive(fold) && fold.order == Order::serial)) return;
    if (additive(fold)) by_order = std::max(by_order, order_lanes(fold.dtype));
  }
  nest_.lanes = by_order > 0 ? by_order : kernel_.schedule.lanes;
  nest_.active = nest_.lanes;
  nest_.vector_loop = nest_.lanes > 1 ? inner_.back() : -1;
}

bool StageEmitter::stored_in_kernel(BufferId buffer) const {
  const Buffer& read = emit_.program.buffers[buffer];
  for (const Stage& stage : kernel_.stages)
    for (const Store& store : stage.stores) {
      const Buffer& written = emit_.program.buffers[store.to.buffer];
      const bool apart = written.region != read.region || written.offset + written.bytes <= read.offset ||
                         read.offset + read.bytes <= written.offset;
      if (store.to.buffer == buffer || (!apart && read.region != Region::output)) return true;
    }
  return false;
}

int StageEmitter::level_of_input(const BodyInput& input) const {
  if (const auto* access = std::get_if<Access>(&input)) {
    const int level = nest_.level_of(access_form(emit_.program, *access, extents_), loops_);
    return stored_in_kernel(access->buffer) ? std::max(level, begin_level()) : level;
  }
  if (const auto* loop = std::get_if<LoopIndex>(&input)) return nest_.level_of(loop->loop);
  if (const auto* inside = std::get_if<Inside>(&input))
    return Condition(emit_, guard_forms(inside->guards, extents_), nest_).level();
  if (std::holds_alternative<FoldResult>(input)) return begin_level();
  if (std::holds_alternative<CoreValue>(input)) return begin_level();
  return 0;
}

/// Instruction by instruction: an access comes after the indices that it depends on, and is where these are known.
void StageEmitter::plan_levels() {
  const std::size_t size = body_.code.size();
  levels_.assign(size, 0);
  varying_.assign(size, false);
  splatted_.assign(size, false);
  values_.assign(size, nullptr);
  splats_.assign(size, nullptr);
  input_places_.resize(stage_.body.inputs.size());
  input_conditions_.resize(stage_.body.inputs.size());
  for (std::size_t id = 0; id < size; ++id) {
    const ScalarInstruction& x = body_.code[id];
    if (x.op == ScalarOp::input) plan_input(id);
    for (int i = 0; i < operand_count(x.op); ++i) {
      levels_[id] = std::max(levels_[id], levels_[x.operands[i]]);
      varying_[id] = varying_[id] || varying_[x.operands[i]];
    }
    for (int i = 0; i < operand_count(x.op); ++i)
      if (varying_[id] && !varying_[x.operands[i]]) splatted_[x.operands[i]] = true;
    note_index(id);
  }
  for (const Store& store : stage_.stores)
    store_places_.emplace_back(emit_, access_form(emit_.program, store.to, extents_), nest_);
  for (std::size_t i = 0; i < stage_.stores.size(); ++i)
    if (store_places_[i].varying()) splatted_[result(stage_.stores[i].value)] = true;
}

void StageEmitter::plan_input(std::size_t id) {
  const std::size_t number = body_.code[id].bits;
  const BodyInput& input = stage_.body.inputs[number];
  levels_[id] = level_of_input(input);
  if (const auto* loop = std::get_if<LoopIndex>(&input)) varying_[id] = loop->loop == nest_.vector_loop;
  if (const auto* fold = std::get_if<FoldResult>(&input)) varying_[id] = fold_values_[fold->stage][fold->fold].varying;
  if (std::holds_alternative<CoreValue>(input)) varying_[id] = nest_.lanes > 1;
  if (const auto* inside = std::get_if<Inside>(&input)) {
    input_conditions_[number].emplace(emit_, guard_forms(inside->guards, extents_), nest_);
    varying_[id] = input_conditions_[number]->varying();
  }
  if (const auto* access = std::get_if<Access>(&input)) {
    input_places_[number].emplace(emit_, access_form(emit_.program, *access, extents_), nest_);
    varying_[id] = input_places_[number]->varying();
  }
}

/// What accesses have to know of an instruction that computes an index.
void StageEmitter::note_index(std::size_t id) {
  for (std::size_t i = 0; i < stage_.body.indices.size(); ++i)
    if (result(stage_.body.indices[i].value) == id) nest_.computed[i] = {levels_[id], varying_[id], values_[id]};
}

void StageEmitter::plan_folds() {
  std::vector<FoldValue> results;
  lane_by_lane_ = goes_lane_by_lane();
  for (const Fold& fold : stage_.folds) {
    FoldPlan plan;
    const bool value_varies =
        varying_[result(fold.value)] || (fold.op == FoldOp::product && varying_[result(fold.factor)]);
    const bool folds_vector_loop = nest_.vector_loop >= static_cast<int>(kernel_.outer.size());
    const bool by_lanes = additive(fold) && fold.order == Order::lanes;
    plan.order_lanes = by_lanes ? order_lanes(fold.dtype) : 1;
    // The order of integers does not matter, and nothing is rounded.
    plan.place = folds_vector_loop                    ? FoldPlace::along
                 : !by_lanes || !is_float(fold.dtype) ? FoldPlace::across
                 : lane_by_lane_                      ? FoldPlace::lane_by_lane
                                                      : FoldPlace::in_memory;
    plan.varying = value_varies && !folds_vector_loop;
    plan.chunked = is_float(fold.dtype) && (fold.op == FoldOp::sum || (fold.op == FoldOp::product && by_lanes));
    if (fold.carry) {
      plan.carry.emplace(emit_, access_form(emit_.program, *fold.carry, extents_), nest_);
      plan.varying = plan.varying || (plan.carry->varying() && !folds_vector_loop);
    }
    if (folds_vector_loop || plan.varying) {
      splatted_[result(fold.value)] = true;
      if (fold.op == FoldOp::product) splatted_[result(fold.factor)] = true;
    }
    plan.count = plan.place == FoldPlace::in_memory ? 0 : fold.op == FoldOp::argmax ? 2 : 1;
    plan.first = accumulators_;
    accumulators_ += plan.count;
    const std::int64_t elements = inner_.empty() ? 1 : extents_[static_cast<std::size_t>(inner_.back())];
    plan.memory_lanes = static_cast<int>(std::clamp<std::int64_t>(elements, 1, plan.order_lanes));
    if (plan.chunked) plan.present_lanes = plan.carry ? plan.order_lanes : plan.memory_lanes;
    if (plan.place == FoldPlace::in_memory) plan.memory = emit_.scratch(fold_type(plan, fold), plan.memory_lanes);
    results.push_back({nullptr, plan.varying, {}});
    folds_.push_back(std::move(plan));
  }
  int next = accumulators_;
  for (FoldPlan& plan : folds_)
    if (plan.chunked) plan.total = next++;
  fold_values_[index_] = std::move(results);
  if (sums_side_by_side()) plan_homes();
}

/// Where the sums lie that are added side by side. Vectors have numbers of their own in every stage.
void StageEmitter::plan_homes() {
  std::vector<std::size_t> sums;
  for (std::size_t i = 0; i < folds_.size(); ++i)
    if (folds_[i].chunked) sums.push_back(i);
  const int bits = 8 * static_cast<int>(size_of(stage_.folds[sums.front()].dtype));
  const std::vector<Home> homes =
      homes_of_sums(sums.size(), folds_[sums.front()].order_lanes, kernel_.schedule.lanes, bits);
  int before = 0;
  for (std::size_t stage = 0; stage < index_; ++stage) before += static_cast<int>(kernel_.stages[stage].folds.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    fold_values_[index_][sums[i]].home = homes[i];
    if (homes[i].vector >= 0) fold_values_[index_][sums[i]].home.vector += before;
  }
}

/// What a stage computes once, where it begins, may be packed: values of one point, that no vector is made of, and no
/// address. What is kept and comes from one pack stays in its lanes.
void StageEmitter::plan_packs() {
  const SingleValues known = single_values();
  packs_ = pack_alike(body_, known, kernel_.schedule.lanes);
  pack_values_.assign(packs_.packs.size(), nullptr);
  for (const Pack& pack : packs_.packs) {
    if (!pack.kept) continue;
    std::vector<int> elements;
    for (std::size_t lane = 0; lane < pack.members.size(); ++lane)
      elements.push_back(pack.nobodys[lane] ? -1 : known.writes[pack.members[lane]]);
    emit_.keep_together(elements);
  }
  for (std::size_t id = 0; id < body_.code.size(); ++id)
    if (known.reads[id] >= 0 && !splatted_[id]) emit_.want_alone(known.reads[id]);
}

SingleValues StageEmitter::single_values() const {
  const std::size_t size = body_.code.size();
  SingleValues known{std::vector<bool>(size), std::vector<Home>(size), std::vector<int>(size, -1),
                     std::vector<int>(size, -1), emit_.wanted_alone()};
  std::vector<int> results(size, 0);
  for (const ScalarId id : body_.results) ++results[id];
  for (std::size_t id = 0; id < size; ++id) {
    known.single[id] = levels_[id] == begin_level() && !varying_[id] && !splatted_[id];
    if (body_.code[id].op != ScalarOp::input) continue;
    const BodyInput& input = stage_.body.inputs[body_.code[id].bits];
    if (const auto* fold = std::get_if<FoldResult>(&input))
      known.homes[id] = fold_values_[fold->stage][fold->fold].home;
    if (const auto* access = std::get_if<Access>(&input)) known.reads[id] = kept_number(*access);
  }
  for (const ComputedIndex& index : stage_.body.indices) known.single[result(index.value)] = false;
  for (const Store& store : stage_.stores)
    if (results[result(store.value)] == 1) known.writes[result(store.value)] = kept_number(store.to);
  return known;
}

int StageEmitter::kept_number(const Access& access) const {
  const auto at = only_element(access_form(emit_.program, access, extents_));
  return at ? emit_.kept_number(access.buffer, *at) : -1;
}

void StageEmitter::plan_draws() {
  for (std::size_t id = 0; id < body_.code.size(); ++id) {
    const ScalarInstruction& x = body_.code[id];
    const auto [row, column, key] = x.operands;
    if (x.op != ScalarOp::philox || !varying_[id] || varying_[row] || varying_[key]) continue;
    const auto form = column_of_groups(body_, stage_.body.inputs, column, nest_, extents_);
    if (form) draws_.push_back({static_cast<ScalarId>(id), row, key, *form});
  }
}

/// Where dividing long vectors takes a divider several times as long as a few fmas, and many have a divisor that is
/// read from memory once a call. Short stages may be written out for many vectors, and do not become longer.
void StageEmitter::plan_divisors() {
  if (std::min(kernel_.schedule.lanes, nest_.lanes) < lanes_worth_reciprocals || cost() < cost_worth_reciprocals)
    return;
  std::int64_t points = 1;
  for (std::size_t loop = 0; loop < static_cast<std::size_t>(nest_.first_computed); ++loop) points *= extents_[loop];
  if (points < points_worth_reciprocals) return;
  for (std::size_t id = 0; id < body_.code.size(); ++id) {
    const ScalarInstruction& x = body_.code[id];
    if (x.op != ScalarOp::div || !varying_[id] || levels_[id] == 0) continue;
    const ScalarId divisor = x.operands[1];
    if (levels_[divisor] == 0 && !varying_[divisor] && body_.code[divisor].op != ScalarOp::constant)
      divisors_[divisor] = {};
  }
}

bool worth_writing_out(std::int64_t points, std::int64_t instructions) {
  return points <= most_written_out && instructions <= most_instructions_written_out;
}

std::int64_t StageEmitter::work() const {
  std::int64_t points = 1;
  for (int loop : inner_) {
    const std::int64_t lanes = loop == nest_.vector_loop ? nest_.lanes : 1;
    points *= (extents_[static_cast<std::size_t>(loop)] + lanes - 1) / lanes;
  }
  return points * cost();
}

int StageEmitter::cost() const {
  int cost = static_cast<int>(stage_.stores.size());
  for (const ScalarInstruction& x : body_.code) cost += x.op == ScalarOp::constant ? 0 : 1;
  return cost;
}

// ---- the body

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
