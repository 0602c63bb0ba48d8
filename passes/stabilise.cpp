// Rewrites what a user wrote by hand into forms that neither overflow nor lose digits, before it is derived: so the
// derivative is derived from the good form. The value stays what it was wherever the written form had one; where that
// was inf, NaN or rounded to 0, the new one is the limit.
//
//   maximum-out    exp(z) = exp(m) exp(z - m) with m = max z over the axes that exp(z) is summed over. The factor
//                  exp(m) is carried along through sums, products, powers and views, never computed, and either cancels
//                  (exp(z) / sum exp(z)) or comes out of a logarithm: log(exp(m) x) = m + log x. m is a constant to
//                  every gradient, since the value does not depend on it. Where exp(z) is summed over several sets of
//                  axes, each has its own m, and each use takes the one that leaves it, the narrowest first. In a sum
//                  of w exp(z), or of (c ? exp(z) : 0), m is the greatest z where w is not 0: elsewhere z is not seen.
//                  exp(a) + exp(b), with factors and numbers that are positive, is such a sum of its terms. So is
//                  a^z for a number a > 1, with a^m.
//   log-exp        log(exp x) = x, and log(a^x) = x log a for a number a;  log(exp(x) y) = x + log y;
//                  log(exp(x) / y) = x - log y
//   log-logistic   log s(x) = -softplus(-x);  log(1 - s(x)) = -softplus(x), s the logistic function
//   log-one-plus-exp   log(1 + exp x) = softplus(x)
//   log-chosen     log of what a row has where a condition holds once is what the row's logarithm has there; likewise
//                  of elements that a view, an index or a condition leads to. All where the logarithm of what is
//                  chosen from has a better form.
//   log-power      log(x y) = log x + log y and log(x / y), log(x^a) likewise, where the logarithms have better forms,
//                  of a product or quotient also where one has and the sign of one factor is known
//   indicator-log  i log(x) = log(i ? x : 1) for an indicator i: 0 where i is 0, even if x is 0 too, and so is the
//                  gradient
//   logistic       a / (1 + exp(-x)) = a s(x);  exp(x) / (1 + exp(x)) = s(x)
//   shift-first    a - (m + log x) = (a - m) - log x;  (m + log x) - b = (m - b) + log x, where maximum-out has made
//                  the sum: a and m are of a size, and what is left of them is small
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/loops.h"
#include "passes/differentiate.h"
#include "passes/exponentials.h"
#include "passes/facts.h"
#include "passes/laws.h"
#include "passes/passes.h"
#include "passes/record.h"
#include "passes/view.h"

namespace nnc {

namespace {

constexpr Law laws[] = {
    {"maximum-out",
     "exp(z) / sum exp(z) = exp(z - m) / sum exp(z - m);  log sum exp(z) = m + log sum exp(z - m);  "
     "log(exp(a) + exp(b)) = m + log(exp(a - m) + exp(b - m))"},
    {"log-exp", "log(exp(x) / y) = x - log y;  log(a^x) = x log a"},
    {"log-logistic", "log s(x) = -softplus(-x);  log(1 - s(x)) = -softplus(x)"},
    {"log-one-plus-exp", "log(1 + exp(x)) = softplus(x)"},
    {"log-chosen",
     "log sum_k (c_k ? x_k : 0) = sum_k (c_k ? log x_k : 0), where c holds for one k;  log x[i] = (log x)[i];  "
     "log (c ? x : y) = c ? log x : log y"},
    {"log-power",
     "log(x y) = log x + log y, where both have better forms, or one has and a sign is known;  log(x^a) = a log x"},
    {"indicator-log", "i log(x) = log(i ? x : 1) for i in {0, 1}"},
    {"logistic", "a / (1 + exp(-x)) = a s(x)"},
    {"shift-first", "a - (m + log x) = (a - m) - log x"},
};

/// x = exp(power * shift) * rest, where the first factor is never computed. All three have x's shape.
struct Scaled {
  NodeId family = 0;  ///< the exp that the shift came from
  int power = 0;
  Value shift, rest;
  /// Factors (old nodes) that may be 0 or negative, and conditions: where the shift was looked for, and with which the
  /// rest was multiplied. Only where both are the same has the rest the elements that the shift is the greatest of.
  std::set<NodeId> looked_at{}, weighted_by{};
  double least = 0;  ///< exp(shift) is nowhere below this number
  bool whole() const { return looked_at == weighted_by; }
  /// Whether the rest says all of the value: with its weights it does.
  bool seen_whole() const { return std::ranges::includes(weighted_by, looked_at); }
};
/// What one value is for several shifts, that of the fewest axes first.
using Scalings = std::vector<Scaled>;

/// m + log x, made by maximum-out.
struct ShiftedLog {
  Value shift, log;
};

class Stabiliser {
 public:
  Stabiliser(const Graph& graph, const SimplifyOptions& options)
      : graph_(graph),
        options_(options),
        old_facts_(graph.obligations),
        facts_(graph.obligations),
        builder_(graph.name),
        old_(options.record, graph),
        new_(options.record, builder_.graph()) {}

  Graph run() {
    summed_over_ = summed_exponentials(graph_, old_facts_);
    made_.assign(graph_.nodes.size(), std::nullopt);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) make(id);
    std::vector<Value> made;
    for (const std::optional<Value>& value : made_) made.push_back(*value);
    record_changes(made);
    return finish_like(graph_, std::move(builder_), made);
  }

 private:
  /// The node in the new graph; its operands are there.
  void make(NodeId id) {
    if (made_[id]) return;
    if (const auto sums = summed_over_.find(id); sums != summed_over_.end())
      for (const SummedExponential& sum : sums->second) {
        if (sum.weight) make_with_operands(*sum.weight);
        for (NodeId term : sum.terms) make_with_operands(exponent_of(graph_[term]));
      }
    std::vector<Value> operands;
    for (NodeId operand : graph_[id].operands) operands.push_back(*made_[operand]);
    const Origin& origin = graph_[id].origin;
    builder_.set_origin({"", origin.file, origin.line, origin.column});
    const std::optional<Value> better = rewritten(id, operands);
    made_[id] = better ? *better : copy_node(builder_, graph_[id], operands);
    builder_.set_origin({});
    if (better) builder_.name_node(better->id, origin.name);
  }
  /// A weight may stand behind the exponential that it weighs.
  void make_with_operands(NodeId id) {
    for (NodeId needed : missing(id)) make(needed);
  }
  /// The node and what it is made of, as far as it is not there yet, ascending.
  std::set<NodeId> missing(NodeId id) const {
    std::set<NodeId> found;
    std::vector<NodeId> open{id};
    while (!open.empty()) {
      const NodeId at = open.back();
      open.pop_back();
      if (made_[at] || !found.insert(at).second) continue;
      open.insert(open.end(), graph_[at].operands.begin(), graph_[at].operands.end());
    }
    return found;
  }

  const Node& node(Value x) const { return builder_[x.id]; }
  Value operand(Value x, std::size_t i) const { return {x.builder, node(x).operands[i]}; }
  bool is_one(Value x) const {
    double number = 0;
    return repeats_number(builder_.graph().nodes, x.id, number) && number == 1;
  }

  // Rewriting one node.

  std::optional<Value> rewritten(NodeId id, const std::vector<Value>& operands) {
    Scalings scalings = scale(id, operands);
    const auto free = std::ranges::find_if(scalings, [](const Scaled& x) { return x.power == 0 && x.seen_whole(); });
    if (free != scalings.end()) return logged("maximum-out", id, free->rest);
    const std::optional<Value> better = rewritten_plainly(id, operands);
    if (scalings.empty()) return better;
    // The written form stays for uses that the factor does not leave; it is gone where there are none.
    const Value plain = better ? *better : copy_node(builder_, graph_[id], operands);
    scaled_.insert_or_assign(plain.id, std::move(scalings));
    return plain;
  }

  std::optional<Value> rewritten_plainly(NodeId id, const std::vector<Value>& operands) {
    const Node& old = graph_[id];
    if (old.op == Op::log) {
      std::string_view law;
      if (const auto better = log_of(operands[0], law)) return logged(law, id, *better);
    }
    if (old.op == Op::log1p) {
      std::string_view law;
      if (const auto better = log_of_one_plus(operands[0], law)) return logged(law, id, *better);
    }
    if (old.op == Op::div)
      if (const auto better = logistic_quotient(operands[0], operands[1])) return logged("logistic", id, *better);
    if (whole_power_of(graph_.nodes, old) == -1)
      if (const auto better = logistic_quotient(builder_.constant(1, old.type.dtype), operands[0]))
        return logged("logistic", id, *better);
    if (old.op == Op::sub && in_force(options_, "shift-first"))
      if (const auto better = shift_first(operands[0], operands[1])) return logged("shift-first", id, *better);
    if (shows_one(old)) carry_shift(old, operands);
    if (old.op == Op::mul && in_force(options_, "indicator-log"))
      for (std::size_t i : {0, 1})
        if (const auto better = chosen_log(operands[i], operands[1 - i])) return logged("indicator-log", id, *better);
    return std::nullopt;
  }

  // maximum-out

  bool is_positive(NodeId old) { return old_facts_.of(graph_.nodes, old).range.positive(); }
  const Scalings& scaled(Value x) const {
    const auto found = scaled_.find(x.id);
    return found == scaled_.end() ? not_scaled_ : found->second;
  }
  /// The same elements, whatever views they are shown through.
  bool same(Value a, Value b) const {
    return see_through(builder_.graph().nodes, a.id) == see_through(builder_.graph().nodes, b.id);
  }
  bool same_factor(const Scaled& a, const Scaled& b) const { return a.family == b.family && same(a.shift, b.shift); }

  /// The node as exp(power * shift) * rest, for each shift for which some operand is that.
  Scalings scale(NodeId id, const std::vector<Value>& operands) {
    const Node& old = graph_[id];
    Scalings result;
    if (!in_force(options_, "maximum-out") || old.operands.empty()) return result;
    if (const auto sums = summed_over_.find(id); sums != summed_over_.end()) {
      for (const SummedExponential& sum : sums->second) result.push_back(without_maximum(id, operands.back(), sum));
      return result;
    }
    const Scalings &first = scaled(operands[0]), &second = operands.size() > 1 ? scaled(operands[1]) : not_scaled_;
    const auto keep = [&](std::optional<Scaled> one) {
      if (one) result.push_back(*one);
    };
    for (const Scaled& x : first) {
      const auto other = std::ranges::find_if(second, [&](const Scaled& y) { return same_factor(x, y); });
      keep(scale_with(id, operands, &x, other == second.end() ? nullptr : &*other));
    }
    for (const Scaled& y : second)
      if (std::ranges::none_of(first, [&](const Scaled& x) { return same_factor(x, y); }))
        keep(scale_with(id, operands, nullptr, &y));
    return result;
  }

  /// For one shift, which the first operand has, or the second, or both.
  std::optional<Scaled> scale_with(NodeId id, const std::vector<Value>& operands, const Scaled* first,
                                   const Scaled* second) {
    const Node& old = graph_[id];
    if (first && (shows_one(old) || old.op == Op::neg)) return with_rest(*first, old);
    if (first && old.op == Op::sum) return through_sum(*first, old);
    if (first && !second)
      if (const auto power = whole_power_of(graph_.nodes, old))
        return Scaled{first->family,    first->power * *power, first->shift, apply(Op::pow, first->rest, operands[1]),
                      first->looked_at, first->weighted_by};
    if (old.op == Op::mul || old.op == Op::div) return through_product(id, operands, first, second);
    const bool together = first && second && first->power == second->power;
    if (is_choice_or_zero(graph_.nodes, old) && !first && second) {
      Scaled chosen = *second;
      chosen.weighted_by.insert(old.operands[0]);
      chosen.rest = builder_.select(operands[0], second->rest, operands[2]);
      return chosen;
    }
    if (is_sum_of_two(old) && together && first->weighted_by == second->weighted_by)
      return Scaled{first->family,    first->power,       first->shift, apply(old.op, first->rest, second->rest),
                    first->looked_at, first->weighted_by, first->least};
    if (is_sum_of_two(old)) return with_number(old, first, second);
    return std::nullopt;  // every other op needs the value itself
  }

  /// A sum with a number that exp(shift) is not below.
  std::optional<Scaled> with_number(const Node& old, const Scaled* first, const Scaled* second) {
    double number = 0;
    const Scaled& x = first ? *first : *second;
    if ((first && second) || !repeats_number(graph_.nodes, old.operands[first ? 1 : 0], number)) return std::nullopt;
    if (x.power != 1 || number <= 0 || number > x.least) return std::nullopt;
    const Value of_number = apply(Op::exp, std::log(number) - x.shift);
    Scaled result = x;
    result.rest = first ? apply(old.op, x.rest, of_number) : apply(old.op, of_number, x.rest);
    return result;
  }

  /// exp(shift) for the greatest of several exponents, each times the logarithm of its base.
  Scaled without_greatest(NodeId id, Value z, const SummedExponential& sum) {
    const auto logarithm = [&](NodeId term) {
      const auto base = base_of_power(graph_.nodes, graph_[term]);
      const Value of_term = *made_[exponent_of(graph_[term])];
      return base ? of_term * std::log(*base) : of_term;
    };
    Value greatest = logarithm(sum.terms[0]);
    for (NodeId term : sum.terms)
      greatest = term == sum.terms[0] ? greatest : apply(Op::max, greatest, logarithm(term));
    if (sum.number > 0)
      greatest = apply(Op::max, greatest, builder_.constant(std::log(sum.number), greatest.type().dtype));
    const Value shift = apply(Op::stop_gradient, greatest);
    const auto base = base_of_power(graph_.nodes, graph_[id]);
    const Value rest = apply(Op::exp, (base ? z * std::log(*base) : z) - shift);
    Scaled result{sum.terms[0], 1, shift, rest};
    result.least = sum.number;
    return result;
  }

  Scaled without_maximum(NodeId id, Value z, const SummedExponential& sum) {
    if (!sum.terms.empty()) return without_greatest(id, z, sum);
    const Shape shape = z.type().shape;
    const DType dtype = z.type().dtype;
    std::optional<Value> live;  // elsewhere there is 1 in place of the exponential, for the weight to make 0 of
    if (sum.weight) {
      live = *made_[*sum.weight];
      if (live->type().dtype != DType::boolean)
        live = apply(Op::logical_not, apply(Op::equal, *live, builder_.constant(0, live->type().dtype)));
      live = builder_.spread(*live, shape);
    }
    const double lowest =
        dtype == DType::f32 ? std::numeric_limits<float>::lowest() : std::numeric_limits<double>::lowest();
    const Value seen = live ? builder_.select(*live, z, builder_.constant(lowest, dtype)) : z;
    const Value maximum = apply(Op::stop_gradient, builder_.make(Op::reduce_max, {{seen}}, Reduce{.axes = sum.axes}));
    std::vector<int> kept;
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
      if (std::ranges::find(sum.axes, axis) == sum.axes.end()) kept.push_back(axis);
    const Value shift = builder_.broadcast(maximum, kept, shape);
    const Value less = live ? builder_.select(*live, z - shift, builder_.constant(0, dtype)) : z - shift;
    const auto base = base_of_power(graph_.nodes, graph_[id]);
    const Value rest = base ? apply(Op::pow, builder_.constant(*base, dtype), less) : apply(Op::exp, less);
    Scaled result{id, 1, base ? builder_.broadcast(maximum * std::log(*base), kept, shape) : shift, rest};
    if (sum.weight) result.looked_at.insert(*sum.weight);
    return result;
  }

  /// Views of one operand: done to a factor and to the rest they give the view of the product, zeros of a pad included.
  static bool shows_one(const Node& node) {
    return definition(node.op).cls == OpClass::view && node.operands.size() == 1;
  }

  /// A view or a sign: done to the rest, and a view to the shift also.
  Scaled with_rest(const Scaled& x, const Node& old) {
    const Value rest = builder_.make(old.op, {{x.rest}}, old.attributes, old.type);
    const Value shift = old.op == Op::neg ? x.shift : builder_.make(old.op, {{x.shift}}, old.attributes, old.type);
    return {x.family, x.power, shift, rest, x.looked_at, x.weighted_by};
  }

  /// The factor comes out of a sum where it is constant along the summed axes.
  std::optional<Scaled> through_sum(const Scaled& x, const Node& old) {
    const auto& axes = std::get<Reduce>(old.attributes).axes;
    const View shift = see_through(builder_.graph().nodes, x.shift.id);
    if (old.operands.size() != 1 || !x.whole()) return std::nullopt;
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

  /// Factors have the product's shape, or none.
  std::optional<Scaled> through_product(NodeId id, const std::vector<Value>& operands, const Scaled* first,
                                        const Scaled* second) {
    const Node& old = graph_[id];
    const auto fits = [&](const Scaled* x) {
      return x && (x->rest.type().shape == old.type.shape || x->rest.type().rank() == 0);
    };
    if (!fits(first)) first = nullptr;
    if (!fits(second)) second = nullptr;
    if (!first && !second) return std::nullopt;
    const int sign = old.op == Op::mul ? 1 : -1;
    const Scaled& factor = first ? *first : *second;
    Scaled result = factor;
    result.power = (first ? first->power : 0) + sign * (second ? second->power : 0);
    result.shift = builder_.spread(factor.shift, old.type.shape);
    result.rest = apply(old.op, first ? first->rest : operands[0], second ? second->rest : operands[1]);
    if (first && second) {
      result.looked_at.insert(second->looked_at.begin(), second->looked_at.end());
      result.weighted_by.insert(second->weighted_by.begin(), second->weighted_by.end());
    }
    if (!first && !is_positive(old.operands[0])) result.weighted_by.insert(old.operands[0]);
    if (!second && !is_positive(old.operands[1])) result.weighted_by.insert(old.operands[1]);
    return result;
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
    const Node at = node(x);
    if (at.op == Op::exp && in_force(options_, "log-exp")) {
      law = "log-exp";
      return operand(x, 0);
    }
    // What chooses, and factors that have greatest exponents of their own, are taken apart before one of these is.
    if (at.op == Op::sum)
      if (const auto better = log_of_chosen(x, at, law)) return better;
    if (have_scales_of_their_own(x, at))
      if (const auto better = log_of_power(x, at, law)) return better;
    const auto found = std::ranges::find_if(scaled(x), &Scaled::seen_whole);
    if (found != scaled(x).end()) {
      const Scaled factor = *found;
      law = "maximum-out";
      const Value shift = factor.power == 1 ? factor.shift : factor.shift * factor.power;
      const Value rest = log_or_better(factor.rest), sum = shift + rest;
      shifted_logs_.insert_or_assign(sum.id, ShiftedLog{shift, rest});
      return sum;
    }
    double base = 0;
    if (at.op == Op::pow && repeats_number(builder_.graph().nodes, at.operands[0], base) && base > 0)
      return under("log-exp", law, [&] { return operand(x, 1) * std::log(base); });
    if ((at.op == Op::mul || at.op == Op::div) && (has_exponential(operand(x, 0)) || has_exponential(operand(x, 1))))
      return under("log-exp", law, [&] { return log_of_product(x, at); });
    if (at.op == Op::mul || at.op == Op::div || at.op == Op::pow || at.op == Op::sqrt) return log_of_power(x, at, law);
    if (at.op == Op::broadcast) {
      const auto inner = log_of(operand(x, 0), law);
      if (!inner) return std::nullopt;
      return builder_.make(Op::broadcast, {{*inner}}, at.attributes, at.type);
    }
    if (at.op == Op::gather || (shows_one(at) && at.op != Op::pad && at.op != Op::window))
      return log_of_chosen(x, at, law);
    if (at.op == Op::select) return log_of_either(x, at, law);
    if (at.op == Op::logistic)
      return under("log-logistic", law, [&] { return -apply(Op::softplus, negated(operand(x, 0))); });
    if (at.op == Op::sub && is_one(operand(x, 0))) return log_of_one_minus(operand(x, 1), law);
    if (at.op == Op::add)
      for (std::size_t i : {0, 1})
        if (is_one(operand(x, i)))
          if (const auto better = log_of_one_plus(operand(x, 1 - i), law)) return better;
    return std::nullopt;  // of other values the logarithm is what it is
  }

  /// A product or quotient of two values, each with a factor that is never computed; the sign of one is known, so the
  /// other's logarithm is there where the whole one's is.
  bool have_scales_of_their_own(Value x, const Node& at) {
    if (at.op != Op::mul && at.op != Op::div) return false;
    return std::ranges::none_of(at.operands, [&](NodeId id) { return scaled({x.builder, id}).empty(); }) &&
           std::ranges::any_of(at.operands,
                               [&](NodeId id) { return facts_.of(builder_.graph().nodes, id).range.non_negative(); });
  }

  /// log(1 + x).
  std::optional<Value> log_of_one_plus(Value x, std::string_view& law) {
    if (node(x).op == Op::exp)
      return under("log-one-plus-exp", law, [&] { return apply(Op::softplus, operand(x, 0)); });
    return node(x).op == Op::neg ? log_of_one_minus(operand(x, 0), law) : std::nullopt;
  }
  /// log(1 - x).
  std::optional<Value> log_of_one_minus(Value x, std::string_view& law) {
    if (node(x).op != Op::logistic) return std::nullopt;
    return under("log-logistic", law, [&] { return -apply(Op::softplus, operand(x, 0)); });
  }

  /// x^a, sqrt x, and products and quotients x y where log x has a better form, and log y too or the sign of one is
  /// known: then x, or both, are positive where there is a logarithm.
  std::optional<Value> log_of_power(Value x, const Node& at, std::string_view& law) {
    if (!in_force(options_, "log-power")) return std::nullopt;
    std::string_view inner_law;
    std::optional<Value> logs[2];  // of the factors; of a power's base
    const bool product = at.op == Op::mul || at.op == Op::div;
    logs[0] = log_of(operand(x, 0), inner_law);
    if (product) logs[1] = log_of(operand(x, 1), inner_law);
    if (!logs[0] && !logs[1]) return std::nullopt;
    const bool sign_known = std::ranges::any_of(
        at.operands, [&](NodeId id) { return facts_.of(builder_.graph().nodes, id).range.non_negative(); });
    for (std::size_t i : {0, 1})
      if (product && !logs[i]) {
        if (!sign_known) return std::nullopt;
        logs[i] = apply(Op::log, operand(x, i));
      }
    law = "log-power";
    if (at.op == Op::sqrt) return *logs[0] * 0.5;
    if (at.op == Op::pow) return *logs[0] * operand(x, 1);
    return at.op == Op::mul ? *logs[0] + *logs[1] : difference(*logs[0], *logs[1]);
  }

  /// What a view, an index, or a condition that holds once along the summed axis chooses from x, where log x has a
  /// better form.
  std::optional<Value> log_of_chosen(Value x, const Node& at, std::string_view& law) {
    if (!in_force(options_, "log-chosen")) return std::nullopt;
    std::string_view inner_law;
    if (at.op != Op::sum) {
      const auto better = log_of(operand(x, 0), inner_law);
      if (!better) return std::nullopt;
      law = "log-chosen";
      std::vector<Value> operands{*better};
      for (std::size_t i = 1; i < at.operands.size(); ++i) operands.push_back(operand(x, i));
      return builder_.make(at.op, operands, at.attributes, at.type);
    }
    const auto& axes = std::get<Reduce>(at.attributes).axes;
    const auto choice = at.operands.size() == 1 && axes.size() == 1 ? choice_of(operand(x, 0)) : std::nullopt;
    if (!choice) return std::nullopt;
    const auto& once = facts_.of(builder_.graph().nodes, choice->condition.id).sums_to_one;
    if (std::ranges::find(once, axes[0]) == once.end()) return std::nullopt;
    const auto better = log_of(choice->value, inner_law);
    if (!better) return std::nullopt;
    law = "log-chosen";
    const Value zero = builder_.constant(0, better->type().dtype);
    return builder_.make(Op::sum, {{builder_.select(choice->condition, *better, zero)}}, at.attributes, at.type);
  }

  /// (c ? x : y), where the logarithm of each has a better form or is a number: a plain one would be derived also where
  /// it is not chosen, and there x may be 0.
  std::optional<Value> log_of_either(Value x, const Node& at, std::string_view& law) {
    if (!in_force(options_, "log-chosen")) return std::nullopt;
    std::string_view inner_law;
    std::optional<Value> logs[2];
    for (std::size_t i : {0, 1}) {
      double number = 0;
      if (repeats_number(builder_.graph().nodes, at.operands[1 + i], number) && number > 0)
        logs[i] = apply(Op::log, operand(x, 1 + i));
      else
        logs[i] = log_of(operand(x, 1 + i), inner_law);
      if (!logs[i]) return std::nullopt;
    }
    if (inner_law.empty()) return std::nullopt;  // numbers alone
    law = "log-chosen";
    return builder_.select(operand(x, 0), *logs[0], *logs[1]);
  }

  struct Choice {
    Value condition, value;
  };
  /// (c ? x : 0), also as a product of x and c as a number, and such a choice times or by something else.
  std::optional<Choice> choice_of(Value x) {
    const Node at = node(x);
    double otherwise = 1;
    if (at.op == Op::select && repeats_number(builder_.graph().nodes, at.operands[2], otherwise) && otherwise == 0)
      return Choice{operand(x, 0), operand(x, 1)};
    if (at.op != Op::mul && at.op != Op::div) return std::nullopt;
    for (std::size_t i : {0, 1}) {
      const Value factor = operand(x, i), other = operand(x, 1 - i);
      if (factor.type().shape != at.type.shape || (at.op == Op::div && i == 1)) continue;
      if (const auto inner = choice_of(factor))
        return Choice{inner->condition, at.op == Op::mul ? inner->value * other : inner->value / other};
      if (at.op == Op::div || node(factor).op != Op::cast || other.type().shape != at.type.shape) continue;
      Value condition = operand(factor, 0);
      while (node(condition).op == Op::cast) condition = operand(condition, 0);
      if (condition.type().dtype == DType::boolean) return Choice{condition, other};
    }
    return std::nullopt;
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

  bool has_exponential(Value x) const {
    const Node& at = node(x);
    if (at.op == Op::exp) return true;
    if (at.op != Op::mul && at.op != Op::div && at.op != Op::broadcast) return false;
    return std::ranges::any_of(at.operands, [&](NodeId id) { return has_exponential({nullptr, id}); });
  }

  /// At least one of the two is an exponential, so its sign is known and the other keeps its own.
  Value log_of_product(Value x, const Node& at) {
    const Value a = operand(x, 0), b = operand(x, 1);
    if (at.op == Op::mul) return log_or_better(a) + log_or_better(b);
    return is_one(a) ? -log_or_better(b) : difference(log_or_better(a), log_or_better(b));
  }
  Value difference(Value a, Value b) {
    if (in_force(options_, "shift-first"))
      if (const auto better = shift_first(a, b)) return *better;
    return a - b;
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
  FactTable old_facts_, facts_;  ///< of the old graph and of the new one
  Builder builder_;
  Record::Reader old_, new_;
  std::vector<std::optional<Value>> made_;                        ///< by old node
  std::map<NodeId, std::vector<SummedExponential>> summed_over_;  ///< old exp node -> the kinds of sums it is in
  std::map<NodeId, Scalings> scaled_;                             ///< by new node
  const Scalings not_scaled_;
  std::map<NodeId, ShiftedLog> shifted_logs_;  ///< by new node
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
