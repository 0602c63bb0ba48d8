#include "passes/algebra.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "passes/laws.h"

namespace nnc {

std::vector<int> united(const std::vector<int>& a, const std::vector<int>& b) {
  std::vector<int> all;
  std::ranges::set_union(a, b, std::back_inserter(all));
  return all;
}

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

constexpr std::int64_t largest_part = std::int64_t{1} << 12;  ///< of a coefficient's numerator and denominator
constexpr std::size_t most_terms = 32;                        ///< of a product that is multiplied out
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

bool contains(const std::vector<int>& list, int value) { return std::ranges::find(list, value) != list.end(); }

/// `index` once the axes (ascending) are gone.
int renumbered(int index, const std::vector<int>& gone) {
  return index - static_cast<int>(std::ranges::count_if(gone, [&](int axis) { return axis < index; }));
}

std::vector<int> indices_of(const Factor& factor) {
  std::vector<int> indices;
  for (int index : factor.at)
    if (index >= 0) indices.push_back(index);
  std::ranges::sort(indices);
  indices.erase(std::ranges::unique(indices).begin(), indices.end());
  return indices;
}

std::vector<int> indices_of(const Term& term) {
  std::vector<int> indices;
  for (const Factor& factor : term.factors) indices = united(indices, indices_of(factor));
  return indices;
}

std::vector<int> indices_of(const Poly& poly) {
  std::vector<int> indices;
  for (const Term& term : poly) indices = united(indices, indices_of(term));
  return indices;
}

template <class Renumber>
void renumber(Term& term, Renumber&& to) {
  for (Factor& factor : term.factors)
    for (int& index : factor.at)
      if (index >= 0) index = to(index);
  std::ranges::sort(term.factors);
}
template <class Renumber>
void renumber(Poly& poly, Renumber&& to) {
  for (Term& term : poly) renumber(term, to);
  std::ranges::sort(poly);
}

/// The atom of a product that came last: the first ones, such as the number of rows, are in many.
int rarest(const Term& product) { return std::ranges::max(product.factors, {}, &Factor::atom).atom; }

/// Indices 0, 1, ... in place of `indices`.
int place_in(const std::vector<int>& indices, int index) {
  return static_cast<int>(std::ranges::lower_bound(indices, index) - indices.begin());
}

/// Of products and sums that a user wrote only these are read: 0 * x stays as it was written.
bool is_one_term(const Poly& a) { return a.size() == 1 && a[0].coefficient.numerator != 0; }

Shape shape_of(const Shape& frame, const std::vector<int>& indices) {
  Shape shape;
  for (int index : indices) shape.push_back(frame[index]);
  return shape;
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

std::optional<Rational> as_rational(double value) {
  for (std::int64_t denominator = 1; denominator <= largest_part; denominator *= 2) {
    const double numerator = value * static_cast<double>(denominator);
    if (!(std::abs(numerator) <= static_cast<double>(largest_part))) return std::nullopt;
    if (numerator == std::trunc(numerator)) return Rational{static_cast<std::int64_t>(numerator), denominator};
  }
  return std::nullopt;
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

// Reading nodes

const Poly& Algebra::read(NodeId id) {
  if (const auto known = read_.find(id); known != read_.end()) return known->second;
  Poly result = read_afresh(id);
  return read_.emplace(id, std::move(result)).first->second;
}

Poly Algebra::read_afresh(NodeId id) {
  const Node node = builder_[id];
  if (!is_float(node.type.dtype)) return atom_of_node(id);
  if (const auto* constant = std::get_if<Constant>(&node.attributes)) {
    if (constant->values.size() == 1 && node.type.rank() == 0 && law("numbers"))
      if (const auto value = as_rational(constant->values.front())) return number(*value);
    return atom_of_node(id);
  }
  if (const auto* size = std::get_if<Size>(&node.attributes); size && size->extent.count > 1 && law("numbers")) {
    const Poly rows = atom_of_node(builder_.size(batch_extent, node.type.dtype).id);
    const Poly result{product(Term{{size->extent.count, 1}, {}}, rows[0], 1)};
    products_of_[rarest(result[0])].push_back(id);
    return result;
  }
  if (View step; see_through_once(builder_.graph().nodes, id, step)) return view(read(step.base), step);
  std::optional<Poly> arithmetic;  // what other ops a user wrote is not arithmetic to rearrange
  if (node.op == Op::neg || node.op == Op::mul || node.op == Op::div) arithmetic = read_product(id);
  if (node.op == Op::sum) arithmetic = read_sum(id);
  return arithmetic ? *arithmetic : atom_of_node(id);
}

std::optional<Poly> Algebra::read_product(NodeId id) {
  const Node node = builder_[id];  // a copy: nodes move while others are built
  const Poly a = read(node.operands[0]), b = read(node.operands.back());
  if (!law("products") || !is_one_term(a) || !is_one_term(b)) return std::nullopt;
  if (node.op == Op::neg) return negate(a);
  Poly result;
  try {
    result = node.op == Op::mul ? multiply(a, b, node.type.shape) : divide(a, b, node.type.shape);
  } catch (BudgetSpent) {
    return std::nullopt;
  }
  if (!is_one_term(result)) return std::nullopt;
  // It may stand for its factors where they have all its axes; else it repeats them.
  const auto long_axes = std::ranges::count_if(node.type.shape, [](Extent extent) { return !is_unit(extent); });
  if (!result[0].factors.empty() && std::ssize(indices_of(result[0])) == long_axes)
    products_of_[rarest(result[0])].push_back(id);
  return result;
}

std::optional<Poly> Algebra::read_sum(NodeId id) {
  const Node node = builder_[id];
  if (!law("sums") || node.operands.size() != 1) return std::nullopt;
  const Poly a = read(node.operands[0]);
  if (!is_one_term(a)) return std::nullopt;
  const Shape shape = builder_[node.operands[0]].type.shape;
  const Poly result = sum(a, shape, std::get<Reduce>(node.attributes).axes, node.type.dtype);
  const bool whole = is_one_term(result) && result[0].coefficient == Rational{1, 1} && result[0].factors.size() <= 1 &&
                     (result[0].factors.empty() || result[0].factors[0].power == 1);
  if (!whole) return std::nullopt;
  // Over a repeated operand the sum's atom has fewer elements than the node.
  if (!result[0].factors.empty() &&
      element_count(atoms_[result[0].factors[0].atom].shape) == element_count(node.type.shape))
    written_sums_.try_emplace(result[0].factors[0].atom, id);
  return result;
}

Poly Algebra::atom_of_node(NodeId id) {
  const auto known = atom_of_node_.find(id);
  int number = 0;
  if (known != atom_of_node_.end()) {
    number = known->second;
  } else {
    number = static_cast<int>(atoms_.size());
    atoms_.push_back({.kind = Atom::Kind::node,
                      .node = id,
                      .inner = {},
                      .frame = {},
                      .summed = {},
                      .shape = builder_[id].type.shape});
    atom_of_node_.emplace(id, number);
  }
  return {Term{{1, 1}, {factor_of(number)}}};
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

// Arithmetic

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

// Sums over axes

Poly Algebra::without_axes(const Poly& a, const std::vector<int>& axes) const {
  Poly result = a;
  renumber(result, [&](int index) { return renumbered(index, axes); });
  return result;
}

bool Algebra::is_one_hot(const std::vector<Factor>& factors, int axis) {
  if (factors.size() != 1 || factors[0].power != 1 || atoms_[factors[0].atom].kind != Atom::Kind::node) return false;
  for (int own : facts_.of(builder_.graph().nodes, atoms_[factors[0].atom].node).sums_to_one)
    if (factors[0].at[own] == axis) return true;
  return false;
}

/// The sum over `axes` of one term, over the axes that stay.
Poly Algebra::sum_of_term(const Term& a, const Shape& frame, const std::vector<int>& axes, DType dtype) {
  step();
  Term outside{a.coefficient, {}};
  std::vector<Factor> inside;
  std::vector<int> summed;
  for (int axis : axes)
    if (!is_unit(frame[axis])) summed.push_back(axis);
  for (const Factor& factor : a.factors) {
    const bool varies = std::ranges::any_of(factor.at, [&](int index) { return contains(summed, index); });
    (varies || !law("pull-out") ? inside : outside.factors).push_back(factor);
  }
  if (record_ && !outside.factors.empty() && !summed.empty())
    used("pull-out", {{a}, summed}, {{Term{{1, 1}, inside}}, summed, outside}, frame);

  std::vector<int> left;  // axes that remain to be summed
  for (int axis : summed) {
    const bool used_inside =
        std::ranges::any_of(inside, [&](const Factor& factor) { return contains(factor.at, axis); });
    if (used_inside && law("one-hot") && is_one_hot(inside, axis) && summed.size() == 1) {
      if (record_) used("one-hot", {{Term{{1, 1}, inside}}, {axis}}, {number({1, 1})}, frame);
      inside.clear();
    } else if (!used_inside && law("count")) {
      const Poly count =
          frame[axis].batched ? read(builder_.size(frame[axis], dtype).id) : number({frame[axis].count, 1});
      if (record_) used("count", {number({1, 1}), {axis}}, {count}, frame);
      outside = product(outside, count.empty() ? Term{{0, 1}, {}} : count[0], 1);
    } else {
      left.push_back(axis);
    }
  }
  if (left.empty()) {
    for (const Factor& factor : inside) outside = product(outside, Term{{1, 1}, {factor}}, 1);
    return without_axes(merged({outside}), axes);
  }
  std::ranges::sort(inside);
  const std::vector<int> indices = united(indices_of(Term{{1, 1}, inside}), left);
  Term inner{{1, 1}, inside};
  renumber(inner, [&](int index) { return place_in(indices, index); });
  Atom atom{.kind = Atom::Kind::sum,
            .node = 0,
            .inner = {inner},
            .frame = shape_of(frame, indices),
            .summed = {},
            .shape = {}};
  Factor factor{.atom = 0, .at = {}, .power = 1};
  for (int index : indices) {
    if (contains(left, index)) {
      atom.summed.push_back(place_in(indices, index));
    } else {
      atom.shape.push_back(frame[index]);
      factor.at.push_back(index);
    }
  }
  factor.atom = intern(std::move(atom));
  return without_axes(merged({product(outside, Term{{1, 1}, {factor}}, 1)}), axes);
}

Poly Algebra::sum(const Poly& a, const Shape& frame, const std::vector<int>& axes, DType dtype) {
  if (a.size() <= 1) return a.empty() ? Poly{} : sum_of_term(a[0], frame, axes, dtype);
  if (!law("difference-of-sums")) return sum_of_term(as_term(a, frame), frame, axes, dtype);
  // A difference stays inside its sum, except terms that cancel for good: what is left of sum x - sum y is small where
  // x and y are alike, and rounded as the large sums are.
  const LawLog before = std::exchange(log_, {});
  std::vector<Poly> parts;
  std::map<std::vector<Factor>, int> alike;
  for (const Term& term : a) {
    parts.push_back(sum_of_term(term, frame, axes, dtype));
    for (const Term& part : parts.back()) ++alike[part.factors];
  }
  std::vector<Term> together, apart, taken;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool cancels = std::ranges::all_of(parts[i], [&](const Term& part) { return alike[part.factors] > 1; });
    (cancels ? taken : together).push_back(a[i]);
    if (cancels) apart.insert(apart.end(), parts[i].begin(), parts[i].end());
  }
  const Poly outside = merged(std::move(apart));
  LawLog inner = std::exchange(log_, before);
  if (outside.size() >= taken.size()) return sum_of_term(as_term(a, frame), frame, axes, dtype);
  if (record_) {
    std::vector<int> kept;
    for (int index = 0; index < static_cast<int>(frame.size()); ++index)
      if (!contains(axes, index)) kept.push_back(index);
    Poly over_kept = outside;
    renumber(over_kept, [&](int index) { return kept[index]; });
    used("difference-of-sums", {Poly(taken), axes}, {over_kept}, frame);
  }
  log_.insert(log_.end(), inner.begin(), inner.end());
  return add(outside, together.empty() ? Poly{} : sum_of_term(as_term(together, frame), frame, axes, dtype));
}

// Multiplying out

/// x where the node is 1 - x.
std::optional<NodeId> Algebra::complement_of(NodeId id) {
  const Node& node = builder_[id];
  double number = 0;
  if (node.op != Op::sub || !repeats_number(builder_.graph().nodes, node.operands[0], number) || number != 1)
    return std::nullopt;
  return node.operands[1];
}

/// The terms that a factor to the power of 1 consists of, in the term's frame.
std::optional<Poly> Algebra::opened(const Factor& factor, bool complements) {
  const Atom atom = atoms_[factor.atom];
  const auto in_frame = [&](Poly poly) {
    renumber(poly, [&](int index) { return factor.at[index]; });
    return poly;
  };
  if (atom.kind == Atom::Kind::unit) {
    if (!law("multiply-out")) return std::nullopt;
    return in_frame(atom.inner);
  }
  if (atom.kind != Atom::Kind::node || !complements) return std::nullopt;
  if (const auto x = complement_of(atom.node); x && law("complement")) {
    const Poly poly = add(number({1, 1}), negate(read(*x)));
    const Poly open = in_frame(poly);
    if (record_) used("complement", {{Term{{1, 1}, {{factor.atom, factor.at, 1}}}}}, {open});
    return open;
  }
  const Node& node = builder_[atom.node];
  if (node.op == Op::logistic && law("logistic-complement") && builder_[node.operands[0]].op == Op::neg) {
    const bool derived = builder_.derived();
    builder_.set_derived(true);
    const Value flipped = apply(Op::logistic, Value{&builder_, builder_[node.operands[0]].operands[0]});
    builder_.set_derived(derived);
    const Poly poly = add(number({1, 1}), negate(read(flipped.id)));
    const Poly open = in_frame(poly);
    if (record_) used("logistic-complement", {{Term{{1, 1}, {{factor.atom, factor.at, 1}}}}}, {open});
    return open;
  }
  return std::nullopt;
}

std::optional<Poly> Algebra::multiplied_out(const Poly& a, bool complements, const std::set<int>& closed,
                                            std::set<int>* opened_atoms) {
  std::vector<Term> open = a, done;
  bool changed = false;
  while (!open.empty()) {
    Term term = std::move(open.back());
    open.pop_back();
    std::optional<Poly> parts;
    for (std::size_t i = 0; i < term.factors.size() && !parts; ++i) {
      if (term.factors[i].power < 1 || closed.contains(term.factors[i].atom)) continue;
      parts = opened(term.factors[i], complements);
      if (parts && opened_atoms) opened_atoms->insert(term.factors[i].atom);
      if (parts && --term.factors[i].power == 0)
        term.factors.erase(term.factors.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (!parts) {
      done.push_back(std::move(term));
      continue;
    }
    changed = true;
    Poly products;
    for (const Term& part : *parts) products.push_back(product(term, part, 1));
    if (record_) used("multiply-out", {*parts, {}, term}, {products});
    open.insert(open.end(), products.begin(), products.end());
    if (open.size() + done.size() > most_terms) return std::nullopt;
  }
  if (!changed) return std::nullopt;
  return merged(std::move(done));
}

}  // namespace nnc
