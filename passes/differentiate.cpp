// Reverse mode as a graph transformation. grad(e, x) becomes the graph of its derivative: a walk from e back to x
// (ir/pull_back.h) that asks each op's own rule for the gradients of its operands. Innermost gradients come first,
// since operands precede users, so that a gradient can be differentiated again. All gradients of one e share one walk.
#include "passes/differentiate.h"

#include <map>

#include "ir/builder.h"
#include "ir/loops.h"
#include "ir/op.h"
#include "ir/pull_back.h"
#include "passes/passes.h"
#include "passes/record.h"

namespace nnc {

namespace {

/// The gradient of something that the expression does not depend on.
Value zeros(Builder& builder, Type type) { return builder.spread(builder.constant(0, type.dtype), type.shape); }

/// What the gradients of a graph are taken of, and by what.
std::map<NodeId, std::vector<NodeId>> targets_by_root(const Graph& graph) {
  std::map<NodeId, std::vector<NodeId>> targets;
  for (const Node& node : graph.nodes)
    if (node.op == Op::grad) targets[node.operands[0]].push_back(node.operands[1]);
  return targets;
}

/// stop_gradient and point have done their work once no gradient is left.
Graph without_marks(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    const bool mark = graph[id].op == Op::stop_gradient || graph[id].op == Op::point;
    if (!mark) return copy_node(builder, graph[id], operands);
    builder.name_node(operands[0].id, graph[id].origin.name);
    return operands[0];
  });
  return finish_like(graph, std::move(builder), made);
}

}  // namespace

Graph finish_like(const Graph& graph, Builder&& builder, const std::vector<Value>& made) {
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

namespace {

/// Tells a record of each rule that is used on the nodes of one builder.
class RuleNotes {
 public:
  RuleNotes(Record* record, const Builder& builder, const GradientHook& hook)
      : record_(record), builder_(&builder), hook_(hook), value_(record, builder.graph()) {}

  /// Rules of loops' bodies work on other builders: their answers are marked there.
  GradientHook hook_for(NodeId root) {
    if (!record_) return hook_;
    return [this, root](const GradientQuery& query, Gradients& gradients) {
      if (hook_) hook_(query, gradients);
      if (&query.builder == builder_)
        note(query, gradients, root);
      else
        note_in_step(query, gradients);
    };
  }
  void asked(NodeId root, NodeId by, NodeId gradient) {
    if (record_) record_->asked.push_back({value_(root), value_(by), value_(gradient), root, by});
  }
  void end() {
    if (record_) record_->differentiated = builder_->graph();
  }

 private:
  void note(const GradientQuery& query, const Gradients& gradients, NodeId root) {
    RuleUse use{value_(root), value_(query.y), value_(query.dy), root, query.y};
    const std::vector<NodeId> operands = (*builder_)[query.y].operands;
    for (std::size_t i = 0; i < operands.size(); ++i)
      if (gradients[i]) use.shares.push_back({value_(operands[i]), value_(gradients[i]->id)});
    for (; loops_told_ < record_->step_gradients.size(); ++loops_told_)
      record_->step_gradients[loops_told_].loop = use.y;  // its rule is the one that asked those of the body
    record_->rules.push_back(std::move(use));
  }

  /// One value may be the derivative by several: it counts for the last of them.
  void note_in_step(const GradientQuery& query, const Gradients& gradients) {
    StepGradient* const dy = marked(query.builder, query.dy);
    if (dy && !dy->by) dy->by = query.y;
    for (const std::optional<Value>& gradient : gradients) {
      if (!gradient || gradient->id == query.dy) continue;
      StepGradient* const share = marked(query.builder, gradient->id);
      if (share && !share->rule) share->rule = query.builder[query.y].op;
    }
  }
  StepGradient* marked(Builder& step, NodeId id) {
    if (step[id].derived || step[id].op == Op::input)
      step.name_node(id, step_gradient_name(record_->step_gradients.size()));
    const auto entry = step_gradient_entry(step[id].origin.name);
    if (!entry) return nullptr;
    if (*entry == record_->step_gradients.size()) record_->step_gradients.emplace_back();
    return &record_->step_gradients[*entry];
  }

  Record* record_;
  const Builder* builder_;
  const GradientHook& hook_;
  Record::Reader value_;
  std::size_t loops_told_ = 0;  ///< entries of Record::step_gradients that know their loop
};

Graph without_gradients(const Graph& graph, const GradientHook& hook, Record* record) {
  Builder builder(graph.name);
  RuleNotes notes(record, builder, hook);
  const std::map<NodeId, std::vector<NodeId>> targets = targets_by_root(graph);
  std::map<NodeId, PullBack> walks;  // by the old root
  std::vector<Value> made;
  made.reserve(graph.nodes.size());

  const auto walk_from = [&](NodeId root) -> const PullBack& {
    if (const auto known = walks.find(root); known != walks.end()) return known->second;
    std::vector<NodeId> ids;
    for (NodeId target : targets.at(root))
      if (target < made.size()) ids.push_back(made[target].id);
    const PullBack::Seed seed{made[root].id, builder.constant(1, made[root].type().dtype)};
    const GradientHook noting = notes.hook_for(made[root].id);
    return walks.try_emplace(root, builder, std::span(&seed, 1), ids, &noting).first->second;
  };

  for (const Node& node : graph.nodes) {
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(made[operand]);
    if (node.op != Op::grad) {
      made.push_back(copy_node(builder, node, operands));
      continue;
    }
    builder.set_derived(true);
    const Value x = operands[1];
    const std::optional<Value> gradient = walk_from(node.operands[0]).adjoint(x.id);
    made.push_back(gradient ? *gradient : zeros(builder, x.type()));
    builder.set_derived(false);
    builder.set_origin({});
    if (const std::string& name = builder[x.id].origin.name; !name.empty())
      builder.name_node(made.back().id, "grad." + name);
    notes.asked(made[node.operands[0]].id, x.id, made.back().id);
  }
  notes.end();
  return finish_like(graph, std::move(builder), made);
}

}  // namespace

/// The marks inside loops hold until the loops themselves are differentiated.
Graph differentiate(const Graph& graph, const GradientHook& hook, Record* record) {
  const Graph whole = with_bodies(
      graph, [&](const Graph& g) { return without_gradients(g, hook, nullptr); },
      [&](const Graph& g) { return without_gradients(g, hook, record); });
  // A record goes on where the pass before left its values: a loop with another body would be another value.
  return record ? with_bodies(whole, without_marks) : share_loops(with_bodies(whole, without_marks));
}

Graph differentiate(const Graph& graph, Record* record) { return differentiate(graph, {}, record); }

}  // namespace nnc
