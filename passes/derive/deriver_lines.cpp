// The lines of a derivation: values as they are computed, gradients by the rules and the laws that were used.
#include <iterator>
#include <utility>

#include "passes/derive/deriver.h"

namespace nnc {

namespace {

constexpr std::size_t longest_written_out = 36;  ///< of a gradient in which the derivatives' names are replaced

void append_new(std::vector<std::string>& list, const std::string& text) {
  if (std::ranges::find(list, text) == list.end()) list.push_back(text);
}

/// By which laws `built` came of `before`, and whether its numbers were multiplied for `shown`.
std::vector<std::string> reasons_of(const Formula& before, const Formula& built, const Formula& shown,
                                    std::vector<std::string> laws) {
  if (laws.empty() && with_one_number(before) != shown) laws.emplace_back("rearranged");
  if (laws.empty() || built != shown) append_new(laws, "numbers");
  return laws;
}

}  // namespace

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
  DerivationLine line{.left = notation_->made_of(use.before), .right = notation_->made_of(use.after)};
  line.shape = shape_text(node(use.after).type.shape);
  line.reasons = {use.law};
  line.detail = true;
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
  line.shape = shape_text(node(gradient).type.shape);
  line.reasons = rules_inside(gradient);
  line.slope = {marked_.at(root_), marked_.at(y)};
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
    lines.push_back(std::move(line));
  };
  const std::vector<std::string> laws = write_laws(gradient, lines);
  const Formula built = notation_->without_factors([&] { return notation_->made_of(simple); });
  const Formula plain = with_one_number(built);
  // A form that is longer than a line, and than the first one, is cheaper to compute and not to read.
  const std::size_t longest = std::max(longest_line, length_of(lines.back().right));
  if (length_of(plain) > longest) return;
  if (simple != gradient) go_on(notation_->with_factors(plain), reasons_of(lines.back().right, built, plain, laws));
  if (notation_->took_factor() || took_factor) go_on(plain, {"f′"});
  if (node(y).op != Op::param || width_of(simple, true) > longest_written_out) return;
  std::set<NodeId> derivatives;
  for (const auto& [id, value] : value_of_gradient_) derivatives.insert(id);
  notation_->hide(derivatives);
  go_on(
      notation_->with_factors(with_one_number(notation_->without_factors([&] { return notation_->made_of(simple); }))),
      {"δ"});
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
  const std::string shape = shape_text(node(id).type.shape);
  DerivationLine line{.left = notation_->of(id), .shape = shape};
  const Node& x = node(id);
  line.value = id;
  line.given = std::holds_alternative<Random>(x.attributes) || std::holds_alternative<Constant>(x.attributes);
  if (const auto* named = std::get_if<Named>(&x.attributes)) {
    if (x.op == Op::param && as_text(*line.left) == named->name) line.reasons = {"parameter"};
    line.right = symbol_formula(named->name);
    if (x.op != Op::param) return;
    lines.push_back(std::move(line));
    return;
  }
  if (std::holds_alternative<Random>(x.attributes)) line.reasons = {"drawn"};
  if (std::holds_alternative<Scan>(x.attributes)) {
    write_result(id, line);
    lines.push_back(std::move(line));
    return;
  }
  const auto written = std::ranges::find(record_.stabilised, id, &Rewrite::after);
  const bool rewritten = written != record_.stabilised.end();
  line.right = notation_->made_of(rewritten ? written->before : id);
  lines.push_back(line);
  if (!rewritten) return;
  DerivationLine stable{.right = notation_->made_of(id), .shape = shape};
  if (as_text(stable.right) == as_text(line.right)) return;
  const std::set<NodeId> within = inside_written(written->before);
  for (std::size_t i = 0; i < stabilised_uses_; ++i) {
    if (!within.contains(record_.uses[i].before)) continue;
    append_new(stable.reasons, record_.uses[i].law);
    if (options_.every_law) write_detail(record_.uses[i], lines);
  }
  lines.push_back(std::move(stable));
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

}  // namespace nnc
