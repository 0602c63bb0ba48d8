#include "driver/unsolved.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "driver/column_names.h"
#include "driver/curvature.h"
#include "driver/dependence.h"

namespace nnc::driver {

namespace {

/// Values of the columns that the model is given: those that `predict` needs, or where nothing says which these are,
/// those of more than one value.
std::vector<Feature> features_of(const UnsolvedRun& run) {
  std::vector<Feature> features;
  const std::vector<std::string> needed = run.session.predict_inputs();
  for (const NamedArray& column : run.train.columns) {
    if (!is_float(column.array.dtype)) continue;
    const std::int64_t rows = run.train.rows, width = rows == 0 ? 0 : column.array.count() / rows;
    const auto made_of = run.session.inputs_of_columns().find(column.name);
    const bool known = !needed.empty() && made_of != run.session.inputs_of_columns().end();
    const auto is_needed = [&](const std::string& input) { return std::ranges::count(needed, input) > 0; };
    if (known ? !std::ranges::all_of(made_of->second, is_needed) : width < 2) continue;
    const std::vector<std::string> names = value_names(run.data, run.session, column.name, width);
    for (std::int64_t i = 0; i < width; ++i) {
      Feature feature{names[static_cast<std::size_t>(i)], {}};
      for (std::int64_t row = 0; row < rows; ++row) feature.values.push_back(column.array.at(row * width + i));
      features.push_back(std::move(feature));
    }
  }
  return features;
}

double largest_weight(const Weights& weights) {
  double largest = 0;
  for (const nnc_slot& slot : params_of(*weights.layout)) {
    const DenseArray values = unpack(slot, weights.params.data());
    for (std::int64_t i = 0; i < values.count(); ++i) largest = std::max(largest, std::abs(values.at(i)));
  }
  return largest;
}

bool is_double(const Weights& weights) {
  return std::ranges::all_of(params_of(*weights.layout),
                             [](const nnc_slot& slot) { return slot.dtype == static_cast<std::uint8_t>(DType::f64); });
}

}  // namespace

std::vector<std::string> why_unsolved(const UnsolvedRun& run) {
  const std::string penalty = fmt::format(
      "a penalty in the loss makes it so: `1e-6 * sum([sum(square(w)) for w in params({})])`", run.models.front());
  std::vector<std::string> notes{
      "note: `solve`, which `newton` uses, has no solution where its matrix is not positive definite"};
  const std::vector<Feature> features = features_of(run);
  if (!features.empty() && run.train.rows < std::ssize(features) + 1) {
    notes.push_back(fmt::format(
        "note: the matrix is singular: `{}` has {} {}, and the weights of {} {} and a constant need {} at least",
        run.train.name, run.train.rows, run.train.rows == 1 ? "row" : "rows", features.size(),
        features.size() == 1 ? "column" : "columns", features.size() + 1));
    notes.push_back("help: more rows or fewer columns; or " + penalty);
    return notes;
  }
  const std::vector<std::string> found = dependences(features, is_double(run.weights) ? DType::f64 : DType::f32);
  for (const std::string& dependence : found)
    notes.push_back(fmt::format("note: the matrix is singular: {}", dependence));
  if (!found.empty()) {
    notes.push_back("help: leave such a column out; or " + penalty);
    return notes;
  }
  const double largest = largest_weight(run.weights);
  const bool grown = largest > 100 && run.least_loss < 1e-6;
  const auto down = grown || !run.step ? std::nullopt : negative_pivot(run.block, *run.step);
  if (down) {
    notes.push_back(fmt::format(
        "note: the matrix is indefinite: by {} the second derivative of the loss is {:.3g}{}; the loss bends down "
        "there, "
        "which it does nowhere near a lowest point",
        down->weight, down->pivot,
        down->row == 0 ? ""
                       : fmt::format(" when the {} before it are eliminated",
                                     down->row == 1 ? "weight" : fmt::format("{} weights", down->row))));
    notes.push_back(
        "help: take gradient steps first and go on from where they end (`--init RUN/last.safetensors`), begin "
        "elsewhere (`--seed`), or take a loss that is convex in the weights");
    return notes;
  }
  if (grown)
    notes.push_back(
        fmt::format("note: the loss has fallen to {:.3g} while the largest weight grew to {:.6g}: it has no lowest "
                    "point, as where a line separates two classes; the further the weights go, the lower it gets, "
                    "without end",
                    run.least_loss, largest));
  notes.push_back("help: " + penalty);
  return notes;
}

}  // namespace nnc::driver
