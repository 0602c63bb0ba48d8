#include "passes/logarithms.h"

#include <algorithm>
#include <cmath>

namespace nnc {

const Logarithms::ShiftedLog* Logarithms::shifted_log(Value x) const {
  const auto found = shifted_logs_.find(x.id);
  return found == shifted_logs_.end() ? nullptr : &found->second;
}

std::optional<Value> Logarithms::shift_first(Value a, Value b) {
  if (const ShiftedLog* x = shifted_log(b)) return (a - x->shift) - x->log;
  if (const ShiftedLog* x = shifted_log(a)) return (x->shift - b) + x->log;
  return std::nullopt;
}

void Logarithms::carry_shift(const Node& old, const std::vector<Value>& operands) {
  const ShiftedLog* x = shifted_log(operands[0]);
  if (!x) return;
  const auto seen = [&](Value part) { return builder_.make(old.op, {{part}}, old.attributes, old.type); };
  const ShiftedLog parts{seen(x->shift), seen(x->log)};
  shifted_logs_.insert_or_assign(seen(operands[0]).id, parts);
}

std::optional<Value> Logarithms::log_of(Value x, std::string_view& law) {
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
  const auto found = std::ranges::find_if(maximum_out_.scaled(x), &Scaled::seen_whole);
  if (found != maximum_out_.scaled(x).end()) {
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

bool Logarithms::have_scales_of_their_own(Value x, const Node& at) {
  if (at.op != Op::mul && at.op != Op::div) return false;
  return std::ranges::none_of(at.operands, [&](NodeId id) { return maximum_out_.scaled({x.builder, id}).empty(); }) &&
         std::ranges::any_of(at.operands,
                             [&](NodeId id) { return facts_.of(builder_.graph().nodes, id).range.non_negative(); });
}

std::optional<Value> Logarithms::log_of_one_plus(Value x, std::string_view& law) {
  if (node(x).op == Op::exp) return under("log-one-plus-exp", law, [&] { return apply(Op::softplus, operand(x, 0)); });
  return node(x).op == Op::neg ? log_of_one_minus(operand(x, 0), law) : std::nullopt;
}

std::optional<Value> Logarithms::log_of_one_minus(Value x, std::string_view& law) {
  if (node(x).op != Op::logistic) return std::nullopt;
  return under("log-logistic", law, [&] { return -apply(Op::softplus, operand(x, 0)); });
}

std::optional<Value> Logarithms::log_of_power(Value x, const Node& at, std::string_view& law) {
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

std::optional<Value> Logarithms::log_of_chosen(Value x, const Node& at, std::string_view& law) {
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

std::optional<Value> Logarithms::log_of_either(Value x, const Node& at, std::string_view& law) {
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

std::optional<Logarithms::Choice> Logarithms::choice_of(Value x) {
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

Value Logarithms::log_or_better(Value x) {
  std::string_view law;
  if (const auto better = log_of(x, law)) return *better;
  const Node at = node(x);
  if (at.op == Op::broadcast)
    return builder_.make(Op::broadcast, {{log_or_better(operand(x, 0))}}, at.attributes, at.type);
  return apply(Op::log, x);
}

bool Logarithms::has_exponential(Value x) const {
  const Node& at = node(x);
  if (at.op == Op::exp) return true;
  if (at.op != Op::mul && at.op != Op::div && at.op != Op::broadcast) return false;
  return std::ranges::any_of(at.operands, [&](NodeId id) { return has_exponential({nullptr, id}); });
}

Value Logarithms::log_of_product(Value x, const Node& at) {
  const Value a = operand(x, 0), b = operand(x, 1);
  if (at.op == Op::mul) return log_or_better(a) + log_or_better(b);
  return is_one(a) ? -log_or_better(b) : difference(log_or_better(a), log_or_better(b));
}

Value Logarithms::difference(Value a, Value b) {
  if (in_force(options_, "shift-first"))
    if (const auto better = shift_first(a, b)) return *better;
  return a - b;
}

std::optional<Value> Logarithms::chosen_log(Value i, Value logarithm) {
  if (node(i).op != Op::cast || node(operand(i, 0)).type.dtype != DType::boolean) return std::nullopt;
  const bool negative = node(logarithm).op == Op::neg;
  const Value log = negative ? operand(logarithm, 0) : logarithm;
  if (node(log).op != Op::log || log.type().shape != i.type().shape) return std::nullopt;
  const Value one = builder_.constant(1, log.type().dtype);
  const Value chosen = apply(Op::log, builder_.select(operand(i, 0), operand(log, 0), one));
  return negative ? -chosen : chosen;
}

}  // namespace nnc
