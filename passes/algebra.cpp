// The laws by name, exact fractions, and arithmetic on terms. Reading nodes, sums over axes, multiplying out, building
// nodes and telling what was done have a file each, algebra_*.cpp.
#include "passes/algebra.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "passes/algebra_terms.h"
#include "passes/laws.h"

namespace nnc {

namespace {

constexpr Law laws[] = {
    {"numbers", "2 (x / 2) = x: numbers are exact coefficients"},
    {"powers", "x^a x^b = x^(a + b)"},
    {"like-terms", "a x + b x = (a + b) x"},
    {"products", "a written product or quotient is the factors it says"},
    {"sums", "a written sum over axes is the sum it says"},
    {"indicator", "i i = i for i in {0, 1}"},
    {"pull-out", "sum_k a x_k = a sum_k x_k"},
    {"count", "sum_k 1 = n"},
    {"one-hot", "sum_k onehot_k = 1"},
    {"difference-of-sums", "sum (x - y) = sum x - sum y, where terms cancel"},
    {"multiply-out", "a (b + c) = a b + a c, where it is cheaper"},
    {"factor-out", "a b + a c = a (b + c)"},
    {"complement", "a (1 - x) = a - a x, where it is cheaper"},
    {"logistic-complement", "s(-x) = 1 - s(x), s the logistic function, where it is cheaper"},
    {"same-choice", "(c ? x : x) = x"},
    {"one-of-row", "(c_k ? x : 0) = x onehot_k, where c holds for one k"},
    {"normalised-quotient",
     "e t / sum e = (e / sum e) t, e t / (e + f) = (e / (e + f)) t: a share of a whole stays one"},
};

constexpr int largest_power = 64;

std::int64_t checked(__int128 value) {
  if (value > INT64_MAX || value < -INT64_MAX) throw BudgetSpent{};
  return static_cast<std::int64_t>(value);
}

Rational lowest_terms(__int128 numerator, __int128 denominator) {
  __int128 a = numerator < 0 ? -numerator : numerator, b = denominator;
  while (b != 0) std::tie(a, b) = std::pair{b, a % b};
  if (a == 0) a = 1;
  return {checked(numerator / a), checked(denominator / a)};
}

}  // namespace

std::span<const Law> simplify_laws() { return laws; }

Rational operator+(Rational a, Rational b) {
  return lowest_terms(
      static_cast<__int128>(a.numerator) * b.denominator + static_cast<__int128>(b.numerator) * a.denominator,
      static_cast<__int128>(a.denominator) * b.denominator);
}
Rational operator*(Rational a, Rational b) {
  return lowest_terms(static_cast<__int128>(a.numerator) * b.numerator,
                      static_cast<__int128>(a.denominator) * b.denominator);
}
Rational reciprocal(Rational a) {
  if (a.numerator == 0) throw BudgetSpent{};
  return a.numerator < 0 ? Rational{-a.denominator, -a.numerator} : Rational{a.denominator, a.numerator};
}

Algebra::Algebra(Builder& builder, const SimplifyOptions& options, const std::vector<Obligation>& obligations)
    : builder_(builder), facts_(obligations), record_(options.record), nodes_(options.record, builder.graph()) {
  for (const Law& law : laws)
    if (nnc::in_force(options, law.name)) in_force_.emplace(law.name);
}

LawLog Algebra::take_log() { return std::exchange(log_, {}); }

void Algebra::step(std::size_t count) {
  steps_ += static_cast<std::int64_t>(count);
  if (steps_ > budget_end_) throw BudgetSpent{};
}

/// The atom in the frame of its own axes.
Factor Algebra::factor_of(int atom) const {
  Factor factor{.atom = atom, .at = {}, .power = 1};
  const Shape& shape = atoms_[atom].shape;
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis)
    factor.at.push_back(is_unit(shape[axis]) ? -1 : axis);
  return factor;
}

int Algebra::intern(Atom atom) {
  AtomKey key{.inner = atom.inner, .frame = {}, .summed = atom.summed};
  for (const Extent& extent : atom.frame) key.frame.push_back(extent.batched ? -extent.count : extent.count);
  const auto [place, is_new] = atom_of_key_.try_emplace(std::move(key), static_cast<int>(atoms_.size()));
  if (is_new) {
    atom.terms = term_count(atom.inner);
    atoms_.push_back(std::move(atom));
  }
  return place->second;
}

std::int64_t Algebra::term_count(const Poly& a) const {
  std::int64_t count = 0;
  for (const Term& term : a) {
    ++count;
    for (const Factor& factor : term.factors) count += atoms_[factor.atom].terms;
  }
  return std::min(count, std::int64_t{1} << 32);
}

Poly Algebra::number(Rational value) const {
  if (value.numerator == 0) return {};
  return {Term{value, {}}};
}

Poly Algebra::negate(const Poly& a) const {
  Poly result = a;
  for (Term& term : result) term.coefficient = negated(term.coefficient);
  std::ranges::sort(result);
  return result;
}

Poly Algebra::add(const Poly& a, const Poly& b) {
  std::vector<Term> terms = a;
  terms.insert(terms.end(), b.begin(), b.end());
  return merged(std::move(terms));
}

/// Terms of the same factors become one; what is 0 goes.
Poly Algebra::merged(std::vector<Term> terms) {
  std::ranges::sort(terms, [](const Term& a, const Term& b) {
    return std::tie(a.factors, a.coefficient) < std::tie(b.factors, b.coefficient);
  });
  Poly result;
  for (Term& term : terms) {
    step();
    if (term.coefficient.numerator == 0) continue;
    if (result.empty() || !law("like-terms") || result.back().factors != term.factors) {
      result.push_back(std::move(term));
      continue;
    }
    const Rational both = result.back().coefficient + term.coefficient;
    if (record_) used("like-terms", {{result.back(), term}}, {{Term{both, term.factors}}});
    result.back().coefficient = both;
    if (both.numerator == 0) result.pop_back();
  }
  std::ranges::sort(result);
  return result;
}

/// a * b, or a / b for sign -1.
Term Algebra::product(const Term& a, const Term& b, int sign) {
  const Rational scale = sign > 0 ? b.coefficient : reciprocal(b.coefficient);
  const auto is_plain = [](Rational x) { return std::abs(x.numerator) == 1 && x.denominator == 1; };
  if (record_ && !is_plain(a.coefficient) && !is_plain(scale))
    used("numbers", {{Term{a.coefficient, {}}}, {}, Term{scale, {}}}, {{Term{a.coefficient * scale, {}}}});
  Term result{a.coefficient * scale, a.factors};
  for (Factor factor : b.factors) {
    step();
    factor.power *= sign;
    const auto same =
        std::ranges::find_if(result.factors, [&](const Factor& other) { return same_place(other, factor); });
    if (same == result.factors.end() || !law("powers")) {
      result.factors.push_back(factor);
      continue;
    }
    if (std::abs(same->power + factor.power) > largest_power) throw BudgetSpent{};
    const Factor both{factor.atom, factor.at, same->power + factor.power};
    if (record_) {
      const Term one;
      used("powers", {{Term{{1, 1}, {*same}}}, {}, Term{{1, 1}, {factor}}},
           {{both.power == 0 ? one : Term{{1, 1}, {both}}}});
    }
    *same = both;
    if (both.power == 0) result.factors.erase(same);
  }
  for (Factor& factor : result.factors) {
    const Atom& atom = atoms_[factor.atom];
    if (factor.power < 2 || atom.kind != Atom::Kind::node || !law("indicator")) continue;
    if (!facts_.of(builder_.graph().nodes, atom.node).range.indicator()) continue;
    const Factor before = std::exchange(factor, Factor{factor.atom, factor.at, 1});
    if (record_) used("indicator", {{Term{{1, 1}, {before}}}}, {{Term{{1, 1}, {factor}}}});
  }
  std::ranges::sort(result.factors);
  return result;
}

/// What all terms have in common: a number where they all have it, and powers of factors.
Term Algebra::common_factor(const Poly& a) const {
  Term common = a[0];
  const auto again =
      std::ranges::unique(common.factors, same_place);  // without the law of powers a factor may stand twice
  common.factors.erase(again.begin(), again.end());
  for (const Term& term : a) {
    if (std::abs(term.coefficient.numerator) != std::abs(common.coefficient.numerator) ||
        term.coefficient.denominator != common.coefficient.denominator)
      common.coefficient = {common.coefficient.numerator < 0 ? -1 : 1, 1};
    std::erase_if(common.factors, [&](Factor& factor) {
      const auto other = std::ranges::find_if(term.factors, [&](const Factor& f) { return same_place(f, factor); });
      if (other == term.factors.end() || (other->power > 0) != (factor.power > 0)) return true;
      if (std::abs(other->power) < std::abs(factor.power)) factor.power = other->power;
      return false;
    });
  }
  return common;
}

/// The term without factors and number that it is known to have.
Term Algebra::without(const Term& a, const Term& common) const {
  Term rest{a.coefficient * reciprocal(common.coefficient), a.factors};
  for (const Factor& factor : common.factors) {
    const auto place = std::ranges::find_if(rest.factors, [&](const Factor& f) { return same_place(f, factor); });
    place->power -= factor.power;
    if (place->power == 0) rest.factors.erase(place);
  }
  return rest;
}

/// A sum as one factor, its common factors taken out of it.
Term Algebra::as_term(const Poly& a, const Shape& frame) {
  if (a.empty()) return {{0, 1}, {}};
  if (a.size() == 1) return a[0];
  Term common{{1, 1}, {}};
  Poly rest = a;
  if (law("factor-out")) {
    common = common_factor(a);
    // Of a sum and its negative one is the factor, whichever came: that in which the simplest term is positive.
    const Term& simplest = *std::ranges::min_element(a, {}, &Term::factors);
    if ((simplest.coefficient.numerator < 0) != (common.coefficient.numerator < 0))
      common.coefficient = negated(common.coefficient);
    for (Term& term : rest) term = without(term, common);
    std::ranges::sort(rest);
    if (record_ && !common.factors.empty()) used("factor-out", {a}, {rest, {}, common});
  }
  const std::vector<int> indices = indices_of(rest);
  renumber(rest, [&](int index) { return place_in(indices, index); });
  const Shape shape = shape_of(frame, indices);
  const int atom = intern(
      {.kind = Atom::Kind::unit, .node = 0, .inner = rest, .frame = shape, .summed = {}, .shape = shape, .terms = 0});
  return product(common, Term{{1, 1}, {{.atom = atom, .at = indices, .power = 1}}}, 1);
}

Poly Algebra::subtract(const Poly& a, const Poly& b, const Shape& frame) {
  const Poly difference = add(a, negate(b));
  if (difference.size() < a.size() + b.size()) return difference;
  return {as_term(difference, frame)};
}

Poly Algebra::multiply(const Poly& a, const Poly& b, const Shape& frame) {
  const auto is_one = [](const Poly& x) { return x.size() == 1 && x[0] == Term{}; };
  if (is_one(a)) return b;
  if (is_one(b)) return a;
  return merged({product(as_term(a, frame), as_term(b, frame), 1)});
}

Poly Algebra::divide(const Poly& a, const Poly& b, const Shape& frame) {
  return merged({product(as_term(a, frame), as_term(b, frame), -1)});
}

Poly Algebra::power(const Poly& a, int exponent, const Shape& frame) {
  const Term base = as_term(a, frame);
  Term result;
  for (int i = 0; i < std::abs(exponent); ++i) result = product(result, base, exponent > 0 ? 1 : -1);
  return merged({result});
}

Poly Algebra::view(const Poly& a, const View& step) const {
  Poly result = a;
  renumber(result, [&](int index) { return step.axes[index]; });
  return result;
}

}  // namespace nnc
