// Gives derived arithmetic its published form: what cancels is not computed. Each derived sum, difference, product,
// quotient, sum over axes and view is read as algebra (passes/algebra.h, whose head states the laws of floats that are
// used here and those that are not). Everything else is an atom: what a user wrote, and derived nodes of other kinds.
//
// Wherever such a value is used by something else, three forms of it compete: as it was derived, as it reads, and
// multiplied out. The cheapest is built, the earlier one where two cost the same, so that a graph which cannot get
// cheaper comes back as it is. Nothing here knows a function, a layer or a loss.
#include <algorithm>
#include <cassert>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "ir/builder.h"
#include "ir/loops.h"
#include "passes/algebra.h"
#include "passes/differentiate.h"
#include "passes/facts.h"
#include "passes/laws.h"
#include "passes/passes.h"
#include "passes/record.h"

namespace nnc {

namespace {

constexpr double nominal_batch = 32;  ///< rows that costs are weighed with; the real number is not known here
constexpr int most_rounds = 6;
/// Terms, in all, of a value that several others read: one of more is built, and is an atom for them. The gradient at a
/// residual block is that at the next one and a few terms; it would else be read, at each block, from the last one on.
constexpr std::int64_t most_terms_shared = 16;

double element_estimate(const Type& type) {
  const Extent count = element_count(type.shape);
  return static_cast<double>(count.count) * (count.batched ? nominal_batch : 1);
}

/// What nodes cost, in operations on elements; of elementwise ops the instructions of their scalar programs.
class Costs {
 public:
  double of(const std::vector<Node>& nodes, const Node& node) {
    switch (definition(node.op).cls) {
      case OpClass::leaf:
      case OpClass::view:
      case OpClass::control:
      case OpClass::loop:  // these are never rearranged
      case OpClass::formula:
        return 0;
      case OpClass::generate:
        return element_estimate(node.type);
      case OpClass::elementwise:
        // A condition as a number is the condition's bits: whatever takes it in needs no instruction more.
        if (node.op == Op::cast && nodes[node.operands[0]].type.dtype == DType::boolean) return 0;
        return instructions(nodes, node) * element_estimate(node.type);
      case OpClass::reduce:
        return element_estimate(nodes[node.operands[0]].type);
      case OpClass::index:
        return std::max(element_estimate(node.type), element_estimate(nodes[node.operands[0]].type));
      case OpClass::contract: {
        double inner = 1;
        const Shape& a = nodes[node.operands[0]].type.shape;
        for (int axis : std::get<Dot>(node.attributes).a) inner *= element_estimate({DType::f32, {a[axis]}});
        return inner * element_estimate(node.type);
      }
    }
    return 0;
  }

  double of(const Graph& graph) {
    double total = 0;
    for (const Node& node : graph.nodes) total += of(graph.nodes, node);
    return total;
  }

 private:
  double instructions(const std::vector<Node>& nodes, const Node& node) {
    std::vector<DType> operands;
    for (NodeId operand : node.operands) operands.push_back(nodes[operand].type.dtype);
    const auto [known, fresh] = instructions_.try_emplace({node.op, node.type.dtype, operands});
    if (fresh) {
      const ScalarProgram program = definition(node.op).scalar(operands, node.type.dtype, node.attributes);
      known->second = static_cast<double>(std::ranges::count_if(program.code, [](const ScalarInstruction& x) {
        return x.op != ScalarOp::input && x.op != ScalarOp::constant;
      }));
    }
    return known->second;
  }

  std::map<std::tuple<Op, DType, std::vector<DType>>, double> instructions_;
};

class Simplifier {
 public:
  Simplifier(const Graph& graph, const SimplifyOptions& options, Costs& costs)
      : graph_(graph),
        options_(options),
        costs_(costs),
        facts_(graph.obligations),
        builder_(graph.name),
        algebra_(builder_, options, graph.obligations),
        old_(options.record, graph),
        new_(options.record, builder_.graph()) {}

  Graph run() {
    find_used_values();
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      polys_.emplace_back();
      if (is_arithmetic(id)) {
        rearrange(id);
      } else {
        keep(id);
      }
    }
    return finish_like(graph_, std::move(builder_), made_);
  }

  /// What was rewritten, for the record.
  std::vector<Rewrite> rewritten;
  std::int64_t steps() const { return algebra_.steps(); }

 private:
  /// Derived, and of a kind that algebra rearranges.
  bool is_arithmetic(NodeId id) {
    const Node& node = graph_[id];
    if (!node.derived || !is_float(node.type.dtype)) return false;
    if (View step; see_through_once(graph_.nodes, id, step)) return true;
    const bool plain = node.op == Op::add || node.op == Op::sub || node.op == Op::mul || node.op == Op::div ||
                       node.op == Op::neg || (node.op == Op::sum && node.operands.size() == 1);
    return plain || (node.op == Op::select && (is_same_choice(id) || is_chosen_of_row(id)));  // else an atom
  }

  /// Both sides are one number, or read as the same.
  bool is_same_choice(NodeId id) const {
    const Node& node = graph_[id];
    double yes = 0, no = 0;
    if (!in_force(options_, "same-choice")) return false;
    if (node.operands[1] == node.operands[2]) return true;
    return repeats_number(graph_.nodes, node.operands[1], yes) && repeats_number(graph_.nodes, node.operands[2], no) &&
           yes == no;
  }

  /// (c ? x : 0), where c holds once along an axis and x does not vary along it: a number that each row puts in one
  /// place. Other choices stay: they may be there to keep what is not finite out of a product.
  bool is_chosen_of_row(NodeId id) {
    const Node& node = graph_[id];
    double otherwise = 1;
    if (!in_force(options_, "one-of-row")) return false;
    if (!repeats_number(graph_.nodes, node.operands[2], otherwise) || otherwise != 0) return false;
    const View x = see_through(graph_.nodes, node.operands[1]);
    return std::ranges::any_of(facts_.of(graph_.nodes, node.operands[0]).sums_to_one, [&](int axis) {
      return graph_[node.operands[1]].type.rank() == 0 || std::ranges::find(x.axes, axis) == x.axes.end();
    });
  }

  /// Values of arithmetic that something else needs: these are built, the others are only read.
  void find_used_values() {
    used_.assign(graph_.nodes.size(), false);
    readers_.assign(graph_.nodes.size(), 0);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const bool is_read = is_arithmetic(id);
      for (NodeId operand : graph_[id].operands) {
        ++readers_[operand];
        if (!is_read) used_[operand] = true;
      }
    }
    for (const Output& output : graph_.outputs) used_[output.node] = true;
  }

  void keep(NodeId id) {
    const Node& node = graph_[id];
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(made_[operand]);
    made_.push_back(copy_node(builder_, node, operands));
    if (!node.derived) {
      mark_free(made_[id].id);
      algebra_.begin_value();
      algebra_.read(made_[id].id);
      algebra_.take_log();  // how a written value reads is no step of a derivative
    }
    end_rewrite(id);
  }

  /// As algebra; and as nodes if it is needed so, else as they were derived, for those that follow.
  void rearrange(NodeId id) {
    const Node& node = graph_[id];
    builder_.set_derived(true);
    builder_.set_origin({"", node.origin.file, node.origin.line, node.origin.column});
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(made_[operand]);
    made_.push_back(builder_.make(node.op, operands, node.attributes, node.type));
    algebra_.begin_value();
    polys_[id] = read(id);
    const bool is_long = polys_[id] && readers_[id] > 1 && algebra_.term_count(*polys_[id]) > most_terms_shared;
    if (is_long) used_[id] = true;
    if (used_[id]) {
      made_[id] = cheaper(made_[id], polys_[id]);
      mark_free(made_[id].id);
    }
    end_rewrite(id);
    if (is_long) polys_[id].reset();
    builder_.set_derived(false);
    builder_.set_origin({});
    if (used_[id]) builder_.name_node(made_[id].id, node.origin.name);
  }

  /// What the old node has become: the node that is built for it or, where none is, what it reads as.
  void end_rewrite(NodeId id) {
    if (!options_.record) return;
    const bool as_terms = polys_[id] && !used_[id];
    const NodeId after = as_terms ? algebra_.told(*polys_[id], graph_[id].type) : new_(made_[id].id);
    Rewrite change{old_(id), after, std::exchange(laws_, {})};
    for (LawUse& use : change.laws) use.at = graph_[id].origin;
    if (change.before != change.after) rewritten.push_back(std::move(change));
  }

  const Poly& poly(NodeId id) {
    if (polys_[id]) return *polys_[id];
    return algebra_.read(made_[id].id);
  }

  /// What an arithmetic node reads as, in its cheapest form; nothing if it grows beyond all measure.
  std::optional<Poly> read(NodeId id) {
    try {
      const Poly plain = arithmetic(id);
      keep_log(algebra_.take_log());
      return cheapest(plain, graph_[id].type);
    } catch (BudgetSpent) {
      algebra_.take_log();
      return std::nullopt;
    }
  }

  Poly arithmetic(NodeId id) {
    const Node& node = graph_[id];
    const auto x = [&](std::size_t i) -> const Poly& { return poly(node.operands[i]); };
    if (View step; see_through_once(graph_.nodes, id, step)) return algebra_.view(x(0), step);
    if (node.op == Op::add) return algebra_.add(x(0), x(1));
    if (node.op == Op::sub) return algebra_.subtract(x(0), x(1), node.type.shape);
    if (node.op == Op::mul) return algebra_.multiply(x(0), x(1), node.type.shape);
    if (node.op == Op::div) return algebra_.divide(x(0), x(1), node.type.shape);
    if (node.op == Op::neg) return algebra_.negate(x(0));
    if (node.op == Op::select && !is_same_choice(id)) {
      const Poly indicator = algebra_.read(builder_.cast(made_[node.operands[0]], node.type.dtype).id);
      const Poly product = algebra_.multiply(indicator, x(1), node.type.shape);
      if (options_.record) keep_log({{"one-of-row", old_(id), algebra_.told(product, node.type)}});
      return product;
    }
    if (node.op == Op::select) {
      if (options_.record) keep_log({{"same-choice", old_(id), old_(node.operands[1])}});
      return x(1);
    }
    assert(node.op == Op::sum);
    return algebra_.sum(x(0), graph_[node.operands[0]].type.shape, std::get<Reduce>(node.attributes).axes,
                        node.type.dtype);
  }

  /// The terms as they are or multiplied out. Sums whose opening saves nothing stay closed: their terms may be large
  /// and what is left of them small.
  Poly cheapest(const Poly& plain, const Type& type) {
    Poly best = plain;
    double least = -1;
    std::set<int> opened;
    bool with_complements = false;
    for (bool complements : {false, true}) {
      std::set<int> atoms;
      const std::optional<Poly> open = algebra_.multiplied_out(plain, complements, {}, &atoms);
      LawLog how = algebra_.take_log();
      if (!open || *open == best) continue;
      if (least < 0) least = new_cost(algebra_.build(best, type));
      const double cost = new_cost(algebra_.build(*open, type));
      if (cost >= least) continue;
      best = *open;
      least = cost;
      opened = std::move(atoms);
      with_complements = complements;
      keep_log(std::move(how));
    }
    std::set<int> closed;
    for (int atom : opened) {
      closed.insert(atom);
      const Poly fewer = algebra_.multiplied_out(plain, with_complements, closed).value_or(plain);
      const double cost = new_cost(algebra_.build(fewer, type));
      if (cost <= least) {
        best = fewer;
        least = cost;
      } else {
        closed.erase(atom);
      }
    }
    algebra_.take_log();
    return best;
  }

  Value cheaper(Value as_derived, const std::optional<Poly>& terms) {
    if (!terms) return as_derived;
    try {
      const Value built = algebra_.build(*terms, as_derived.type());
      algebra_.take_log();
      if (new_cost(built) >= new_cost(as_derived)) return as_derived;
      if (options_.record && algebra_.has_common_factor(*terms))
        keep_log({{"factor-out", algebra_.told(*terms, built.type()), new_(built.id)}});
      return built;
    } catch (BudgetSpent) {
      return as_derived;
    }
  }

  /// What was logged belongs to the value that is being rearranged.
  void keep_log(LawLog more) { laws_.insert(laws_.end(), more.begin(), more.end()); }

  // Costs: what is written, or is needed anyway, is free.

  bool is_free(NodeId id) const { return id < free_.size() && free_[id]; }

  void mark_free(NodeId id) {
    free_.resize(builder_.graph().nodes.size(), false);
    std::vector<NodeId> open{id};
    while (!open.empty()) {
      const NodeId at = open.back();
      open.pop_back();
      if (free_[at]) continue;
      free_[at] = true;
      for (NodeId operand : builder_[at].operands) open.push_back(operand);
    }
  }

  double new_cost(Value x) {
    seen_.resize(builder_.graph().nodes.size(), 0);
    ++stamp_;
    double cost = 0;
    std::vector<NodeId> open{x.id};
    while (!open.empty()) {
      const NodeId at = open.back();
      open.pop_back();
      if (is_free(at) || seen_[at] == stamp_) continue;
      seen_[at] = stamp_;
      cost += costs_.of(builder_.graph().nodes, builder_[at]);
      for (NodeId operand : builder_[at].operands) open.push_back(operand);
    }
    return cost;
  }

  const Graph& graph_;
  const SimplifyOptions& options_;
  Costs& costs_;
  FactTable facts_;  ///< of the old graph
  Builder builder_;
  Algebra algebra_;
  Record::Reader old_, new_;
  LawLog laws_;                             ///< used on the value that is being rearranged
  std::vector<Value> made_;                 ///< by old node; arithmetic that is only read stands as it was derived
  std::vector<std::optional<Poly>> polys_;  ///< by old node, of arithmetic
  std::vector<bool> used_, free_;           ///< by old node; by new node
  std::vector<int> readers_;                ///< by old node: how many operands it is
  std::vector<std::uint64_t> seen_;
  std::uint64_t stamp_ = 0;
};

void note(Record& record, const std::vector<Rewrite>& rewritten) {
  for (const Rewrite& change : rewritten) {
    record.simplified.push_back(change);
    record.uses.insert(record.uses.end(), change.laws.begin(), change.laws.end());
  }
}

Graph simplified(const Graph& graph, const SimplifyOptions& options) {
  Graph best = graph;
  Costs costs;
  double least = costs.of(graph);
  for (int round = 0; round < most_rounds; ++round) {
    Simplifier simplifier(best, options, costs);
    Graph next = simplifier.run();
    if (options.steps) *options.steps += simplifier.steps();
    const double cost = costs.of(next);
    if (cost >= least) break;
    best = std::move(next);
    least = cost;
    if (options.record) note(*options.record, simplifier.rewritten);
  }
  return best;
}

}  // namespace

double work_of(const Graph& graph) { return Costs().of(graph); }

Graph simplify(const Graph& graph, const SimplifyOptions& options) {
  const SimplifyOptions of_bodies{.disabled_laws = options.disabled_laws, .steps = options.steps};
  // A record goes on where the pass before left its values: a loop with another body would be another value.
  if (options.record) return simplified(graph, options);
  return with_bodies(
      graph, [&](const Graph& g) { return simplified(g, of_bodies); },
      [&](const Graph& g) { return simplified(g, options); });
}

}  // namespace nnc
