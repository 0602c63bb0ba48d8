// From clusters to kernels, whose bodies passes/body_writer.h writes. Inside a cluster a value that a later stage needs
// is computed again if that is cheap, and otherwise stored and loaded. A loop is the kernels that store where its
// carries begin, then those of its step.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ir/loops.h"
#include "ir/op.h"
#include "ir/scalar/builder.h"
#include "passes/body_writer.h"
#include "passes/buffers.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

constexpr int cheap_across_stages = 6;  // operations that a later stage repeats rather than loads

/// One kernel out of one cluster.
class KernelMaker {
 public:
  KernelMaker(const Graph& graph, const Clusters& clusters, int cluster, Buffers& buffers, Program& program)
      : graph_(graph),
        clusters_(clusters),
        cluster_(clusters.clusters[cluster]),
        index_(cluster),
        buffers_(buffers),
        program_(program),
        levels_(graph, clusters.home, cluster),
        crossing_(graph.nodes.size()) {}

  /// Where carries of one shape begin: the elements of expressions, stored.
  Kernel beginnings(const Dims& dims, const std::vector<std::pair<NodeId, BufferId>>& stores) {
    Kernel kernel;
    kernel.outer = dims;
    kernel.name = "begin";
    const IndexMap map = identity_map(dims.size(), dims.size());
    const BodyContext context{graph_, clusters_, index_, levels_, buffers_, program_, crossing_, folds_};
    BodyWriter body(context, {}, dims);
    Stage stage;
    for (const auto& [value, to] : stores)
      stage.stores.push_back({Access{to, map.rows}, body.result(value, map, false)});
    std::move(body).finish(stage);
    kernel.stages.push_back(std::move(stage));
    return kernel;
  }

  Kernel make() {
    find_crossing();
    collect_items();
    Kernel kernel;
    kernel.outer = cluster_.outer;
    kernel.origin = cluster_.members;
    if (cluster_.core) kernel.core = contraction(*cluster_.core);
    if (!cluster_.members.empty() && is_scatter(graph_[cluster_.members.front()])) {
      scatter(kernel, cluster_.members.front());
      name(kernel);
      return kernel;
    }
    for (const auto& [key, items] : stages_) write_stage(kernel, key, items);
    name(kernel);
    return kernel;
  }

 private:
  /// What a stage has to do: fold a node, or store a node's value.
  struct Item {
    NodeId node = 0;
    std::vector<BufferId> stores;  ///< none: a fold
  };

  StageKey stage_of(NodeId node) const { return levels_.stage(node, cluster_.outer); }

  /// Calls found(member) for the members that an expression reads without a fold between.
  template <class Found>
  void for_members(NodeId node, const Found& found) const {
    for (NodeId operand : graph_[node].operands) {
      if (clusters_.home[operand] == index_)
        found(operand);
      else if (clusters_.home[operand] < 0)
        for_members(operand, found);
    }
  }

  int cost_with_floats(NodeId node) const {
    int cost = cost_of(graph_, node);
    for (NodeId operand : graph_[node].operands) {
      const bool here = clusters_.home[operand] < 0 ||
                        (clusters_.home[operand] == index_ && !crossing_[operand] && !is_fold(graph_[operand]));
      if (here && !graph_[operand].operands.empty()) cost += cost_with_floats(operand);
      if (here && definition(graph_[operand].op).cls == OpClass::generate) cost += cost_of(graph_, operand);
    }
    return cost;
  }

  /// Marks members that are stored in their own stage because a later one needs them and they take long to compute.
  void find_crossing() {
    for (NodeId member : cluster_.members) {
      if (is_fold(graph_[member]) || is_core(graph_[member])) continue;
      if (cost_with_floats(member) <= cheap_across_stages) continue;
      crossing_[member] = true;  // so that costs stop here; taken back below where no later stage reads it
    }
    std::vector<bool> needed(graph_.nodes.size());
    for (NodeId member : cluster_.members)
      for (const StageKey& key : evaluated_in(member)) mark_needed(member, key, needed);
    for (NodeId member : cluster_.members) crossing_[member] = crossing_[member] && needed[member];
  }

  /// The stages in which a member's expression is written out.
  std::vector<StageKey> evaluated_in(NodeId member) const { return {stage_of(member)}; }

  void mark_needed(NodeId node, const StageKey& key, std::vector<bool>& needed) const {
    for_members(node, [&](NodeId read) {
      if (is_fold(graph_[read]) || is_core(graph_[read])) return;
      if (crossing_[read]) {
        if (stage_of(read) != key) needed[read] = true;
        return;
      }
      if (stage_of(read) != key) mark_needed(read, key, needed);  // computed again there
    });
  }

  void collect_items() {
    for (NodeId member : cluster_.members) {
      if (is_fold(graph_[member])) stages_[stage_of(member)].push_back({member, {}});
      std::vector<BufferId> stores;
      if (clusters_.stored[member] || crossing_[member]) stores.push_back(buffers_.arena(member));
      add_outputs(member, stores);
      if (stores.size() > 1) stores.erase(std::remove(stores.begin() + 1, stores.end(), stores[0]), stores.end());
      if (stores.empty()) continue;
      StageKey key = stage_of(member);
      if (is_fold(graph_[member])) key = {key.level + 1, {}};
      stages_[key].push_back({member, stores});
    }
    // Outputs whose value has no home: a leaf, or a view of something.
    for (std::size_t output : cluster_.outputs) {
      const NodeId value = under_reshapes(graph_, graph_.outputs[output].node);
      if (clusters_.home[value] == index_) continue;
      stages_[{0, {}}].push_back({value, {buffers_.output(graph_.outputs[output], dims_of(graph_[value].type))}});
    }
  }

  void add_outputs(NodeId member, std::vector<BufferId>& stores) {
    for (std::size_t output : cluster_.outputs) {
      const Output& to = graph_.outputs[output];
      if (under_reshapes(graph_, to.node) != member || kept_by_fold(to)) continue;
      stores.push_back(buffers_.output(to, dims_of(graph_[member].type)));
    }
  }

  /// Whether a fold keeps this carry itself: it starts from the buffer and leaves the new total there.
  bool kept_by_fold(const Output& output) const {
    const Node& node = graph_[output.node];
    if (output.kind != OutputKind::update || !std::holds_alternative<Reduce>(node.attributes)) return false;
    if (node.operands.size() < 2) return false;
    const Node& carry = graph_[node.operands[1]];
    return carry.op == Op::carry && std::get<Named>(carry.attributes).name == output.name;
  }

  bool keeps_carry(NodeId fold) const {
    return std::any_of(graph_.outputs.begin(), graph_.outputs.end(),
                       [&](const Output& output) { return output.node == fold && kept_by_fold(output); });
  }

  Contract contraction(NodeId core) {
    const Node& node = graph_[core];
    const auto& dot = std::get<Dot>(node.attributes);
    const auto operand = [&](NodeId id) {
      return buffers_.under(buffers_.of(under_reshapes(graph_, id)), dims_of(graph_[id].type));
    };
    const Dims a = dims_of(graph_[node.operands[0]].type);
    const std::size_t stack = dot.batch_a.size();  // 0 or 1
    Contract contract;
    contract.m = cluster_.outer[stack];
    contract.n = cluster_.outer[stack + 1];
    contract.k = a[static_cast<std::size_t>(dot.a[0])];
    const auto map = [&](std::size_t first, std::size_t second) {
      return stack == 0 ? loop_map({first, second}, 2) : loop_map({0, first + 1, second + 1}, 3);
    };
    const bool k_last = dot.a[0] == static_cast<int>(stack) + 1;
    if (auto in_place = core_operand(graph_, core)) {
      contract.a = {buffers_.of(in_place->base), std::move(in_place->map.rows)};
      contract.rows = std::move(in_place->rows);
      contract.steps = std::move(in_place->steps);
    } else {
      contract.a = {operand(node.operands[0]), (k_last ? map(0, 1) : map(1, 0)).rows};
    }
    contract.b = {operand(node.operands[1]), map(0, 1).rows};
    return contract;
  }

  /// A fold that does not keep its carry starts from a copy of it, made by a stage of its own.
  void copy_starts(Kernel& kernel, const StageKey& key, const std::vector<Item>& items) {
    for (const Item& item : items) {
      const Node& node = graph_[item.node];
      const bool carried =
          item.stores.empty() && node.operands.size() > 1 && !std::holds_alternative<Dot>(node.attributes);
      if (!carried || keeps_carry(item.node)) continue;
      const Type& type = graph_[node.operands[1]].type;
      const BufferId start = buffers_.scratch("start." + std::to_string(item.node), type.dtype, cluster_.outer);
      const IndexMap map = identity_map(cluster_.outer.size(), cluster_.outer.size());
      const BodyContext context{graph_, clusters_, index_, levels_, buffers_, program_, crossing_, folds_};
      BodyWriter body(context, {key.level, {}}, cluster_.outer);
      Stage stage;
      stage.stores.push_back({Access{start, map.rows}, body.result(node.operands[1], map, false)});
      std::move(body).finish(stage);
      kernel.stages.push_back(std::move(stage));
      starts_[item.node] = start;
    }
  }

  void write_stage(Kernel& kernel, const StageKey& key, const std::vector<Item>& items) {
    copy_starts(kernel, key, items);
    const auto place = static_cast<std::uint16_t>(kernel.stages.size());
    Stage stage;
    stage.inner = key.inner;
    Dims loops = cluster_.outer;
    loops.insert(loops.end(), key.inner.begin(), key.inner.end());
    const BodyContext context{graph_, clusters_, index_, levels_, buffers_, program_, crossing_, folds_};
    BodyWriter body(context, key, loops);
    FoldPlaces made;
    for (const Item& item : items) {
      if (item.stores.empty()) {
        made[item.node] = FoldResult{place, static_cast<std::uint16_t>(stage.folds.size())};
        stage.folds.push_back(fold(item.node, body));
        continue;
      }
      const IndexMap map = identity_map(graph_[item.node].type.shape.size(), loops.size());
      const bool inside = clusters_.home[item.node] == index_;
      const ScalarId value = body.result(item.node, map, inside);
      for (BufferId to : item.stores) stage.stores.push_back({Access{to, map.rows}, value});
    }
    std::move(body).finish(stage);
    kernel.stages.push_back(std::move(stage));
    folds_.merge(made);
  }

  /// Rows of zeros (or of the carry), then every row of x added to that of its id, in row-major order of ids.
  void scatter(Kernel& kernel, NodeId id) {
    const Node& node = graph_[id];
    const BodyContext context{graph_, clusters_, index_, levels_, buffers_, program_, crossing_, folds_};
    const BufferId to = buffers_.arena(id);
    const std::size_t outer = cluster_.outer.size();
    const std::int64_t rows = std::get<Scatter>(node.attributes).count;
    const auto with_outer = [&](const Dims& inner) {
      Dims loops = cluster_.outer;
      loops.insert(loops.end(), inner.begin(), inner.end());
      return loops;
    };

    Stage start{.inner = {rows}, .body = {}, .folds = {}, .stores = {}};
    BodyWriter first(context, {0, start.inner}, with_outer(start.inner));
    IndexMap element = identity_map(1, outer + 1, outer);
    const IndexMap columns = identity_map(outer, outer + 1);
    element.rows.insert(element.rows.end(), columns.rows.begin(), columns.rows.end());
    const ScalarId value = node.operands.size() > 2 ? first.result(node.operands[2], element, false)
                                                    : first.zero(scalar_type(node.type.dtype));
    start.stores.push_back({Access{to, element.rows}, value});
    std::move(first).finish(start);

    Stage add{.inner = dims_of(graph_[node.operands[1]].type), .body = {}, .folds = {}, .stores = {}};
    const std::size_t loops = outer + add.inner.size();
    BodyWriter second(context, {0, add.inner}, with_outer(add.inner));
    const IndexMap of_ids = identity_map(add.inner.size(), loops, outer), rest = identity_map(outer, loops);
    IndexMap of_x = of_ids, target{{AffineRow{0, Dims(loops + 1, 0)}}};
    of_x.rows.insert(of_x.rows.end(), rest.rows.begin(), rest.rows.end());
    target.rows.insert(target.rows.end(), rest.rows.begin(), rest.rows.end());
    const std::size_t row = second.computed_loop(node.operands[1], of_ids, rows);
    target[0].coefficients.resize(row + 1, 0);
    target[0].coefficients[row] = 1;
    const ScalarId added = second.result(node.operands[0], of_x, false);
    add.stores.push_back({Access{to, target.rows}, added, true});
    std::move(second).finish(add);
    kernel.stages = {std::move(start), std::move(add)};
  }

  Fold fold(NodeId id, BodyWriter& body) {
    const Node& node = graph_[id];
    const std::vector<IndexMap> maps = fold_operand_maps(graph_, id);
    Fold fold;
    fold.dtype = graph_[node.operands[0]].type.dtype;
    fold.result = node.type.dtype;
    fold.value = body.result(node.operands[0], maps[0], false);
    if (const auto* dot = std::get_if<Dot>(&node.attributes)) {
      fold.op = FoldOp::product;
      fold.order = dot->order;
      fold.factor = body.result(node.operands[1], maps[1], false);
      return fold;
    }
    if (std::holds_alternative<OverlapAdd>(node.attributes)) {
      fold.op = FoldOp::sum;
      fold.order = Order::serial;
      return fold;
    }
    fold.op = node.op == Op::sum ? FoldOp::sum : node.op == Op::argmax ? FoldOp::argmax : FoldOp::maximum;
    fold.order = std::get<Reduce>(node.attributes).order;
    if (node.operands.size() > 1) {
      const auto copied = starts_.find(id);
      fold.carry = Access{copied == starts_.end() ? buffers_.leaf(node.operands[1]) : copied->second, maps[1].rows};
    }
    return fold;
  }

  void name(Kernel& kernel) const {
    const auto title = [&](NodeId id) {
      const Origin& origin = graph_[id].origin;
      return origin.name.empty() ? std::string(definition(graph_[id].op).name) : origin.name;
    };
    NodeId lead = cluster_.core ? *cluster_.core : static_cast<NodeId>(graph_.nodes.size());
    for (NodeId member : cluster_.members)
      if (!cluster_.core && (lead == graph_.nodes.size() || is_fold(graph_[member]))) lead = member;
    if (lead < graph_.nodes.size()) {
      kernel.name = title(lead);
      kernel.line = graph_[lead].origin.line;
    }
    for (std::size_t output : cluster_.outputs) {
      if (graph_.outputs[output].kind == OutputKind::update)
        kernel.name += (kernel.name.empty() ? "" : " + ") + graph_.outputs[output].name;
      else if (kernel.name.empty())
        kernel.name = graph_.outputs[output].name;
    }
  }

  const Graph& graph_;
  const Clusters& clusters_;
  const Cluster& cluster_;
  int index_;
  Buffers& buffers_;
  Program& program_;
  Levels levels_;
  std::vector<bool> crossing_;
  std::map<StageKey, std::vector<Item>> stages_;
  FoldPlaces folds_;
  std::map<NodeId, BufferId> starts_;  // of folds that do not keep their carry
};

void add_kernels(const Graph& graph, const Clusters& clusters, Buffers& buffers, const LowerOptions& options,
                 Draft& draft);

/// One loop out of its cluster: memory for its carries and stacks, the kernels before it, those of a step.
class LoopMaker {
 public:
  LoopMaker(const Graph& graph, const Clusters& clusters, int cluster, Buffers& buffers, const LowerOptions& options,
            Draft& draft)
      : graph_(graph),
        clusters_(clusters),
        cluster_(cluster),
        members_(clusters.clusters[cluster].members),
        node_(graph[members_.front()]),
        scan_(std::get<Scan>(node_.attributes)),
        loop_(clusters.loops[*clusters.clusters[cluster].loop]),
        buffers_(buffers),
        options_(options),
        draft_(draft) {}

  void make() {
    number_ = static_cast<std::uint32_t>(draft_.program.loops.size());
    draft_.program.loops.push_back({.first = 0, .end = 0, .steps = scan_.steps, .backwards = scan_.backwards});
    for (std::size_t i = 0; i < carries(); ++i) make_carry(i);
    begin();
    find_inputs();
    for (NodeId member : members_) make_result(member);
    Buffers step(loop_.step, loop_.clusters, options_, draft_, inputs_, results_);
    const std::size_t first = draft_.program.kernels.size();
    add_kernels(loop_.step, loop_.clusters, step, options_, draft_);
    draft_.program.loops[number_].first = first;
    draft_.program.loops[number_].end = draft_.program.kernels.size();
  }

 private:
  std::size_t carries() const { return static_cast<std::size_t>(scan_.carries); }
  Dims operand_dims(std::size_t i) const { return dims_of(graph_[node_.operands[i]].type); }
  static Dims stacked(std::int64_t rows, Dims dims) {
    dims.insert(dims.begin(), rows);
    return dims;
  }
  std::string name_of(std::string_view kind, std::size_t number) const {
    return fmt::format("loop{}.{}{}", number_, kind, number);
  }

  /// At step `at` of the stacks a carry lies in row `at`, and after it in row at + 1; backwards it is the other way.
  std::int64_t before() const { return scan_.backwards ? 1 : 0; }
  std::int64_t after() const { return scan_.backwards ? 0 : 1; }
  std::int64_t rows(std::size_t carry) const { return draft_.program.buffers[carries_[carry]].dims[0]; }

  void make_carry(std::size_t i) {
    const bool kept = std::ranges::any_of(loop_.kept, [&](const auto& result) { return result.second.carry == i; });
    const Dims dims = operand_dims(i);
    const std::string name = name_of("carry", i);
    const BufferId memory =
        buffers_.scratch(name, graph_[node_.operands[i]].type.dtype, stacked(kept ? scan_.steps + 1 : 2, dims));
    carries_.push_back(memory);
    inputs_[i] = buffers_.part(memory, name + ".before", dims, before(), number_);
    results_[std::to_string(i)] = buffers_.part(memory, name + ".after", dims, after(), number_);
  }

  void begin() {
    std::map<Dims, std::vector<std::pair<NodeId, BufferId>>> stores;
    for (std::size_t i = 0; i < carries(); ++i) {
      const std::int64_t row = (scan_.backwards ? scan_.steps : 0) % rows(i);
      stores[operand_dims(i)].emplace_back(node_.operands[i],
                                           buffers_.part(carries_[i], name_of("first", i), operand_dims(i), row));
    }
    for (const auto& [dims, of_dims] : stores) {
      KernelMaker maker(graph_, clusters_, cluster_, buffers_, draft_.program);
      draft_.program.kernels.push_back(maker.beginnings(dims, of_dims));
      draft_.program.kernels.back().line = node_.origin.line;
    }
  }

  void find_inputs() {
    for (const Node& leaf : loop_.step.nodes) {
      if (leaf.op != Op::input) continue;
      const std::size_t i = input_position(leaf);
      if (i < carries()) continue;
      const NodeId base = under_reshapes(graph_, node_.operands[i]);
      const BufferId whole = buffers_.under(buffers_.of(base), operand_dims(i));
      inputs_[i] = i < carries() + static_cast<std::size_t>(scan_.sequences)
                       ? buffers_.part(whole, name_of("row", i), dims_of(leaf.type), 0, number_)
                       : whole;
    }
  }

  /// The last value of a carry, a carry's values at all steps, or a stack of its own.
  void make_result(NodeId member) {
    const int result = std::get<Scan>(graph_[member].attributes).result;
    const auto number = static_cast<std::size_t>(result);
    const Dims dims = dims_of(graph_[member].type);
    if (number < carries()) {
      const std::int64_t row = (scan_.backwards ? 0 : scan_.steps) % rows(number);
      return buffers_.place(member, buffers_.part(carries_[number], name_of("last", number), dims, row));
    }
    if (const auto kept = loop_.kept.find(result); kept != loop_.kept.end()) {
      const std::int64_t row = kept->second.after ? after() : before();
      return buffers_.place(member, buffers_.part(carries_[kept->second.carry], name_of("stack", number), dims, row));
    }
    const BufferId stack = buffers_.scratch(name_of("stack", number), graph_[member].type.dtype, dims);
    buffers_.place(member, stack);
    results_[std::to_string(result)] =
        buffers_.part(stack, name_of("out", number), Dims(dims.begin() + 1, dims.end()), 0, number_);
  }

  const Graph& graph_;
  const Clusters& clusters_;
  int cluster_;
  const std::vector<NodeId>& members_;
  const Node& node_;
  const Scan& scan_;
  const LoopClusters& loop_;
  Buffers& buffers_;
  const LowerOptions& options_;
  Draft& draft_;
  std::uint32_t number_ = 0;
  std::vector<BufferId> carries_;
  std::map<std::size_t, BufferId> inputs_;
  std::map<std::string, BufferId> results_;
};

void add_kernels(const Graph& graph, const Clusters& clusters, Buffers& buffers, const LowerOptions& options,
                 Draft& draft) {
  for (int cluster = 0; cluster < static_cast<int>(clusters.clusters.size()); ++cluster) {
    if (clusters.clusters[static_cast<std::size_t>(cluster)].loop)
      LoopMaker(graph, clusters, cluster, buffers, options, draft).make();
    else
      draft.program.kernels.push_back(KernelMaker(graph, clusters, cluster, buffers, draft.program).make());
  }
}

}  // namespace

Draft make_kernels(const Graph& graph, const Clusters& clusters, const LowerOptions& options) {
  Draft draft;
  draft.program.rows = options.rows;
  draft.program.obligations = graph.obligations;
  Buffers buffers(graph, clusters, options, draft);
  add_kernels(graph, clusters, buffers, options, draft);
  return draft;
}

}  // namespace nnc
