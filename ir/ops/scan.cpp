// The loop. Its gradient is a loop in the other direction, over the gradients of the carries: each step reads the
// carries as they were at that step (the forward loop hands them out), does the body's derivative, and hands out what
// belongs to the sequences. Contractions and folds of the forward step are handed out too and read, all else is
// computed again. What belongs to a whole operand is a sum over steps; where a step's share is itself a sum or a
// contraction, its factors are handed out and the steps become one more summed axis of one contraction outside:
//
//     dW = sum_t  x_t^T dz_t  =  dot(x, dz; steps and rows)
//
// and only what has no such form is carried along and added up.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "ir/loops.h"
#include "ir/ops/rules.h"
#include "ir/pull_back.h"

namespace nnc {

using namespace rules;

namespace {

/// The type of operand `i` as one step sees it; nothing where it cannot be a sequence of that many steps.
std::optional<Type> type_at_step(const Scan& scan, std::span<const Type> operands, std::size_t i) {
  Type type = operands[i];
  const auto carries = static_cast<std::size_t>(scan.carries), sequences = static_cast<std::size_t>(scan.sequences);
  if (i < carries || i >= carries + sequences) return type;
  if (type.rank() == 0 || type.shape[0] != Extent{scan.steps, false}) return std::nullopt;
  type.shape.erase(type.shape.begin());
  return type;
}

TypeOrError result_type(const ShapeQuery& query) {
  const auto* scan = std::get_if<Scan>(&query.attributes);
  if (!scan || scan->carries < 0 || scan->sequences < 0 || scan->steps < 1 || scan->result < 0)
    return wrong_attributes();
  const Graph& body = *scan->body;
  const std::size_t carries = static_cast<std::size_t>(scan->carries), results = body.outputs.size();
  if (query.operands.size() < carries + static_cast<std::size_t>(scan->sequences))
    return ShapeError{.kind = ShapeError::Kind::operand_count};
  if (results < carries || static_cast<std::size_t>(scan->result) >= results) return wrong_attributes();

  for (std::size_t i = 0; i < query.operands.size(); ++i)
    if (!type_at_step(*scan, query.operands, i))
      return ShapeError{.kind = ShapeError::Kind::rank, .a = static_cast<int>(i)};
  for (const Node& node : body.nodes) {
    if (node.op != Op::input) continue;
    const std::size_t i = input_position(node);
    if (i >= query.operands.size()) return ShapeError{.kind = ShapeError::Kind::operand_count};
    if (*type_at_step(*scan, query.operands, i) != node.type)
      return ShapeError{.kind = ShapeError::Kind::types_differ, .a = static_cast<int>(i), .b = static_cast<int>(i)};
  }
  for (std::size_t i = 0; i < carries; ++i)
    if (body[body.outputs[i].node].type != query.operands[i]) return wrong_attributes();

  Type type = body[body.outputs[static_cast<std::size_t>(scan->result)].node].type;
  if (scan->result >= scan->carries) type.shape.insert(type.shape.begin(), Extent{scan->steps, false});
  if (!sound(type.shape)) return ShapeError{.kind = ShapeError::Kind::element_counts};
  return type;
}

std::string named(std::string_view kind, std::size_t number) { return std::string(kind) + std::to_string(number); }

/// Axes of a step's value among those of a stack, with the axis of steps in front.
std::vector<int> with_steps(const std::vector<int>& axes) {
  std::vector<int> result{0};
  for (int axis : axes) result.push_back(axis + 1);
  return result;
}

class LoopGradient {
 public:
  explicit LoopGradient(const GradientQuery& query)
      : query_(query), outer_(query.builder), loop_(outer_[query.y]), scan_(std::get<Scan>(loop_.attributes)) {
    add_result_gradient(query.y, query.dy);
    for (const auto& [y, dy] : query.others) add_result_gradient(y, dy);
  }

  Gradients run() {
    copy_forward_step();
    find_carried_gradients();
    differentiate_step();
    return build();
  }

 private:
  const Graph& body() const { return *scan_.body; }
  std::size_t carries() const { return static_cast<std::size_t>(scan_.carries); }
  std::size_t sequences_end() const { return carries() + static_cast<std::size_t>(scan_.sequences); }
  bool has_gradient(std::size_t operand) const { return is_float(outer_[loop_.operands[operand]].type.dtype); }

  void add_result_gradient(NodeId y, NodeId dy) {
    result_gradients_.emplace(std::get<Scan>(outer_[y].attributes).result, Value{&outer_, dy});
  }

  /// Inputs of the step back: "x3" is operand 3 at this step, "d3" the gradient of the next value of carry 3, "y5" that
  /// of what was handed out as result 5, "v7" node 7 of the forward body, "s4" what operand 4 got from the steps so
  /// far.
  Value input(std::string_view kind, std::size_t number, const Type& type) {
    return step_.make(Op::input, {}, Named{named(kind, number)}, type);
  }

  void copy_forward_step() {
    const std::vector<Value> made = rebuild(body(), step_, [&](NodeId id, const std::vector<Value>& operands) {
      const Node& node = body()[id];
      if (node.op != Op::input) return copy_node(step_, node, operands);
      const std::size_t position = input_position(node);
      const Value leaf = input("x", position, node.type);
      step_.name_node(leaf.id, node.origin.name);
      inputs_.emplace(position, leaf.id);
      if (position < carries()) {
        forward_of_.emplace(named("x", position), id);
        forward_carries_.emplace(leaf.id, id);
      }
      return leaf;
    });
    for (const Output& output : body().outputs) results_.push_back(made[output.node]);
    for (NodeId id = 0; id < body().nodes.size(); ++id) {
      const OpClass cls = definition(body()[id].op).cls;
      if (cls != OpClass::contract && cls != OpClass::reduce && cls != OpClass::loop) continue;
      saved_.emplace(made[id].id, named("v", id));
      forward_of_.emplace(named("v", id), id);
    }
  }

  /// The gradients of results that flow into a step, those of carries where `carried`.
  std::vector<PullBack::Seed> seeds(Builder& builder, const std::set<std::size_t>& carried) {
    std::vector<PullBack::Seed> seeds;
    for (std::size_t i = 0; i < results_.size(); ++i) {
      const bool is_carry = i < carries();
      if (is_carry ? !carried.contains(i) : !result_gradients_.contains(static_cast<int>(i))) continue;
      const Value gradient = builder.make(Op::input, {}, Named{named(is_carry ? "d" : "y", i)}, results_[i].type());
      seeds.emplace_back(results_[i].id, gradient);
    }
    return seeds;
  }

  /// A carry has a gradient if its last value has one, or if what a step makes of it leads to something that has.
  void find_carried_gradients() {
    for (std::size_t i = 0; i < carries(); ++i)
      if (result_gradients_.contains(static_cast<int>(i))) carried_.insert(i);
    std::vector<NodeId> targets;
    for (std::size_t i = 0; i < carries(); ++i)
      if (inputs_.contains(i) && has_gradient(i)) targets.push_back(inputs_.at(i));
    for (bool grown = true; grown;) {
      Builder trial = step_;
      for (Value& result : results_) result.builder = &trial;
      const auto flowing = seeds(trial, carried_);
      const PullBack walk(trial, flowing, targets, query_.hook);
      grown = false;
      for (std::size_t i = 0; i < carries(); ++i)
        if (inputs_.contains(i) && has_gradient(i) && walk.adjoint(inputs_.at(i)))
          grown = carried_.insert(i).second || grown;
      for (Value& result : results_) result.builder = &step_;
    }
  }

  void differentiate_step() {
    std::vector<NodeId> targets;
    for (const auto& [position, leaf] : inputs_)
      if (has_gradient(position)) targets.push_back(leaf);
    step_.set_derived(true);
    const PullBack walk(step_, seeds(step_, carried_), targets, query_.hook);
    for (std::size_t i : carried_) {
      const Type type = results_[i].type();
      const auto gradient = inputs_.contains(i) ? walk.adjoint(inputs_.at(i)) : std::nullopt;
      next_.push_back((gradient ? *gradient : step_.spread(step_.constant(0, type.dtype), type.shape)).id);
    }
    for (const auto& [position, leaf] : inputs_) {
      if (position < carries()) continue;
      if (const auto gradient = has_gradient(position) ? walk.adjoint(leaf) : std::nullopt)
        shares_.emplace(position, gradient->id);
    }
    for (const auto& [position, share] : shares_) {
      if (position < sequences_end()) {
        hand_out(share);
      } else if (sums_up(share)) {
        find_factors(share);
      } else {
        added_.push_back(position);
        next_.push_back((input("s", position, step_[share].type) + Value{&step_, share}).id);
      }
    }
    step_.set_derived(false);
  }

  void hand_out(NodeId node) {
    if (std::ranges::find(handed_, node) == handed_.end()) handed_.push_back(node);
  }

  /// Whether the sum of a step's value over all steps can be had outside, out of what its factors are at each step.
  bool sums_up(NodeId id) const {
    const Node& node = step_[id];
    switch (node.op) {
      case Op::add:
      case Op::sub:
        return node.operands.size() == 2 && sums_up(node.operands[0]) && sums_up(node.operands[1]) &&
               step_[node.operands[0]].type == step_[node.operands[1]].type;
      case Op::neg:
      case Op::transpose:
      case Op::reshape:
      case Op::broadcast:
        return sums_up(node.operands[0]);
      case Op::sum:
        return node.operands.size() == 1;
      case Op::dot:
      case Op::scatter_add:
        return true;
      default:  // an op that is not linear in what it sums, or not worth a stack
        return false;
    }
  }

  void find_factors(NodeId id) {
    const Node& node = step_[id];
    for (NodeId operand : node.operands)
      if (node.op == Op::sum || node.op == Op::dot || node.op == Op::scatter_add)
        factor(operand);
      else
        find_factors(operand);
  }
  void factor(NodeId node) {
    if (!is_sequence(node) && !saved_.contains(node) && !forward_carries_.contains(node)) hand_out(node);
  }
  bool is_sequence(NodeId id) const {
    if (step_[id].op != Op::input) return false;
    for (const auto& [position, leaf] : inputs_)
      if (leaf == id) return position >= carries() && position < sequences_end();
    return false;
  }

  Value total(NodeId id) {
    const Node& node = step_[id];
    const auto x = [&](std::size_t i) { return total(node.operands[i]); };
    switch (node.op) {
      case Op::add:
        return x(0) + x(1);
      case Op::sub:
        return x(0) - x(1);
      case Op::neg:
        return -x(0);
      case Op::sum:
        return outer_.sum(stacked(node.operands[0]), with_steps(std::get<Reduce>(node.attributes).axes));
      case Op::dot: {
        Dot dot = std::get<Dot>(node.attributes);
        dot.a = with_steps(dot.a);
        dot.b = with_steps(dot.b);
        for (int& axis : dot.batch_a) ++axis;
        for (int& axis : dot.batch_b) ++axis;
        return outer_.make(Op::dot, {{stacked(node.operands[0]), stacked(node.operands[1])}}, dot);
      }
      case Op::scatter_add:
        return outer_.make(Op::scatter_add, {{stacked(node.operands[0]), stacked(node.operands[1])}}, node.attributes);
      default: {  // a view
        const Value operand = x(0);
        return outer_.make(node.op, {{operand}}, node.attributes, node.type);
      }
    }
  }

  /// What a node of the step is at all steps.
  Value stacked(NodeId id) {
    if (is_sequence(id))
      return {&outer_, loop_.operands[std::stoul(std::get<Named>(step_[id].attributes).name.substr(1))]};
    if (const auto saved = saved_.find(id); saved != saved_.end()) return forward(forward_of_.at(saved->second));
    if (const auto carry = forward_carries_.find(id); carry != forward_carries_.end()) return forward(carry->second);
    const auto place = std::ranges::find(handed_, id) - handed_.begin();
    return back(static_cast<int>(next_.size()) + static_cast<int>(place));
  }

  // The loops themselves

  Gradients build() {
    std::vector<NodeId> results = next_;
    results.insert(results.end(), handed_.begin(), handed_.end());
    std::vector<std::string> names;
    for (std::size_t i : carried_) add_operand(names, named("d", i), first_gradient(i));
    for (std::size_t i : added_) {
      const Type type = outer_[loop_.operands[i]].type;
      add_operand(names, named("s", i), outer_.spread(outer_.constant(0, type.dtype), type.shape));
    }
    back_.carries = static_cast<int>(names.size());
    std::vector<std::string> wholes;
    const std::vector<std::string> used = inputs_of(step_.graph(), results, saved_);
    for (const std::string& name : std::set<std::string>(used.begin(), used.end())) {
      const auto number = static_cast<std::size_t>(std::stoul(name.substr(1)));
      if (name[0] == 'x' && number >= sequences_end())
        wholes.push_back(name);
      else if (name[0] == 'y')
        add_operand(names, name, result_gradients_.at(static_cast<int>(number)));
      else if (name[0] == 'x' && number >= carries())
        add_operand(names, name, {&outer_, loop_.operands[number]});
      else if (name[0] == 'x' || name[0] == 'v')
        add_operand(names, name, forward(forward_of_.at(name)));
    }
    back_.sequences = static_cast<int>(names.size()) - back_.carries;
    for (const std::string& name : wholes)
      add_operand(names, name, {&outer_, loop_.operands[std::stoul(name.substr(1))]});
    back_.steps = scan_.steps;
    back_.backwards = !scan_.backwards;
    back_.body = loop_body(step_.graph(), names, results, saved_);
    return gradients();
  }

  void add_operand(std::vector<std::string>& names, std::string name, Value operand) {
    names.push_back(std::move(name));
    operands_.push_back(operand);
  }

  Value first_gradient(std::size_t carry) {
    if (const auto given = result_gradients_.find(static_cast<int>(carry)); given != result_gradients_.end())
      return given->second;
    const Type type = outer_[loop_.operands[carry]].type;
    return outer_.spread(outer_.constant(0, type.dtype), type.shape);
  }

  /// A node of the forward body at every step.
  Value forward(NodeId node) {
    Scan loop = scan_;
    const auto known = std::ranges::find_if(body().outputs.begin() + scan_.carries, body().outputs.end(),
                                            [&](const Output& output) { return output.node == node; });
    loop.result = static_cast<int>(known - body().outputs.begin());
    if (known == body().outputs.end()) loop.body = handing_out(scan_.body, {{node}});
    std::vector<Value> operands;
    for (NodeId operand : loop_.operands) operands.push_back({&outer_, operand});
    return outer_.make(Op::scan, operands, std::move(loop));
  }

  Value back(int result) {
    Scan loop = back_;
    loop.result = result;
    return outer_.make(Op::scan, operands_, std::move(loop));
  }

  Gradients gradients() {
    Gradients gradients(loop_.operands.size());
    int next = 0;
    for (std::size_t i : carried_) gradients[i] = back(next++);
    for (std::size_t i : added_) gradients[i] = back(next++);
    for (const auto& [position, share] : shares_)
      if (!gradients[position]) gradients[position] = position < sequences_end() ? stacked(share) : total(share);
    return gradients;
  }

  const GradientQuery& query_;
  Builder& outer_;
  const Node loop_;
  const Scan scan_;
  std::map<int, Value> result_gradients_;

  Builder step_{"back"};                      ///< a step forward, then its derivative
  std::map<std::size_t, NodeId> inputs_;      ///< in `step_`, by operand
  std::vector<Value> results_;                ///< of the step forward
  std::map<NodeId, std::string> saved_;       ///< nodes of the step forward that are read, not computed again
  std::map<std::string, NodeId> forward_of_;  ///< the node of the forward body that an input stands for
  std::map<NodeId, NodeId> forward_carries_;  ///< the same of carries, by the step's node
  std::set<std::size_t> carried_;             ///< carries with a gradient
  std::map<std::size_t, NodeId> shares_;      ///< a step's part of the gradient of sequences and wholes
  std::vector<std::size_t> added_;            ///< wholes whose gradient is added up from step to step
  std::vector<NodeId> next_, handed_;         ///< results of the step back
  std::vector<Value> operands_;
  Scan back_ = scan_;
};

}  // namespace

namespace ops {

constinit const OpDef scan{
    .name = "scan",
    .cls = OpClass::loop,
    .arity = -1,
    .shape = result_type,
    .gradient = [](const GradientQuery& query) { return LoopGradient(query).run(); },
};

}  // namespace ops
}  // namespace nnc
