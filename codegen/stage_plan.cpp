// What a stage settles before a line of it is written: which loop is the vector loop, where each instruction is known,
// how each fold goes, and what is packed, drawn in groups or divided by a reciprocal.
#include <algorithm>
#include <bit>
#include <numeric>

#include "codegen/stage.h"
#include "ir/order.h"
#include "ir/scalar/builder.h"

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

}  // namespace nnc
