#include "driver/step_again.h"

#include <algorithm>

#include "driver/tensor.h"
#include "runtime/metrics.h"
#include "runtime/random.h"

namespace nnc::driver {

namespace {

constexpr double most_work = 4e8;  // products and elements: some seconds of the evaluator

Environment environment_of(const StepTaken& step, const std::vector<std::uint32_t>& rows) {
  const Batches batches(step.job.batch_size, step.train.rows);
  Environment environment;
  environment.batch = std::ssize(rows);
  environment.seed = step.job.seed;
  environment.step = static_cast<std::uint64_t>(step.after.step + 1);
  environment.scalars = {{"step", static_cast<double>(step.after.step + 1)},
                         {"epoch", static_cast<double>(step.after.step / batches.count + 1)},
                         {"steps_per_epoch", static_cast<double>(batches.count)},
                         {"total_steps", static_cast<double>(step.planned_epochs * batches.count)},
                         {"rows", static_cast<double>(rows.size())}};
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (const NamedArray& column : step.train.part(rows[i], 1).columns) {
      Tensor row = tensor_of(column.array);
      Tensor& all = environment.inputs[column.name];
      if (i == 0) {
        all = std::move(row);
        all.dims[0] = std::ssize(rows);
      } else {
        all.data.insert(all.data.end(), row.data.begin(), row.data.end());
      }
    }
  set_variables(step.weights, environment);
  return environment;
}

double length(const Shape& shape, std::int64_t rows) {
  double count = 1;
  for (const Extent& extent : shape) count *= static_cast<double>(extent.count * (extent.batched ? rows : 1));
  return count;
}

double work_of(const Graph& graph, std::int64_t rows) {
  double work = 0;
  for (const Node& node : graph.nodes) {
    double count = length(node.type.shape, rows);
    if (const auto* dot = std::get_if<Dot>(&node.attributes))
      for (const int axis : dot->a) {
        const Extent& extent = graph[node.operands[0]].type.shape[static_cast<std::size_t>(axis)];
        count *= static_cast<double>(extent.count * (extent.batched ? rows : 1));
      }
    if (const auto* scan = std::get_if<Scan>(&node.attributes))
      count += static_cast<double>(scan->steps) * work_of(*scan->body, rows);
    work += count;
  }
  return work;
}

}  // namespace

std::vector<std::uint32_t> rows_of(const StepTaken& step) {
  const Batches batches(step.job.batch_size, step.train.rows);
  const bool next = step.after.epoch == 0 || step.after.batch == batches.count;
  const std::int64_t epoch = step.after.epoch + (next ? 1 : 0), batch = next ? 0 : step.after.batch;
  std::vector<std::uint32_t> order(static_cast<std::size_t>(step.train.rows));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  if (step.job.shuffle)
    order = permutation(step.train.rows, step.job.seed, Purpose::epoch, static_cast<std::uint32_t>(epoch));
  const auto first = order.begin() + batch * batches.size;
  return {first, first + std::min<std::int64_t>(batches.size, order.end() - first)};
}

std::vector<Tensor> values_again(const Graph& whole, const StepTaken& step, const std::vector<std::uint32_t>& rows) {
  if (rows.empty() || work_of(whole, std::ssize(rows)) > most_work) return {};
  Graph graph = whole;
  graph.outputs.clear();
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    graph.outputs.push_back({OutputKind::result, std::to_string(id), id});
  auto results = evaluate(graph, environment_of(step, rows), true);
  std::vector<Tensor> values;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) values.push_back(std::move(results.at(std::to_string(id))));
  return values;
}

}  // namespace nnc::driver
