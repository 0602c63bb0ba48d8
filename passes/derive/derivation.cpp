#include "passes/derive/derivation.h"

#include <utility>

#include "passes/derive/deriver.h"
#include "passes/derive/repeats.h"
#include "passes/pipeline.h"

namespace nnc {

std::size_t length_of(const Formula& formula) {
  const std::string text = as_text(formula);
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

Deriver::Deriver(const Graph& step, const DeriveOptions& options) : options_(options) {
  PipelineOptions pipeline;
  pipeline.simplify = {.disabled_laws = options.disabled_laws, .record = &record_};
  const Graph folded = optimise_until(step, "fold", pipeline);
  const Graph stable = stabilise(folded, pipeline.simplify);
  stabilised_uses_ = record_.uses.size();
  simplify(differentiate(stable, options.hook, &record_), pipeline.simplify);
  obligations_ = stable.obligations;
  simplified_.emplace(record_.simplified);
  stabilised_.emplace(record_.stabilised);
}

Derivation Deriver::run() {
  Derivation result;
  std::vector<NodeId> roots;
  for (bool named : {true, false})  // what is derived of a gradient, as newton does, has no name
    for (const AskedGradient& asked : record_.asked) {
      if (!is_wanted(asked) || node(asked.root).origin.name.empty() == named || (!named && !roots.empty())) continue;
      if (std::ranges::find(roots, asked.root) == roots.end()) roots.push_back(asked.root);
    }
  for (NodeId root : roots) derive_from(root, result);
  result.values = record_.values.graph();
  result.marked = record_.differentiated;
  result.values.obligations = result.marked.obligations = obligations_;
  return result;
}

void Deriver::derive_from(NodeId root, Derivation& result) {
  collect(root);
  find_layers();
  notation_.emplace(nodes());
  reserve_columns();
  name_written_values();
  name_layers();
  name_parameters();
  name_drawn_numbers();
  loops_before_ = result.loops.size();
  find_loops();
  share_stable_names();
  name_long_values();
  name_factors();
  choose_displayed();
  share_stable_names();
  for (LoopSteps& loop : loops_) name_steps(loop);
  const std::size_t number = result.leaves.size();
  DerivationPart values{.title = "The values", .lines = {}, .root = number};
  DerivationPart gradients{.title = "The gradients", .lines = {}, .root = number};
  write_gradients(gradients.lines);
  write_values(values.lines);
  if (!options_.every_law)
    for (std::vector<DerivationLine>* lines : {&values.lines, &gradients.lines}) tell_repeats_once(*lines);
  result.parts.push_back(std::move(values));
  result.parts.push_back(std::move(gradients));
  for (std::size_t loop = 0; loop < loops_.size(); ++loop) {
    result.parts.push_back(steps_of(loop));
    result.parts.back().root = number;
  }
  for (const LoopSteps& loop : loops_) result.loops.push_back(loop.told);
  result.leaves.push_back(leaves());
}

/// Leaves as formulas have them: by their names, numbers that are drawn by those of the notation.
std::map<std::string, NodeId> Deriver::leaves() const {
  std::map<std::string, NodeId> leaves;
  for (NodeId id = 0; id < nodes().size(); ++id) {
    if (const auto* named = std::get_if<Named>(&node(id).attributes))
      leaves.emplace(named->name, id);
    else if (node(id).operands.empty() && notation_->has_name(id))
      leaves.emplace(as_text(notation_->name_of(id)), id);
  }
  return leaves;
}

void Deriver::collect(NodeId root) {
  root_ = root;
  rules_.clear();
  gradient_of_.clear();
  marked_.clear();
  asked_.clear();
  std::set<NodeId> leads;  // values on a way to a wanted parameter
  for (const AskedGradient& asked : record_.asked) {
    if (asked.root != root || !is_wanted(asked)) continue;
    asked_.push_back(asked);
    leads.insert(asked.by);
    gradient_of_[asked.by] = asked.gradient;
    marked_[asked.by] = asked.marked_by;
    marked_[root] = asked.marked_root;
  }
  for (NodeId id = 0; id < nodes().size(); ++id)
    if (std::ranges::any_of(node(id).operands, [&](NodeId operand) { return leads.contains(operand); }))
      leads.insert(id);
  for (RuleUse use : record_.rules) {
    if (use.root != root || gradient_of_.contains(use.y)) continue;
    std::erase_if(use.shares, [&](const RuleUse::Share& share) { return !leads.contains(share.operand); });
    if (use.shares.empty()) continue;
    gradient_of_[use.y] = use.dy;
    marked_[use.y] = use.marked_y;
    rules_.push_back(std::move(use));
  }
}

void Deriver::find_layers() {
  layers_.clear();
  std::map<NodeId, std::size_t> layer_of;  // by its product
  for (auto use = record_.rules.rbegin(); use != record_.rules.rend(); ++use) {
    const Node& y = node(use->y);
    if (use->root != root_) continue;
    if (definition(y.op).cls == OpClass::contract) {
      for (std::size_t i : {1, 0}) {
        const NodeId weight = under_views(y.operands[i]);
        if (node(weight).op != Op::param || node(weight).type.rank() < 2) continue;
        layer_of[use->y] = layers_.size();
        const NodeId base = base_of(y.operands[1 - i]);
        const bool is_element = node(base).op == Op::slice;  // of which an axis may be left out
        layers_.push_back({use->y, weight, is_element ? y.operands[1 - i] : base, use->y});
        break;
      }
    } else if (y.op == Op::add) {
      for (std::size_t i : {0, 1}) {
        const auto layer = layer_of.find(base_of(y.operands[i]));
        const NodeId bias = base_of(y.operands[1 - i]);
        if (layer == layer_of.end() || node(bias).op != Op::param || layers_[layer->second].has_bias) continue;
        layers_[layer->second].value = use->y;
        layers_[layer->second].bias = bias;
        layers_[layer->second].has_bias = true;
      }
    }
  }
}

std::set<NodeId> Deriver::everything_in(NodeId id) const {
  std::set<NodeId> seen{id};
  for (NodeId at = id + 1; at-- > 0;)  // operands precede users
    if (seen.contains(at)) seen.insert(node(at).operands.begin(), node(at).operands.end());
  return seen;
}

Derivation derive(const Graph& step, const DeriveOptions& options) { return Deriver(step, options).run(); }

}  // namespace nnc
