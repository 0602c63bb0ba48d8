// Which columns of the rows are combinations of others: what makes the matrix of a linear model's second derivatives
// singular, told in the names of the columns.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace nnc::driver {

/// The values of a column over all rows, by the name that a message gives it.
struct Feature {
  std::string name;
  std::vector<double> values;
};

/// "`area_ft2` is 10.7639 `area_m2` in every row" for each feature that the ones before it and a constant explain, but
/// for the rounding of the element type. Without such a one, "`b` differs from `a` by no more than 1e-9 ..." for the
/// feature of which least is left, where the square of that, which is what the matrix has of it, is rounding.
std::vector<std::string> dependences(const std::vector<Feature>& features, DType dtype);

}  // namespace nnc::driver
