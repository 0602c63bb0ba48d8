// From the record of the passes to lines. Rules are read from the loss backwards, in the order in which they were used:
// a value whose derivative has a line of its own is a displayed one, all others are written inside the lines that need
// them. Displayed are what layers put out before their activation (δ), parameters, and where a line would get too long
// some value on its way.
#include "passes/derive/derivation.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "ir/op.h"
#include "passes/derive/notation.h"
#include "passes/derive/repeats.h"
#include "passes/pipeline.h"
#include "passes/record.h"
#include "passes/view.h"

namespace nnc {

namespace {

constexpr std::size_t longest_line = 100;        ///< characters of a right side
constexpr std::size_t longest_written_out = 36;  ///< of a gradient in which the derivatives' names are replaced

std::size_t length_of(const Formula& formula) {
  const std::string text = as_text(formula);
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

void append_new(std::vector<std::string>& list, const std::string& text) {
  if (std::ranges::find(list, text) == list.end()) list.push_back(text);
}

/// The last name of a path: "W" of "Dense1.W".
std::string last_name(const std::string& path) { return path.substr(path.rfind('.') + 1); }

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

class Deriver {
 public:
  Deriver(const Graph& step, const DeriveOptions& options) : options_(options) {
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

  Derivation run() {
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
};

void Deriver::derive_from(NodeId root, Derivation& result) {
  collect(root);
  find_layers();
  notation_.emplace(nodes());
  name_written_values();
  name_layers();
  name_parameters();
  name_long_values();
  name_factors();
  choose_displayed();
  DerivationPart values{.title = "The values", .lines = {}}, gradients{.title = "The gradients", .lines = {}};
  write_gradients(gradients.lines);
  write_values(values.lines);
  if (!options_.every_law)
    for (std::vector<DerivationLine>* lines : {&values.lines, &gradients.lines}) tell_repeats_once(*lines);
  result.parts.push_back(std::move(values));
  result.parts.push_back(std::move(gradients));
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
        layers_.push_back({use->y, weight, base_of(y.operands[1 - i]), use->y});
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

/// Names from the source, and the loss.
void Deriver::name_written_values() {
  if (node(root_).origin.name.empty()) notation_->name(root_, symbol_formula("L"));
  std::set<NodeId> computed = everything_in(root_);
  for (const Rewrite& rewrite : record_.stabilised)
    if (rewrite.after == root_) computed.merge(everything_in(rewrite.before));
  for (NodeId id : computed) {
    const Node& x = node(id);
    if (x.derived || x.origin.name.empty() || x.op == Op::param || is_number(x) || notation_->has_name(id)) continue;
    const NodeId stable = stabilised_->of(id);
    if (!notation_->has_name(stable)) notation_->name(stable, symbol_formula(last_name(x.origin.name)));
    if (stable != id) notation_->share_name(id, stable);
  }
}

/// Where what was written would take too long a line, the longest part of it gets a name.
void Deriver::name_long_values() {
  constexpr std::size_t long_value = 64, not_worth_it = 16;
  for (NodeId id : everything_in(root_)) {
    while (!node(id).derived && is_float(node(id).type.dtype) && width_of(id) > long_value) {
      std::optional<NodeId> longest;
      std::size_t width = not_worth_it;
      for (NodeId part : inside_written(id)) {
        if (part == id || notation_->has_name(part) || node(part).type.rank() == 0 || node(part).derived) continue;
        if (!is_float(node(part).type.dtype) || part == root_) continue;
        if (const std::size_t own = width_of(part); own > width && own <= long_value) {
          width = own;
          longest = part;
        }
      }
      if (!longest) break;
      notation_->name(*longest, symbol_formula("v"));
    }
  }
}

/// The nodes of a value down to those that have names.
std::set<NodeId> Deriver::inside_written(NodeId id) const {
  std::set<NodeId> seen{id};
  for (NodeId at = id + 1; at-- > 0;)
    if (seen.contains(at) && (at == id || !notation_->has_name(at)))
      seen.insert(node(at).operands.begin(), node(at).operands.end());
  return seen;
}

void Deriver::name_layers() {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerOutput& layer = layers_[i];
    if (!notation_->has_name(layer.value)) notation_->name(layer.value, symbol_formula("z", layer_number(i)));
    if (notation_->has_name(layer.input)) continue;
    const OpClass cls = definition(node(layer.input).op).cls;
    if (i > 0 && is_learnt(layer.input) && cls == OpClass::elementwise)
      notation_->name(layer.input, symbol_formula("a", layer_number(i - 1)));
    if (cls == OpClass::view && width_of(layer.input) > 12)
      notation_->name(layer.input, symbol_formula("X", layer_number(i)));
  }
}

/// A layer's parameters have its number, and so have those that come before the next layer.
void Deriver::name_parameters() {
  std::map<NodeId, std::string> number;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    number.try_emplace(layers_[i].weight, layer_number(i));
    if (layers_[i].has_bias) number.try_emplace(layers_[i].bias, layer_number(i));
  }
  for (NodeId id = 0; id < nodes().size(); ++id) {
    if (node(id).op != Op::param) continue;
    const std::string& path = std::get<Named>(node(id).attributes).name;
    const auto own = number.find(id);
    notation_->name(id, symbol_formula(last_name(path), own == number.end() ? "" : own->second));
  }
}

/// What a product has as factors beside `dy`; nothing where that is no factor of it.
std::vector<NodeId> Deriver::factors_beside(NodeId product, NodeId dy) const {
  std::vector<NodeId> open{product}, factors;
  while (!open.empty()) {
    const NodeId at = open.back();
    open.pop_back();
    if (at != dy && node(at).derived && node(at).op == Op::mul && node(at).operands[0] != node(at).operands[1]) {
      open.insert(open.end(), node(at).operands.rbegin(), node(at).operands.rend());
    } else {
      factors.push_back(at);
    }
  }
  const auto found = std::ranges::find(factors, dy);
  if (found == factors.end()) return {};
  factors.erase(found);
  return factors;
}

/// A function whose derivative is itself composed is written f′: logistic, tanh, the greater of x and 0.
void Deriver::name_factors() {
  for (const RuleUse& use : rules_) {
    const Node& y = node(use.y);
    if (definition(y.op).cls != OpClass::elementwise || use.shares.size() != 1) continue;
    const NodeId share = use.shares[0].gradient, x = use.shares[0].operand;
    const bool rectified = notation_->is_rectified(y);
    std::vector<NodeId> slope{y.operands[0]};
    if (!rectified) {
      if (y.operands.size() != 1 || node(share).op != Op::mul) continue;
      slope = factors_beside(share, use.dy);
      const auto reads = [&](NodeId id) { return id == use.y || id == x; };
      if (slope.empty()) continue;
      if (slope.size() == 1 && (!node(slope[0]).derived || std::ranges::all_of(node(slope[0]).operands, reads)))
        continue;
    }
    std::string function = y.op == Op::logistic ? "σ" : std::string(definition(y.op).name);
    if (rectified) function = "relu";
    constexpr std::size_t not_worth_it = 12;
    if (!notation_->has_name(x) && width_of(x) > not_worth_it) notation_->name(x, symbol_formula("v"));
    notation_->name_factor(share, use.dy, function, x, std::move(slope));
  }
}

/// The nodes of a gradient down to the derivatives that have names and to what was written.
std::set<NodeId> Deriver::inside(NodeId gradient) const {
  std::set<NodeId> seen{gradient};
  std::vector<NodeId> open{gradient};
  while (!open.empty()) {
    const NodeId at = open.back();
    open.pop_back();
    for (NodeId operand : node(at).operands) {
      const bool stops = !node(operand).derived || value_of_gradient_.contains(operand);
      if (!stops && seen.insert(operand).second) open.push_back(operand);
    }
  }
  return seen;
}

/// The derivative gets its name, and so does the form that it is simplified to.
void Deriver::name_gradient(NodeId y) {
  const NodeId gradient = gradient_of_.at(y);
  if (!node(gradient).derived || value_of_gradient_.contains(gradient)) return;
  const auto layer = std::ranges::find(layers_, y, &LayerOutput::value);
  if (!notation_->has_name(y)) notation_->name(y, symbol_formula("u"));
  notation_->name(gradient, layer == layers_.end()
                                ? slope_of(y)
                                : symbol_formula("δ", layer_number(static_cast<std::size_t>(layer - layers_.begin()))));
  value_of_gradient_[gradient] = y;
  for (NodeId form : simplified_->forms(gradient)) {
    if (!node(form).derived || value_of_gradient_.contains(form)) continue;
    notation_->share_name(form, gradient);
    value_of_gradient_[form] = y;
  }
}

/// Backwards from the loss: where the derivative of a value would take too long a line, the longest part of it that
/// fits gets a line before.
void Deriver::choose_displayed() {
  displayed_.clear();
  value_of_gradient_.clear();
  for (const LayerOutput& layer : layers_)
    if (gradient_of_.contains(layer.value)) displayed_.insert(layer.value);
  std::vector<NodeId> order;
  for (const RuleUse& use : rules_) order.push_back(use.y);
  for (const AskedGradient& asked : asked_) order.push_back(asked.by);
  for (NodeId y : order) {
    if (!displayed_.contains(y) && node(y).op != Op::param) continue;
    shorten(y, order);
    if (node(y).op != Op::param && y != root_) name_gradient(y);
  }
  number_displayed();
}

/// u₁, u₂, ... in the order in which the values are computed.
void Deriver::number_displayed() {
  std::vector<NodeId> unnamed;
  for (NodeId y : displayed_)
    if (notation_->has_name(y) && notation_->name_of(y).text == "u" && node(y).origin.name.empty())
      unnamed.push_back(y);
  for (std::size_t i = 0; i < unnamed.size() && unnamed.size() > 1; ++i)
    notation_->rename(unnamed[i], symbol_formula("u", "", std::to_string(i + 1)));
  for (const auto& [gradient, y] : value_of_gradient_)
    if (notation_->name_of(gradient).kind == Formula::Kind::slope) notation_->rename(gradient, slope_of(y));
}

void Deriver::shorten(NodeId y, const std::vector<NodeId>& order) {
  constexpr std::size_t not_worth_it = 12;
  while (width_of(gradient_of_.at(y)) > longest_line) {
    const std::set<NodeId> within = inside(gradient_of_.at(y));
    std::optional<NodeId> best;
    std::size_t best_width = not_worth_it;
    for (NodeId other : order) {
      const NodeId gradient = gradient_of_.at(other);
      if (displayed_.contains(other) || node(other).op == Op::param || gradient == gradient_of_.at(y)) continue;
      if (!within.contains(gradient) || node(gradient).type.rank() == 0) continue;
      const std::size_t width = width_of(gradient);
      if (width > longest_line || width <= best_width) continue;
      best = other;
      best_width = width;
    }
    if (!best) return;
    displayed_.insert(*best);
    name_gradient(*best);
  }
}

/// An estimate of the characters that a value takes, views and signs left out; no more than `enough`.
std::size_t Deriver::width_of(NodeId gradient, bool written_out) const {
  constexpr std::size_t enough = 100000;
  std::map<NodeId, std::size_t> known;
  const auto measure = [&](const auto& self, NodeId id, bool top) -> std::size_t {
    const bool hidden = written_out && value_of_gradient_.contains(id);
    if (!top && !hidden && notation_->has_name(id)) return length_of(notation_->name_of(id));
    if (const auto found = known.find(id); found != known.end()) return found->second;
    std::size_t width = definition(node(id).op).cls == OpClass::view ? 0 : 3;
    for (NodeId operand : node(id).operands) width = std::min(enough, width + self(self, operand, false));
    known[id] = width;
    return width;
  };
  return measure(measure, gradient, true);
}

/// The ops whose rules lead from the derivatives that have names to this one, from the loss on.
std::vector<std::string> Deriver::rules_inside(NodeId gradient) const {
  std::vector<std::string> names, plain;  // plain: what hands on all that it gets
  const std::set<NodeId> within = inside(gradient);
  for (const RuleUse& use : rules_) {
    const OpDef& op = definition(node(use.y).op);
    for (const RuleUse::Share& share : use.shares) {
      if (!within.contains(share.gradient)) continue;
      const NodeId of = node(share.gradient).op == Op::neg ? node(share.gradient).operands[0] : share.gradient;
      const bool handed_on = of == use.dy || op.cls == OpClass::view || op.cls == OpClass::control;
      append_new(handed_on ? plain : names, std::string(op.name));
    }
  }
  return names.empty() ? plain : names;
}

/// Laws by which the gradient came to its last form; as lines of their own where that is asked for.
std::vector<std::string> Deriver::write_laws(NodeId gradient, std::vector<DerivationLine>& lines) {
  std::vector<std::string> names;
  std::set<NodeId> within = inside(gradient);
  for (const Rewrite& rewrite : record_.simplified) {
    if (!within.contains(rewrite.before)) continue;
    within.merge(inside(rewrite.after));
    for (const LawUse& use : rewrite.laws) {
      append_new(names, use.law);
      if (options_.every_law) write_detail(use, lines);
    }
  }
  return names;
}

void Deriver::write_detail(const LawUse& use, std::vector<DerivationLine>& lines) {
  DerivationLine line{.left = notation_->of(use.before), .right = notation_->of(use.after)};
  line.shape = shape_formula(node(use.after).type.shape);
  line.reasons = {use.law};
  line.detail = true;
  line.before = use.before;
  line.after = use.after;
  if (as_text(*line.left) != as_text(line.right)) lines.push_back(std::move(line));
}

/// dL/dy by the rules that were used since the derivatives that have names.
DerivationLine Deriver::line_by_rules(NodeId y) {
  const NodeId gradient = gradient_of_.at(y);
  const auto own = value_of_gradient_.find(gradient);
  const bool is_named = own != value_of_gradient_.end() && own->second == y;
  DerivationLine line;
  line.left = slope_of(y);
  if (is_named && notation_->name_of(gradient).kind == Formula::Kind::symbol)
    line.left = Formula{.kind = Formula::Kind::relation, .text = "=", .parts = {notation_->of(gradient), *line.left}};
  line.right = own != value_of_gradient_.end() && !is_named ? notation_->of(gradient) : notation_->made_of(gradient);
  line.shape = shape_formula(node(gradient).type.shape);
  line.reasons = rules_inside(gradient);
  line.slope = {marked_.at(root_), marked_.at(y)};
  line.after = gradient;
  return line;
}

/// By its rules, then as it was simplified; of a parameter also with the derivatives in it written out, where that is
/// short.
void Deriver::write_gradient(NodeId y, std::vector<DerivationLine>& lines) {
  const NodeId gradient = gradient_of_.at(y), simple = simplified_->of(gradient);
  notation_->took_factor();
  lines.push_back(line_by_rules(y));
  const bool took_factor = notation_->took_factor();
  const std::string shape = lines.back().shape;
  std::set<std::string> said{as_text(lines.back().right)};
  const auto go_on = [&](Formula right, std::vector<std::string> reasons) {
    if (!said.insert(as_text(right)).second) return;
    DerivationLine line{.right = std::move(right), .shape = shape, .reasons = std::move(reasons)};
    line.before = gradient;
    line.after = simple;
    lines.push_back(std::move(line));
  };
  const std::vector<std::string> laws = write_laws(gradient, lines);
  const Formula plain = notation_->without_factors([&] { return notation_->made_of(simple); });
  // A form that is longer than a line, and than the first one, is cheaper to compute and not to read.
  const std::size_t longest = std::max(longest_line, length_of(lines.back().right));
  if (length_of(plain) > longest) return;
  if (simple != gradient)
    go_on(notation_->with_factors(plain), laws.empty() ? std::vector<std::string>{"rearranged"} : laws);
  if (notation_->took_factor() || took_factor) go_on(plain, {"f′"});
  if (node(y).op != Op::param || width_of(simple, true) > longest_written_out) return;
  std::set<NodeId> derivatives;
  for (const auto& [id, value] : value_of_gradient_) derivatives.insert(id);
  notation_->hide(derivatives);
  go_on(notation_->with_factors(notation_->without_factors([&] { return notation_->made_of(simple); })), {"δ"});
  notation_->hide({});
}

/// A parameter's line stands behind the last derivative that it needs.
void Deriver::write_gradients(std::vector<DerivationLine>& lines) {
  std::map<NodeId, std::size_t> shares;
  for (const RuleUse& use : rules_)
    for (const RuleUse::Share& share : use.shares) ++shares[share.operand];
  for (const RuleUse& use : rules_) {
    if (displayed_.contains(use.y)) write_gradient(use.y, lines);
    for (const RuleUse::Share& share : use.shares)
      if (--shares[share.operand] == 0 && node(share.operand).op == Op::param) write_gradient(share.operand, lines);
  }
}

/// As it was written and, where that is another, in the form that does not overflow.
void Deriver::write_value(NodeId id, std::vector<DerivationLine>& lines) {
  const std::string shape = shape_formula(node(id).type.shape);
  DerivationLine line{.left = notation_->of(id), .shape = shape};
  const Node& x = node(id);
  line.before = line.after = id;
  if (const auto* named = std::get_if<Named>(&x.attributes)) {
    if (x.op == Op::param && as_text(*line.left) == named->name) line.reasons = {"parameter"};
    line.right = symbol_formula(named->name);
    if (x.op != Op::param) return;
    lines.push_back(std::move(line));
    return;
  }
  const auto written = std::ranges::find(record_.stabilised, id, &Rewrite::after);
  const bool rewritten = written != record_.stabilised.end();
  if (rewritten) line.after = *(line.before = written->before);
  line.right = notation_->made_of(line.after);
  lines.push_back(line);
  if (!rewritten) return;
  DerivationLine stable{.right = notation_->made_of(id), .shape = shape};
  stable.before = written->before;
  stable.after = id;
  const std::set<NodeId> within = everything_in(written->before);
  for (std::size_t i = 0; i < stabilised_uses_; ++i) {
    if (!within.contains(record_.uses[i].before)) continue;
    append_new(stable.reasons, record_.uses[i].law);
    if (options_.every_law) write_detail(record_.uses[i], lines);
  }
  if (as_text(stable.right) != as_text(line.right)) lines.push_back(std::move(stable));
}

std::set<NodeId> Deriver::everything_in(NodeId id) const {
  std::set<NodeId> seen{id};
  for (NodeId at = id + 1; at-- > 0;)  // operands precede users
    if (seen.contains(at)) seen.insert(node(at).operands.begin(), node(at).operands.end());
  return seen;
}

/// All that the lines mention, in the order in which it is computed; the loss last.
void Deriver::write_values(std::vector<DerivationLine>& lines) {
  std::map<NodeId, std::vector<DerivationLine>> written;
  const auto is_value = [&](NodeId id) { return !value_of_gradient_.contains(id); };
  notation_->of(root_);
  for (bool more = true; more;) {
    more = false;
    for (NodeId id : std::set<NodeId>(notation_->mentioned())) {
      if (!is_value(id) || written.contains(id)) continue;
      write_value(id, written[id]);
      more = true;
    }
  }
  for (bool of_root : {false, true})
    for (auto& [id, own] : written)
      if ((id == root_) == of_root) std::ranges::move(own, std::back_inserter(lines));
}

}  // namespace

Derivation derive(const Graph& step, const DeriveOptions& options) { return Deriver(step, options).run(); }

}  // namespace nnc
