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
  for (NodeId id : reached) {
    const auto* scan = std::get_if<Scan>(&node(id).attributes);
    if (!scan) continue;
    std::vector<NodeId> operands;  // what became of them: a loop over other forms of the same is the same
    for (NodeId operand : node(id).operands) operands.push_back(simplified_->of(operand));
    auto loop = std::ranges::find_if(
        loops_, [&](const LoopSteps& other) { return other.forms == operands && is_one_loop(other, *scan); });
    if (loop == loops_.end())
      loop = loops_.insert(loops_.end(), LoopSteps{.operands = node(id).operands, .forms = operands, .scan = *scan});
    const std::vector<NodeId> results = copied_results(*scan->body, loop->body);
    const NodeId made = results[static_cast<std::size_t>(scan->result)];
    loop->next.assign(results.begin(), results.begin() + scan->carries);
    const auto is_same = [&](const auto& other) {
      const int result = std::get<Scan>(node(other.first).attributes).result;
      return other.second == made && (result >= scan->carries) == (scan->result >= scan->carries);
    };
    const auto same = std::ranges::find_if(loop->made, is_same);
    if (same != loop->made.end()) {
      notation_->share_name(id, same->first);
      continue;
    }
    if (!notation_->has_name(id)) notation_->name(id, symbol_formula("r"));
    loop->made[id] = made;
  }
}

void Deriver::name_steps(LoopSteps& loop) {
  const std::vector<Node>& steps = loop.body.graph().nodes;
  for (NodeId id = 0; id < steps.size(); ++id)
    if (steps[id].op == Op::input) loop.inputs[input_position(steps[id])] = id;
  loop.notation.emplace(steps);
  loop.told.steps = loop.scan.steps;
  loop.told.backwards = loop.scan.backwards;
  const auto carries = static_cast<std::size_t>(loop.scan.carries);
  const std::size_t wholes = carries + static_cast<std::size_t>(loop.scan.sequences);
  for (const auto& [id, made] : loop.made) {
    const bool stacked = std::get<Scan>(node(id).attributes).result >= loop.scan.carries;
    if (stacked && steps[made].op != Op::input && !loop.notation->has_name(made))
      loop.notation->rename(made, at_step(notation_->name_of(id), "t"));
  }
  for (std::size_t carry = 0; carry < carries; ++carry) name_carry(loop, carry);
  for (const auto& [operand, id] : loop.inputs) {
    if (operand >= wholes) loop.notation->rename(id, notation_->of(loop.operands[operand]));
    if (operand >= carries && operand < wholes) loop.notation->rename(id, name_sequence(loop, operand));
  }
  // What is long, or used again, is a line of its own.
  constexpr std::size_t worth_it = 24, long_value = 64;
  std::vector<int> uses(steps.size(), 0);
  for (const Node& x : steps)
    for (NodeId operand : x.operands) ++uses[operand];
  for (NodeId id = 0; id < steps.size(); ++id) {
    if (!is_float(steps[id].type.dtype) || loop.notation->has_name(id)) continue;
    if (definition(steps[id].op).cls == OpClass::view) continue;
    const std::size_t length = length_of(loop.notation->made_of(id));
    if (length > long_value || (length > worth_it && uses[id] > 1)) {
      const Formula own = symbol_formula(steps[id].origin.name.empty() ? "p" : steps[id].origin.name);
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

DerivationPart Deriver::steps_of(std::size_t number) {
  LoopSteps& loop = *std::next(loops_.begin(), static_cast<std::ptrdiff_t>(number));
  const std::int64_t last = loop.scan.steps - 1;
  DerivationPart part{.title = {}, .lines = {}};
  const std::string order =
      loop.scan.backwards ? fmt::format("{}, {}, …, 0", last, last - 1) : fmt::format("0, 1, …, {}", last);
  part.title = fmt::format("Loop {}, step by step: t = {}", number + 1, order);
  const auto add = [&](Formula left, Formula right, const Type& type) {
    part.lines.push_back({.left = std::move(left), .right = std::move(right), .shape = shape_text(type.shape)});
    part.lines.back().given = true;
    part.lines.back().loop = loops_before_ + number;
  };
  for (const DerivationLoop::Carry& carry : loop.told.carries) add(carry.start, carry.first, carry.type);
  std::size_t operand = static_cast<std::size_t>(loop.scan.carries);
  for (const DerivationLoop::Sequence& sequence : loop.told.sequences) {
    Type type = node(loop.operands[operand++]).type;
    const int rank = type.rank();
    type.shape.erase(type.shape.begin());
    const bool told = sequence.of.kind == Formula::Kind::symbol && sequence.of.text == "r";
    if (told) continue;  // what another loop hands out
    Formula element{.kind = Formula::Kind::stretch, .parts = {sequence.of}};
    for (int axis = 0; axis < rank; ++axis)
      element.stretches.push_back({.whole = axis != sequence.axis, .at_step = axis == sequence.axis});
    add(sequence.name, std::move(element), type);
  }
  for (std::size_t carry = 0; carry < loop.next.size(); ++carry)
    loop.told.carries[carry].next = loop.notation->of(loop.next[carry]);
  std::map<NodeId, std::pair<Formula, Formula>> lines;
  for (bool more = true; more;) {
    more = false;
    for (NodeId id : std::set<NodeId>(loop.notation->mentioned())) {
      if (loop.body[id].op == Op::input || lines.contains(id)) continue;
      lines[id] = {loop.notation->name_of(id), loop.notation->made_of(id)};
      more = true;
    }
  }
  for (auto& [id, sides] : lines) add(sides.first, sides.second, loop.body[id].type);
  for (const DerivationLoop::Carry& carry : loop.told.carries)  // handed on as it is
    if (carry.next != carry.after) add(carry.after, carry.next, carry.type);
  return part;
}

}  // namespace nnc
