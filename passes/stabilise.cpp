// Rewrites what a user wrote by hand into forms that neither overflow nor lose digits, before it is derived: so the
// derivative is derived from the good form. The value stays what it was wherever the written form had one; where that
// was inf, NaN or rounded to 0, the new one is the limit.
//
//   maximum-out    exp(z) = exp(m) exp(z - m) with m = max z over the axes that exp(z) is summed over. The factor
//                  exp(m) is carried along through sums, products and views, never computed, and either cancels
//                  (exp(z) / sum exp(z)) or comes out of a logarithm: log(exp(m) x) = m + log x. m is a constant to
//                  every gradient, since the value does not depend on it.
//   log-exp        log(exp x) = x;  log(exp(x) y) = x + log y;  log(exp(x) / y) = x - log y
//   log-logistic   log s(x) = -softplus(-x);  log(1 - s(x)) = -softplus(x), s the logistic function
//   log-one-plus-exp   log(1 + exp x) = softplus(x)
//   indicator-log  i log(x) = log(i ? x : 1) for an indicator i: 0 where i is 0, even if x is 0 too, and so is the
//                  gradient
//   logistic       a / (1 + exp(-x)) = a s(x);  exp(x) / (1 + exp(x)) = s(x)
//   shift-first    a - (m + log x) = (a - m) - log x;  (m + log x) - b = (m - b) + log x, where maximum-out has made
//                  the sum: a and m are of a size, and what is left of them is small
#include <algorithm>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/loops.h"
#include "passes/differentiate.h"
#include "passes/laws.h"
#include "passes/passes.h"
#include "passes/record.h"
#include "passes/view.h"

namespace nnc {

namespace {

constexpr Law laws[] = {
    {"maximum-out", "exp(z) / sum exp(z) = exp(z - m) / sum exp(z - m);  log sum exp(z) = m + log sum exp(z - m)"},
    {"log-exp", "log(exp(x) / y) = x - log y"},
    {"log-logistic", "log s(x) = -softplus(-x);  log(1 - s(x)) = -softplus(x)"},
    {"log-one-plus-exp", "log(1 + exp(x)) = softplus(x)"},
    {"indicator-log", "i log(x) = log(i ? x : 1) for i in {0, 1}"},
    {"logistic", "a / (1 + exp(-x)) = a s(x)"},
    {"shift-first", "a - (m + log x) = (a - m) - log x"},
};

/// x = exp(power * shift) * rest, where the first factor is never computed. All three have x's shape.
struct Scaled {
  NodeId family = 0;  ///< the exp that the shift came from
  int power = 0;
  Value shift, rest;
};

/// m + log x, made by maximum-out.
struct ShiftedLog {
  Value shift, log;
};

class Stabiliser {
 public:
  Stabiliser(const Graph& graph, const SimplifyOptions& options)
      : graph_(graph),
        options_(options),
        builder_(graph.name),
        old_(options.record, graph),
        new_(options.record, builder_.graph()) {}

  Graph run() {
    find_summed_exponentials();
    std::vector<Value> made;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      std::vector<Value> operands;
      for (NodeId operand : graph_[id].operands) operands.push_back(made[operand]);
      const Origin& origin = graph_[id].origin;
      builder_.set_origin({"", origin.file, origin.line, origin.column});
      const std::optional<Value> better = rewritten(id, operands);
      made.push_back(better ? *better : copy_node(builder_, graph_[id], operands));
      builder_.set_origin({});
      if (better) builder_.name_node(better->id, origin.name);
    }
    record_changes(made);
    return finish_like(graph_, std::move(builder_), made);
  }

 private:
  const Node& node(Value x) const { return builder_[x.id]; }
  Value operand(Value x, std::size_t i) { return {&builder_, node(x).operands[i]}; }
  bool is_one(Value x) const {
    double number = 0;
    return repeats_number(builder_.graph().nodes, x.id, number) && number == 1;
  }

  // Which exponentials are summed, and over which axes.

  void find_summed_exponentials() {
    std::map<NodeId, std::set<std::vector<int>>> found;
    for (const Node& node : graph_.nodes)
      if (node.op == Op::sum) find_factors(node.operands[0], std::get<Reduce>(node.attributes).axes, found);
    for (const auto& [id, axes] : found)
      if (axes.size() == 1 && !is_shifted(graph_[id].operands[0])) summed_over_[id] = *axes.begin();
  }

  /// exp nodes of the sum's shape that are factors of what is summed.
  void find_factors(NodeId id, const std::vector<int>& axes, std::map<NodeId, std::set<std::vector<int>>>& found) {
    const Node& node = graph_[id];
    if (node.op == Op::exp) found[id].insert(axes);
    if (node.op == Op::mul || node.op == Op::div || node.op == Op::neg)
      for (NodeId factor : node.operands)
        if (graph_[factor].type.shape == node.type.shape) find_factors(factor, axes, found);
  }

  /// x - max x: nothing is left to be taken out.
  bool is_shifted(NodeId z) const {
    if (graph_[z].op != Op::sub) return false;
    NodeId shift = see_through(graph_.nodes, graph_[z].operands[1]).base;
    if (graph_[shift].op == Op::stop_gradient) shift = see_through(graph_.nodes, graph_[shift].operands[0]).base;
    return graph_[shift].op == Op::reduce_max && graph_[shift].operands[0] == graph_[z].operands[0];
  }

  // Rewriting one node.

  std::optional<Value> rewritten(NodeId id, const std::vector<Value>& operands) {
    const std::optional<Scaled> scaled = scale(id, operands);
    if (scaled && scaled->power == 0) return logged("maximum-out", id, scaled->rest);
    const std::optional<Value> better = rewritten_plainly(id, operands);
    if (!scaled) return better;
    // The written form stays for uses that the factor does not leave; it is gone where there are none.
    const Value plain = better ? *better : copy_node(builder_, graph_[id], operands);
    scaled_.insert_or_assign(plain.id, *scaled);
    return plain;
  }

  std::optional<Value> rewritten_plainly(NodeId id, const std::vector<Value>& operands) {
    const Node& old = graph_[id];
    if (old.op == Op::log) {
      std::string_view law;
      if (const auto better = log_of(operands[0], law)) return logged(law, id, *better);
    }
    if (old.op == Op::div)
      if (const auto better = logistic_quotient(operands[0], operands[1])) return logged("logistic", id, *better);
    if (old.op == Op::sub && in_force(options_, "shift-first"))
      if (const auto better = shift_first(operands[0], operands[1])) return logged("shift-first", id, *better);
    if (shows_one(old)) carry_shift(old, operands);
    if (old.op == Op::mul && in_force(options_, "indicator-log"))
      for (std::size_t i : {0, 1})
        if (const auto better = chosen_log(operands[i], operands[1 - i])) return logged("indicator-log", id, *better);
    return std::nullopt;
  }

  // maximum-out

  const Scaled* scaled(Value x) const {
    const auto found = scaled_.find(x.id);
    return found == scaled_.end() ? nullptr : &found->second;
  }
  /// The same elements, whatever views they are shown through.
  bool same(Value a, Value b) const {
    return see_through(builder_.graph().nodes, a.id) == see_through(builder_.graph().nodes, b.id);
  }
  bool same_factor(const Scaled& a, const Scaled& b) const { return a.family == b.family && same(a.shift, b.shift); }

  /// The node as exp(power * shift) * rest, where some operand is one.
  std::optional<Scaled> scale(NodeId id, const std::vector<Value>& operands) {
    const Node& old = graph_[id];
    if (!in_force(options_, "maximum-out") || old.operands.empty()) return std::nullopt;
    if (const auto axes = summed_over_.find(id); axes != summed_over_.end())
      return without_maximum(id, operands[0], axes->second);
    const Scaled* first = scaled(operands[0]);
    const Scaled* second = operands.size() > 1 ? scaled(operands[1]) : nullptr;
    if (!first && !second) return std::nullopt;
    if (shows_one(old) || old.op == Op::neg) return with_rest(*first, old);
    if (old.op == Op::sum) return through_sum(*first, old);
    if (old.op == Op::mul || old.op == Op::div) return through_product(old, operands, first, second);
    const bool together = first && second && same_factor(*first, *second) && first->power == second->power;
    if ((old.op == Op::add || old.op == Op::sub) && together)
      return Scaled{first->family, first->power, first->shift, apply(old.op, first->rest, second->rest)};
    return std::nullopt;  // every other op needs the value itself
  }

  Scaled without_maximum(NodeId id, Value z, const std::vector<int>& axes) {
    const Value maximum = apply(Op::stop_gradient, builder_.make(Op::reduce_max, {{z}}, Reduce{.axes = axes}));
    std::vector<int> kept;
    for (int axis = 0; axis < z.type().rank(); ++axis)
      if (std::ranges::find(axes, axis) == axes.end()) kept.push_back(axis);
    const Value shift = builder_.broadcast(maximum, kept, Shape(z.type().shape));
    return {id, 1, shift, apply(Op::exp, z - shift)};
  }

  /// Views of one operand: done to a factor and to the rest they give the view of the product, zeros of a pad included.
  static bool shows_one(const Node& node) {
    return definition(node.op).cls == OpClass::view && node.operands.size() == 1;
  }

  /// A view or a sign: done to the rest, and a view to the shift also.
  Scaled with_rest(const Scaled& x, const Node& old) {
    const Value rest = builder_.make(old.op, {{x.rest}}, old.attributes, old.type);
    const Value shift = old.op == Op::neg ? x.shift : builder_.make(old.op, {{x.shift}}, old.attributes, old.type);
    return {x.family, x.power, shift, rest};
  }

  /// The factor comes out of a sum where it is constant along the summed axes.
  std::optional<Scaled> through_sum(const Scaled& x, const Node& old) {
    const auto& axes = std::get<Reduce>(old.attributes).axes;
    const View shift = see_through(builder_.graph().nodes, x.shift.id);
    if (old.operands.size() != 1) return std::nullopt;
    for (int axis : axes)
      if (std::ranges::find(shift.axes, axis) != shift.axes.end()) return std::nullopt;
    // The base's axes, renumbered to those of the sum.
    std::vector<int> follows;
    Value base{&builder_, shift.base};
    Shape longer;
    for (std::size_t i = 0; i < shift.axes.size(); ++i) {
      if (shift.axes[i] < 0) continue;
      longer.push_back(base.type().shape[i]);
      follows.push_back(shift.axes[i] -
                        static_cast<int>(std::ranges::count_if(axes, [&](int axis) { return axis < shift.axes[i]; })));
    }
    if (!std::ranges::is_sorted(follows)) return std::nullopt;
    base = builder_.reshape(base, longer);
    const Value shifted = builder_.broadcast(base, follows, old.type.shape);
    return Scaled{x.family, x.power, shifted, builder_.make(Op::sum, {{x.rest}}, old.attributes, old.type)};
  }

  std::optional<Scaled> through_product(const Node& old, const std::vector<Value>& operands, const Scaled* first,
                                        const Scaled* second) {
    if (first && first->rest.type().shape != old.type.shape) first = nullptr;
    if (second && second->rest.type().shape != old.type.shape) second = nullptr;
    if (first && second && !same_factor(*first, *second)) second = nullptr;
    if (!first && !second) return std::nullopt;
    const int sign = old.op == Op::mul ? 1 : -1;
    const Scaled& factor = first ? *first : *second;
    return Scaled{factor.family, (first ? first->power : 0) + sign * (second ? second->power : 0), factor.shift,
                  apply(old.op, first ? first->rest : operands[0], second ? second->rest : operands[1])};
  }

  // shift-first

  const ShiftedLog* shifted_log(Value x) const {
    const auto found = shifted_logs_.find(x.id);
    return found == shifted_logs_.end() ? nullptr : &found->second;
  }
  std::optional<Value> shift_first(Value a, Value b) {
    if (const ShiftedLog* x = shifted_log(b)) return (a - x->shift) - x->log;
    if (const ShiftedLog* x = shifted_log(a)) return (x->shift - b) + x->log;
    return std::nullopt;
  }
  /// A view of such a sum is the sum of the views.
  void carry_shift(const Node& old, const std::vector<Value>& operands) {
    const ShiftedLog* x = shifted_log(operands[0]);
    if (!x) return;
    const auto seen = [&](Value part) { return builder_.make(old.op, {{part}}, old.attributes, old.type); };
    const ShiftedLog parts{seen(x->shift), seen(x->log)};
    shifted_logs_.insert_or_assign(seen(operands[0]).id, parts);
  }

  // Logarithms

  /// log x in a better form, and by which law; nothing where log x is all there is to say.
  std::optional<Value> log_of(Value x, std::string_view& law) {
    if (const Scaled* factor = scaled(x)) {
      law = "maximum-out";
      const Value shift = factor->power == 1 ? factor->shift : factor->shift * factor->power;
      const Value rest = log_or_better(factor->rest), sum = shift + rest;
      shifted_logs_.insert_or_assign(sum.id, ShiftedLog{shift, rest});
      return sum;
    }
    const Node at = node(x);
    if (at.op == Op::exp) return under("log-exp", law, [&] { return operand(x, 0); });
    if (at.op == Op::mul || at.op == Op::div) {
      if (!is_exponential(operand(x, 0)) && !is_exponential(operand(x, 1))) return std::nullopt;
      return under("log-exp", law, [&] { return log_of_product(x, at); });
    }
    if (at.op == Op::broadcast) {
      const auto inner = log_of(operand(x, 0), law);
      if (!inner) return std::nullopt;
      return builder_.make(Op::broadcast, {{*inner}}, at.attributes, at.type);
    }
    if (at.op == Op::logistic)
      return under("log-logistic", law, [&] { return -apply(Op::softplus, negated(operand(x, 0))); });
    if (at.op == Op::sub && is_one(operand(x, 0)) && node(operand(x, 1)).op == Op::logistic)
      return under("log-logistic", law, [&] { return -apply(Op::softplus, operand(operand(x, 1), 0)); });
    if (at.op == Op::add)
      for (std::size_t i : {0, 1})
        if (is_one(operand(x, i)) && node(operand(x, 1 - i)).op == Op::exp)
          return under("log-one-plus-exp", law, [&] { return apply(Op::softplus, operand(operand(x, 1 - i), 0)); });
    return std::nullopt;  // of other values the logarithm is what it is
  }

  template <class Make>
  std::optional<Value> under(std::string_view name, std::string_view& law, Make&& make) {
    if (!in_force(options_, name)) return std::nullopt;
    law = name;
    return make();
  }

  /// A logarithm that a law has led to; one along a repeated value is taken before it is repeated.
  Value log_or_better(Value x) {
    std::string_view law;
    if (const auto better = log_of(x, law)) return *better;
    const Node at = node(x);
    if (at.op == Op::broadcast)
      return builder_.make(Op::broadcast, {{log_or_better(operand(x, 0))}}, at.attributes, at.type);
    return apply(Op::log, x);
  }

  bool is_exponential(Value x) const {
    const Node& at = node(x);
    if (at.op == Op::exp) return true;
    if (at.op != Op::mul && at.op != Op::div && at.op != Op::broadcast) return false;
    return std::ranges::any_of(at.operands, [&](NodeId id) { return is_exponential({nullptr, id}); });
  }

  /// At least one of the two is an exponential, so its sign is known and the other keeps its own.
  Value log_of_product(Value x, const Node& at) {
    const Value a = operand(x, 0), b = operand(x, 1);
    if (at.op == Op::mul) return log_or_better(a) + log_or_better(b);
    return is_one(a) ? -log_or_better(b) : log_or_better(a) - log_or_better(b);
  }

  Value negated(Value x) { return node(x).op == Op::neg ? operand(x, 0) : -x; }

  /// i * log x, or i * -log x, where i is a truth value as a number.
  std::optional<Value> chosen_log(Value i, Value logarithm) {
    if (node(i).op != Op::cast || node(operand(i, 0)).type.dtype != DType::boolean) return std::nullopt;
    const bool negative = node(logarithm).op == Op::neg;
    const Value log = negative ? operand(logarithm, 0) : logarithm;
    if (node(log).op != Op::log || log.type().shape != i.type().shape) return std::nullopt;
    const Value one = builder_.constant(1, log.type().dtype);
    const Value chosen = apply(Op::log, builder_.select(operand(i, 0), operand(log, 0), one));
    return negative ? -chosen : chosen;
  }

  // logistic

  /// a / (1 + exp(u)); a quotient by itself where a = 1 or a = exp(u).
  std::optional<Value> logistic_quotient(Value a, Value b) {
    if (!in_force(options_, "logistic") || node(b).op != Op::add) return std::nullopt;
    for (std::size_t i : {0, 1}) {
      const Value e = operand(b, 1 - i);
      if (!is_one(operand(b, i)) || node(e).op != Op::exp) continue;
      if (is_one(a) && e.type().shape == b.type().shape) return apply(Op::logistic, negated(operand(e, 0)));
      if (a.id == e.id) return apply(Op::logistic, operand(e, 0));
      if (e.type().shape == b.type().shape) return a * apply(Op::logistic, negated(operand(e, 0)));
    }
    return std::nullopt;
  }

  Value logged(std::string_view law, NodeId before, Value after) {
    if (options_.record)
      options_.record->uses.push_back({std::string(law), old_(before), new_(after.id), graph_[before].origin});
    return after;
  }

  /// Every node that has another form now: where a law was used, and what is made of such.
  void record_changes(const std::vector<Value>& made) {
    if (!options_.record) return;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const Rewrite change{old_(id), new_(made[id].id)};
      if (change.before != change.after) options_.record->stabilised.push_back(change);
    }
  }

  const Graph& graph_;
  const SimplifyOptions& options_;
  Builder builder_;
  Record::Reader old_, new_;
  std::map<NodeId, std::vector<int>> summed_over_;  ///< old exp node -> axes
  std::map<NodeId, Scaled> scaled_;                 ///< by new node
  std::map<NodeId, ShiftedLog> shifted_logs_;       ///< by new node
};

}  // namespace

std::span<const Law> stabilise_laws() { return laws; }

bool in_force(const SimplifyOptions& options, std::string_view law) {
  return std::ranges::find(options.disabled_laws, law) == options.disabled_laws.end();
}

Graph stabilise(const Graph& graph, const SimplifyOptions& options) {
  const SimplifyOptions of_bodies{.disabled_laws = options.disabled_laws};
  return with_bodies(
      graph, [&](const Graph& g) { return Stabiliser(g, of_bodies).run(); },
      [&](const Graph& g) { return Stabiliser(g, options).run(); });
}

}  // namespace nnc
