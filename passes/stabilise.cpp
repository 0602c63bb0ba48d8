// Rewrites what a user wrote by hand into forms that neither overflow nor lose digits, before it is derived: so the
// derivative is derived from the good form. The value stays what it was wherever the written form had one; where that
// was inf, NaN or rounded to 0, the new one is the limit.
//
//   maximum-out    exp(z) = exp(m) exp(z - m) with m = max z over the axes that exp(z) is summed over. The factor
//                  exp(m) is carried along through sums, products, powers and views, never computed, and either cancels
//                  (exp(z) / sum exp(z)) or comes out of a logarithm: log(exp(m) x) = m + log x. m is a constant to
//                  every gradient, since the value does not depend on it. Where exp(z) is summed over several sets of
//                  axes, each has its own m, and each use takes the one that leaves it, the narrowest first. In a sum
//                  of w exp(z), or of (c ? exp(z) : 0), m is the greatest z where w is not 0: elsewhere z is not seen.
//                  exp(a) + exp(b), with factors and numbers that are positive, is such a sum of its terms. So is
//                  a^z for a number a > 1, with a^m.
//   log-exp        log(exp x) = x, and log(a^x) = x log a for a number a;  log(exp(x) y) = x + log y;
//                  log(exp(x) / y) = x - log y
//   log-logistic   log s(x) = -softplus(-x);  log(1 - s(x)) = -softplus(x), s the logistic function
//   log-one-plus-exp   log(1 + exp x) = softplus(x)
//   log-chosen     log of what a row has where a condition holds once is what the row's logarithm has there; likewise
//                  of elements that a view, an index or a condition leads to. All where the logarithm of what is
//                  chosen from has a better form.
//   log-power      log(x y) = log x + log y and log(x / y), log(x^a) likewise, where the logarithms have better forms,
//                  of a product or quotient also where one has and the sign of one factor is known
//   indicator-log  i log(x) = log(i ? x : 1) for an indicator i: 0 where i is 0, even if x is 0 too, and so is the
//                  gradient
//   logistic       a / (1 + exp(-x)) = a s(x);  exp(x) / (1 + exp(x)) = s(x)
//   shift-first    a - (m + log x) = (a - m) - log x;  (m + log x) - b = (m - b) + log x, where maximum-out has made
//                  the sum: a and m are of a size, and what is left of them is small
#include <algorithm>
#include <set>

#include "ir/builder.h"
#include "ir/loops.h"
#include "passes/differentiate.h"
#include "passes/laws.h"
#include "passes/logarithms.h"
#include "passes/passes.h"
#include "passes/record.h"

namespace nnc {

namespace {

constexpr Law laws[] = {
    {"maximum-out",
     "exp(z) / sum exp(z) = exp(z - m) / sum exp(z - m);  log sum exp(z) = m + log sum exp(z - m);  "
     "log(exp(a) + exp(b)) = m + log(exp(a - m) + exp(b - m))"},
    {"log-exp", "log(exp(x) / y) = x - log y;  log(a^x) = x log a"},
    {"log-logistic", "log s(x) = -softplus(-x);  log(1 - s(x)) = -softplus(x)"},
    {"log-one-plus-exp", "log(1 + exp(x)) = softplus(x)"},
    {"log-chosen",
     "log sum_k (c_k ? x_k : 0) = sum_k (c_k ? log x_k : 0), where c holds for one k;  log x[i] = (log x)[i];  "
     "log (c ? x : y) = c ? log x : log y"},
    {"log-power",
     "log(x y) = log x + log y, where both have better forms, or one has and a sign is known;  log(x^a) = a log x"},
    {"indicator-log", "i log(x) = log(i ? x : 1) for i in {0, 1}"},
    {"logistic", "a / (1 + exp(-x)) = a s(x)"},
    {"shift-first", "a - (m + log x) = (a - m) - log x"},
};

class Stabiliser : private ValueReader {
 public:
  Stabiliser(const Graph& graph, const SimplifyOptions& options)
      : ValueReader(new_graph_),
        graph_(graph),
        options_(options),
        new_graph_(graph.name),
        old_(options.record, graph),
        new_(options.record, new_graph_.graph()),
        made_(graph.nodes.size()),
        maximum_out_(graph, new_graph_, made_),
        logarithms_(new_graph_, graph.obligations, options, maximum_out_) {}

  Graph run() {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) make(id);
    std::vector<Value> made;
    for (const std::optional<Value>& value : made_) made.push_back(*value);
    record_changes(made);
    return finish_like(graph_, std::move(new_graph_), made);
  }

 private:
  /// The node in the new graph; its operands are there.
  void make(NodeId id) {
    if (made_[id]) return;
    if (in_force(options_, "maximum-out"))
      for (NodeId needed : maximum_out_.needed_for(id)) make_with_operands(needed);
    std::vector<Value> operands;
    for (NodeId operand : graph_[id].operands) operands.push_back(*made_[operand]);
    const Origin& origin = graph_[id].origin;
    builder_.set_origin({"", origin.file, origin.line, origin.column});
    const std::optional<Value> better = rewritten(id, operands);
    made_[id] = better ? *better : copy_node(builder_, graph_[id], operands);
    builder_.set_origin({});
    if (better) builder_.name_node(better->id, origin.name);
  }
  void make_with_operands(NodeId id) {
    for (NodeId needed : missing(id)) make(needed);
  }
  /// The node and what it is made of, as far as it is not there yet, ascending.
  std::set<NodeId> missing(NodeId id) const {
    std::set<NodeId> found;
    std::vector<NodeId> open{id};
    while (!open.empty()) {
      const NodeId at = open.back();
      open.pop_back();
      if (made_[at] || !found.insert(at).second) continue;
      open.insert(open.end(), graph_[at].operands.begin(), graph_[at].operands.end());
    }
    return found;
  }

  // Rewriting one node.

  std::optional<Value> rewritten(NodeId id, const std::vector<Value>& operands) {
    Scalings scalings = in_force(options_, "maximum-out") ? maximum_out_.scale(id, operands) : Scalings();
    const auto free = std::ranges::find_if(scalings, [](const Scaled& x) { return x.power == 0 && x.seen_whole(); });
    if (free != scalings.end()) return logged("maximum-out", id, free->rest);
    const std::optional<Value> better = rewritten_plainly(id, operands);
    if (scalings.empty()) return better;
    // The written form stays for uses that the factor does not leave; it is gone where there are none.
    const Value plain = better ? *better : copy_node(builder_, graph_[id], operands);
    maximum_out_.keep(plain, std::move(scalings));
    return plain;
  }

  std::optional<Value> rewritten_plainly(NodeId id, const std::vector<Value>& operands) {
    const Node& old = graph_[id];
    if (old.op == Op::log) {
      std::string_view law;
      if (const auto better = logarithms_.log_of(operands[0], law)) return logged(law, id, *better);
    }
    if (old.op == Op::log1p) {
      std::string_view law;
      if (const auto better = logarithms_.log_of_one_plus(operands[0], law)) return logged(law, id, *better);
    }
    if (old.op == Op::div)
      if (const auto better = logistic_quotient(operands[0], operands[1])) return logged("logistic", id, *better);
    if (whole_power_of(graph_.nodes, old) == -1)
      if (const auto better = logistic_quotient(builder_.constant(1, old.type.dtype), operands[0]))
        return logged("logistic", id, *better);
    if (old.op == Op::sub && in_force(options_, "shift-first"))
      if (const auto better = logarithms_.shift_first(operands[0], operands[1]))
        return logged("shift-first", id, *better);
    if (shows_one(old)) logarithms_.carry_shift(old, operands);
    if (old.op == Op::mul && in_force(options_, "indicator-log"))
      for (std::size_t i : {0, 1})
        if (const auto better = logarithms_.chosen_log(operands[i], operands[1 - i]))
          return logged("indicator-log", id, *better);
    return std::nullopt;
  }

  // logistic

  /// a / (1 + exp(u)); a quotient by itself where a = 1 or a = exp(u).
  std::optional<Value> logistic_quotient(Value a, Value b) {
    if (!in_force(options_, "logistic") || node(b).op != Op::add) return std::nullopt;
    for (std::size_t i : {0, 1}) {
      const Value e = operand(b, 1 - i);
      if (!is_one(operand(b, i)) || node(e).op != Op::exp) continue;
      if (is_one(a) && e.type().shape == b.type().shape) return apply(Op::logistic, negated(operand(e, 0)));
      if (a.id == e.id) return apply(Op::logistic, operand(e, 0));
      if (e.type().shape == b.type().shape) return a * apply(Op::logistic, negated(operand(e, 0)));
    }
    return std::nullopt;
  }

  Value logged(std::string_view law, NodeId before, Value after) {
    if (options_.record)
      options_.record->uses.push_back({std::string(law), old_(before), new_(after.id), graph_[before].origin});
    return after;
  }

  /// Every node that has another form now: where a law was used, and what is made of such.
  void record_changes(const std::vector<Value>& made) {
    if (!options_.record) return;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const Rewrite change{old_(id), new_(made[id].id)};
      if (change.before != change.after) options_.record->stabilised.push_back(change);
    }
  }

  const Graph& graph_;
  const SimplifyOptions& options_;
  Builder new_graph_;
  Record::Reader old_, new_;
  std::vector<std::optional<Value>> made_;  ///< by old node
  MaximumOut maximum_out_;
  Logarithms logarithms_;
};

}  // namespace

std::span<const Law> stabilise_laws() { return laws; }

bool in_force(const SimplifyOptions& options, std::string_view law) {
  return std::ranges::find(options.disabled_laws, law) == options.disabled_laws.end();
}

Graph stabilise(const Graph& graph, const SimplifyOptions& options) {
  const SimplifyOptions of_bodies{.disabled_laws = options.disabled_laws};
  return with_bodies(
      graph, [&](const Graph& g) { return Stabiliser(g, of_bodies).run(); },
      [&](const Graph& g) { return Stabiliser(g, options).run(); });
}

}  // namespace nnc
