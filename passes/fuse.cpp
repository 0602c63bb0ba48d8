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
#include "passes/memory_needs.h"

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
        needs_(memory_needs(graph, options, step)),
        home_(graph.nodes.size(), -1),
        stored_(graph.nodes.size()),
        users_(graph.nodes.size()) {}

  Clusters run() {
    find_users();
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) place(id);
    if (options_.fuse) mark_stored(), recompute_rather_than_reload();
    place_outputs();
    mark_stored();
    return ordered();
  }

 private:
  void find_users() {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      for (NodeId operand : graph_[id].operands) users_[operand].push_back(id);
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
    for (std::size_t i = 0; i < graph_[node].operands.size(); ++i)
      visit(needs_.operand_read(graph_, node, i), seen, found);
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
    clusters_[cluster].loop = needs_.loop_of(graph_, node);
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
      if (is_view(graph_[user]) && !needs_.solid[user]) {
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
    if (needs_.anchored[node] || needs_.solid[node] || graph_[node].type.shape.empty()) return false;
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
      if (needs_.solid[node]) start(node);
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
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) stored_[id] = needs_.solid[id];
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
      if (needs_.solid[node] || needs_.anchored[node] || graph_[node].type.shape.empty()) continue;
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
    if (!needs_.apart[value]) {
      needs_.solid[value] = true;
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
    result.dense = needs_.dense;
    result.in_rows = needs_.in_rows;
    result.loops = std::move(needs_.loops);
    return result;
  }

  const Graph& graph_;
  const LowerOptions& options_;
  MemoryNeeds needs_;
  std::vector<int> home_;
  std::vector<bool> stored_;
  std::vector<std::vector<NodeId>> users_;
  std::vector<Cluster> clusters_;
  std::vector<int> folds_;       // of each cluster: number of folds
  std::vector<int> operations_;  // and of operations on one element
  std::map<NodeId, std::set<int>> leaf_readers_;
  std::vector<std::vector<bool>> ancestors_;
  int scalars_ = -1;
};

}  // namespace

Clusters fuse(const Graph& graph, const LowerOptions& options) { return Fuser(graph, options, false).run(); }
Clusters fuse_step(const Graph& step, const LowerOptions& options) { return Fuser(step, options, true).run(); }

}  // namespace nnc
