// Multiplying out: factors that are sums of terms are opened, and with them, where that is wanted, 1 - x and s(-x).
#include "passes/algebra.h"
#include "passes/algebra_terms.h"
#include "passes/laws.h"

namespace nnc {

namespace {

constexpr std::size_t most_terms = 32;  ///< of a product that is multiplied out

}  // namespace

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
    Poly open = in_frame(poly);
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
    Poly open = in_frame(poly);
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
