// What nodes say as terms. A node is an atom, unless a law lets it be read as the number, view, product or sum that it
// is.
#include <cmath>

#include "passes/algebra.h"
#include "passes/algebra_terms.h"

namespace nnc {

namespace {

constexpr std::int64_t largest_part = std::int64_t{1} << 12;  ///< of a coefficient's numerator and denominator

/// The atom of a product that came last: the first ones, such as the number of rows, are in many.
int rarest(const Term& product) { return std::ranges::max(product.factors, {}, &Factor::atom).atom; }

/// Of products and sums that a user wrote only these are read: 0 * x stays as it was written.
bool is_one_term(const Poly& a) { return a.size() == 1 && a[0].coefficient.numerator != 0; }

}  // namespace

std::optional<Rational> as_rational(double value) {
  for (std::int64_t denominator = 1; denominator <= largest_part; denominator *= 2) {
    const double numerator = value * static_cast<double>(denominator);
    if (!(std::abs(numerator) <= static_cast<double>(largest_part))) return std::nullopt;
    if (numerator == std::trunc(numerator)) return Rational{static_cast<std::int64_t>(numerator), denominator};
  }
  return std::nullopt;
}

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
  Poly result = sum(a, shape, std::get<Reduce>(node.attributes).axes, node.type.dtype);
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

}  // namespace nnc
