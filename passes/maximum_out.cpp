#include "passes/maximum_out.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nnc {

MaximumOut::MaximumOut(const Graph& graph, Builder& builder, const std::vector<std::optional<Value>>& made)
    : ValueReader(builder),
      graph_(graph),
      made_(made),
      facts_(graph.obligations),
      summed_over_(summed_exponentials(graph, facts_)) {}

/// A weight may stand behind the exponential that it weighs.
std::vector<NodeId> MaximumOut::needed_for(NodeId id) const {
  std::vector<NodeId> needed;
  const auto sums = summed_over_.find(id);
  if (sums == summed_over_.end()) return needed;
  for (const SummedExponential& sum : sums->second) {
    if (sum.weight) needed.push_back(*sum.weight);
    for (NodeId term : sum.terms) needed.push_back(exponent_of(graph_[term]));
  }
  return needed;
}

const Scalings& MaximumOut::scaled(Value x) const {
  const auto found = scaled_.find(x.id);
  return found == scaled_.end() ? not_scaled_ : found->second;
}

bool MaximumOut::same(Value a, Value b) const {
  return see_through(builder_.graph().nodes, a.id) == see_through(builder_.graph().nodes, b.id);
}

Scalings MaximumOut::scale(NodeId id, const std::vector<Value>& operands) {
  const Node& old = graph_[id];
  Scalings result;
  if (old.operands.empty()) return result;
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

std::optional<Scaled> MaximumOut::scale_with(NodeId id, const std::vector<Value>& operands, const Scaled* first,
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

std::optional<Scaled> MaximumOut::with_number(const Node& old, const Scaled* first, const Scaled* second) {
  double number = 0;
  const Scaled& x = first ? *first : *second;
  if ((first && second) || !repeats_number(graph_.nodes, old.operands[first ? 1 : 0], number)) return std::nullopt;
  if (x.power != 1 || number <= 0 || number > x.least) return std::nullopt;
  const Value of_number = apply(Op::exp, std::log(number) - x.shift);
  Scaled result = x;
  result.rest = first ? apply(old.op, x.rest, of_number) : apply(old.op, of_number, x.rest);
  return result;
}

Scaled MaximumOut::without_greatest(NodeId id, Value z, const SummedExponential& sum) {
  const auto logarithm = [&](NodeId term) {
    const auto base = base_of_power(graph_.nodes, graph_[term]);
    const Value of_term = *made_[exponent_of(graph_[term])];
    return base ? of_term * std::log(*base) : of_term;
  };
  Value greatest = logarithm(sum.terms[0]);
  for (NodeId term : sum.terms) greatest = term == sum.terms[0] ? greatest : apply(Op::max, greatest, logarithm(term));
  if (sum.number > 0)
    greatest = apply(Op::max, greatest, builder_.constant(std::log(sum.number), greatest.type().dtype));
  const Value shift = apply(Op::stop_gradient, greatest);
  const auto base = base_of_power(graph_.nodes, graph_[id]);
  const Value rest = apply(Op::exp, (base ? z * std::log(*base) : z) - shift);
  Scaled result{sum.terms[0], 1, shift, rest};
  result.least = sum.number;
  return result;
}

Scaled MaximumOut::without_maximum(NodeId id, Value z, const SummedExponential& sum) {
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

Scaled MaximumOut::with_rest(const Scaled& x, const Node& old) {
  const Value rest = builder_.make(old.op, {{x.rest}}, old.attributes, old.type);
  const Value shift = old.op == Op::neg ? x.shift : builder_.make(old.op, {{x.shift}}, old.attributes, old.type);
  return {x.family, x.power, shift, rest, x.looked_at, x.weighted_by};
}

std::optional<Scaled> MaximumOut::through_sum(const Scaled& x, const Node& old) {
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

std::optional<Scaled> MaximumOut::through_product(NodeId id, const std::vector<Value>& operands, const Scaled* first,
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

}  // namespace nnc
