// Decides which nodes one kernel computes together. Anchors are contractions and folds. In topological order an
// elementwise node joins the latest cluster that it reads from, where their domains agree (an epilogue, or a further
// stage of a row); otherwise, where that repeats little work, it floats: it has no home and is computed inside whatever
// needs it. What is left starts a cluster. Views never have a home unless a contraction or a reshape needs them in
// memory.
//
// Never a cycle: a cluster is joined only if nothing the node reads depends on that cluster. An update is stored in
// place only if everyone who reads the old value can run before; otherwise it is copied at the end.
//
// A loop is a cluster of its own; what it reads at each step lies in memory before. Its step is fused by itself.
#include <algorithm>
#include <map>
#include <set>

#include "ir/loops.h"
#include "ir/op.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

constexpr int cheap = 4;               // operations that may be repeated rather than stored
constexpr int single_use = 100;        // operations that may move into their only reader
constexpr int most_operations = 4000;  // of one cluster: bodies stay short enough to compile
constexpr std::int64_t small = 1024;   // elements that one thread may as well do alone

class Fuser {
 public:
  /// `step`: the graph is that of a loop's step, whose inputs lie in memory.
  Fuser(const Graph& graph, const LowerOptions& options, bool step)
      : graph_(graph),
        options_(options),
        step_(step),
        home_(graph.nodes.size(), -1),
        stored_(graph.nodes.size()),
        dense_(graph.nodes.size()),
        in_rows_(graph.nodes.size()),
        solid_(graph.nodes.size()),
        anchored_(graph.nodes.size()),
        users_(graph.nodes.size()) {}

  Clusters run() {
    find_users();
    mark_memory_operands();
    mark_outputs();
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) place(id);
    if (options_.fuse) mark_stored(), recompute_rather_than_reload();
    place_outputs();
    mark_stored();
    return ordered();
  }

 private:
  // --- what must be in memory -----------------------------------------------------------------------------------

  void find_users() {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      for (NodeId operand : graph_[id].operands) users_[operand].push_back(id);
      if (!is_core(graph_[id])) continue;
      if (const auto operand = core_operand(graph_, id)) in_place_[id] = operand->base;
    }
  }

  /// A leaf that lies in memory under its own dims; a row of a feed may lie anywhere, a number is no memory.
  bool is_buffer_leaf(const Node& node) const {
    if (node.op == Op::input) return step_ || is_gradient(options_, std::get<Named>(node.attributes).name);
    return node.op == Op::param || node.op == Op::state || node.op == Op::carry ||
           (node.op == Op::constant && !node.type.shape.empty());
  }

  /// Whether another program has put the leaf in panels, which only rows of `b` can be read from.
  bool in_panels(NodeId leaf) const {
    const auto* named = std::get_if<Named>(&graph_[leaf].attributes);
    const Layout* layout = named && options_.obey && !step_ ? options_.obey->find(named->name) : nullptr;
    return layout && layout->kind == Layout::Kind::panels;
  }

  /// Marks what has to lie in memory for `node` to be read under its own dims; `row_major` where nothing else will do.
  void needs_memory(NodeId node, bool row_major) {
    const NodeId base = under_reshapes(graph_, node);
    if (dims_of(graph_[base].type) != dims_of(graph_[node].type)) dense_[base] = row_major = true;
    in_rows_[base] = in_rows_[base] || row_major;
    if (!is_buffer_leaf(graph_[base]) || (row_major && in_panels(base))) solid_[base] = true;
  }

  /// Likewise for a contraction's operand `a`.
  void needs_operand(NodeId core) {
    const NodeId base = operand_read(core, 0);
    if (!in_place_.contains(core)) return needs_memory(base, true);
    in_rows_[base] = true;
    if (!is_buffer_leaf(graph_[base]) || in_panels(base)) solid_[base] = true;
  }

  /// An operand of a node; of a contraction that sees through views, what they show.
  NodeId operand_read(NodeId node, std::size_t operand) const {
    const auto in_place = in_place_.find(node);
    return in_place != in_place_.end() && operand == 0 ? in_place->second : graph_[node].operands[operand];
  }

  /// Marks what is read under its own dims: not views that contractions alone see through.
  std::vector<bool> find_shown() const {
    std::vector<bool> shown(graph_.nodes.size());
    for (const Output& output : graph_.outputs) shown[output.node] = true;
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()); id-- > 0;) {
      const Node& node = graph_[id];
      if (is_view(node) && !shown[id]) continue;
      for (std::size_t i = 0; i < node.operands.size(); ++i) shown[operand_read(id, i)] = true;
    }
    return shown;
  }

  void mark_memory_operands() {
    const std::vector<bool> shown = find_shown();
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const Node& node = graph_[id];
      const Dims dims = dims_of(node.type);
      if (is_core(node)) {
        needs_operand(id);
        needs_memory(node.operands[1], false);
      }
      if (node.op == Op::reshape && shown[id] &&
          !through_view(graph_, id, identity_map(dims.size(), dims.size()), dims))
        needs_memory(id, true);
      if (is_scan(node)) mark_loop(id);
      if (divides(node)) {
        std::set<NodeId> seen;
        store_generated(node.operands[0], seen);
      }
    }
  }

  /// What a loop reads: sequences as stacks of rows, whole operands as its step reads them. Where carries begin is an
  /// expression.
  void mark_loop(NodeId id) {
    const LoopClusters& loop = loops_[loop_of(id)];
    const Scan& scan = std::get<Scan>(graph_[id].attributes);
    const auto carries = static_cast<std::size_t>(scan.carries), sequences = static_cast<std::size_t>(scan.sequences);
    for (NodeId leaf = 0; leaf < loop.step.nodes.size(); ++leaf) {
      if (loop.step[leaf].op != Op::input) continue;
      const std::size_t position = input_position(loop.step[leaf]);
      if (position < carries) continue;
      const NodeId operand = graph_[id].operands[position];
      const bool sequence = position < carries + sequences;
      needs_memory(operand, sequence || loop.clusters.in_rows[leaf]);
      if (sequence) dense_[under_reshapes(graph_, operand)] = true;
    }
  }

  /// The number of the loop that a node is a result of.
  std::size_t loop_of(NodeId id) {
    for (const auto& [member, loop] : loop_numbers_)
      if (same_loop(graph_[member], graph_[id])) return loop;
    loops_.push_back(step_of(id));
    return loop_numbers_[id] = loops_.size() - 1;
  }

  /// What a step stores: the next value of every carry, and what it hands out and something asks for. What it hands out
  /// of its carries lies with them.
  LoopClusters step_of(NodeId id) const {
    const Scan& scan = std::get<Scan>(graph_[id].attributes);
    const Graph& body = *scan.body;
    LoopClusters loop;
    std::set<std::string> stored;
    for (int result = 0; result < static_cast<int>(body.outputs.size()); ++result) {
      const bool asked = std::ranges::any_of(graph_.nodes, [&](const Node& node) {
        return is_scan(node) && same_loop(node, graph_[id]) && std::get<Scan>(node.attributes).result == result;
      });
      const auto kept = kept_with_carry(scan, body.outputs[static_cast<std::size_t>(result)].node);
      if (result >= scan.carries && kept && asked)
        loop.kept.emplace(result, *kept);
      else if (result < scan.carries || asked)
        stored.insert(body.outputs[static_cast<std::size_t>(result)].name);
    }
    loop.step = with_outputs(body, stored);
    loop.clusters = Fuser(loop.step, options_, true).run();
    return loop;
  }

  static std::optional<LoopClusters::Kept> kept_with_carry(const Scan& scan, NodeId node) {
    const Graph& body = *scan.body;
    for (std::size_t carry = 0; carry < static_cast<std::size_t>(scan.carries); ++carry)
      if (body.outputs[carry].node == node) return LoopClusters::Kept{carry, true};
    if (body[node].op != Op::input) return std::nullopt;
    const std::size_t position = input_position(body[node]);
    if (position >= static_cast<std::size_t>(scan.carries)) return std::nullopt;
    return LoopClusters::Kept{position, false};
  }

  /// Whether an operand is read at an index that is a quotient.
  static bool divides(const Node& node) {
    if (const auto* overlap = std::get_if<OverlapAdd>(&node.attributes)) return overlap->stride > 1;
    const auto* pad = std::get_if<Pad>(&node.attributes);
    return pad && std::ranges::any_of(pad->between, [](std::int64_t zeros) { return zeros > 0; });
  }

  /// What is made from its index is made where that is a loop's, and read from memory where it is a quotient.
  void store_generated(NodeId node, std::set<NodeId>& seen) {
    const OpClass cls = definition(graph_[node].op).cls;
    if (!seen.insert(node).second) return;
    if (cls == OpClass::generate) solid_[node] = true;
    if (cls != OpClass::elementwise && graph_[node].op != Op::gather && !is_view(graph_[node])) return;
    for (NodeId operand : graph_[node].operands) store_generated(operand, seen);
  }

  /// An input that lies in a region of its own, which no update writes.
  bool lies_apart(NodeId value) const { return graph_[value].op == Op::input && is_buffer_leaf(graph_[value]); }

  /// An output has a home, so that its value is ready when the store's turn comes. An update by a leaf or a view is
  /// copied first: others may be about to change what it reads.
  void mark_outputs() {
    for (const Output& output : graph_.outputs) {
      const NodeId value = under_reshapes(graph_, output.node);
      const Node& node = graph_[value];
      const bool computed = !is_view(node) && definition(node.op).cls != OpClass::leaf;
      if (computed)
        anchored_[value] = true;
      else if (output.kind == OutputKind::update && !lies_apart(value))
        solid_[value] = true;
    }
  }

  // --- what an expression reads ---------------------------------------------------------------------------------

  /// Whether readers take the node's value from the cluster that computes it (of a leaf: that copies it).
  bool has_home(NodeId node) const { return home_[node] >= 0; }

  /// Whether finding `source` in an expression of `cluster` means that the leaf's own memory is read.
  bool reads_leaf(NodeId source, NodeId leaf, int cluster) const {
    return source == leaf && (home_[leaf] < 0 || home_[leaf] == cluster);
  }

  /// Calls found(node) for everything that an expression reads: nodes with a home, and leaves.
  template <class Found>
  void visit(NodeId node, std::set<NodeId>& seen, const Found& found) const {
    if (!seen.insert(node).second) return;
    if (has_home(node) || graph_[node].operands.empty()) return found(node);
    for (NodeId operand : graph_[node].operands) visit(operand, seen, found);
  }
  template <class Found>
  void for_sources(NodeId node, const Found& found) const {
    std::set<NodeId> seen;
    if (graph_[node].operands.empty()) found(node);
    for (std::size_t i = 0; i < graph_[node].operands.size(); ++i) visit(operand_read(node, i), seen, found);
  }

  std::set<int> clusters_read(NodeId node) const {
    std::set<int> clusters;
    for_sources(node, [&](NodeId source) {
      if (source != node && has_home(source)) clusters.insert(home_[source]);
    });
    return clusters;
  }

  /// The same with maps: found(node, map). A reshape that is not affine is read from memory: map is null.
  template <class Found>
  void visit_maps(NodeId node, const IndexMap& map, const Dims& loops, const Found& found) const {
    if (has_home(node) || graph_[node].operands.empty()) return found(node, &map);
    if (is_view(graph_[node])) return visit_view(node, map, loops, found);
    if (graph_[node].op == Op::gather) return visit_gather(node, map, loops, found);
    for (NodeId operand : graph_[node].operands)
      visit_maps(operand, graph_[operand].type.shape.empty() ? IndexMap{} : map, loops, found);
  }
  /// A computed index is one loop more, as long as the table.
  template <class Found>
  void visit_gather(NodeId node, const IndexMap& map, const Dims& loops, const Found& found) const {
    const NodeId table = graph_[node].operands[0], ids = graph_[node].operands[1];
    const GatherMaps maps = gather_maps(graph_, node, map, loops.size());
    Dims more = loops;
    more.push_back(dims_of(graph_[table].type)[0]);
    visit_maps(ids, maps.ids, loops, found);
    visit_maps(table, maps.table, more, found);
  }
  template <class Found>
  void visit_view(NodeId view, const IndexMap& map, const Dims& loops, const Found& found) const {
    for (std::size_t i = 0; i < graph_[view].operands.size(); ++i) {
      const auto inner = through_view(graph_, view, map, loops, i);
      if (!inner) return found(under_reshapes(graph_, view), nullptr);
      visit_maps(graph_[view].operands[i], *inner, loops, found);
    }
  }
  template <class Found>
  void for_mapped_sources(NodeId node, const Found& found) const {
    const Dims dims = dims_of(graph_[node].type);
    if (is_fold(graph_[node])) {
      Dims loops = dims;
      for (std::int64_t loop : fold_loops(graph_, node)) loops.push_back(loop);
      const std::vector<IndexMap> maps = fold_operand_maps(graph_, node);
      for (std::size_t i = 0; i < maps.size(); ++i) {
        const Found& each = found;
        visit_maps(graph_[node].operands[i], maps[i], loops,
                   [&](NodeId source, const IndexMap* map) { each(source, map, loops); });
      }
      return;
    }
    const IndexMap identity = identity_map(dims.size(), dims.size());
    const auto each = [&](NodeId source, const IndexMap* map) { found(source, map, dims); };
    if (is_view(graph_[node])) return visit_view(node, identity, dims, each);
    if (graph_[node].op == Op::gather) return visit_gather(node, identity, dims, each);
    if (stands_alone(graph_[node]) || is_core(graph_[node]))
      return for_sources(node, [&](NodeId source) { each(source, nullptr); });
    for (NodeId operand : graph_[node].operands)
      visit_maps(operand, graph_[operand].type.shape.empty() ? IndexMap{} : identity, dims, each);
  }

  // --- clusters -------------------------------------------------------------------------------------------------

  /// Whether a node has a cluster that nothing joins.
  static bool stands_alone(const Node& node) { return is_scatter(node) || is_scan(node); }

  /// Cluster `from` has to run before `to`.
  void add_edge(int from, int to) {
    if (from == to || ancestors_[to][from]) return;
    const auto absorb = [&](int cluster) {
      for (std::size_t i = 0; i < ancestors_[from].size(); ++i)
        if (ancestors_[from][i]) ancestors_[cluster][i] = true;
      ancestors_[cluster][from] = true;
    };
    absorb(to);
    for (std::size_t later = 0; later < clusters_.size(); ++later)
      if (ancestors_[later][to]) absorb(static_cast<int>(later));
  }

  int new_cluster(Dims outer) {
    clusters_.push_back(Cluster{std::move(outer), {}, {}, {}, {}});
    folds_.push_back(0);
    operations_.push_back(0);
    for (std::vector<bool>& row : ancestors_) row.push_back(false);
    ancestors_.emplace_back(clusters_.size(), false);
    return static_cast<int>(clusters_.size()) - 1;
  }

  void join(NodeId node, int cluster) {
    for (int read : clusters_read(node)) add_edge(read, cluster);
    clusters_[cluster].members.push_back(node);
    folds_[cluster] += is_fold(graph_[node]) ? 1 : 0;
    operations_[cluster] += expression_cost(node);
    home_[node] = cluster;
  }

  void start(NodeId node) {
    Dims outer = dims_of(graph_[node].type);
    if (is_scatter(graph_[node])) outer.erase(outer.begin());
    const int cluster = new_cluster(std::move(outer));
    if (is_core(graph_[node])) clusters_[cluster].core = node;
    join(node, cluster);
  }

  /// All results of a loop, where the first of them stands.
  void start_loop(NodeId node) {
    if (has_home(node)) return;
    const int cluster = new_cluster({});
    clusters_[cluster].loop = loop_of(node);
    for (NodeId id = node; id < graph_.nodes.size(); ++id)
      if (is_scan(graph_[id]) && same_loop(graph_[id], graph_[node])) join(id, cluster);
  }

  bool domain_fits(NodeId node, int cluster) const {
    const Cluster& into = clusters_[cluster];
    if (!into.members.empty() && stands_alone(graph_[into.members.front()])) return false;
    const Dims dims = dims_of(graph_[node].type);
    if (is_fold(graph_[node])) return !into.core && dims == into.outer;
    if (dims == into.outer) return true;
    if (into.core || folds_[cluster] == 0 || dims.size() < into.outer.size()) return false;
    if (into.outer.empty() && count_of(dims) > small) return false;
    return std::equal(into.outer.begin(), into.outer.end(), dims.begin());
  }

  Dims inner_loops(NodeId node, int cluster) const {
    if (is_fold(graph_[node])) return fold_loops(graph_, node);
    const Dims dims = dims_of(graph_[node].type);
    return {dims.begin() + static_cast<std::ptrdiff_t>(clusters_[cluster].outer.size()), dims.end()};
  }

  /// Whether what `node` reads is made by the time its stage runs: stages of one level run without inner loops first,
  /// and otherwise in no order that a reader could rely on.
  bool made_before(NodeId source, NodeId node, int cluster) const {
    if (is_fold(graph_[source])) return true;
    const Dims loops = inner_loops(source, cluster);
    return loops.empty() || loops == inner_loops(node, cluster);
  }

  /// Whether all that the node reads of the cluster belongs to its own outer point.
  bool aligned(NodeId node, int cluster) const {
    bool all = true;
    const std::size_t outer = clusters_[cluster].outer.size();
    for_mapped_sources(node, [&](NodeId source, const IndexMap* map, const Dims& loops) {
      if (home_[source] != cluster || !has_home(source)) return;
      if (!map || map->size() < outer || !map->guards.empty() || !made_before(source, node, cluster)) {
        all = false;
        return;
      }
      const IndexMap leading{{map->rows.begin(), map->rows.begin() + static_cast<std::ptrdiff_t>(outer)}};
      all = all && same_map(leading, identity_map(outer, loops.size()), loops);
    });
    return all;
  }

  bool fits(NodeId node, int cluster, const std::set<int>& reads) const {
    if (operations_[cluster] > most_operations) return false;
    for (int read : reads)
      if (read != cluster && ancestors_[read][cluster]) return false;
    return domain_fits(node, cluster) && aligned(node, cluster);
  }

  /// Folds over the same rows of the same values, side by side.
  std::set<int> siblings(NodeId fold) const {
    std::set<NodeId> read;
    for_sources(fold, [&](NodeId source) { read.insert(source); });
    std::set<int> found;
    for (std::size_t cluster = 0; cluster < clusters_.size(); ++cluster)
      for (NodeId member : clusters_[cluster].members) {
        if (!is_fold(graph_[member]) || fold_loops(graph_, member) != fold_loops(graph_, fold)) continue;
        for_sources(member, [&](NodeId source) {
          if (read.contains(source) && !graph_[source].type.shape.empty()) found.insert(static_cast<int>(cluster));
        });
      }
    return found;
  }

  bool try_join(NodeId node) {
    const std::set<int> reads = clusters_read(node);
    std::set<int> candidates = reads;
    if (is_fold(graph_[node])) candidates.merge(siblings(node));
    for (auto candidate = candidates.rbegin(); candidate != candidates.rend(); ++candidate)
      if (fits(node, *candidate, reads)) return join(node, *candidate), true;
    return false;
  }

  // --- one node after the other ---------------------------------------------------------------------------------

  /// Who reads a node, through views, and whether one of them reads elements repeatedly.
  struct Readers {
    std::set<NodeId> nodes;
    bool repeated = false;
  };
  void find_readers(NodeId node, std::int64_t count, Readers& readers) const {
    for (NodeId user : users_[node]) {
      const std::int64_t wider = count_of(dims_of(graph_[user].type));
      if (is_view(graph_[user]) && !solid_[user]) {
        find_readers(user, std::max(count, wider), readers);
        continue;
      }
      readers.nodes.insert(user);
      const std::int64_t own = count_of(dims_of(graph_[node].type));
      const std::int64_t domain = is_fold(graph_[user])      ? wider * count_of(fold_loops(graph_, user))
                                  : is_scatter(graph_[user]) ? count_of(dims_of(graph_[graph_[user].operands[0]].type))
                                                             : wider;
      readers.repeated |= std::max(count, domain) > own || count > own;
    }
  }

  /// Operations of the expression that a node without a home would be.
  int expression_cost(NodeId node) const {
    int cost = cost_of(graph_, node);
    for (NodeId operand : graph_[node].operands)
      if (!has_home(operand)) cost += expression_cost(operand);
    return cost;
  }

  bool may_float(NodeId node) const {
    if (anchored_[node] || solid_[node] || graph_[node].type.shape.empty()) return false;
    Readers readers;
    find_readers(node, count_of(dims_of(graph_[node].type)), readers);
    const int cost = expression_cost(node);
    return readers.nodes.size() <= 1 && !readers.repeated ? cost <= single_use : cost <= cheap;
  }

  /// Cheap and read by one fold alone: part of the fold, so that the value is never stored.
  bool belongs_to_fold(NodeId node) const {
    Readers readers;
    find_readers(node, count_of(dims_of(graph_[node].type)), readers);
    return readers.nodes.size() == 1 && is_fold(graph_[*readers.nodes.begin()]) && may_float(node) &&
           expression_cost(node) <= 2 * cheap;
  }

  /// Numbers that depend on no data share one cluster.
  bool joins_scalars(NodeId node) {
    if (!graph_[node].type.shape.empty() || is_fold(graph_[node])) return false;
    for (int read : clusters_read(node))
      if (read != scalars_) return false;
    if (scalars_ >= 0 && !aligned(node, scalars_)) return false;  // made of what a row that has joined it makes
    if (scalars_ < 0 || operations_[scalars_] > most_operations) scalars_ = new_cluster({});
    join(node, scalars_);
    return true;
  }

  void place(NodeId node) {
    const OpClass cls = definition(graph_[node].op).cls;
    if (cls == OpClass::leaf || is_view(graph_[node])) {
      if (solid_[node]) start(node);
      return;
    }
    if (is_scan(graph_[node])) return start_loop(node);
    if (is_core(graph_[node]) || is_scatter(graph_[node]) || !options_.fuse) return start(node);
    if (cls == OpClass::generate) return may_float(node) ? void() : start(node);
    if (is_fold(graph_[node])) return try_join(node) ? void() : start(node);
    if (belongs_to_fold(node) || try_join(node) || joins_scalars(node) || may_float(node)) return;
    start(node);
  }

  // --- stores ---------------------------------------------------------------------------------------------------

  void mark_stored() {
    std::fill(stored_.begin(), stored_.end(), false);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) stored_[id] = solid_[id];
    const auto read_by = [&](NodeId source, int cluster) {
      if (has_home(source) && home_[source] != cluster) stored_[source] = true;
    };
    for (std::size_t cluster = 0; cluster < clusters_.size(); ++cluster) {
      const int reader = static_cast<int>(cluster);
      for (NodeId member : clusters_[cluster].members)
        for_sources(member, [&](NodeId source) { read_by(source, reader); });
      for (std::size_t output : clusters_[cluster].outputs) {
        std::set<NodeId> seen;
        visit(graph_.outputs[output].node, seen, [&](NodeId source) { read_by(source, reader); });
      }
    }
  }

  bool has_update(NodeId leaf) const {
    const auto* named = std::get_if<Named>(&graph_[leaf].attributes);
    return named && std::any_of(graph_.outputs.begin(), graph_.outputs.end(), [&](const Output& output) {
             return output.kind == OutputKind::update && output.name == named->name;
           });
  }

  /// A stored value that is cheap and made of values in memory anyway is computed again by its readers.
  void recompute_rather_than_reload() {
    for (NodeId node = 0; node < graph_.nodes.size(); ++node) {
      if (!stored_[node] || !has_home(node) || definition(graph_[node].op).cls != OpClass::elementwise) continue;
      if (solid_[node] || anchored_[node] || graph_[node].type.shape.empty()) continue;
      const int cluster = home_[node];
      home_[node] = -1;  // as if it floated
      bool in_memory = expression_cost(node) <= cheap;
      std::int64_t bytes = 0;
      for_sources(node, [&](NodeId source) {
        in_memory = in_memory && (has_home(source) ? bool(stored_[source]) : !has_update(source));
        bytes += count_of(dims_of(graph_[source].type)) * static_cast<std::int64_t>(size_of(graph_[source].type.dtype));
      });
      const std::int64_t own =
          count_of(dims_of(graph_[node].type)) * static_cast<std::int64_t>(size_of(graph_[node].type.dtype));
      if (in_memory && bytes <= 2 * own + 4096) {
        std::erase(clusters_[cluster].members, node);
        stored_[node] = false;
      } else {
        home_[node] = cluster;
      }
    }
  }

  NodeId leaf_of(const Output& output) const {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const auto* named = std::get_if<Named>(&graph_[id].attributes);
      if (named && named->name == output.name && graph_[id].op != Op::input && graph_[id].op != Op::scalar) return id;
    }
    return static_cast<NodeId>(graph_.nodes.size());  // never read
  }

  /// Which clusters read the memory of a leaf. Copies at the end read the arena alone.
  void find_leaf_readers() {
    for (std::size_t i = 0; i < clusters_.size(); ++i) {
      const int cluster = static_cast<int>(i);
      const auto note = [&](NodeId source) {
        if (reads_leaf(source, source, cluster)) leaf_readers_[source].insert(cluster);
      };
      for (NodeId member : clusters_[cluster].members) for_sources(member, note);
      for (std::size_t output : clusters_[cluster].outputs) {
        std::set<NodeId> seen;
        visit(graph_.outputs[output].node, seen, note);
      }
    }
  }

  /// Whether every read of `leaf` inside the cluster is of the element that `value` replaces, and not after its store.
  bool reads_before_store(int cluster, NodeId leaf, NodeId value) const {
    const Levels levels(graph_, home_, cluster);
    const StageKey store = levels.stage(value, clusters_[cluster].outer);
    std::set<NodeId> tainted;  // members whose value would be computed again from the leaf
    bool fine = true;
    for (NodeId member : clusters_[cluster].members) {
      bool touches = false;
      for_mapped_sources(member, [&](NodeId source, const IndexMap* map, const Dims& loops) {
        const bool direct = reads_leaf(source, leaf, cluster);
        touches = touches || direct || tainted.contains(source);
        if (direct)
          fine = fine && map && map->size() <= loops.size() &&
                 same_map(*map, identity_map(map->size(), loops.size()), loops);
      });
      if (!touches) continue;
      fine = fine && !is_core(graph_[member]) && levels.stage(member, clusters_[cluster].outer) <= store;
      if (!is_fold(graph_[member])) tainted.insert(member);
    }
    return fine;
  }

  /// Everyone who reads `leaf` runs before `cluster`; false if one of them needs what `cluster` makes.
  bool order_after_readers(NodeId leaf, int cluster) {
    std::set<int> readers = leaf_readers_[leaf];
    readers.erase(cluster);
    for (int reader : readers)
      if (ancestors_[reader][cluster]) return false;
    for (int reader : readers) add_edge(reader, cluster);
    return true;
  }

  /// Results first: what they read of leaves must be read before an update.
  void place_outputs() {
    for (std::size_t i = 0; i < graph_.outputs.size(); ++i)
      if (graph_.outputs[i].kind == OutputKind::result) place_result(i);
    find_leaf_readers();
    for (std::size_t i = 0; i < graph_.outputs.size(); ++i)
      if (graph_.outputs[i].kind == OutputKind::update) place_update(i);
  }

  void place_update(std::size_t index) {
    const Output& output = graph_.outputs[index];
    const NodeId value = under_reshapes(graph_, output.node), leaf = leaf_of(output);
    const bool direct = definition(graph_[value].op).cls != OpClass::leaf && !stands_alone(graph_[value]);
    if (direct && reads_before_store(home_[value], leaf, value) && order_after_readers(leaf, home_[value])) {
      clusters_[home_[value]].outputs.push_back(index);
      return;
    }
    // The value waits in the arena until the last reader of the old one is done.
    const int copy = new_cluster(dims_of(graph_[value].type));
    clusters_[copy].outputs.push_back(index);
    if (!lies_apart(value)) {
      solid_[value] = true;
      add_edge(home_[value], copy);
    }
    order_after_readers(leaf, copy);
  }

  void place_result(std::size_t index) {
    const NodeId value = under_reshapes(graph_, graph_.outputs[index].node);
    if (has_home(value) && !stands_alone(graph_[value])) return clusters_[home_[value]].outputs.push_back(index);
    const int cluster = new_cluster(dims_of(graph_[value].type));
    clusters_[cluster].outputs.push_back(index);
    std::set<NodeId> seen;
    visit(value, seen, [&](NodeId source) {
      if (has_home(source)) add_edge(home_[source], cluster);
    });
  }

  // --- the order ------------------------------------------------------------------------------------------------

  /// Clusters after all that they depend on, otherwise in the order in which they were started.
  Clusters ordered() {
    std::vector<int> place(clusters_.size(), -1);
    std::vector<std::size_t> waiting_for;
    std::set<std::size_t> ready;
    for (std::size_t cluster = 0; cluster < clusters_.size(); ++cluster) {
      const std::vector<bool>& ancestors = ancestors_[cluster];
      waiting_for.push_back(static_cast<std::size_t>(std::count(ancestors.begin(), ancestors.end(), true)));
      if (waiting_for.back() == 0) ready.insert(cluster);
    }
    Clusters result;
    while (!ready.empty()) {
      const std::size_t next = *ready.begin();
      ready.erase(ready.begin());
      place[next] = static_cast<int>(result.clusters.size());
      std::sort(clusters_[next].members.begin(), clusters_[next].members.end());
      result.clusters.push_back(clusters_[next]);
      for (std::size_t later = 0; later < clusters_.size(); ++later)
        if (ancestors_[later][next] && --waiting_for[later] == 0) ready.insert(later);
    }
    for (int& home : home_)
      if (home >= 0) home = place[home];
    result.home = home_;
    result.stored = stored_;
    result.dense = dense_;
    result.in_rows = in_rows_;
    result.loops = std::move(loops_);
    return result;
  }

  const Graph& graph_;
  const LowerOptions& options_;
  const bool step_;
  std::vector<int> home_;
  std::vector<bool> stored_, dense_, in_rows_;
  std::vector<bool> solid_;     // needed in memory
  std::vector<bool> anchored_;  // computed in one place
  std::vector<std::vector<NodeId>> users_;
  std::map<NodeId, NodeId> in_place_;  // of contractions that see through views: what their `a` shows
  std::vector<Cluster> clusters_;
  std::vector<int> folds_;       // of each cluster: number of folds
  std::vector<int> operations_;  // and of operations on one element
  std::vector<LoopClusters> loops_;
  std::map<NodeId, std::size_t> loop_numbers_;  ///< of one node of each loop
  std::map<NodeId, std::set<int>> leaf_readers_;
  std::vector<std::vector<bool>> ancestors_;
  int scalars_ = -1;
};

}  // namespace

Clusters fuse(const Graph& graph, const LowerOptions& options) { return Fuser(graph, options, false).run(); }

}  // namespace nnc
