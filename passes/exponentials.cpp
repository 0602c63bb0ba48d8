#include "passes/exponentials.h"

#include <algorithm>
#include <cmath>

#include "passes/view.h"

namespace nnc {

namespace {

constexpr std::size_t most_kinds = 8;   ///< of sums that one exponential is in
constexpr std::size_t most_terms = 64;  ///< of a sum that is written out

using Found = std::map<NodeId, std::set<SummedExponential>>;

class Finder {
 public:
  Finder(const Graph& graph, FactTable& facts) : graph_(graph), facts_(facts) {}

  std::map<NodeId, std::vector<SummedExponential>> run() {
    Found found;
    for (const Node& node : graph_.nodes) {
      if (node.op == Op::sum) find_factors(node.operands[0], {std::get<Reduce>(node.attributes).axes}, found);
      if (is_sum_of_two(node)) find_terms(node, found);
    }
    std::map<NodeId, std::vector<SummedExponential>> result;
    for (const auto& [id, sums] : found) {
      if (is_shifted(exponent_of(graph_[id]))) continue;
      std::vector<SummedExponential> kept;
      for (const SummedExponential& sum : sums)
        if (may_wait(id, sum)) kept.push_back(sum);
      std::ranges::stable_sort(kept, {}, [](const SummedExponential& x) { return x.axes.size(); });
      if (kept.size() > most_kinds) kept.resize(most_kinds);
      if (!kept.empty()) result.emplace(id, std::move(kept));
    }
    return result;
  }

 private:
  bool is_positive(NodeId id) { return facts_.of(graph_.nodes, id).range.positive(); }

  /// Exponentials of the sum's shape that are factors of what is summed, beside at most one that may be 0 or negative.
  void find_factors(NodeId id, const SummedExponential& sum, Found& found) {
    const Node& node = graph_[id];
    if (is_exponential(graph_.nodes, node)) found[id].insert(sum);
    const bool product = node.op == Op::mul || node.op == Op::div, choice = is_choice_or_zero(graph_.nodes, node);
    if (!product && !choice && node.op != Op::neg && !whole_power_of(graph_.nodes, node)) return;
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      const NodeId factor = node.operands[i];
      if (graph_[factor].type != node.type) continue;
      SummedExponential seen = sum;
      if (choice && (i != 1 || sum.weight)) continue;
      if (choice) seen.weight = node.operands[0];
      if (product && !is_positive(node.operands[1 - i])) {
        if (sum.weight || node.op == Op::div) continue;
        seen.weight = node.operands[1 - i];
      }
      find_factors(factor, seen, found);
    }
  }

  /// Exponentials that are terms of one sum or difference, each with factors that are positive.
  void find_terms(const Node& node, Found& found) {
    SummedExponential sum;
    if (!collect_terms(node, sum)) return;
    std::ranges::sort(sum.terms);
    const auto repeated = std::ranges::unique(sum.terms);
    sum.terms.erase(repeated.begin(), repeated.end());
    const bool logistic = sum.terms.size() == 1 && sum.number == 1;  // 1 + exp(z) has laws of its own
    if (logistic) return;
    for (NodeId term : sum.terms) found[term].insert(sum);
  }
  /// False where a term is neither a positive number nor an exponential with positive factors.
  bool collect_terms(const Node& node, SummedExponential& sum) {
    for (NodeId term : node.operands) {
      double number = 0;
      if (is_sum_of_two(graph_[term])) {
        if (!collect_terms(graph_[term], sum)) return false;
      } else if (repeats_number(graph_.nodes, term, number) && number > 0) {
        sum.number = std::max(sum.number, number);
      } else if (const auto found = exponential_in(term, node.type)) {
        sum.terms.push_back(*found);
      } else {
        return false;
      }
      if (sum.terms.size() > most_terms) return false;
    }
    return true;
  }
  std::optional<NodeId> exponential_in(NodeId id, const Type& type) {
    const Node& node = graph_[id];
    if (node.type != type) return std::nullopt;
    if (is_exponential(graph_.nodes, node)) return id;
    if (node.op != Op::mul && node.op != Op::div) return std::nullopt;
    if (is_positive(node.operands[1]))
      if (const auto found = exponential_in(node.operands[0], type)) return found;
    if (node.op == Op::mul && is_positive(node.operands[0])) return exponential_in(node.operands[1], type);
    return std::nullopt;
  }

  /// x - max x: nothing is left to be taken out.
  bool is_shifted(NodeId z) const {
    if (graph_[z].op != Op::sub) return false;
    NodeId shift = see_through(graph_.nodes, graph_[z].operands[1]).base;
    if (graph_[shift].op == Op::stop_gradient) shift = see_through(graph_.nodes, graph_[shift].operands[0]).base;
    return graph_[shift].op == Op::reduce_max && graph_[shift].operands[0] == graph_[z].operands[0];
  }

  /// Whether the exponential can wait for what this sum needs; notes that it does.
  bool may_wait(NodeId id, const SummedExponential& sum) {
    std::vector<NodeId> needed;
    if (sum.weight) needed.push_back(*sum.weight);
    for (NodeId term : sum.terms) needed.push_back(exponent_of(graph_[term]));
    if (needed.empty()) return true;
    if (waits_for(needed, id)) return false;
    std::vector<NodeId>& waits = waits_[id];
    waits.insert(waits.end(), needed.begin(), needed.end());
    return true;
  }
  bool waits_for(std::vector<NodeId> open, NodeId wanted) const {
    std::set<NodeId> seen(open.begin(), open.end());
    const auto visit = [&](NodeId id) {
      if (seen.insert(id).second) open.push_back(id);
    };
    while (!open.empty()) {
      const NodeId at = open.back();
      open.pop_back();
      if (at == wanted) return true;
      for (NodeId operand : graph_[at].operands) visit(operand);
      if (const auto waits = waits_.find(at); waits != waits_.end())
        for (NodeId needed : waits->second) visit(needed);
    }
    return false;
  }

  const Graph& graph_;
  FactTable& facts_;
  std::map<NodeId, std::vector<NodeId>> waits_;  ///< beside operands: what an exponential's sums need
};

}  // namespace

std::optional<double> base_of_power(const std::vector<Node>& nodes, const Node& node) {
  double base = 0;
  const bool known = node.op == Op::pow && repeats_number(nodes, node.operands[0], base);
  return known && base > 1 && std::isfinite(base) ? std::optional(base) : std::nullopt;
}

bool is_exponential(const std::vector<Node>& nodes, const Node& node) {
  return node.op == Op::exp || base_of_power(nodes, node);
}

NodeId exponent_of(const Node& node) { return node.operands.back(); }

std::optional<int> whole_power_of(const std::vector<Node>& nodes, const Node& node) {
  double exponent = 0;
  if (node.op != Op::pow || !repeats_number(nodes, node.operands[1], exponent)) return std::nullopt;
  if (exponent != std::trunc(exponent) || std::abs(exponent) > 16) return std::nullopt;
  return static_cast<int>(exponent);
}

bool is_choice_or_zero(const std::vector<Node>& nodes, const Node& node) {
  double otherwise = 1;
  return node.op == Op::select && repeats_number(nodes, node.operands[2], otherwise) && otherwise == 0 &&
         nodes[node.operands[0]].type.shape == node.type.shape;
}

bool is_sum_of_two(const Node& node) { return node.op == Op::add || node.op == Op::sub; }

std::map<NodeId, std::vector<SummedExponential>> summed_exponentials(const Graph& graph, FactTable& facts) {
  return Finder(graph, facts).run();
}

}  // namespace nnc
