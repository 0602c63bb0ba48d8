// Quotients of differences, for gradcheck: of an op (gradcheck_op.cpp) and of a step (gradcheck.cpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/evaluate.h"
#include "ir/graph.h"

namespace nnc::differences {

inline constexpr double first_step = 1e-3;
/// A shorter step where the first one may straddle a kink.
inline constexpr double short_step = first_step / 32;

using Generator = std::mt19937_64;

/// Uniform in 0 .. count - 1; the library's distributions differ between implementations.
inline int draw(Generator& random, int count) { return static_cast<int>(random() % static_cast<std::uint64_t>(count)); }

/// f' at 0 for f given near 0.
template <class F>
double derivative(F&& f, double step) {
  const auto central = [&](double h) { return (f(h) - f(-h)) / (2 * h); };
  return (4 * central(step / 2) - central(step)) / 3;
}

inline double relative_error(double derived, double measured, double scale, double noise = 0) {
  if (!std::isfinite(derived) || !std::isfinite(measured)) return INFINITY;  // even if both are: nothing is compared
  if (std::abs(derived - measured) <= noise) return 0;
  return std::abs(derived - measured) / std::max({std::abs(measured), std::abs(derived), 1e-3 * scale, 1e-6});
}

/// Greatest size of an element that is a number.
inline double scale_of(const Tensor& x) {
  double scale = 0;
  for (std::int64_t k = 0; k < x.count(); ++k)
    if (std::isfinite(x.at(k))) scale = std::max(scale, std::abs(x.at(k)));
  return scale;
}

inline Tensor zeros_of(const Type& type, std::int64_t rows) {
  std::vector<std::int64_t> dims;
  for (const Extent& extent : type.shape) dims.push_back(extent.count * (extent.batched ? rows : 1));
  return Tensor::zeros(type.dtype, std::move(dims));
}

}  // namespace nnc::differences
