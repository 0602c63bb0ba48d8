// A metric means the whole split, which need not fit in memory at once. Its folds over the batch (sums and maxima; of
// XᵀY, the sum of the rows' products) are carried from one block of rows to the next: a pass over the rows runs one
// graph per block, each fold starts from the total so far and hands the new total on. A row value that itself needs
// such a fold (the deviation from a mean) takes another pass. The last graph has no rows left and finishes the results.
// Blocks that end where chunks of the order of additions end (multiples of 4096 rows do) give the same bits as the
// whole split at once.
#include "passes/blockwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>

#include "ir/builder.h"
#include "ir/order.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace nnc {

namespace {

bool is_fold(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  if (node.operands.empty() || (node.op != Op::sum && node.op != Op::reduce_max && node.op != Op::scatter_add))
    return false;
  return is_batched(graph[node.operands[0]].type.shape) && !is_batched(node.type.shape);
}

/// A step of a loop is one of a row by itself unless something in it folds the rows, or counts them.
bool joins_rows(const Graph& body) {
  for (NodeId id = 0; id < body.nodes.size(); ++id) {
    const Node& node = body[id];
    if (is_fold(body, id) || node.op == Op::size) return true;
    if (const auto* scan = std::get_if<Scan>(&node.attributes); scan && joins_rows(*scan->body)) return true;
    const auto batched = [&](NodeId operand) { return is_batched(body[operand].type.shape); };
    if (!is_batched(node.type.shape) && std::ranges::any_of(node.operands, batched)) return true;
  }
  return false;
}

// ---- products over the rows

/// A product that sums over the batch, as XᵀY does: which of its summed axes that is.
std::optional<std::size_t> rows_of_product(const Graph& graph, const Node& node) {
  const auto* dot = std::get_if<Dot>(&node.attributes);
  for (std::size_t i = 0; dot && i < dot->a.size(); ++i)
    if (graph[node.operands[0]].type.shape[static_cast<std::size_t>(dot->a[i])].batched) return i;
  return std::nullopt;
}

std::vector<int> ascending(int first, std::size_t count) {
  std::vector<int> axes(count);
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

/// The same product as a sum of products of elements, rows outermost, which is a fold.
Value sum_of_products(Builder& builder, const Dot& dot, std::size_t rows, Value a, Value b) {
  const auto in_order = [&](Value x, std::vector<int> summed, const std::vector<int>& kept) {
    std::swap(summed[0], summed[rows]);
    std::vector<int> axes = summed;
    axes.insert(axes.end(), kept.begin(), kept.end());
    for (int axis = 0; axis < x.type().rank(); ++axis)
      if (std::ranges::find(axes, axis) == axes.end()) axes.push_back(axis);
    return builder.transpose(x, axes);
  };
  a = in_order(a, dot.a, dot.batch_a), b = in_order(b, dot.b, dot.batch_b);
  const std::size_t common = dot.a.size() + dot.batch_a.size();
  Shape shape = a.type().shape;
  const Shape right = b.type().shape;
  const std::size_t left = shape.size();
  shape.insert(shape.end(), right.begin() + static_cast<std::ptrdiff_t>(common), right.end());
  std::vector<int> places = ascending(0, common);
  const std::vector<int> own = ascending(static_cast<int>(left), right.size() - common);
  places.insert(places.end(), own.begin(), own.end());
  const Value products = builder.broadcast(a, ascending(0, left), shape) * builder.broadcast(b, places, shape);
  const std::vector<int> summed = ascending(0, dot.a.size());
  const Value sum = builder.sum(products, summed);
  return builder.make(Op::sum, {{products}}, Reduce{summed, natural_order(builder.graph(), sum.id)});
}

Graph with_products_as_sums(const Graph& graph) {
  const auto over_rows = [&](const Node& node) { return rows_of_product(graph, node).has_value(); };
  if (std::ranges::none_of(graph.nodes, over_rows)) return graph;
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    const Node& node = graph[id];
    const auto rows = rows_of_product(graph, node);
    if (!rows) return copy_node(builder, node, operands);
    builder.set_origin(node.origin);
    return sum_of_products(builder, std::get<Dot>(node.attributes), *rows, operands[0], operands[1]);
  });
  return finish_like(graph, std::move(builder), made);
}

// ---- passes over the rows

class Splitter {
 public:
  explicit Splitter(const Graph& graph) : graph_(graph), pass_(graph.nodes.size(), 0) {
    for (NodeId id = 0; id < graph.nodes.size(); ++id) {
      for (NodeId operand : graph[id].operands) pass_[id] = std::max(pass_[id], pass_[operand]);
      if (is_fold(graph, id)) {
        check_rows_are_outermost(id);
        carries_.emplace(id, fmt::format("{}/{}", definition(graph[id].op).name, carries_.size()));
        passes_ = std::max(passes_, ++pass_[id]);
      } else {
        check_keeps_rows(id);
      }
    }
    for (const Output& output : graph.outputs)
      if (is_batched(graph[output.node].type.shape)) refuse(output.node, "an output of it has a value for each row");
  }

  /// Why there is nothing to run, by the first node that stands in the way.
  std::optional<NotBlockwise> fault() const {
    if (!refused_) return std::nullopt;
    const Node& node = graph_[*refused_];
    NotBlockwise fault{"", std::string(definition(node.op).name), why_, node.origin.line};
    std::vector<bool> needs(graph_.nodes.size(), false);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      needs[id] = id == *refused_ || std::any_of(graph_[id].operands.begin(), graph_[id].operands.end(),
                                                 [&](NodeId operand) { return needs[operand]; });
    for (const Output& output : graph_.outputs)
      if (needs[output.node] && fault.output.empty()) fault.output = output.name;
    return fault;
  }

  Blockwise run() const {
    Blockwise result;
    for (int pass = 1; pass <= passes_; ++pass) result.passes.push_back(pass_over_rows(pass));
    result.finish = finish();
    for (const auto& [id, name] : carries_)
      if (graph_[id].op == Op::reduce_max) result.carry_start[name] = -std::numeric_limits<double>::infinity();
    return result;
  }

 private:
  /// Pass `number` computes the folds of that depth; earlier ones are complete.
  Graph pass_over_rows(int number) const {
    Builder builder(fmt::format("{}.pass{}", graph_.name, number));
    const std::vector<Value> made = rebuild(graph_, builder, [&](NodeId id, const std::vector<Value>& operands) {
      if (!carries_.contains(id)) return counted(builder, id, operands);
      if (pass_[id] < number) return folded(builder, id);
      if (pass_[id] > number) return copy_node(builder, graph_[id], operands);  // not needed in this pass
      std::vector<Value> carried = operands;
      carried.push_back(carry(builder, id));
      const Value total = builder.make(graph_[id].op, carried, graph_[id].attributes);
      builder.output(OutputKind::update, carries_.at(id), total);
      return folded(builder, id);
    });
    for (const Obligation& obligation : graph_.obligations) builder.oblige(obligation);
    return std::move(builder).finish();
  }

  Graph finish() const {
    Builder builder(graph_.name + ".finish");
    const std::vector<Value> made = rebuild(graph_, builder, [&](NodeId id, const std::vector<Value>& operands) {
      return carries_.contains(id) ? folded(builder, id) : counted(builder, id, operands);
    });
    return finish_like(graph_, std::move(builder), made);
  }

  /// The running total: sums carry f64, maxima and rows that are added to their own type.
  Value carry(Builder& builder, NodeId fold) const {
    Type type = graph_[fold].type;
    if (graph_[fold].op == Op::sum) type.dtype = DType::f64;
    return builder.leaf(Op::carry, carries_.at(fold), type);
  }
  /// What the fold is once its pass is over.
  Value folded(Builder& builder, NodeId fold) const {
    return builder.cast(carry(builder, fold), graph_[fold].type.dtype);
  }

  /// A copy; the number of rows is that of the whole split, which no single block knows.
  Value counted(Builder& builder, NodeId id, const std::vector<Value>& operands) const {
    const Node& node = graph_[id];
    const auto* size = std::get_if<Size>(&node.attributes);
    if (!size) return copy_node(builder, node, operands);
    const Value rows = builder.leaf(Op::scalar, "rows", {DType::f64, {}});
    return builder.cast(size->extent.count == 1 ? rows : rows * static_cast<double>(size->extent.count),
                        node.type.dtype);
  }

  /// Blocks are cut along the outermost summed axis, or chunks would not end where blocks do.
  void check_rows_are_outermost(NodeId id) {
    const Shape& shape = graph_[graph_[id].operands[0]].type.shape;
    if (graph_[id].operands.size() > (graph_[id].op == Op::scatter_add ? 2u : 1u)) refuse(id, "it has a carry already");
    if (graph_[id].op == Op::scatter_add) return check_rows_are_first(id);
    for (int axis : std::get<Reduce>(graph_[id].attributes).axes) {
      if (shape[axis].batched) return;
      if (shape[axis].count > 1 && graph_[id].op == Op::sum) refuse(id, "it sums another axis outside the rows");
    }
  }

  /// Rows are added in row-major order of the ids, so these may have no long axis outside the batch.
  void check_rows_are_first(NodeId id) {
    for (const Extent& extent : graph_[graph_[id].operands[1]].type.shape) {
      if (extent.batched) return;
      if (extent.count > 1) refuse(id, "it adds along another axis outside the rows");
    }
  }

  /// Only folds lead from rows to something without rows.
  void check_keeps_rows(NodeId id) {
    const Node& node = graph_[id];
    if (const auto* scan = std::get_if<Scan>(&node.attributes); scan && joins_rows(*scan->body))
      return refuse(id, "its step joins all rows, or needs their number");
    if (is_batched(node.type.shape)) return;
    for (NodeId operand : node.operands)
      if (is_batched(graph_[operand].type.shape)) refuse(id, "it joins all rows and is neither a sum nor a maximum");
  }

  void refuse(NodeId id, std::string_view why) {
    if (refused_) return;
    refused_ = id;
    why_ = why;
  }

  const Graph& graph_;
  std::vector<int> pass_;                  ///< after how many passes over the rows a node is known
  std::map<NodeId, std::string> carries_;  ///< folds
  int passes_ = 0;
  std::optional<NodeId> refused_;
  std::string why_;
};

}  // namespace

std::optional<NotBlockwise> why_not_blockwise(const Graph& graph) {
  const Graph sums = with_products_as_sums(graph);
  return Splitter(sums).fault();
}

Blockwise blockwise(const Graph& graph) {
  const Graph sums = with_products_as_sums(graph);
  const Splitter splitter(sums);
  if (auto fault = splitter.fault())
    throw std::invalid_argument(fmt::format("`{}`{} cannot be computed block by block: {}", fault->op,
                                            fault->line ? fmt::format(" (line {})", fault->line) : "", fault->why));
  return splitter.run();
}

}  // namespace nnc
