// Which columns of the rows are combinations of others: what makes the matrix of a linear model's second derivatives
// singular, told in the names of the columns.
#pragma once

#include <string>
#include <vector>

namespace nnc::driver {

/// The values of a column over all rows, by the name that a message gives it.
struct Feature {
  std::string name;
  std::vector<double> values;
};

/// "`area_ft2` is 10.7639 `area_m2`" for each feature that the ones before it and a constant explain but for rounding:
/// what is left of it is less than `rounding` of its length.
std::vector<std::string> dependences(const std::vector<Feature>& features, double rounding);

}  // namespace nnc::driver
