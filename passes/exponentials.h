// Which exponentials of a graph are summed, and how: what stabilise takes a greatest exponent out of.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "passes/facts.h"

namespace nnc {

/// A kind of sum: its axes, and the factor or condition beside the exponential that may be 0 or negative; or the
/// exponentials that are its terms, and the greatest number among them (0: none).
struct SummedExponential {
  std::vector<int> axes{};
  std::optional<NodeId> weight{};
  std::vector<NodeId> terms{};
  double number = 0;

  auto operator<=>(const SummedExponential&) const = default;
};

/// The base of a^z, a number above 1.
std::optional<double> base_of_power(const std::vector<Node>& nodes, const Node& node);
/// Whether it is exp(z), or a^z for a number a above 1.
bool is_exponential(const std::vector<Node>& nodes, const Node& node);
/// z of exp(z) and of a^z.
NodeId exponent_of(const Node& node);
/// The number that it is a power by, a small whole one, if it is.
std::optional<int> whole_power_of(const std::vector<Node>& nodes, const Node& node);
/// (c ? x : 0), c of x's shape.
bool is_choice_or_zero(const std::vector<Node>& nodes, const Node& node);
bool is_sum_of_two(const Node& node);

/// By exponential, those of fewest axes first, a few at most. Each can be computed in the order in which its weight and
/// its terms' exponents come before it: no two wait for each other.
std::map<NodeId, std::vector<SummedExponential>> summed_exponentials(const Graph& graph, FactTable& facts);

}  // namespace nnc
