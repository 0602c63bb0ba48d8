// From terms back to nodes. A term is built from its narrowest factors to its widest: numbers first, then what is
// constant along rows, then the elements, so that little work is done at full size. Divisions are kept as divisions. A
// written node that says the same as some of the factors stands for them.
#include <algorithm>
#include <map>
#include <numeric>

#include "passes/algebra.h"
#include "passes/algebra_terms.h"
#include "passes/laws.h"

namespace nnc {

namespace {

/// Removes `count` powers (of the factor's sign) of a factor.
void take(Term& term, const Factor& like, int count) {
  const auto factor = std::ranges::find_if(term.factors, [&](const Factor& f) { return same_place(f, like); });
  factor->power -= count;
  if (factor->power == 0) term.factors.erase(factor);
}

bool is_negative(const Term& term) { return term.coefficient.numerator < 0; }

}  // namespace

// The type comes by value: nodes move while others are built.
Value Algebra::build(const Poly& a, Type type) {
  if (a.empty()) return builder_.spread(builder_.constant(0, type.dtype), type.shape);
  // A node by itself, whatever axes of extent 1 it has.
  if (a.size() == 1 && a[0].coefficient == Rational{1, 1} && a[0].factors.size() == 1 && a[0].factors[0].power == 1) {
    const Factor& factor = a[0].factors[0];
    const Atom& atom = atoms_[factor.atom];
    if (atom.kind == Atom::Kind::node && atom.shape == type.shape && factor == factor_of(factor.atom))
      return {&builder_, atom.node};
  }
  const Frame frame{type.shape, type.dtype};
  const Placed built = build_sum(a, frame);
  return builder_.broadcast(built.value, built.indices, type.shape);
}

/// The value at more indices; one without any meets every element as it is.
Value Algebra::spread_to(const Placed& x, const std::vector<int>& indices, const Frame& frame) {
  if (x.indices.empty() || x.indices == indices) return x.value;
  std::vector<int> axes;
  Shape shape;
  for (int index : x.indices)
    axes.push_back(static_cast<int>(std::ranges::lower_bound(indices, index) - indices.begin()));
  for (int index : indices) shape.push_back(frame.shape[index]);
  return builder_.broadcast(x.value, axes, shape);
}

Algebra::Placed Algebra::together(Op op, const Placed& a, const Placed& b, const Frame& frame) {
  const std::vector<int> all = united(a.indices, b.indices);
  return {apply(op, spread_to(a, all, frame), spread_to(b, all, frame)), all};
}

// Sums of terms

Algebra::Placed Algebra::build_sum(const Poly& a, const Frame& frame) {
  if (a.size() == 1) return build_term(a[0], {}, frame);
  if (law("factor-out")) {
    Term common = common_factor(a);
    if (is_negative(common) && !std::ranges::all_of(a, is_negative)) common.coefficient = negated(common.coefficient);
    if (!common.factors.empty() || common.coefficient != Rational{1, 1}) {
      Poly rest = a;
      for (Term& term : rest) term = without(term, common);
      std::ranges::sort(rest);
      return build_term(common, {build_sum(rest, frame)}, frame);
    }
    if (auto grouped = build_grouped(a, frame)) return *grouped;
  }
  // Terms over the same indices first, then the narrower sums into the wider ones. Each sum is kept as plus - minus.
  struct Side {
    std::optional<Placed> plus, minus;
  };
  std::map<std::pair<std::size_t, std::vector<int>>, Side> sums;
  const auto add_to = [&](std::optional<Placed>& sum, const Placed& x) {
    sum = sum ? together(Op::add, *sum, x, frame) : x;
  };
  for (Term term : a) {
    const bool minus = is_negative(term);
    if (minus) term.coefficient = negated(term.coefficient);
    const Placed built = build_term(term, {}, frame);
    Side& side = sums[{built.indices.size(), built.indices}];
    add_to(minus ? side.minus : side.plus, built);
  }
  std::optional<Placed> total;  // narrower sums so far
  bool total_minus = false;
  for (auto& [key, side] : sums) {
    if (total) add_to(total_minus ? side.minus : side.plus, *total);
    total_minus = !side.plus;
    total = !side.plus ? side.minus : side.minus ? together(Op::sub, *side.plus, *side.minus, frame) : side.plus;
  }
  if (total_minus) total->value = -total->value;
  return *total;
}

/// The factor that most terms share, but not all, is taken out of those.
std::optional<Algebra::Placed> Algebra::build_grouped(const Poly& a, const Frame& frame) {
  if (a.size() < 3) return std::nullopt;
  const Factor* best = nullptr;
  std::ptrdiff_t most = 1;
  const auto has = [](const Term& term, const Factor& factor) {
    return std::ranges::any_of(
        term.factors, [&](const Factor& f) { return same_place(f, factor) && (f.power > 0) == (factor.power > 0); });
  };
  for (const Term& term : a)
    for (const Factor& factor : term.factors) {
      step(a.size());
      const auto count = std::ranges::count_if(a, [&](const Term& other) { return has(other, factor); });
      if (count > most) {
        most = count;
        best = &factor;
      }
    }
  if (!best) return std::nullopt;
  Poly with, without;
  for (const Term& term : a) (has(term, *best) ? with : without).push_back(term);
  if (with.empty() || without.empty()) return std::nullopt;
  const Placed left = build_sum(with, frame);
  if (std::ranges::all_of(without, is_negative))
    return together(Op::sub, left, build_sum(negate(without), frame), frame);
  return together(Op::add, left, build_sum(without, frame), frame);
}

// Terms

Algebra::Placed Algebra::build_term(Term a, std::vector<Placed> more, const Frame& frame) {
  step();
  while (take_into_sum(a)) {
  }
  for (bool again = true; again;) {
    const Term before = a;
    if (auto product = take_written_product(a, frame)) more.push_back(*product);
    again = a != before;
  }
  while (auto quotient = take_normalised_quotient(a, frame)) more.push_back(*quotient);
  if (is_negative(a)) turn_difference(a);

  std::map<std::pair<std::size_t, std::vector<int>>, Fraction> levels;
  const auto level = [&](const std::vector<int>& indices) -> Fraction& {
    Fraction& found = levels[{indices.size(), indices}];
    found.indices = indices;
    return found;
  };
  const auto times = [](std::optional<Value>& x, Value factor) { x = x ? *x * factor : factor; };

  const std::int64_t numerator = std::abs(a.coefficient.numerator), denominator = a.coefficient.denominator;
  const auto constant = [&](std::int64_t value) { return builder_.constant(static_cast<double>(value), frame.dtype); };
  if ((denominator & (denominator - 1)) == 0) {
    if (numerator != 1 || denominator != 1)
      times(level({}).numerator,
            builder_.constant(static_cast<double>(numerator) / static_cast<double>(denominator), frame.dtype));
  } else {
    if (numerator != 1) times(level({}).numerator, constant(numerator));
    times(level({}).denominator, constant(denominator));
  }
  for (const Placed& factor : more) times(level(factor.indices).numerator, factor.value);
  for (const Factor& factor : a.factors) {
    const Placed base = build_factor(factor, frame);
    Fraction& at = level(base.indices);
    for (int i = 0; i < std::abs(factor.power); ++i) {
      if (factor.power > 0 && i > 0) {
        at.later.push_back(base.value);
      } else {
        times(factor.power > 0 ? at.numerator : at.denominator, base.value);
      }
    }
  }

  // The widest set of indices that any factor has may be the union of several.
  std::vector<int> all;
  for (const auto& [key, fraction] : levels) all = united(all, fraction.indices);
  level(all);
  for (auto at = levels.begin(); at != levels.end(); ++at) {
    for (Value again : at->second.later) times(at->second.numerator, again);
    const auto next = std::find_if(std::next(at), levels.end(), [&](const auto& wider) {
      return std::ranges::includes(wider.second.indices, at->second.indices);
    });
    if (next != levels.end()) merge_into(next->second, at->second, frame);
  }
  const Fraction& whole = std::prev(levels.end())->second;
  Value value = whole.numerator     ? (whole.denominator ? *whole.numerator / *whole.denominator : *whole.numerator)
                : whole.denominator ? 1 / *whole.denominator
                                    : builder_.constant(1, frame.dtype);
  if (is_negative(a)) value = -value;
  return {value, value.type().rank() == 0 ? std::vector<int>{} : all};
}

/// -(x - y) z is (y - x) z: a sign costs nothing where a difference can take it.
void Algebra::turn_difference(Term& a) {
  for (Factor& factor : a.factors) {
    const Atom atom = atoms_[factor.atom];
    if (atom.kind != Atom::Kind::unit || factor.power % 2 == 0) continue;
    if (std::ranges::all_of(atom.inner, is_negative) || std::ranges::none_of(atom.inner, is_negative)) continue;
    Atom turned = atom;
    turned.inner = negate(atom.inner);
    factor.atom = intern(std::move(turned));
    a.coefficient = negated(a.coefficient);
    std::ranges::sort(a.factors);
    return;
  }
}

/// What is over fewer indices becomes a factor of what is over more; its own division is done while it is small.
void Algebra::merge_into(Fraction& wider, const Fraction& narrower, const Frame& frame) {
  if (!narrower.numerator && !narrower.denominator) return;
  const auto spread = [&](Value x) {
    return spread_to({x, x.type().rank() == 0 ? std::vector<int>{} : narrower.indices}, wider.indices, frame);
  };
  if (wider.numerator && wider.denominator)
    wider = {wider.indices, *wider.numerator / *wider.denominator, std::nullopt, wider.later};
  if (narrower.numerator) {
    const Value factor = narrower.denominator ? *narrower.numerator / *narrower.denominator : *narrower.numerator;
    wider.numerator = wider.numerator ? *wider.numerator * spread(factor) : spread(factor);
  } else if (wider.numerator) {
    wider.numerator = *wider.numerator / spread(*narrower.denominator);
  } else {
    wider.denominator =
        wider.denominator ? *wider.denominator * spread(*narrower.denominator) : spread(*narrower.denominator);
  }
}

Value Algebra::build_atom(int number, DType dtype) {
  const Atom atom = atoms_[number];
  switch (atom.kind) {
    case Atom::Kind::node:
      return {&builder_, atom.node};
    case Atom::Kind::sum:
      if (const auto written = written_sums_.find(number); written != written_sums_.end())
        return builder_.reshape({&builder_, written->second}, atom.shape);
      return builder_.sum(build(atom.inner, {dtype, atom.frame}), atom.summed);
    case Atom::Kind::unit:
      return build(atom.inner, {dtype, atom.frame});
  }
  std::abort();
}

/// The factor's atom has the frame's axes as they are, those of extent 1 included.
bool Algebra::fills(const Factor& factor, const Frame& frame) const {
  return atoms_[factor.atom].shape == frame.shape && factor.at == factor_of(factor.atom).at;
}

/// The factor's base over its own indices, ascending; axes of extent 1 are dropped unless it fills the frame.
Algebra::Placed Algebra::build_factor(const Factor& factor, const Frame& frame) {
  Value value = build_atom(factor.atom, frame.dtype);
  std::vector<int> at;
  Shape shape;
  if (fills(factor, frame)) {
    at.resize(frame.shape.size());
    std::iota(at.begin(), at.end(), 0);
    return {value, at};
  }
  for (std::size_t axis = 0; axis < factor.at.size(); ++axis) {
    if (factor.at[axis] < 0) continue;
    at.push_back(factor.at[axis]);
    shape.push_back(atoms_[factor.atom].shape[axis]);
  }
  value = builder_.reshape(value, shape);
  std::vector<int> order(at.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int axis) { return at[axis]; });
  std::ranges::sort(at);
  return {builder_.transpose(value, order), at};
}

// Written nodes that stand for several factors

/// sum(e x) / s is sum((e / s) x) where e / s is written: the same quotient is then wherever the term is used, and
/// what cancels does so to the last digit. Whether a divisor has found such a sum.
bool Algebra::take_into_sum(Term& a) {
  for (Factor& total : a.factors) {
    const Atom sum = atoms_[total.atom];
    if (sum.kind != Atom::Kind::sum || total.power != 1 || sum.inner.size() != 1) continue;
    for (const Factor& below : a.factors) {
      if (below.power >= 0) continue;
      std::optional<Factor> inside = in_sum(below, total);
      if (!inside) continue;
      inside->power = -1;
      const auto is_there = [&](const Factor& f) { return same_place(f, *inside); };
      if (std::ranges::any_of(sum.inner[0].factors, is_there)) continue;
      const Term inner = product(sum.inner[0], Term{{1, 1}, {*inside}}, 1);
      if (!has_written_quotient(inner, *inside)) continue;
      Atom with = sum;
      with.inner = {inner};
      total.atom = intern(std::move(with));
      take(a, Factor(below), -1);
      std::ranges::sort(a.factors);
      return true;
    }
  }
  return false;
}

/// The factor as it is seen inside a sum, if the sum keeps all its indices.
std::optional<Factor> Algebra::in_sum(const Factor& factor, const Factor& total) const {
  const Atom& sum = atoms_[total.atom];
  std::vector<int> kept;
  for (int index = 0; index < static_cast<int>(sum.frame.size()); ++index)
    if (std::ranges::find(sum.summed, index) == sum.summed.end()) kept.push_back(index);
  Factor inside = factor;
  for (int& index : inside.at) {
    if (index < 0) continue;
    const auto place = std::ranges::find(total.at, index);
    if (place == total.at.end()) return std::nullopt;
    index = kept[static_cast<std::size_t>(place - total.at.begin())];
  }
  return inside;
}

/// Whether some written quotient stands for the divisor and other factors of the term.
bool Algebra::has_written_quotient(const Term& a, const Factor& divisor) {
  for (const Factor& factor : a.factors) {
    const auto written = products_of_.find(factor.atom);
    if (written == products_of_.end()) continue;
    step(written->second.size());
    for (NodeId id : written->second) {
      const Term& pattern = read_.at(id)[0];
      const auto divides = [&](const Factor& f) { return f.atom == divisor.atom && f.power < 0; };
      if (pattern.factors.size() < 2 || pattern.coefficient != Rational{1, 1}) continue;
      if (std::ranges::none_of(pattern.factors, divides)) continue;
      if (match(pattern, a, builder_[id].type.rank())) return true;
    }
  }
  return false;
}

/// Where the pattern's indices lie in a term that has all its factors, each of them once; nothing where it has not.
std::optional<std::vector<int>> Algebra::match(const Term& pattern, const Term& in, int rank) const {
  const auto fits = [](const Factor& wanted, const Factor& there) {
    return wanted.atom == there.atom && (wanted.power > 0) == (there.power > 0) &&
           std::abs(there.power) >= std::abs(wanted.power);
  };
  for (std::size_t first = 0; first < in.factors.size(); ++first) {
    if (!fits(pattern.factors[0], in.factors[first])) continue;
    std::vector<int> to(rank, -1);
    std::vector<bool> taken(in.factors.size(), false);
    const auto agrees = [&](const Factor& wanted, std::size_t place) {
      const Factor& there = in.factors[place];
      if (taken[place] || !fits(wanted, there)) return false;
      for (std::size_t axis = 0; axis < wanted.at.size(); ++axis) {
        if (wanted.at[axis] < 0) continue;
        const int known = to[wanted.at[axis]];
        if (known >= 0 ? known != there.at[axis] : std::ranges::find(to, there.at[axis]) != to.end()) return false;
      }
      return true;
    };
    bool matched = true;
    for (const Factor& wanted : pattern.factors) {
      std::size_t place = &wanted == &pattern.factors[0] ? first : 0;
      while (place < in.factors.size() && !agrees(wanted, place)) ++place;
      if (place == in.factors.size() || (&wanted == &pattern.factors[0] && place != first)) {
        matched = false;
        break;
      }
      taken[place] = true;
      for (std::size_t axis = 0; axis < wanted.at.size(); ++axis)
        if (wanted.at[axis] >= 0) to[wanted.at[axis]] = in.factors[place].at[axis];
    }
    if (matched) return to;
  }
  return std::nullopt;
}

std::optional<Algebra::Placed> Algebra::take_written_product(Term& a, const Frame& frame) {
  struct Found {
    NodeId id = 0;
    std::vector<int> to;  ///< indices of the written node's axes
    int sign = 1;         ///< -1: it stands below the line
    int weight = 1;       ///< how much it stands for
  } best;
  for (const Factor& factor : a.factors) {
    const auto written = products_of_.find(factor.atom);
    if (written == products_of_.end()) continue;
    step(written->second.size());
    for (NodeId id : written->second)
      for (int sign : {1, -1}) {
        Term pattern = read_.at(id)[0];
        int weight = 0;
        for (Factor& f : pattern.factors) {
          weight += std::abs(f.power);
          f.power *= sign;
        }
        const Rational scale = sign > 0 ? pattern.coefficient : reciprocal(pattern.coefficient);
        const bool takes_number = std::abs(scale.numerator) != 1 || scale.denominator != 1;
        if (takes_number && scale != a.coefficient && scale != negated(a.coefficient)) continue;
        weight += takes_number;
        if (weight <= best.weight) continue;
        if (auto to = match(pattern, a, builder_[id].type.rank())) best = {id, std::move(*to), sign, weight};
      }
  }
  if (best.weight == 1) return std::nullopt;
  const Term pattern = read_.at(best.id)[0];
  const auto in_frame = [&](Factor factor) {
    for (int& index : factor.at)
      if (index >= 0) index = best.to[index];
    return factor;
  };
  for (const Factor& factor : pattern.factors) take(a, in_frame(factor), best.sign * factor.power);
  a.coefficient = a.coefficient * (best.sign > 0 ? reciprocal(pattern.coefficient) : pattern.coefficient);
  Factor whole = in_frame(atom_of_node(best.id)[0].factors[0]);
  whole.power = best.sign;
  if (best.sign > 0) return build_factor(whole, frame);
  a.factors.push_back(whole);  // which is not taken again, being no product of others
  std::ranges::sort(a.factors);
  return std::nullopt;
}

/// e / sum(e) or e / (e + f), which later factors multiply: a share of a whole, in [0, 1].
std::optional<Algebra::Placed> Algebra::take_normalised_quotient(Term& a, const Frame& frame) {
  if (!law("normalised-quotient")) return std::nullopt;
  for (const Factor& below : std::vector<Factor>(a.factors)) {
    if (below.power > -1) continue;
    for (const Factor& above : std::vector<Factor>(a.factors)) {
      if (above.power < 1 || !(is_summand(above, below) || is_share(above, below))) continue;
      const Placed quotient = together(Op::div, build_factor(above, frame), build_factor(below, frame), frame);
      take(a, above, 1);
      take(a, below, -1);
      return quotient;
    }
  }
  return std::nullopt;
}

/// Whether `total` is the sum over axes of `part`.
bool Algebra::is_summand(const Factor& part, const Factor& total) const {
  const Atom& sum = atoms_[total.atom];
  if (sum.kind != Atom::Kind::sum || sum.inner.size() != 1) return false;
  const Term& inner = sum.inner[0];
  if (inner.coefficient != Rational{1, 1} || inner.factors.size() != 1 || inner.factors[0].power != 1) return false;
  if (part.atom != inner.factors[0].atom) return false;
  for (std::size_t axis = 0; axis < part.at.size(); ++axis) {
    const int index = inner.factors[0].at[axis];
    if (index < 0 || std::ranges::find(sum.summed, index) != sum.summed.end()) continue;
    const auto gone = std::ranges::count_if(sum.summed, [&](int s) { return s < index; });
    if (total.at[index - gone] != part.at[axis]) return false;
  }
  return true;
}

/// Whether `total` is a written part + rest, where neither is negative.
bool Algebra::is_share(const Factor& part, const Factor& total) {
  if (atoms_[total.atom].kind != Atom::Kind::node || atoms_[part.atom].kind != Atom::Kind::node) return false;
  const std::vector<Node>& nodes = builder_.graph().nodes;
  const Node& sum = nodes[atoms_[total.atom].node];
  if (sum.op != Op::add || part.at != total.at) return false;
  if (std::ranges::find(sum.operands, atoms_[part.atom].node) == sum.operands.end()) return false;
  return std::ranges::all_of(sum.operands, [&](NodeId x) { return facts_.of(nodes, x).range.non_negative(); });
}

}  // namespace nnc
