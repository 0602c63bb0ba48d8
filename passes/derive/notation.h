// Nodes as formulas: matrices in juxtaposition, Σ over named indices, names where values have them. What only repeats a
// value (a broadcast) is not written: shapes stand beside the lines.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "passes/derive/formula.h"

namespace nnc {

/// σ, Φ, or the name that the function has in the language.
std::string function_sign(Op op);

class Notation {
 public:
  explicit Notation(const std::vector<Node>& nodes) : nodes_(&nodes) {}

  /// The value is written by its name from here on; a name that is taken gets a number.
  void name(NodeId id, Formula symbol);
  /// Another name, whether it is taken or not.
  void rename(NodeId id, Formula symbol) {
    symbol.scalar = node(id).type.rank() == 0;
    names_.insert_or_assign(id, std::move(symbol));
  }
  /// Another form of a value that has a name.
  void share_name(NodeId id, NodeId with) {
    names_.insert_or_assign(id, names_.at(with));
    stands_for_.insert_or_assign(id, with);
  }
  /// `id` is written as `stable` is where that has a name.
  void is_form_of(NodeId id, NodeId stable) { stable_.insert_or_assign(id, stable); }
  /// The symbol, or with a number where it is taken; it names nothing else from here on.
  Formula free_symbol(Formula symbol);
  /// A word that names nothing else.
  void reserve(const std::string& word) { taken_.insert(word); }
  bool has_name(NodeId id) const { return names_.contains(id); }
  const Formula& name_of(NodeId id) const { return names_.at(id); }
  /// dL/dx = dL/dy ⊙ f′(x), where `share` is the node for it.
  void name_factor(NodeId share, NodeId dy, const std::string& function, NodeId x, std::vector<NodeId> slope);

  /// Along its first axis lie the steps of a loop: its element is a node that has a name in the loop's notation.
  void name_element(NodeId stack, Notation& step, NodeId element) { elements_.try_emplace(stack, &step, element); }

  /// By its name, or what it is made of.
  Formula of(NodeId id);
  /// What it is made of, though it has a name.
  Formula made_of(NodeId id);
  /// Derivatives that are named may be written out: `hidden` names do not count.
  void hide(std::set<NodeId> hidden) { hidden_ = std::move(hidden); }

  /// x where it is greater than 0, else 0.
  bool is_rectified(const Node& x) const;

  /// Values whose names were used.
  const std::set<NodeId>& mentioned() const { return mentioned_; }
  /// A formula in which no f′ is written.
  template <class Make>
  Formula without_factors(Make&& make) {
    auto factors = std::exchange(factors_, {});
    Formula formula = make();
    factors_ = std::move(factors);
    return formula;
  }
  /// The same with f′(x) in place of the factors that it stands for.
  Formula with_factors(Formula formula);
  /// Whether some f′ was written since the last call.
  bool took_factor() { return std::exchange(took_factor_, false); }

 private:
  struct NamedFactor {
    NodeId dy = 0, x = 0;
    std::string function;
    std::vector<NodeId> slope;  ///< the factors that f′(x) is; a truth value says where it is not 1 but 0
  };
  Formula factor_formula(const NamedFactor& factor);
  const Node& node(NodeId id) const { return (*nodes_)[id]; }
  Formula whole(NodeId id);
  Formula leaf(const Node& x);
  Formula elementwise(const Node& x);
  Formula reduction(const Node& x);
  Formula view(NodeId id);
  Formula contraction(const Node& x);
  std::optional<Formula> over_steps(const Node& x, const Dot& dot);
  Formula by_elements(const Node& x, const Dot& dot);
  Formula operation(const Node& x, std::vector<Argument> arguments);
  Formula call(const Node& x, std::string function);
  Formula relation(const Node& x, const char* sign);
  Formula chosen(const Node& x);
  bool is_number(NodeId id, double value) const;
  void name_known_forms(NodeId id);
  bool is_one_hot(const Node& x, NodeId& label) const;
  bool is_softmax(const Node& x) const;

  const std::vector<Node>* nodes_;
  std::map<NodeId, Formula> names_;
  std::map<NodeId, NodeId> stands_for_, stable_;
  std::map<NodeId, NamedFactor> factors_;
  std::map<NodeId, std::pair<Notation*, NodeId>> elements_;  ///< of stacks over steps
  std::set<std::string> taken_;
  std::set<NodeId> mentioned_, hidden_;
  bool took_factor_ = false;
};

}  // namespace nnc
