// What the algebra did, as nodes of a record: terms written out plainly, so that both sides of a law can be read and
// computed. Nothing here is part of the graph that is being simplified.
#include <algorithm>
#include <set>

#include "passes/algebra.h"
#include "passes/algebra_terms.h"

namespace nnc {

namespace {

Builder& builder_of(Value x) { return *x.builder; }

/// The value at more indices, each as long as `extents` says; a number meets every element as it is.
Value repeated_at(Value x, const std::vector<int>& at, const std::vector<int>& indices,
                  const std::map<int, Extent>& extents) {
  std::vector<int> axes;
  Shape shape;
  for (int index : at) axes.push_back(static_cast<int>(std::ranges::lower_bound(indices, index) - indices.begin()));
  for (int index : indices) shape.push_back(extents.at(index));
  return builder_of(x).broadcast(x, axes, shape);
}

}  // namespace

/// Both sides are shown over the indices that either of them has.
void Algebra::used(std::string_view name, const Said& before, const Said& after, const Shape& frame) {
  std::map<int, Extent> extents;
  std::set<int> indices;
  std::optional<DType> dtype;
  for (int index = 0; index < static_cast<int>(frame.size()); ++index) extents[index] = frame[index];
  for (const Said* said : {&before, &after}) {
    for (const Poly& terms : {said->terms, Poly{said->times}}) {
      std::map<int, Extent> own;
      note_extents(terms, own, dtype);
      extents.insert(own.begin(), own.end());
      for (const auto& [index, extent] : own)
        if (std::ranges::find(said->summed, index) == said->summed.end()) indices.insert(index);
    }
  }
  const std::vector<int> list(indices.begin(), indices.end());
  const DType type = dtype.value_or(DType::f32);
  record_->values.set_derived(true);
  const NodeId old = told(before, extents, list, type).id, made = told(after, extents, list, type).id;
  record_->values.set_derived(false);
  if (old != made) log_.push_back({std::string(name), old, made});
}

/// The indices of terms with their extents, and the element type of what they are made of.
void Algebra::note_extents(const Poly& a, std::map<int, Extent>& extents, std::optional<DType>& dtype) const {
  for (const Term& term : a)
    for (const Factor& factor : term.factors) {
      const Atom& atom = atoms_[factor.atom];
      for (std::size_t axis = 0; axis < factor.at.size(); ++axis)
        if (factor.at[axis] >= 0) extents[factor.at[axis]] = atom.shape[axis];
      std::map<int, Extent> inner;
      if (atom.kind == Atom::Kind::node) {
        dtype = builder_[atom.node].type.dtype;
      } else if (!dtype) {
        note_extents(atom.inner, inner, dtype);
      }
    }
}

Value Algebra::told(const Said& a, const std::map<int, Extent>& extents, const std::vector<int>& indices, DType dtype) {
  Placed value = told_sum(a.terms, dtype);
  if (!a.summed.empty()) {
    const std::vector<int> all = united(value.indices, a.summed);
    std::vector<int> axes, kept;
    for (int index : all) {
      const bool summed = std::ranges::find(a.summed, index) != a.summed.end();
      if (summed) axes.push_back(static_cast<int>(std::ranges::find(all, index) - all.begin()));
      if (!summed) kept.push_back(index);
    }
    value = {record_->values.sum(repeated_at(value.value, value.indices, all, extents), axes), kept};
  }
  if (a.times != Term{}) {
    const Placed times = told_term(a.times, dtype);
    const std::vector<int> all = united(value.indices, times.indices);
    const auto spread = [&](const Placed& x) {
      return x.indices.empty() ? x.value : repeated_at(x.value, x.indices, all, extents);
    };
    value = {spread(times) * spread(value), all};
  }
  return repeated_at(value.value, value.indices, indices, extents);
}

NodeId Algebra::told(const Poly& a, const Type& type) {
  record_->values.set_derived(true);
  const Placed value = told_sum(a, type.dtype);
  const NodeId id = record_->values.broadcast(value.value, value.indices, type.shape).id;
  record_->values.set_derived(false);
  return id;
}

/// What is added first, then what is taken away.
Algebra::Placed Algebra::told_sum(const Poly& a, DType dtype) {
  if (a.empty()) return {record_->values.constant(0, dtype), {}};
  std::map<int, Extent> extents;
  std::optional<DType> ignored;
  note_extents(a, extents, ignored);
  std::vector<int> indices;
  for (const auto& [index, extent] : extents) indices.push_back(index);
  std::optional<Value> sum;
  for (bool minus : {false, true})
    for (Term term : a) {
      if ((term.coefficient.numerator < 0) != minus) continue;
      if (minus) term.coefficient = negated(term.coefficient);
      const Placed told = told_term(term, dtype);
      const Value x = told.indices.empty() ? told.value : repeated_at(told.value, told.indices, indices, extents);
      sum = !sum ? (minus ? -x : x) : minus ? *sum - x : *sum + x;
    }
  return {*sum, sum->type().rank() == 0 ? std::vector<int>{} : indices};
}

/// A quotient of what stands above the line and what stands below it.
Algebra::Placed Algebra::told_term(const Term& a, DType dtype) {
  std::map<int, Extent> extents;
  std::optional<DType> ignored;
  note_extents({a}, extents, ignored);
  std::vector<int> indices;
  for (const auto& [index, extent] : extents) indices.push_back(index);
  std::optional<Value> above, below;
  const auto times = [](std::optional<Value>& product, Value x) { product = product ? *product * x : x; };
  Builder& values = record_->values;
  if (std::abs(a.coefficient.numerator) != 1)
    above = values.constant(static_cast<double>(std::abs(a.coefficient.numerator)), dtype);
  if (a.coefficient.denominator != 1) below = values.constant(static_cast<double>(a.coefficient.denominator), dtype);
  for (const Factor& factor : a.factors) {
    const Placed base = told_factor(factor, dtype);
    const Value x = base.indices.empty() ? base.value : repeated_at(base.value, base.indices, indices, extents);
    for (int i = 0; i < std::abs(factor.power); ++i) times(factor.power > 0 ? above : below, x);
  }
  Value value = above ? (below ? *above / *below : *above) : below ? 1 / *below : values.constant(1, dtype);
  if (a.coefficient.numerator < 0) value = -value;
  if (a.coefficient.numerator == 0) value = values.constant(0, dtype);
  return {value, value.type().rank() == 0 ? std::vector<int>{} : indices};
}

/// The factor's base over its own indices, ascending.
Algebra::Placed Algebra::told_factor(const Factor& factor, DType dtype) {
  const Value whole = told_atom(factor.atom, dtype);
  std::vector<int> at;
  Shape shape;
  for (std::size_t axis = 0; axis < factor.at.size(); ++axis) {
    if (factor.at[axis] < 0) continue;
    at.push_back(factor.at[axis]);
    shape.push_back(atoms_[factor.atom].shape[axis]);
  }
  std::vector<int> order(at.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::ranges::sort(order, {}, [&](int axis) { return at[axis]; });
  std::ranges::sort(at);
  Builder& values = record_->values;
  return {values.transpose(values.reshape(whole, shape), order), at};
}

Value Algebra::told_atom(int number, DType dtype) {
  const Atom& atom = atoms_[number];
  Builder& values = record_->values;
  if (atom.kind == Atom::Kind::node) return {&values, nodes_(atom.node)};
  if (const auto written = written_sums_.find(number); written != written_sums_.end())
    return values.reshape({&values, nodes_(written->second)}, atom.shape);
  const Placed inner = told_sum(atom.inner, dtype);
  const Value whole = values.broadcast(inner.value, inner.indices, atom.frame);
  return atom.kind == Atom::Kind::sum ? values.sum(whole, atom.summed) : whole;
}

}  // namespace nnc
