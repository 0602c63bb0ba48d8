#include "driver/dependence.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <optional>

namespace nnc::driver {

namespace {

/// A direction that is at right angles to those before it, and how it is made of the features.
struct Direction {
  std::vector<double> unit;
  std::vector<double> recipe;  ///< of the constant and of each feature so far
};

double product(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

void subtract(std::vector<double>& from, double times, const std::vector<double>& what) {
  for (std::size_t i = 0; i < what.size(); ++i) from[i] -= times * what[i];
}

/// Gram and Schmidt, twice over, which is enough for what is left to be exact to rounding (Giraud et al. 2005).
std::vector<double> remainder(const std::vector<Direction>& directions, std::vector<double> values,
                              std::vector<double>& recipe) {
  for (int round = 0; round < 2; ++round)
    for (const Direction& direction : directions) {
      const double share = product(direction.unit, values);
      subtract(values, share, direction.unit);
      subtract(recipe, share, direction.recipe);
    }
  return values;
}

/// The recipe without the parts that are `least` of the greatest beside the feature's own.
std::vector<double> main_parts(std::vector<double> recipe, std::size_t which, double least) {
  double greatest = 0;
  for (std::size_t i = 0; i < recipe.size(); ++i)
    if (i != which + 1) greatest = std::max(greatest, std::abs(recipe[i]));
  for (double& factor : recipe)
    if (std::abs(factor) <= least * greatest) factor = 0;
  recipe[which + 1] = 1;
  return recipe;
}

/// The feature is what the recipe says, with the other sign.
std::string combination(const std::vector<Feature>& features, std::size_t which, const std::vector<double>& recipe) {
  std::string sum;
  const auto add = [&](double factor, const std::string& what) {
    if (factor == 0) return;
    const std::string number = fmt::format("{:.6g}", std::abs(factor));
    sum += sum.empty() ? (factor < 0 ? "-" : "") : (factor < 0 ? " - " : " + ");
    sum += what.empty() ? number : number == "1" ? what : number + " " + what;
  };
  for (std::size_t i = 0; i < features.size(); ++i)
    if (i != which) add(-recipe[i + 1], "`" + features[i].name + "`");
  add(-recipe[0], "");
  return sum.empty() ? "0" : sum;
}

/// How far the feature is from that at most.
double largest_rest(const std::vector<Feature>& features, const std::vector<double>& recipe) {
  double largest = 0;
  for (std::size_t row = 0; row < features.front().values.size(); ++row) {
    double rest = recipe[0];
    for (std::size_t i = 0; i < features.size(); ++i) rest += recipe[i + 1] * features[i].values[row];
    largest = std::max(largest, std::abs(rest));
  }
  return largest;
}

double length(const std::vector<double>& values) { return std::sqrt(product(values, values)); }

}  // namespace

std::vector<std::string> dependences(const std::vector<Feature>& features, DType dtype) {
  std::vector<std::string> found;
  if (features.empty() || features.front().values.empty()) return found;
  const std::size_t rows = features.front().values.size(), terms = features.size() + 1;
  const double unit = dtype == DType::f64 ? 0x1p-53 : 0x1p-24;
  // A row that is computed is rounded a few times. The matrix is refused as `solve` says (ir/ops/solve.cpp); columns
  // are taken in another order here, so ten times what it allows counts.
  const double in_rows = 16 * unit,
               in_matrix =
                   10 * std::sqrt(unit * (6 * std::sqrt(static_cast<double>(rows)) + static_cast<double>(terms)));
  std::vector<double> lengths{std::sqrt(static_cast<double>(rows))};
  for (const Feature& feature : features) lengths.push_back(length(feature.values));
  std::vector<Direction> directions;
  const auto keep = [&](std::vector<double> rest, std::vector<double> recipe) {
    const double whole = length(rest);
    for (double& value : rest) value /= whole;
    for (double& value : recipe) value /= whole;
    directions.push_back({std::move(rest), std::move(recipe)});
  };
  std::vector<double> constant(terms);
  constant[0] = 1;
  keep(std::vector<double>(rows, 1.0), constant);
  double least = in_matrix;  // of what is left of a feature, as a share of the parts that it is left of
  std::string nearest;
  for (std::size_t i = 0; i < features.size(); ++i) {
    std::vector<double> recipe(terms);
    recipe[i + 1] = 1;
    std::vector<double> rest = remainder(directions, features[i].values, recipe);
    double reach = 0;
    for (std::size_t term = 0; term < terms; ++term) reach += std::abs(recipe[term]) * lengths[term];
    if (length(rest) <= in_rows * reach) {
      found.push_back(fmt::format("`{}` is {} in every row", features[i].name,
                                  combination(features, i, main_parts(recipe, i, 1e-9))));
      continue;
    }
    if (length(rest) <= least * reach) {
      least = length(rest) / reach;
      const std::vector<double> told = main_parts(recipe, i, 1e-6);
      nearest = fmt::format(
          "`{}` differs from {} by no more than {:.2g} in any row, and the square of that is lost in the rounding of "
          "{}",
          features[i].name, combination(features, i, told), largest_rest(features, told),
          dtype == DType::f64 ? "f64" : "f32");
    }
    keep(std::move(rest), std::move(recipe));
  }
  if (found.empty() && !nearest.empty()) found.push_back(nearest);
  return found;
}

}  // namespace nnc::driver
