// Loops: `x |> scan(Cell(64))`, `carry` and `update` in the layer that is scanned.
//
// A step is elaborated once, in the graph that stands around it, over leaves that stand for what changes from step to
// step: the slice of x, the carries, the states that the layer updates, and random draws (made outside for all steps at
// once, so that every step has its own). What does not depend on any of these is computed once, outside, and is whole
// at every step; the rest is cut out and becomes the body of the loop.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborator.h"
#include "ir/loops.h"

namespace nnc {

inline namespace elaboration {

/// The loop whose step is being elaborated.
struct LoopContext {
  struct Carry {
    Value step;     ///< stands for the value at the beginning of a step
    Value initial;  ///< outside
    Value now;      ///< in the course of the step
    std::vector<Axis> axes;
    Span span;
  };
  struct Sequence {
    Value step;
    Value all;  ///< outside, steps in front
  };
  std::int64_t steps = 1;
  LoopContext* outer = nullptr;
  std::map<std::string, Carry> carries;  ///< by path
  std::map<std::string, Carry> states;   ///< states that the step reads; those that it updates become carries
  std::vector<Sequence> sequences;
};

}  // namespace elaboration

namespace {

/// Swaps the innermost loop while something outside of it is made.
class InLoop {
 public:
  InLoop(GraphContext& graph, LoopContext* loop) : graph_(graph), before_(std::exchange(graph.loop, loop)) {}
  ~InLoop() { graph_.loop = before_; }
  InLoop(const InLoop&) = delete;
  InLoop& operator=(const InLoop&) = delete;

 private:
  GraphContext& graph_;
  LoopContext* before_;
};

/// A leaf for something that changes from step to step; nothing else is called so, and none is left once the loop is
/// cut out.
Value stand_in(Elaborator& e, const Type& type) {
  return e.builder().make(Op::input, {}, Named{fmt::format("step/{}", e.builder().graph().nodes.size())}, type);
}

std::string stand_in_name(Value leaf) { return std::get<Named>((*leaf.builder)[leaf.id].attributes).name; }

Type without_steps(Type type) {
  type.shape.erase(type.shape.begin());
  return type;
}

/// The axis moved to the front, or back from there.
Value axis_to_front(Value x, int axis) {
  std::vector<int> order{axis};
  for (int i = 0; i < x.type().rank(); ++i)
    if (i != axis) order.push_back(i);
  return x.builder->transpose(x, order);
}
Value front_to_axis(Value x, int axis) {
  std::vector<int> order;
  for (int i = 1; i < x.type().rank(); ++i) order.push_back(i);
  order.insert(order.begin() + axis, 0);
  return x.builder->transpose(x, order);
}

/// What each node of the graph needs.
struct Needs {
  std::vector<bool> step;  ///< something that stands for a step's value
  std::vector<bool> data;  ///< something that is not the same number in every program: what is whole comes from outside

  Needs(const Graph& graph, const std::vector<Value>& stand_ins) : step(graph.nodes.size()), data(graph.nodes.size()) {
    for (Value leaf : stand_ins) step[leaf.id] = true;
    for (NodeId id = 0; id < graph.nodes.size(); ++id) {
      const Node& node = graph[id];
      const OpClass cls = definition(node.op).cls;
      data[id] = node.op == Op::random || node.op == Op::point ||
                 (cls == OpClass::leaf && node.op != Op::constant && node.op != Op::size);
      for (NodeId operand : node.operands) {
        if (step[operand]) step[id] = true;
        if (data[operand]) data[id] = true;
      }
    }
  }
};

/// The loop cut out of the graph: result i of the body is `next` of the carries, then `results`.
class CutOut {
 public:
  CutOut(Elaborator& e, const LoopContext& loop, std::vector<LoopContext::Carry> carries,
         const std::vector<LoopContext::Carry>& unchanged, const std::vector<Value>& results)
      : builder_(e.builder()) {
    std::vector<Value> stand_ins;
    for (const auto& carry : carries) add(carry.step, carry.initial, stand_ins);
    for (const auto& sequence : loop.sequences) add(sequence.step, sequence.all, stand_ins);
    const std::size_t changing = stand_ins.size();
    for (const auto& state : unchanged) add(state.step, state.initial, stand_ins);
    std::vector<NodeId> ends;
    for (const auto& carry : carries) ends.push_back(carry.now.id);
    for (Value result : results) ends.push_back(result.id);

    const Graph& graph = builder_.graph();
    const Needs needs(graph, stand_ins);
    std::vector<bool> inside(graph.nodes.size(), false);
    std::map<NodeId, std::string> wholes;
    for (NodeId end : ends) inside[end] = true;
    for (NodeId id = static_cast<NodeId>(graph.nodes.size()); id-- > 0;) {
      if (!inside[id]) continue;
      if (!needs.step[id] && needs.data[id]) {
        wholes.emplace(id, fmt::format("whole/{}", id));
        continue;
      }
      for (NodeId operand : graph[id].operands) inside[operand] = true;
    }
    for (const auto& [id, name] : wholes) {
      names_.push_back(name);
      operands_.push_back({&builder_, id});
    }
    scan_.carries = static_cast<int>(carries.size());
    scan_.sequences = static_cast<int>(changing - carries.size());
    scan_.steps = loop.steps;
    scan_.body = loop_body(graph, names_, ends, wholes);
    for (std::size_t i = 0; i < carries.size(); ++i)
      if (needs.step[carries[i].initial.id]) early_ = carries[i].span;
  }

  /// Where a first value needs what a step makes.
  const std::optional<Span>& early() const { return early_; }
  Value result(std::size_t i) {
    Scan scan = scan_;
    scan.result = static_cast<int>(i);
    return builder_.make(Op::scan, operands_, std::move(scan));
  }

 private:
  void add(Value step, Value outside, std::vector<Value>& stand_ins) {
    names_.push_back(stand_in_name(step));
    operands_.push_back(outside);
    stand_ins.push_back(step);
  }

  Builder& builder_;
  std::vector<std::string> names_;
  std::vector<Value> operands_;
  Scan scan_{.body = ScanBody(Graph{})};
  std::optional<Span> early_;
};

}  // namespace

/// `carry h: T = init`: the value of the step before, at first `init`.
Term Elaborator::declare_carry(const std::string& path, const ArrayType& type, Span span,
                               const std::function<Term()>& initial) {
  LoopContext& loop = *graph_->loop;
  if (const auto known = loop.carries.find(path); known != loop.carries.end())
    return wrap(known->second.now, known->second.axes);
  Term first;
  {
    const InLoop outside(*graph_, loop.outer);
    first = initial();
  }
  const Array* array = first.as<Array>();
  if (!array) return Failed{};
  const Value value = whole_node(*array), step = stand_in(*this, type_of(type));
  loop.carries.emplace(path, LoopContext::Carry{step, value, step, type.axes, span});
  return wrap(step, type.axes);
}

Term Elaborator::update_carry(const std::string& path, Value value) {
  LoopContext::Carry& carry = graph_->loop->carries.at(path);
  carry.now = value;
  return wrap(value, carry.axes);
}

/// A state, as a step of the innermost loop sees it before any update.
Value Elaborator::state_in_loop(const std::string& path, const Type& type) {
  LoopContext* loop = graph_->loop;
  if (!loop) {
    const auto now = graph_->states.find(path);
    return now != graph_->states.end() ? now->second : builder().leaf(Op::state, path, type);
  }
  if (const auto known = loop->states.find(path); known != loop->states.end()) return graph_->states.at(path);
  Value outside;
  {
    const InLoop around(*graph_, loop->outer);
    outside = state_in_loop(path, type);
  }
  const Value step = stand_in(*this, type);
  loop->states.emplace(path, LoopContext::Carry{step, outside, step, {}, {}});
  graph_->states.insert_or_assign(path, step);
  return step;
}

/// A stream in a loop is drawn for all steps at once, rows first, so that a row's draws do not depend on its block.
Value Elaborator::random_in_loop(Type type, std::uint64_t stream) {
  LoopContext* loop = graph_->loop;
  if (!loop) return builder().make(Op::random, {}, Random{stream}, type);
  const Extent steps{loop->steps, false};
  const int place = !type.shape.empty() && type.shape[0].batched ? 1 : 0;
  Type all = type;
  all.shape.insert(all.shape.begin() + place, steps);
  Value drawn;
  {
    const InLoop around(*graph_, loop->outer);
    drawn = axis_to_front(random_in_loop(all, stream), place);
  }
  const Value step = stand_in(*this, type);
  loop->sequences.push_back({step, drawn});
  return step;
}

Term Elaborator::scan(CallSite& site) {
  if (site.arguments.size() < 2)
    return error(Code::missing_argument, site.span, "`scan` needs a sequence and a layer", "",
                 "write `x |> scan(Cell(64))`");
  const Term sequence = site.evaluate(0), layer = site.evaluate(1);
  if (sequence.failed() || layer.failed()) return Failed{};
  if (!layer.as<std::shared_ptr<const Instance>>())
    return error(Code::type_mismatch, site.arguments[1].span,
                 fmt::format("`scan` takes an instance of a layer, and this is {}", describe(layer)), "",
                 "write `scan(Cell(64))`, with `layer Cell(...)(x: ...) -> ... { carry h: ... }`");
  const auto x = array(sequence, site.arguments[0].span, "what `scan` goes along", default_float());
  if (!x) return Failed{};
  if (x->axes.size() < 2)
    return error(Code::bad_axis, site.arguments[0].span,
                 fmt::format("`scan` goes along axis 1, and {} has none", describe(Term(*x))), "",
                 "a sequence is [batch, steps, ...]");
  if (x->axes[1].extent.batched || x->axes[1].stretch)
    return error(Code::bad_axis, site.arguments[0].span,
                 fmt::format("`scan` goes along axis 1, and that of {} has no fixed length", describe(Term(*x))));

  LoopContext loop{
      .steps = x->axes[1].extent.count, .outer = graph_->loop, .carries = {}, .states = {}, .sequences = {}};
  const Value all = axis_to_front(whole_node(*x), 1);
  const std::map<std::string, Value> states = graph_->states;
  builder().set_origin(origin(site.span));
  Term returned;
  {
    const InLoop inside(*graph_, &loop);
    const Value step = stand_in(*this, without_steps(all.type()));
    loop.sequences.push_back({step, all});
    std::vector<Axis> axes = x->axes;
    axes.erase(axes.begin() + 1);
    CallSite inner{*this, site.scope, site.name, site.span, site.arguments[1].span, {}};
    inner.arguments.push_back(
        {nullptr, nullptr, std::make_shared<Term>(wrap(step, std::move(axes))), site.arguments[0].span});
    for (std::size_t i = 2; i < site.arguments.size(); ++i) {  // whole: evaluated outside
      CallArgument whole = site.arguments[i];
      const InLoop outside(*graph_, loop.outer);
      if (!whole.value) whole.value = std::make_shared<Term>(evaluate(*whole.expr, site.scope));
      inner.arguments.push_back(std::move(whole));
    }
    returned = call(layer, inner);
  }
  return close_loop(loop, states, returned, x->axes[1], site.span);
}

namespace {

/// What parameters and states are outside of a loop that was just elaborated: as before it, and those that the loop was
/// the first to read, or to make, as they are before its first step.
std::map<std::string, Value> states_outside(const LoopContext& loop, std::map<std::string, Value> before,
                                            const std::map<std::string, Value>& inside) {
  for (const auto& [path, state] : loop.states) before.emplace(path, state.initial);
  before.insert(inside.begin(), inside.end());  // what is left are parameters, which no step changes
  return before;
}

}  // namespace

/// The loop out of its elaborated step: its results, stacked along axis 1.
Term Elaborator::close_loop(LoopContext& loop, const std::map<std::string, Value>& states, const Term& returned,
                            const Axis& steps, Span span) {
  const std::map<std::string, Value> inside =
      std::exchange(graph_->states, states_outside(loop, states, graph_->states));
  if (returned.failed()) return Failed{};
  std::vector<Term> terms{returned};
  if (const Several* several = returned.as<Several>()) terms = several->values;
  std::vector<Array> results;
  std::vector<Value> nodes;
  for (const Term& term : terms) {
    const auto result = array(term, span, "a result of a scanned layer", default_float());
    if (!result) return Failed{};
    if (result->axes.empty())
      return error(Code::bad_axis, span,
                   "a result of a scanned layer has no axis, so it cannot be stacked along axis 1", "",
                   "results are [batch, ...] at each step");
    results.push_back(*result);
    nodes.push_back(whole_node(*result));
  }
  std::vector<LoopContext::Carry> carries, unchanged;
  std::vector<std::string> updated;
  for (const auto& [path, carry] : loop.carries) carries.push_back(carry);
  const std::size_t own = carries.size();
  for (auto [path, state] : loop.states) {
    state.now = inside.at(path);
    if (state.now.id == state.step.id) {
      unchanged.push_back(state);
    } else {
      carries.push_back(state);
      updated.push_back(path);
    }
  }
  CutOut cut(*this, loop, carries, unchanged, nodes);
  if (cut.early())
    return error(Code::bad_variable, *cut.early(), "the first value of a carry cannot depend on a step", "",
                 "it is what the first step begins with: `carry h: f32[batch, 8] = zeros`");
  for (std::size_t i = 0; i < updated.size(); ++i) graph_->states.insert_or_assign(updated[i], cut.result(own + i));

  Several stacked;
  for (std::size_t i = 0; i < results.size(); ++i) {
    std::vector<Axis> axes = results[i].axes;
    axes.insert(axes.begin() + 1, steps);
    stacked.values.push_back(wrap(front_to_axis(cut.result(carries.size() + i), 1), std::move(axes)));
  }
  return stacked.values.size() == 1 ? stacked.values[0] : Term(std::move(stacked));
}

}  // namespace nnc
