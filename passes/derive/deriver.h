// How a derivation is made: what its parts share. From the record of the passes to lines: rules are read from the loss
// backwards, in the order in which they were used. A value whose derivative has a line of its own is a displayed one,
// all others are written inside the lines that need them. Displayed are what layers put out before their activation
// (δ), parameters, and where a line would get too long some value on its way.
#pragma once

#include <algorithm>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "ir/op.h"
#include "passes/derive/derivation.h"
#include "passes/derive/notation.h"
#include "passes/record.h"
#include "passes/view.h"

namespace nnc {

constexpr std::size_t longest_line = 100;  ///< characters of a right side
std::size_t length_of(const Formula& formula);

/// What became of each value in the end.
class Outcome {
 public:
  explicit Outcome(const std::vector<Rewrite>& rewrites) {
    for (const Rewrite& rewrite : rewrites) next_.insert_or_assign(rewrite.before, rewrite.after);
  }
  NodeId of(NodeId id) const { return forms(id).back(); }
  /// The value and all forms that it had, in order.
  std::vector<NodeId> forms(NodeId id) const {
    std::vector<NodeId> all{id};
    for (auto at = next_.find(id); at != next_.end(); at = next_.find(at->second)) {
      if (std::ranges::find(all, at->second) != all.end()) break;
      all.push_back(at->second);
    }
    return all;
  }

 private:
  std::map<NodeId, NodeId> next_;
};

/// A product with a parameter, and the value before the activation: the product, or its sum with another parameter.
struct LayerOutput {
  NodeId product = 0, weight = 0, input = 0;
  NodeId value = 0, bias = 0;
  bool has_bias = false;
};

/// One loop, however many of its results are nodes of their own: what all of them do at a step, in one graph.
struct LoopSteps {
  std::vector<NodeId> operands, forms;  ///< and what these became
  Scan scan;
  Builder body{"step"};
  std::map<std::size_t, NodeId> inputs{};  ///< by operand, in `body`
  std::vector<NodeId> next{};              ///< of the carries, in `body`
  std::map<NodeId, NodeId> made{};         ///< of a result: what the step hands out, in `body`
  std::map<NodeId, NodeId> results{};      ///< the same of all forms of a result
  /// Of a loop that goes back through another one: that one, what is the same in both bodies, and whose derivative a
  /// value of this body is.
  LoopSteps* forward = nullptr;
  std::map<NodeId, NodeId> same{}, derivative_by{};
  std::map<NodeId, Formula> slopes{};  ///< of values with other names: ∂loss/∂zₜ
  std::set<NodeId> names_needed{};     ///< in `body`: values whose derivatives are told of
  std::optional<Notation> notation{};
  DerivationLoop told{};
};

class Deriver {
 public:
  Deriver(const Graph& step, const DeriveOptions& options);
  Derivation run();

 private:
  const std::vector<Node>& nodes() const { return record_.values.graph().nodes; }
  const Node& node(NodeId id) const { return nodes()[id]; }
  NodeId base_of(NodeId id) const { return see_through(nodes(), id).base; }
  NodeId under_views(NodeId id) const {
    while (definition(node(id).op).cls == OpClass::view && node(id).operands.size() == 1) id = node(id).operands[0];
    return id;
  }
  /// Whether it depends on a parameter.
  bool is_learnt(NodeId id) const {
    return std::ranges::any_of(everything_in(id), [&](NodeId part) { return node(part).op == Op::param; });
  }
  bool is_wanted(const AskedGradient& asked) const {
    const Node& by = node(asked.by);
    if (by.op != Op::param) return false;
    return options_.parameter.empty() || std::get<Named>(by.attributes).name == options_.parameter;
  }

  void derive_from(NodeId root, Derivation& result);
  void collect(NodeId root);
  void find_layers();
  void name_written_values();
  std::string layer_number(std::size_t index) const { return layers_.size() > 1 ? std::to_string(index + 1) : ""; }
  void name_long_values();
  std::set<NodeId> inside_written(NodeId id) const;
  void name_layers();
  void name_parameters();
  void name_factors();
  std::vector<NodeId> factors_beside(NodeId product, NodeId dy) const;
  void choose_displayed();
  void number_displayed();
  void shorten(NodeId y, const std::vector<NodeId>& order);
  bool name_value_inside(const std::set<NodeId>& within);
  void name_gradient(NodeId y);
  std::set<NodeId> inside(NodeId gradient) const;
  std::size_t width_of(NodeId gradient, bool written_out = false) const;
  std::vector<std::string> rules_inside(NodeId gradient) const;
  Formula slope_of(NodeId y) {
    return {.kind = Formula::Kind::slope, .parts = {notation_->of(root_), notation_->of(y)}};
  }
  void write_gradients(std::vector<DerivationLine>& lines);
  void write_gradient(NodeId y, std::vector<DerivationLine>& lines);
  DerivationLine line_by_rules(NodeId y);
  std::vector<std::string> write_laws(NodeId gradient, std::vector<DerivationLine>& lines);
  void write_detail(const LawUse& use, std::vector<DerivationLine>& lines);
  void write_values(std::vector<DerivationLine>& lines);
  void write_value(NodeId id, std::vector<DerivationLine>& lines);
  std::set<NodeId> everything_in(NodeId id) const;

  void reserve_columns();
  void name_drawn_numbers();
  void share_stable_names();
  std::map<std::string, NodeId> leaves() const;

  void find_loops();
  void join_loop(NodeId id);
  void tie_loops();
  LoopSteps* loop_of(NodeId result);
  std::size_t number_of(const LoopSteps& loop) const;
  void find_same(LoopSteps& back);
  std::optional<NodeId> same_input(const LoopSteps& back, std::size_t operand) const;
  void find_derivatives(LoopSteps& back, NodeId of, const std::vector<NodeId>& entries);
  void name_steps(LoopSteps& loop);
  void name_what_steps_share(LoopSteps& loop);
  void name_derivatives(LoopSteps& back);
  void name_long_steps(LoopSteps& loop);
  void name_stacks(LoopSteps& loop);
  std::vector<std::string> step_rules(const LoopSteps& loop, NodeId id) const;
  const StepGradient* step_gradient(const LoopSteps& loop, NodeId id) const {
    return record_.step_gradient(loop.body[id]);
  }
  Formula name_sequence(LoopSteps& loop, std::size_t operand);
  void name_carry(LoopSteps& loop, std::size_t carry);
  void write_result(NodeId id, DerivationLine& line);
  DerivationPart steps_of(std::size_t loop);

  const DeriveOptions& options_;
  Record record_;
  std::vector<Obligation> obligations_;
  std::size_t stabilised_uses_ = 0;

  // Of the root that is being derived from:
  NodeId root_ = 0;
  std::vector<RuleUse> rules_;            ///< from the root backwards, without those that lead to no wanted parameter
  std::map<NodeId, NodeId> gradient_of_;  ///< value -> dL/dvalue, as it was derived
  std::map<NodeId, NodeId> marked_;       ///< value -> its node in the marked graph
  std::vector<AskedGradient> asked_;
  std::vector<LayerOutput> layers_;             ///< in forward order
  std::set<NodeId> displayed_;                  ///< values whose derivatives have lines
  std::map<NodeId, NodeId> value_of_gradient_;  ///< the other way, for those that have names
  std::optional<Notation> notation_;
  std::optional<Outcome> simplified_, stabilised_;
  std::list<LoopSteps> loops_;    ///< notations point into them
  std::size_t loops_before_ = 0;  ///< those of other roots
};

}  // namespace nnc
