// Row-major index spaces as tables of offsets: one for the elements of a result, one for the elements that are reduced,
// and the order in which these are added. Views, sums and contractions of the evaluator are the same few loops over
// them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "ir/evaluate.h"
#include "ir/order.h"

namespace nnc::index_space {

using Dims = std::vector<std::int64_t>;
using Offsets = std::vector<std::int64_t>;

inline std::int64_t product(std::span<const std::int64_t> dims) {
  std::int64_t count = 1;
  for (std::int64_t extent : dims) count *= extent;
  return count;
}

inline Dims row_major_strides(std::span<const std::int64_t> dims) {
  Dims strides(dims.size());
  std::int64_t stride = 1;
  for (std::size_t axis = dims.size(); axis-- > 0; stride *= dims[axis]) strides[axis] = stride;
  return strides;
}

/// Offset of every index of the space `dims`, in row-major order.
inline Offsets offsets_over(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides) {
  Offsets offsets{0};
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    Offsets longer;
    longer.reserve(offsets.size() * static_cast<std::size_t>(dims[axis]));
    for (std::int64_t base : offsets)
      for (std::int64_t i = 0; i < dims[axis]; ++i) longer.push_back(base + i * strides[axis]);
    offsets = std::move(longer);
  }
  return offsets;
}

inline std::vector<std::int64_t> pick(std::span<const std::int64_t> numbers, std::span<const int> axes) {
  std::vector<std::int64_t> picked;
  for (int axis : axes) picked.push_back(numbers[axis]);
  return picked;
}

inline std::vector<int> axes_outside(std::span<const int> axes, std::size_t rank) {
  std::vector<int> rest;
  for (int axis = 0; axis < static_cast<int>(rank); ++axis)
    if (std::ranges::find(axes, axis) == axes.end()) rest.push_back(axis);
  return rest;
}

/// The elements of a tensor as the C++ type that they have.
template <class T>
const T* elements(const Tensor& tensor) {
  return reinterpret_cast<const T*>(tensor.data.data());
}
template <class T>
T* elements(Tensor& tensor) {
  return reinterpret_cast<T*>(tensor.data.data());
}

template <class T>
T plus(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return std::bit_cast<T>(std::bit_cast<std::uint32_t>(a) + std::bit_cast<std::uint32_t>(b));
  else
    return a + b;
}

/// The reduced index space of a sum or a contraction: which accumulator each index goes to, and where chunks end.
struct Walk {
  std::int64_t count = 0, chunk = 0;
  int lanes = 1;
  std::vector<int> lane;

  Walk(std::span<const std::int64_t> extents, Order order, DType dtype)
      : count(product(extents)), chunk(order_chunk(extents)), lane(static_cast<std::size_t>(count), 0) {
    const int axis = order_lane_axis(extents);
    if (order != Order::lanes) return;
    lanes = order_lanes(dtype);
    if (axis < 0) return;
    const std::int64_t inside = product(extents.subspan(axis + 1)), extent = extents[axis];
    for (std::int64_t k = 0; k < count; ++k) lane[k] = static_cast<int>(k / inside % extent % lanes);
  }

  /// total + the chunks' totals, where step(accumulator, k) takes element k in.
  template <class T, class Step>
  double fold(double total, Step&& step) const {
    for (std::int64_t begin = 0; begin < count; begin += chunk) {
      T accumulators[16] = {};
      for (std::int64_t k = begin; k < std::min(count, begin + chunk); ++k)
        accumulators[lane[k]] = step(accumulators[lane[k]], k);
      for (int half = lanes / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; ++i) accumulators[i] = plus(accumulators[i], accumulators[i + half]);
      total += static_cast<double>(accumulators[0]);
    }
    return total;
  }
};

}  // namespace nnc::index_space
