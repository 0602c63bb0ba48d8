#include "ir/loops.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "ir/op.h"

namespace nnc {

namespace {

bool is_loop(const Node& node) { return std::holds_alternative<Scan>(node.attributes); }

Graph outputs_like(const Graph& graph, Builder&& builder, const std::vector<Value>& made) {
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

/// The nodes that the results depend on; nothing behind a replaced one.
std::vector<bool> reached(const Graph& draft, std::span<const NodeId> results,
                          const std::map<NodeId, std::string>& replaced) {
  std::vector<bool> needed(draft.nodes.size(), false);
  for (NodeId result : results) needed[result] = true;
  for (NodeId id = static_cast<NodeId>(draft.nodes.size()); id-- > 0;)
    if (needed[id] && !replaced.contains(id))
      for (NodeId operand : draft[id].operands) needed[operand] = true;
  return needed;
}

// Sharing

/// Loops over the same operands, with one graph that holds what all of them do.
struct SharedLoop {
  std::vector<NodeId> operands;  ///< in the old graph
  Scan scan;                     ///< of its first member
  Builder body;
  std::vector<NodeId> next;    ///< the carries' next values, in `body`
  std::vector<NodeId> handed;  ///< what steps hand out and something asks for, in `body`
  std::vector<bool> asked;     ///< of each carry: its last value is asked for, or what is needed depends on it
  std::optional<ScanBody> narrowed = {};
  std::vector<std::size_t> kept = {};  ///< places of the operands that are left
};

std::vector<NodeId> results_in(Builder& builder, const Graph& body) {
  const std::vector<Value> made = rebuild(body, builder, [&](NodeId id, const std::vector<Value>& operands) {
    return copy_node(builder, body[id], operands);
  });
  std::vector<NodeId> results;
  for (const Output& output : body.outputs) results.push_back(made[output.node].id);
  return results;
}

class Sharing {
 public:
  explicit Sharing(const Graph& graph) : graph_(graph), builder_(graph.name) {}

  Graph run() {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      if (is_loop(graph_[id])) join(id);
    for (SharedLoop& loop : loops_) narrow(loop);
    const std::vector<Value> made = rebuild(graph_, builder_, [&](NodeId id, const std::vector<Value>& operands) {
      return is_loop(graph_[id]) ? result(id, operands) : copy_node(builder_, graph_[id], operands);
    });
    return outputs_like(graph_, std::move(builder_), made);
  }

 private:
  struct Member {
    std::size_t loop = 0;
    NodeId asked = 0;  ///< in the loop's body; of a carry, its next value
  };

  void join(NodeId id) {
    const Node& node = graph_[id];
    const Scan& scan = std::get<Scan>(node.attributes);
    const auto carries = static_cast<std::size_t>(scan.carries);
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      SharedLoop& loop = loops_[i];
      if (loop.operands != node.operands || loop.scan.carries != scan.carries ||
          loop.scan.sequences != scan.sequences || loop.scan.steps != scan.steps ||
          loop.scan.backwards != scan.backwards)
        continue;
      const std::vector<NodeId> results = results_in(loop.body, *scan.body);
      if (std::equal(loop.next.begin(), loop.next.end(), results.begin())) return ask(id, i, results);
    }
    SharedLoop loop{.operands = node.operands,
                    .scan = scan,
                    .body = Builder(scan.body->name),
                    .next = {},
                    .handed = {},
                    .asked = std::vector<bool>(carries, false)};
    const std::vector<NodeId> results = results_in(loop.body, *scan.body);
    loop.next.assign(results.begin(), results.begin() + scan.carries);
    loops_.push_back(std::move(loop));
    ask(id, loops_.size() - 1, results);
  }

  void ask(NodeId id, std::size_t at, const std::vector<NodeId>& results) {
    SharedLoop& loop = loops_[at];
    const int result = std::get<Scan>(graph_[id].attributes).result;
    const NodeId asked = results[static_cast<std::size_t>(result)];
    members_.emplace(id, Member{at, asked});
    if (result < loop.scan.carries)
      loop.asked[static_cast<std::size_t>(result)] = true;
    else if (std::ranges::find(loop.handed, asked) == loop.handed.end())
      loop.handed.push_back(asked);
  }

  /// Keeps the carries that something needed depends on, then the operands that the rest reads.
  void narrow(SharedLoop& loop) {
    const Graph& draft = loop.body.graph();
    std::vector<std::string> inputs;
    std::vector<NodeId> results;
    for (bool grown = true; grown;) {
      results.clear();
      for (std::size_t i = 0; i < loop.next.size(); ++i)
        if (loop.asked[i]) results.push_back(loop.next[i]);
      results.insert(results.end(), loop.handed.begin(), loop.handed.end());
      inputs = inputs_of(draft, results);
      grown = false;
      for (std::size_t i = 0; i < loop.next.size(); ++i) {
        const bool read = std::ranges::find(inputs, std::to_string(i)) != inputs.end();
        grown = grown || (read && !loop.asked[i]);
        loop.asked[i] = loop.asked[i] || read;
      }
    }
    std::vector<std::string> names;
    Scan& scan = loop.scan;
    const int carries = scan.carries, sequences = scan.sequences;
    scan.carries = scan.sequences = 0;
    for (std::size_t i = 0; i < loop.operands.size(); ++i) {
      const bool is_carry = i < loop.next.size();
      if (is_carry ? !loop.asked[i] : std::ranges::find(inputs, std::to_string(i)) == inputs.end()) continue;
      loop.kept.push_back(i);
      names.push_back(std::to_string(i));
      scan.carries += is_carry;
      scan.sequences += !is_carry && i < static_cast<std::size_t>(carries + sequences);
    }
    loop.narrowed = loop_body(draft, names, results);
  }

  Value result(NodeId id, const std::vector<Value>& operands) {
    const Node& node = graph_[id];
    const Member& member = members_.at(id);
    const SharedLoop& loop = loops_[member.loop];
    const int old = std::get<Scan>(node.attributes).result;
    Node narrowed = node;
    Scan scan{.body = *loop.narrowed,
              .carries = loop.scan.carries,
              .sequences = loop.scan.sequences,
              .steps = loop.scan.steps,
              .backwards = loop.scan.backwards};
    if (old < static_cast<int>(loop.next.size()))
      scan.result = static_cast<int>(std::count(loop.asked.begin(), loop.asked.begin() + old, true));
    else
      scan.result = scan.carries + static_cast<int>(std::ranges::find(loop.handed, member.asked) - loop.handed.begin());
    narrowed.attributes = std::move(scan);
    std::vector<Value> left;
    for (std::size_t place : loop.kept) left.push_back(operands[place]);
    return copy_node(builder_, narrowed, left);
  }

  const Graph& graph_;
  Builder builder_;
  std::vector<SharedLoop> loops_;
  std::map<NodeId, Member> members_;
};

}  // namespace

std::size_t input_position(const Node& leaf) {
  const std::string& name = std::get<Named>(leaf.attributes).name;
  std::size_t position = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), position);
  return error == std::errc{} && end == name.data() + name.size() ? position : std::string::npos;
}

ScanBody loop_body(const Graph& draft, std::span<const std::string> inputs, std::span<const NodeId> results,
                   const std::map<NodeId, std::string>& replaced) {
  const std::vector<bool> needed = reached(draft, results, replaced);
  Builder builder(draft.name);
  std::vector<Value> made(draft.nodes.size());
  const auto input = [&](const std::string& name, const Node& node) {
    const auto place = std::ranges::find(inputs, name) - inputs.begin();
    builder.set_origin({});
    const Value leaf = builder.make(Op::input, {}, Named{std::to_string(place)}, node.type);
    builder.name_node(leaf.id, node.origin.name);
    return leaf;
  };
  for (NodeId id = 0; id < draft.nodes.size(); ++id) {
    if (!needed[id]) continue;
    const Node& node = draft[id];
    if (const auto instead = replaced.find(id); instead != replaced.end()) {
      made[id] = input(instead->second, node);
    } else if (node.op == Op::input) {
      made[id] = input(std::get<Named>(node.attributes).name, node);
    } else {
      std::vector<Value> operands;
      for (NodeId operand : node.operands) operands.push_back(made[operand]);
      made[id] = copy_node(builder, node, operands);
    }
  }
  int position = 0;
  for (NodeId result : results) builder.output(OutputKind::result, std::to_string(position++), made[result]);
  return ScanBody(std::move(builder).finish());
}

std::vector<std::string> inputs_of(const Graph& draft, std::span<const NodeId> results,
                                   const std::map<NodeId, std::string>& replaced) {
  const std::vector<bool> needed = reached(draft, results, replaced);
  std::vector<std::string> names;
  for (NodeId id = 0; id < draft.nodes.size(); ++id) {
    if (!needed[id]) continue;
    if (const auto instead = replaced.find(id); instead != replaced.end())
      names.push_back(instead->second);
    else if (draft[id].op == Op::input)
      names.push_back(std::get<Named>(draft[id].attributes).name);
  }
  return names;
}

ScanBody handing_out(const ScanBody& body, std::span<const NodeId> more) {
  Graph graph = *body;
  for (NodeId node : more) graph.outputs.push_back({OutputKind::result, std::to_string(graph.outputs.size()), node});
  return ScanBody(std::move(graph));
}

Graph with_bodies(const Graph& graph, const std::function<Graph(const Graph&)>& pass) {
  return with_bodies(graph, pass, pass);
}

Graph with_bodies(const Graph& graph, const std::function<Graph(const Graph&)>& of_bodies,
                  const std::function<Graph(const Graph&)>& pass) {
  if (std::ranges::none_of(graph.nodes, is_loop)) return pass(graph);
  Builder builder(graph.name);
  std::map<const Graph*, ScanBody> done;  // results of one loop go on sharing their body
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    if (!is_loop(graph[id])) return copy_node(builder, graph[id], operands);
    Node node = graph[id];
    ScanBody& body = std::get<Scan>(node.attributes).body;
    auto known = done.find(&*body);
    if (known == done.end()) known = done.emplace(&*body, ScanBody(with_bodies(*body, of_bodies))).first;
    body = known->second;
    return copy_node(builder, node, operands);
  });
  return pass(outputs_like(graph, std::move(builder), made));
}

Graph share_loops(const Graph& graph) {
  return with_bodies(graph,
                     [](const Graph& g) { return std::ranges::any_of(g.nodes, is_loop) ? Sharing(g).run() : g; });
}

}  // namespace nnc
