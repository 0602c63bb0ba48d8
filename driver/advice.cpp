#include "driver/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "driver/tensor.h"

namespace nnc::driver {

namespace {

constexpr double large = 100;
constexpr std::int64_t most_rows = 256, least_rows = 16, most_numbers = 4'000'000;  // the evaluator is no native code

double largest_of(const DenseArray& array) {
  double largest = 0;
  for (std::int64_t i = 0; i < array.count(); ++i) largest = std::max(largest, std::abs(array.at(i)));
  return largest;
}

/// A choice over rows and units, made of what is learnt.
bool chooses_units(const Node& node) {
  const Shape& shape = node.type.shape;
  return node.op == Op::select && is_float(node.type.dtype) && shape.size() >= 2 && shape[0].batched &&
         !shape.back().batched;
}

std::vector<bool> learnt_nodes(const Graph& graph) {
  std::vector<bool> learnt(graph.nodes.size());
  for (std::size_t id = 0; id < learnt.size(); ++id) {
    const Node& node = graph.nodes[id];
    learnt[id] = node.op == Op::param;
    for (const NodeId operand : node.operands) learnt[id] = learnt[id] || learnt[operand];
  }
  return learnt;
}

/// Rows for which the whole graph can be evaluated in little time; 0: not even a few.
std::int64_t rows_to_look_at(const Graph& graph, std::int64_t rows) {
  std::int64_t numbers = 1;
  for (const Node& node : graph.nodes) numbers += element_count(node.type.shape).count;
  const std::int64_t fit = std::min({rows, most_rows, most_numbers / numbers});
  return fit >= std::min(rows, least_rows) ? fit : 0;
}

std::int64_t dead_units(const Tensor& value) {
  const std::int64_t units = value.dims.back();
  std::vector<bool> alive(static_cast<std::size_t>(units));
  for (std::int64_t i = 0; i < value.count(); ++i)
    if (value.at(i) != 0) alive[static_cast<std::size_t>(i % units)] = true;
  return std::count(alive.begin(), alive.end(), false);
}

}  // namespace

std::vector<std::string> advice_of(const Graph& evaluate_graph, const SplitColumns& train, const Weights& weights) {
  std::vector<std::string> lines;
  const SplitColumns some = train.part(0, std::min(train.rows, block_rows));
  for (const NamedArray& column : some.columns)
    if (const double largest = largest_of(column.array); is_float(column.array.dtype) && largest > large)
      lines.push_back(fmt::format(
          "help: column `{}` has values up to {:.4g}: `standardize` and `minmax` bring columns to one scale",
          column.name, largest));

  Graph graph = evaluate_graph;
  graph.outputs.clear();
  const std::vector<bool> learnt = learnt_nodes(graph);
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    if (learnt[id] && chooses_units(graph.nodes[id]))
      graph.outputs.push_back({OutputKind::result, fmt::format("choice {}", id), id});
  const std::int64_t rows = rows_to_look_at(graph, train.rows);
  if (graph.outputs.empty() || rows == 0) return lines;

  Environment environment;
  environment.batch = rows;
  environment.scalars["rows"] = static_cast<double>(rows);
  for (const NamedArray& column : train.part(0, rows).columns)
    environment.inputs[column.name] = tensor_of(column.array);
  set_variables(weights, environment);
  const auto values = evaluate(graph, environment, true);
  std::int64_t dead = 0, units = 0;
  for (const Output& output : graph.outputs) {
    dead += dead_units(values.at(output.name));
    units += values.at(output.name).dims.back();
  }
  if (4 * dead >= units)
    lines.push_back(
        fmt::format("help: {} of {} units are 0 in all of the first {} rows, so they learn nothing: a lower "
                    "rate, `he_normal` as their start, or `leaky_relu` keeps them alive",
                    dead, units, rows));
  return lines;
}

}  // namespace nnc::driver
