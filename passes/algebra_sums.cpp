// Sums over axes: of each term what is constant along them is pulled out, and counted where nothing is left inside. A
// difference stays in its sum, unless terms cancel for good.
#include <algorithm>
#include <map>
#include <utility>

#include "passes/algebra.h"
#include "passes/algebra_terms.h"

namespace nnc {

namespace {

/// `index` once the axes (ascending) are gone.
int renumbered(int index, const std::vector<int>& gone) {
  return index - static_cast<int>(std::ranges::count_if(gone, [&](int axis) { return axis < index; }));
}

}  // namespace

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

}  // namespace nnc
