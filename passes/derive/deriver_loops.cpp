// Loops in a derivation. All results over the same operands are one loop, whose part says what a step computes: names
// with a t are those of step t, what it hands out has the name of the result with a t behind it, and what it takes
// along from step to step has t − 1 before and t afterwards (t + 1 before, where it goes backwards).
#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "ir/loops.h"
#include "passes/derive/deriver.h"

namespace nnc {

namespace {

Formula at_step(Formula symbol, const std::string& step) {
  symbol.sub += (symbol.sub.empty() ? "" : ",") + step;
  symbol.scalar = false;
  return symbol;
}

/// [n, T, ...] as [T, n, ...].
bool brings_steps_forward(const Node& x) {
  const auto* transpose = std::get_if<Transpose>(&x.attributes);
  if (!transpose || transpose->permutation.size() < 2) return false;
  std::vector<int> swapped(transpose->permutation.size());
  std::iota(swapped.begin(), swapped.end(), 0);
  std::swap(swapped[0], swapped[1]);
  return transpose->permutation == swapped;
}

/// Results of the loop, copied into `builder`; equal nodes of several bodies become one.
std::vector<NodeId> copied_results(const Graph& body, Builder& builder) {
  const std::vector<Value> made = rebuild(body, builder, [&](NodeId id, const std::vector<Value>& operands) {
    return copy_node(builder, body[id], operands);
  });
  std::vector<NodeId> results;
  for (const Output& output : body.outputs) results.push_back(made[output.node].id);
  return results;
}

std::map<std::size_t, NodeId> inputs_of_step(const Graph& body) {
  std::map<std::size_t, NodeId> inputs;
  for (NodeId id = 0; id < body.nodes.size(); ++id)
    if (body[id].op == Op::input) inputs[input_position(body[id])] = id;
  return inputs;
}

bool is_one_loop(const LoopSteps& loop, const Scan& b) {
  const Scan& a = loop.scan;
  return a.carries == b.carries && a.sequences == b.sequences && a.steps == b.steps && a.backwards == b.backwards;
}

}  // namespace

void Deriver::find_loops() {
  loops_.clear();
  std::set<NodeId> reached = everything_in(root_);
  for (const AskedGradient& asked : asked_)
    for (NodeId form : {asked.gradient, simplified_->of(asked.gradient)}) reached.merge(everything_in(form));
  for (NodeId id : reached)
    if (std::holds_alternative<Scan>(node(id).attributes)) join_loop(id);
  tie_loops();
}

void Deriver::join_loop(NodeId id) {
  const Scan& scan = std::get<Scan>(node(id).attributes);
  std::vector<NodeId> operands;  // what became of them: a loop over other forms of the same is the same
  for (NodeId operand : node(id).operands) operands.push_back(simplified_->of(operand));
  auto loop = std::ranges::find_if(
      loops_, [&](const LoopSteps& other) { return other.forms == operands && is_one_loop(other, scan); });
  if (loop == loops_.end())
    loop = loops_.insert(loops_.end(), LoopSteps{.operands = node(id).operands, .forms = operands, .scan = scan});
  const std::vector<NodeId> results = copied_results(*scan.body, loop->body);
  const NodeId made = results[static_cast<std::size_t>(scan.result)];
  loop->next.assign(results.begin(), results.begin() + scan.carries);
  loop->results[id] = made;
  const auto is_same = [&](const auto& other) {
    const int result = std::get<Scan>(node(other.first).attributes).result;
    return other.second == made && (result >= scan.carries) == (scan.result >= scan.carries);
  };
  const auto same = std::ranges::find_if(loop->made, is_same);
  if (same != loop->made.end()) return notation_->share_name(id, same->first);
  const StepGradient* derivative = step_gradient(*loop, made);
  const bool has_symbol = derivative && derivative->by && scan.result >= scan.carries;
  if (!notation_->has_name(id)) notation_->name(id, symbol_formula(has_symbol ? "δ" : "r"));
  loop->made[id] = made;
}

std::size_t Deriver::number_of(const LoopSteps& loop) const {
  const auto is_it = [&](const LoopSteps& other) { return &other == &loop; };
  return static_cast<std::size_t>(std::distance(loops_.begin(), std::ranges::find_if(loops_, is_it)));
}

LoopSteps* Deriver::loop_of(NodeId result) {
  const auto loop =
      std::ranges::find_if(loops_, [&](const LoopSteps& other) { return other.results.contains(result); });
  return loop == loops_.end() ? nullptr : &*loop;
}

/// Loops that go back through another one read its values and hand out derivatives by them.
void Deriver::tie_loops() {
  for (LoopSteps& loop : loops_) loop.inputs = inputs_of_step(loop.body.graph());
  for (LoopSteps& back : loops_) {
    std::map<NodeId, std::vector<NodeId>> marked;  // by the loop that was differentiated
    for (NodeId id = 0; id < back.body.graph().nodes.size(); ++id)
      if (const StepGradient* entry = step_gradient(back, id)) marked[entry->loop].push_back(id);
    for (const auto& [of, entries] : marked) {
      LoopSteps* const forward = loop_of(of);
      if (!forward || forward == &back || (back.forward && back.forward != forward)) continue;
      back.forward = forward;
      find_derivatives(back, of, entries);
    }
    if (back.forward) find_same(back);
  }
}

void Deriver::find_derivatives(LoopSteps& back, NodeId of, const std::vector<NodeId>& entries) {
  LoopSteps& forward = *back.forward;
  const Graph& body = *std::get<Scan>(node(of).attributes).body;
  const std::vector<Value> made = rebuild(body, forward.body, [&](NodeId id, const std::vector<Value>& operands) {
    return copy_node(forward.body, body[id], operands);
  });
  std::vector<int> uses(back.body.graph().nodes.size(), 0);
  for (const Node& x : back.body.graph().nodes)
    for (NodeId operand : x.operands) uses[operand] += x.op == Op::pad ? 2 : 1;  // a part of a table is worth a name
  for (NodeId id : entries) {
    const auto by = step_gradient(back, id)->by;
    if (!by || *by >= made.size()) continue;
    back.derivative_by[id] = made[*by].id;
    const bool handed_out = std::ranges::any_of(back.results, [&](const auto& result) { return result.second == id; });
    if (handed_out || uses[id] > 1) forward.names_needed.insert(made[*by].id);
  }
}

/// The same element or whole value in the loop that this one goes back through.
std::optional<NodeId> Deriver::same_input(const LoopSteps& back, std::size_t operand) const {
  const LoopSteps& forward = *back.forward;
  const auto carries = static_cast<std::size_t>(back.scan.carries);
  if (operand < carries) return std::nullopt;
  const auto handed_out = forward.results.find(back.operands[operand]);
  const bool in_sequence = operand < carries + static_cast<std::size_t>(back.scan.sequences);
  if (in_sequence && handed_out != forward.results.end() &&
      std::get<Scan>(node(handed_out->first).attributes).result >= forward.scan.carries)
    return handed_out->second;
  const auto forward_carries = static_cast<std::size_t>(forward.scan.carries);
  const std::size_t wholes = forward_carries + static_cast<std::size_t>(forward.scan.sequences);
  for (const auto& [other, id] : forward.inputs)
    if (other >= forward_carries && (other < wholes) == in_sequence && forward.forms[other] == back.forms[operand])
      return id;
  return std::nullopt;
}

/// What a step back computes again has the name that it has in the step forward.
void Deriver::find_same(LoopSteps& back) {
  Builder& there = back.forward->body;
  const std::size_t known = there.graph().nodes.size();
  for (NodeId id = 0; id < back.body.graph().nodes.size(); ++id) {
    const Node& x = back.body[id];
    if (x.op == Op::input) {
      if (const auto same = same_input(back, input_position(x))) back.same[id] = *same;
      continue;
    }
    const auto is_there = [&](NodeId operand) { return back.same.contains(operand); };
    if (x.derived || !std::ranges::all_of(x.operands, is_there)) continue;
    std::vector<Value> operands;
    for (NodeId operand : x.operands) operands.push_back({&there, back.same.at(operand)});
    if (const Value made = copy_node(there, x, operands); made.id < known || x.operands.empty())
      back.same[id] = made.id;
  }
}

void Deriver::name_steps(LoopSteps& loop) {
  loop.notation.emplace(loop.body.graph().nodes);
  loop.told.steps = loop.scan.steps;
  loop.told.backwards = loop.scan.backwards;
  const auto carries = static_cast<std::size_t>(loop.scan.carries);
  const std::size_t wholes = carries + static_cast<std::size_t>(loop.scan.sequences);
  for (const auto& [id, made] : loop.made) {
    const bool stacked = std::get<Scan>(node(id).attributes).result >= loop.scan.carries;
    if (stacked && loop.body[made].op != Op::input && !loop.notation->has_name(made))
      loop.notation->rename(made, at_step(notation_->name_of(id), "t"));
  }
  for (std::size_t carry = 0; carry < carries; ++carry) name_carry(loop, carry);
  for (const auto& [operand, id] : loop.inputs) {
    if (operand >= wholes) loop.notation->rename(id, notation_->of(loop.operands[operand]));
    if (operand >= carries && operand < wholes) loop.notation->rename(id, name_sequence(loop, operand));
  }
  name_what_steps_share(loop);
  name_derivatives(loop);
  name_long_steps(loop);
  name_stacks(loop);
}

/// Sums over the steps are written with what a step takes and hands out.
void Deriver::name_stacks(LoopSteps& loop) {
  for (const auto& [id, made] : loop.results)
    if (std::get<Scan>(node(id).attributes).result >= loop.scan.carries && loop.notation->has_name(made))
      notation_->name_element(id, *loop.notation, made);
  const auto carries = static_cast<std::size_t>(loop.scan.carries);
  for (const auto& [operand, id] : loop.inputs)
    if (operand >= carries && operand < carries + static_cast<std::size_t>(loop.scan.sequences))
      for (NodeId stack : {loop.operands[operand], loop.forms[operand]})
        notation_->name_element(stack, *loop.notation, id);
}

/// z for sums and parts of them, which is what activations are applied to; values that the loop back reads have their
/// names from here.
void Deriver::name_what_steps_share(LoopSteps& loop) {
  for (NodeId id : loop.names_needed) {
    if (loop.notation->has_name(id) || loop.body[id].op == Op::input) continue;
    const Origin& origin = loop.body[id].origin;
    const Op op = loop.body[id].op;
    const std::string letter = op == Op::add || definition(op).cls == OpClass::view ? "z" : "p";
    const Formula own = symbol_formula(origin.name.empty() ? letter : origin.name);
    loop.notation->rename(id, at_step(notation_->free_symbol(own), "t"));
  }
  if (!loop.forward) return;
  for (const auto& [id, there] : loop.same)
    if (loop.body[id].op != Op::input && loop.forward->notation->has_name(there) && !loop.notation->has_name(id))
      loop.notation->rename(id, loop.forward->notation->of(there));
}

/// ∂loss/∂zₜ where zₜ has a name.
void Deriver::name_derivatives(LoopSteps& back) {
  if (!back.forward) return;
  std::set<std::string> taken;
  for (const auto& [id, by] : back.derivative_by) {
    if (!back.forward->notation->has_name(by) || back.body[id].op == Op::input || !back.body[id].derived) continue;
    Formula slope{.kind = Formula::Kind::slope, .parts = {notation_->of(root_), back.forward->notation->name_of(by)}};
    if (!taken.insert(as_text(slope)).second) continue;
    if (back.notation->has_name(id))
      back.slopes.emplace(id, std::move(slope));
    else
      back.notation->rename(id, std::move(slope));
  }
}

/// What is long, or used again, is a line of its own.
void Deriver::name_long_steps(LoopSteps& loop) {
  constexpr std::size_t worth_it = 24, long_value = 64;
  const std::vector<Node>& steps = loop.body.graph().nodes;
  std::vector<int> uses(steps.size(), 0);
  for (const Node& x : steps)
    for (NodeId operand : x.operands) ++uses[operand];
  for (const LoopSteps& back : loops_) {
    if (back.forward != &loop) continue;
    for (const Node& x : back.body.graph().nodes)
      for (NodeId operand : x.operands)
        if (const auto same = back.same.find(operand); x.derived && same != back.same.end()) ++uses[same->second];
  }
  for (NodeId id = 0; id < steps.size(); ++id) {
    if (!is_float(steps[id].type.dtype) || loop.notation->has_name(id)) continue;
    if (definition(steps[id].op).cls == OpClass::view) continue;
    const std::size_t length = length_of(loop.notation->made_of(id));
    const bool goes_on = steps[id].op == Op::add || steps[id].op == Op::sub;  // over several lines
    if (length > (goes_on ? 4 * long_value : long_value) || (length > worth_it && uses[id] > 1)) {
      const bool written = !steps[id].origin.name.empty() && !step_gradient(loop, id);
      const Formula own = symbol_formula(written ? steps[id].origin.name : "p");
      loop.notation->rename(id, at_step(notation_->free_symbol(own), "t"));
    }
  }
}

/// The value after a step is what the step hands out, where it does.
void Deriver::name_carry(LoopSteps& loop, std::size_t carry) {
  const NodeId next = loop.next[carry];
  Formula after;
  if (loop.notation->has_name(next) && loop.body[next].op != Op::input) {
    after = loop.notation->name_of(next);
  } else {
    after = at_step(notation_->free_symbol(symbol_formula(loop.scan.backwards ? "g" : "s")), "t");
    if (loop.body[next].op != Op::input) loop.notation->rename(next, after);
  }
  Formula before = after, start = after;
  const bool back = loop.scan.backwards;
  before.sub += back ? "+1" : "-1";
  start.sub.replace(start.sub.size() - 1, 1, back ? std::to_string(loop.scan.steps) : "-1");
  if (const auto input = loop.inputs.find(carry); input != loop.inputs.end())
    loop.notation->rename(input->second, before);
  const NodeId first = loop.operands[carry];
  loop.told.carries.push_back({before, after, start, notation_->of(first), {}, node(first).type});
}

/// x as xₜ; what has no name gets one.
Formula Deriver::name_sequence(LoopSteps& loop, std::size_t operand) {
  const NodeId id = loop.operands[operand];
  const auto handed_out = loop.forward ? loop.forward->results.find(id) : std::map<NodeId, NodeId>::iterator{};
  if (loop.forward && handed_out != loop.forward->results.end() &&
      loop.forward->notation->has_name(handed_out->second)) {
    const Formula name = loop.forward->notation->name_of(handed_out->second);
    loop.forward->notation->of(handed_out->second);  // has a line there
    loop.told.sequences.push_back({name, {}, 0, loops_before_ + number_of(*loop.forward)});
    return name;
  }
  const bool forward = brings_steps_forward(node(id)) && !notation_->has_name(id);
  const Formula of = notation_->of(forward ? node(id).operands[0] : id);
  const bool named = of.kind == Formula::Kind::symbol && of.seen.empty() && of.shape.empty();
  const Formula name = at_step(named ? of : notation_->free_symbol(symbol_formula("q")), "t");
  loop.told.sequences.push_back({name, of, forward ? 1 : 0});
  return name;
}

/// "all xₜ", or of what is taken along the last.
void Deriver::write_result(NodeId id, DerivationLine& line) {
  std::size_t number = 0;
  for (LoopSteps& loop : loops_) {
    const auto made = loop.made.find(id);
    if (made != loop.made.end()) {
      const int result = std::get<Scan>(node(id).attributes).result;
      const bool stacked = result >= loop.scan.carries;
      const Formula one =
          stacked ? loop.notation->of(made->second) : loop.told.carries[static_cast<std::size_t>(result)].after;
      line.right = {.kind = Formula::Kind::operation, .text = stacked ? "all" : "last", .parts = {one}};
      line.loop = loops_before_ + number;
      return;
    }
    ++number;
  }
}

/// The rules by which a value came about of those that have names, from the loss on. Where none was needed, several
/// ways to the loss meet in it, or it is added up from step to step.
std::vector<std::string> Deriver::step_rules(const LoopSteps& loop, NodeId id) const {
  if (!loop.body[id].derived) return {};
  std::vector<std::string> rules, plain;  // plain: what hands on all that it gets
  std::set<NodeId> seen{id};
  std::vector<NodeId> open{id};
  while (!open.empty()) {
    const NodeId at = open.back();
    open.pop_back();
    if (const StepGradient* entry = step_gradient(loop, at); entry && entry->rule) {
      const OpDef& op = definition(*entry->rule);
      std::vector<std::string>& list = op.cls == OpClass::view || op.cls == OpClass::control ? plain : rules;
      if (std::ranges::find(list, op.name) == list.end()) list.emplace_back(op.name);
    }
    for (NodeId operand : loop.body[at].operands) {
      const bool stops = !loop.body[operand].derived || loop.notation->has_name(operand);
      if (!stops && seen.insert(operand).second) open.push_back(operand);
    }
  }
  if (!rules.empty() || !plain.empty()) return rules.empty() ? plain : rules;
  const bool is_carried = std::ranges::any_of(loop.body[id].operands, [&](NodeId operand) {
    const Node& x = loop.body[operand];
    return x.op == Op::input && input_position(x) < loop.next.size() && loop.next[input_position(x)] == id;
  });
  if (loop.body[id].op != Op::add) return {};
  return {is_carried ? "over steps" : "ways"};
}

DerivationPart Deriver::steps_of(std::size_t number) {
  LoopSteps& loop = *std::next(loops_.begin(), static_cast<std::ptrdiff_t>(number));
  const std::int64_t last = loop.scan.steps - 1;
  DerivationPart part{.title = {}, .lines = {}};
  const std::string order =
      loop.scan.backwards ? fmt::format("{}, {}, …, 0", last, last - 1) : fmt::format("0, 1, …, {}", last);
  const std::string through = loop.forward ? fmt::format(", back through loop {}", number_of(*loop.forward) + 1) : "";
  part.title = fmt::format("Loop {}{}, step by step: t = {}", number + 1, through, order);
  const auto add = [&](Formula left, Formula right, const Type& type) -> DerivationLine& {
    part.lines.push_back({.left = std::move(left), .right = std::move(right), .shape = shape_text(type.shape)});
    part.lines.back().given = true;
    part.lines.back().loop = loops_before_ + number;
    return part.lines.back();
  };
  for (const DerivationLoop::Carry& carry : loop.told.carries) add(carry.start, carry.first, carry.type);
  std::size_t operand = static_cast<std::size_t>(loop.scan.carries);
  for (const DerivationLoop::Sequence& sequence : loop.told.sequences) {
    Type type = node(loop.operands[operand++]).type;
    const int rank = type.rank();
    type.shape.erase(type.shape.begin());
    if (sequence.handed_out_by) continue;
    Formula element{.kind = Formula::Kind::stretch, .parts = {sequence.of}};
    for (int axis = 0; axis < rank; ++axis)
      element.stretches.push_back({.whole = axis != sequence.axis, .at_step = axis == sequence.axis});
    add(sequence.name, std::move(element), type);
  }
  for (std::size_t carry = 0; carry < loop.next.size(); ++carry)
    loop.told.carries[carry].next = loop.notation->of(loop.next[carry]);
  std::map<NodeId, Formula> lines;
  for (bool more = true; more;) {
    more = false;
    for (NodeId id : std::set<NodeId>(loop.notation->mentioned())) {
      const bool told_there = loop.forward && loop.same.contains(id) &&
                              loop.forward->notation->has_name(loop.same.at(id)) &&
                              loop.forward->notation->name_of(loop.same.at(id)) == loop.notation->name_of(id);
      if (loop.body[id].op == Op::input || told_there || lines.contains(id)) continue;
      lines[id] = loop.notation->made_of(id);
      more = true;
    }
  }
  for (auto& [id, right] : lines) {
    Formula left = loop.notation->name_of(id);
    if (const auto slope = loop.slopes.find(id); slope != loop.slopes.end())
      left = {.kind = Formula::Kind::relation, .text = "=", .parts = {std::move(left), slope->second}};
    add(std::move(left), std::move(right), loop.body[id].type).reasons = step_rules(loop, id);
  }
  for (const DerivationLoop::Carry& carry : loop.told.carries)  // handed on as it is
    if (carry.next != carry.after) add(carry.after, carry.next, carry.type);
  return part;
}

}  // namespace nnc
