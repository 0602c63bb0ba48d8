#include "driver/curvature.h"

#include <fmt/format.h>

#include <cmath>

#include "passes/pipeline.h"

namespace nnc::driver {

namespace {

/// The element of the weights at that place of all of them in a row; empty where there are not `rows` of them.
std::string weight_at(const Weights& weights, std::int64_t row, std::int64_t rows) {
  std::int64_t first = 0;
  std::string found;
  for (const nnc_slot& slot : params_of(*weights.layout)) {
    std::int64_t count = 1, rest = row - first;
    for (int axis = 0; axis < slot.rank; ++axis) count *= slot.dims[axis];
    if (rest >= 0 && rest < count) {
      std::string place;
      for (int axis = slot.rank - 1; axis >= 0; rest /= slot.dims[axis--])
        place = fmt::format("{}{}{}", rest % slot.dims[axis], place.empty() ? "" : ", ", place);
      found = slot.rank == 0 ? fmt::format("`{}`", slot.name) : fmt::format("`{}[{}]`", slot.name, place);
    }
    first += count;
  }
  return first == rows ? found : fmt::format("weight {}", row + 1);
}

/// A = L D Lt, row by row (Golub and Van Loan, 4.1.2); stops at the first pivot that is not clearly positive.
std::optional<NegativePivot> first_negative(const Tensor& matrix) {
  const std::int64_t rows = matrix.dims[0];
  const auto size = static_cast<std::size_t>(rows);
  // What the square root of a unit is of the terms of a pivot may be rounding: `solve` allows for some units of each.
  const double least = std::sqrt(matrix.dtype == DType::f64 ? 0x1p-53 : 0x1p-24);
  std::vector<std::vector<double>> l(size);
  std::vector<double> pivots;
  for (std::int64_t i = 0; i < rows; ++i) {
    std::vector<double>& row = l[static_cast<std::size_t>(i)];
    double pivot = matrix.at(i * rows + i), terms = std::abs(pivot);
    for (std::size_t j = 0; j < pivots.size(); ++j) {
      double rest =
          (matrix.at(i * rows + static_cast<std::int64_t>(j)) + matrix.at(static_cast<std::int64_t>(j) * rows + i)) / 2;
      for (std::size_t k = 0; k < j; ++k) rest -= row[k] * l[j][k] * pivots[k];
      row.push_back(rest / pivots[j]);
      pivot -= row[j] * row[j] * pivots[j];
      terms += row[j] * row[j] * pivots[j];
    }
    if (pivot < -least * terms) return NegativePivot{.weight = {}, .pivot = pivot, .row = i, .rows = rows};
    if (!(pivot > least * terms)) return std::nullopt;
    pivots.push_back(pivot);
  }
  return std::nullopt;
}

}  // namespace

std::optional<NegativePivot> negative_pivot(const Elaborated& block, const StepTaken& step) {
  Graph matrices = block.step;
  matrices.outputs.clear();
  for (const Node& node : matrices.nodes)
    if (node.op == Op::solve)
      matrices.outputs.push_back(
          {OutputKind::result, fmt::format("matrix {}", matrices.outputs.size()), node.operands[0]});
  const Graph graph = optimise(matrices);
  const std::vector<Tensor> values = values_again(graph, step, rows_of(step));
  if (values.empty()) return std::nullopt;
  for (const Output& matrix : graph.outputs)
    if (auto found = first_negative(values[matrix.node])) {
      found->weight = weight_at(step.weights, found->row, found->rows);
      return found;
    }
  return std::nullopt;
}

}  // namespace nnc::driver
