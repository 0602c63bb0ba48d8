#include "driver/baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "driver/tensor.h"
#include "passes/passes.h"

namespace nnc::driver {

namespace {

constexpr const char* constant_name = "always";
constexpr std::int64_t most_elements = 500'000;  // the evaluator is no native code

bool is_learnt(const Node& node) {
  if (node.op == Op::param) return true;
  return node.op == Op::state && !std::get<Named>(node.attributes).name.starts_with("data.");
}

std::int64_t row_count(const Shape& shape) {
  std::int64_t count = 1;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) count *= shape[axis].count;
  return count;
}

struct Candidate {
  std::string always;
  std::vector<double> row;  ///< the constant, one row of it
};

/// log of each class's share, the same wherever a row has a class.
std::optional<Candidate> frequent_class(const std::string& name, const DenseArray& column, const Shape& shape) {
  const std::int64_t classes = shape.back().count;
  if (column.dtype != DType::i32 || classes < 2 || shape.size() < 2) return std::nullopt;
  std::vector<double> share(static_cast<std::size_t>(classes));
  for (std::int64_t i = 0; i < column.count(); ++i) {
    if (column.at(i) < 0 || column.at(i) >= static_cast<double>(classes)) return std::nullopt;
    share[static_cast<std::size_t>(column.at(i))] += 1.0 / static_cast<double>(column.count());
  }
  constexpr double never = 1e-6;
  Candidate candidate{fmt::format("the most frequent class of `{}`", name), {}};
  for (std::int64_t i = 0; i < row_count(shape); ++i)
    candidate.row.push_back(std::log(std::max(share[static_cast<std::size_t>(i % classes)], never)));
  return candidate;
}

/// The mean of a column, element by element, and the logit and the logarithm of it where it is a probability.
void add_means(const std::string& name, const DenseArray& column, const Shape& shape, std::vector<Candidate>& all) {
  const std::int64_t width = row_count(shape);
  if (column.rows() == 0 || column.count() != column.rows() * width) return;
  std::vector<double> mean(static_cast<std::size_t>(width));
  for (std::int64_t i = 0; i < column.count(); ++i)
    mean[static_cast<std::size_t>(i % width)] += column.at(i) / static_cast<double>(column.rows());
  const std::string always = fmt::format("the mean of `{}`", name);
  all.push_back({always, mean});
  if (!std::ranges::all_of(mean, [](double share) { return share > 0 && share < 1; })) return;
  std::vector<double> logit = mean, logarithm = mean;
  for (double& share : logit) share = std::log(share / (1 - share));
  for (double& share : logarithm) share = std::log(share);
  all.push_back({always, logit});
  all.push_back({always, logarithm});
}

Tensor repeated(const std::vector<double>& row, const Type& type, std::int64_t rows) {
  std::vector<std::int64_t> dims{rows};
  for (std::size_t axis = 1; axis < type.shape.size(); ++axis) dims.push_back(type.shape[axis].count);
  Tensor tensor = Tensor::zeros(type.dtype, dims);
  for (std::int64_t i = 0; i < tensor.count(); ++i) tensor.set(i, row[static_cast<std::size_t>(i) % row.size()]);
  return tensor;
}

}  // namespace

std::optional<NodeId> answer_of(const Graph& graph) {
  const std::size_t count = graph.nodes.size();
  std::vector<bool> learnt(count);
  std::vector<std::size_t> last_use(count, 0);  // of what depends on it; outputs use it at the end
  std::size_t last_leaf = 0;
  for (std::size_t id = 0; id < count; ++id) {
    const Node& node = graph.nodes[id];
    learnt[id] = is_learnt(node);
    if (learnt[id]) last_leaf = id;
    for (const NodeId operand : node.operands) {
      learnt[id] = learnt[id] || learnt[operand];
      last_use[operand] = id;
    }
  }
  for (const Output& output : graph.outputs) last_use[output.node] = count;
  std::size_t open = 0;  // the last use of anything learnt so far, but the node at hand
  for (std::size_t id = 0; id < count; ++id) {
    if (!learnt[id]) continue;
    const Type& type = graph.nodes[id].type;
    const bool is_rows =
        is_float(type.dtype) && !type.shape.empty() && type.shape[0].batched && type.shape[0].count == 1;
    if (id >= last_leaf && open <= id && is_rows && last_use[id] > id) return static_cast<NodeId>(id);
    open = std::max(open, last_use[id]);
  }
  return std::nullopt;
}

std::optional<Baseline> baseline_of(const Graph& evaluate_graph, const std::vector<std::string>& losses,
                                    const SplitColumns& train, const SplitColumns& shown, const Weights& fitted) {
  const auto at = answer_of(evaluate_graph);
  if (!at || losses.size() != 1 || train.streamed || shown.streamed) return std::nullopt;
  const Type type = evaluate_graph[*at].type;
  if (shown.rows * row_count(type.shape) > most_elements) return std::nullopt;
  Graph graph = evaluate_graph;
  Node& node = graph.nodes[*at];
  node.op = Op::input, node.operands.clear(), node.attributes = Named{constant_name};
  std::vector<std::string> names;
  for (const Output& output : graph.outputs) names.push_back(output.name);
  graph = with_outputs(graph, {names.begin(), names.end()});

  Environment environment;
  environment.batch = shown.rows;
  environment.scalars["rows"] = static_cast<double>(shown.rows);
  std::vector<Candidate> candidates;
  for (const Node& leaf : graph.nodes) {
    if (leaf.op == Op::state) {  // what undo goes back by
      const nnc_slot* slot = find_slot(state_of(*fitted.layout), std::get<Named>(leaf.attributes).name);
      environment.state[slot->name] = tensor_of(unpack(*slot, fitted.state.data()));
    }
    if (leaf.op != Op::input || std::get<Named>(leaf.attributes).name == constant_name) continue;
    const std::string& name = std::get<Named>(leaf.attributes).name;
    environment.inputs[name] = tensor_of(*shown.find(name));
    const DenseArray& column = *train.find(name);
    if (auto frequent = frequent_class(name, column, type.shape)) candidates.push_back(std::move(*frequent));
    add_means(name, column, type.shape, candidates);
  }
  std::optional<Baseline> best;
  double best_loss = INFINITY;
  for (const Candidate& candidate : candidates) {
    environment.inputs[constant_name] = repeated(candidate.row, type, shown.rows);
    const auto values = evaluate(graph, environment, true);
    const double loss = values.at(losses[0]).at(0);
    if (!(loss < best_loss)) continue;
    best_loss = loss;
    best = Baseline{candidate.always, {}};
    for (const std::string& name : names) {
      const Tensor& value = values.at(name);
      DenseArray array(value.dtype, value.dims);
      std::memcpy(array.bytes.data(), value.data.data(), value.data.size());
      best->figures.push_back({name, std::move(array)});
    }
  }
  return best;
}

}  // namespace nnc::driver
