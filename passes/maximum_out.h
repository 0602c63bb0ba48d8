// The law maximum-out (passes/stabilise.cpp): a value as exp(shift) times a rest, where the first factor is carried
// along through sums, products, powers and views, and never computed.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "passes/exponentials.h"
#include "passes/value_reader.h"

namespace nnc {

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

class MaximumOut : private ValueReader {
 public:
  /// `made` are the new values of the old graph's nodes, as far as they are there.
  MaximumOut(const Graph& graph, Builder& builder, const std::vector<std::optional<Value>>& made);

  /// Old nodes that have to be there before an old node's factor is taken out.
  std::vector<NodeId> needed_for(NodeId id) const;
  /// An old node as exp(power * shift) * rest over its new operands, for each shift for which some operand is that.
  Scalings scale(NodeId id, const std::vector<Value>& operands);
  /// What has been kept of a new value.
  const Scalings& scaled(Value x) const;
  void keep(Value x, Scalings scalings) { scaled_.insert_or_assign(x.id, std::move(scalings)); }

 private:
  bool is_positive(NodeId old) { return facts_.of(graph_.nodes, old).range.positive(); }
  /// The same elements, whatever views they are shown through.
  bool same(Value a, Value b) const;
  bool same_factor(const Scaled& a, const Scaled& b) const { return a.family == b.family && same(a.shift, b.shift); }
  /// For one shift, which the first operand has, or the second, or both.
  std::optional<Scaled> scale_with(NodeId id, const std::vector<Value>& operands, const Scaled* first,
                                   const Scaled* second);
  /// A sum with a number that exp(shift) is not below.
  std::optional<Scaled> with_number(const Node& old, const Scaled* first, const Scaled* second);
  /// exp(shift) for the greatest of several exponents, each times the logarithm of its base.
  Scaled without_greatest(NodeId id, Value z, const SummedExponential& sum);
  Scaled without_maximum(NodeId id, Value z, const SummedExponential& sum);
  /// A view or a sign: done to the rest, and a view to the shift also.
  Scaled with_rest(const Scaled& x, const Node& old);
  /// The factor comes out of a sum where it is constant along the summed axes.
  std::optional<Scaled> through_sum(const Scaled& x, const Node& old);
  /// Factors have the product's shape, or none.
  std::optional<Scaled> through_product(NodeId id, const std::vector<Value>& operands, const Scaled* first,
                                        const Scaled* second);

  const Graph& graph_;
  const std::vector<std::optional<Value>>& made_;
  FactTable facts_;                                               ///< of the old graph
  std::map<NodeId, std::vector<SummedExponential>> summed_over_;  ///< old exp node -> the kinds of sums it is in
  std::map<NodeId, Scalings> scaled_;                             ///< by new node
  const Scalings not_scaled_;
};

}  // namespace nnc
