// A loop of a few steps as its steps, one after the other: the carries of a step are values, what a step reads of a
// sequence is a row of it, and what steps hand out is put together at the end. Equal to the bit, since a step's graph
// is what it was.
#include <algorithm>

#include "ir/loops.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

/// Whether a graph has no more nodes than are left when each loop in it is its steps; takes them off.
bool is_short(const Graph& graph, std::size_t& left) {
  for (const Node& node : graph.nodes) {
    const auto* scan = std::get_if<Scan>(&node.attributes);
    std::size_t each = left;
    if (scan && !is_short(*scan->body, each)) return false;
    const std::size_t nodes = scan ? left - each : 1;
    const auto times = scan ? static_cast<std::size_t>(scan->steps) : 1;
    if (nodes > 0 && times > left / nodes) return false;
    left -= times * nodes;
  }
  return true;
}

/// x[index] along the first axis.
Value row_of(Builder& builder, Value x, std::int64_t index) {
  Shape shape = x.type().shape;
  std::vector<std::int64_t> starts(shape.size(), 0), steps(shape.size(), 1);
  starts[0] = index;
  shape[0] = Extent{1, false};
  const Value row = builder.slice(x, starts, steps, shape);
  return builder.reshape(row, Shape(shape.begin() + 1, shape.end()));
}

Value stacked(Builder& builder, const std::vector<Value>& rows) {
  std::vector<Value> pieces;
  for (const Value row : rows) {
    Shape shape = row.type().shape;
    shape.insert(shape.begin(), Extent{1, false});
    pieces.push_back(builder.reshape(row, shape));
  }
  return builder.concat(pieces, 0);
}

class Unroller {
 public:
  explicit Unroller(Builder& builder) : builder_(builder) {}

  /// The nodes of a graph; of a loop's body, with the values that its inputs have at a step.
  std::vector<Value> write(const Graph& graph, const std::vector<Value>* inputs) {
    return rebuild(graph, builder_, [&](NodeId id, const std::vector<Value>& operands) {
      const Node& node = graph[id];
      if (inputs && node.op == Op::input) return (*inputs)[input_position(node)];
      const auto* scan = std::get_if<Scan>(&node.attributes);
      return scan ? result_of(*scan, operands) : copy_node(builder_, node, operands);
    });
  }

 private:
  Value result_of(const Scan& scan, const std::vector<Value>& operands) {
    const auto carries = static_cast<std::size_t>(scan.carries), result = static_cast<std::size_t>(scan.result);
    std::vector<Value> at_step = operands, handed;
    for (std::int64_t step = 0; step < scan.steps; ++step) {
      const std::int64_t index = scan.backwards ? scan.steps - 1 - step : step;
      for (std::size_t i = carries; i < carries + static_cast<std::size_t>(scan.sequences); ++i)
        at_step[i] = row_of(builder_, operands[i], index);
      const std::vector<Value> made = write(*scan.body, &at_step);
      for (std::size_t i = 0; i < carries; ++i) at_step[i] = made[scan.body->outputs[i].node];
      if (result >= carries) handed.push_back(made[scan.body->outputs[result].node]);
    }
    if (result < carries) return at_step[result];
    if (scan.backwards) std::ranges::reverse(handed);
    return stacked(builder_, handed);
  }

  Builder& builder_;
};

}  // namespace

std::optional<Graph> unrolled(const Graph& graph, std::size_t most_nodes) {
  if (!is_short(graph, most_nodes)) return std::nullopt;
  Builder builder(graph.name);
  const std::vector<Value> made = Unroller(builder).write(graph, nullptr);
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

}  // namespace nnc
