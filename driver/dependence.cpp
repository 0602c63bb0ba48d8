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

/// The feature is what the recipe says, with the other sign.
std::string told(const std::vector<Feature>& features, std::size_t which, const std::vector<double>& recipe) {
  double greatest = 0;
  for (std::size_t i = 0; i < recipe.size(); ++i)
    if (i != which + 1) greatest = std::max(greatest, std::abs(recipe[i]));
  std::string sum;
  const auto add = [&](double factor, const std::string& what) {
    if (std::abs(factor) <= 1e-9 * greatest) return;
    const std::string number = fmt::format("{:.6g}", std::abs(factor));
    sum += sum.empty() ? (factor < 0 ? "-" : "") : (factor < 0 ? " - " : " + ");
    sum += what.empty() ? number : number == "1" ? what : number + " " + what;
  };
  for (std::size_t i = 0; i < features.size(); ++i)
    if (i != which) add(-recipe[i + 1], "`" + features[i].name + "`");
  add(-recipe[0], "");
  return fmt::format("`{}` is {} in every row", features[which].name, sum.empty() ? "0" : sum);
}

}  // namespace

std::vector<std::string> dependences(const std::vector<Feature>& features, double rounding) {
  std::vector<std::string> found;
  if (features.empty() || features.front().values.empty()) return found;
  const std::size_t rows = features.front().values.size(), terms = features.size() + 1;
  std::vector<Direction> directions;
  const auto keep = [&](std::vector<double> rest, std::vector<double> recipe) {
    const double length = std::sqrt(product(rest, rest));
    for (double& value : rest) value /= length;
    for (double& value : recipe) value /= length;
    directions.push_back({std::move(rest), std::move(recipe)});
  };
  std::vector<double> constant(terms);
  constant[0] = 1;
  keep(std::vector<double>(rows, 1.0), constant);
  for (std::size_t i = 0; i < features.size(); ++i) {
    std::vector<double> recipe(terms);
    recipe[i + 1] = 1;
    const double length = std::sqrt(product(features[i].values, features[i].values));
    std::vector<double> rest = remainder(directions, features[i].values, recipe);
    if (std::sqrt(product(rest, rest)) <= rounding * length)
      found.push_back(told(features, i, recipe));
    else
      keep(std::move(rest), std::move(recipe));
  }
  return found;
}

}  // namespace nnc::driver
