// Which values have names in a derivation, and which derivatives have lines.
#include <utility>

#include "passes/derive/deriver.h"

namespace nnc {

namespace {

/// The last name of a path: "W" of "Dense1.W".
std::string last_name(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// What a view adds to the text of what it shows: most are not seen, others say what they do.
std::size_t width_of_view(const std::vector<Node>& nodes, NodeId id) {
  const auto rank = static_cast<std::size_t>(nodes[id].type.rank());
  if (nodes[id].op == Op::transpose) return rank > 2 ? 18 + 3 * rank : 1;
  if (View step; see_through_once(nodes, id, step)) return 0;
  if (nodes[id].op == Op::slice) return 4 * rank;
  return nodes[id].op == Op::reshape ? 10 + 3 * rank : 16 + 4 * rank;
}

}  // namespace

/// What columns and settings are called is called nothing else.
void Deriver::reserve_columns() {
  notation_->reserve("n");
  for (const Node& x : nodes())
    if (const auto* named = std::get_if<Named>(&x.attributes); named && x.op != Op::param)
      notation_->reserve(named->name);
}

/// ξ₁, ξ₂, ...: each call draws numbers of its own.
void Deriver::name_drawn_numbers() {
  std::vector<NodeId> drawn;
  for (NodeId id : everything_in(root_))
    if (std::holds_alternative<Random>(node(id).attributes)) drawn.push_back(id);
  for (std::size_t i = 0; i < drawn.size(); ++i)
    notation_->name(drawn[i], symbol_formula("ξ", "", drawn.size() > 1 ? std::to_string(i + 1) : ""));
}

/// A value as it was written and in the form that does not overflow has one name.
void Deriver::share_stable_names() {
  for (const Rewrite& rewrite : record_.stabilised) {
    const NodeId stable = stabilised_->of(rewrite.before);
    notation_->is_form_of(rewrite.before, stable);
    if (notation_->has_name(stable) && !notation_->has_name(rewrite.before))
      notation_->share_name(rewrite.before, stable);
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
    if (x.derived || x.origin.name.empty() || is_number(x) || notation_->has_name(id)) continue;
    if (std::holds_alternative<Named>(x.attributes)) continue;
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
    constexpr std::size_t worth_it = 24;
    if (cls == OpClass::view && length_of(notation_->made_of(layer.input)) > worth_it)
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
    std::string function = function_sign(y.op);
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

/// The longest value without a name that these nodes of a gradient are written with gets one; whether there was one.
bool Deriver::name_value_inside(const std::set<NodeId>& within) {
  std::optional<NodeId> longest;
  std::size_t width = 16;  // what is shorter is not worth a line
  for (NodeId derivative : within) {
    for (NodeId value : node(derivative).operands) {
      const Node& x = node(value);
      if (x.derived || !is_float(x.type.dtype) || x.type.rank() == 0 || notation_->has_name(value)) continue;
      if (const std::size_t own = width_of(value); own > width) {
        width = own;
        longest = value;
      }
    }
  }
  if (longest) notation_->name(*longest, symbol_formula("v"));
  return longest.has_value();
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
      if (View step; see_through_once(nodes(), other, step)) continue;  // it would be another name for the same
      const std::size_t width = width_of(gradient);
      if (width > longest_line || width <= best_width) continue;
      best = other;
      best_width = width;
    }
    if (!best && name_value_inside(within)) continue;
    if (!best) return;
    displayed_.insert(*best);
    name_gradient(*best);
  }
}

/// An estimate of the characters that a value takes, signs left out; no more than `enough`.
std::size_t Deriver::width_of(NodeId gradient, bool written_out) const {
  constexpr std::size_t enough = 100000;
  std::map<NodeId, std::size_t> known;
  const auto measure = [&](const auto& self, NodeId id, bool top) -> std::size_t {
    const bool hidden = written_out && value_of_gradient_.contains(id);
    if (!top && !hidden && notation_->has_name(id)) return length_of(notation_->name_of(id));
    if (const auto found = known.find(id); found != known.end()) return found->second;
    constexpr std::size_t told_of_windows = 40;  // axis, extent, stride
    std::size_t width = definition(node(id).op).cls == OpClass::view ? width_of_view(nodes(), id) : 3;
    if (node(id).op == Op::overlap_add) width += told_of_windows;
    for (NodeId operand : node(id).operands) width = std::min(enough, width + self(self, operand, false));
    known[id] = width;
    return width;
  };
  return measure(measure, gradient, true);
}

}  // namespace nnc
