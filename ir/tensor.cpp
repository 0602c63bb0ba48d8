// Elements of a tensor by their row-major index, and its elements' bits.
#include <cmath>
#include <cstring>

#include "ir/index_space.h"

namespace nnc {

using index_space::elements;

Tensor Tensor::zeros(DType dtype, std::vector<std::int64_t> dims) {
  Tensor tensor{.dtype = dtype, .dims = std::move(dims), .data = {}};
  tensor.data.resize(static_cast<std::size_t>(tensor.count()) * size_of(dtype));
  return tensor;
}

std::int64_t Tensor::count() const { return index_space::product(dims); }

double Tensor::at(std::int64_t index) const {
  switch (dtype) {
    case DType::f32:
      return elements<float>(*this)[index];
    case DType::f64:
      return elements<double>(*this)[index];
    case DType::i32:
      return elements<std::int32_t>(*this)[index];
    case DType::boolean:
      return static_cast<double>(data[index]);
  }
  return 0;
}

void Tensor::set(std::int64_t index, double value) {
  switch (dtype) {
    case DType::f32:
      elements<float>(*this)[index] = static_cast<float>(value);
      return;
    case DType::f64:
      elements<double>(*this)[index] = value;
      return;
    case DType::i32:
      elements<std::int32_t>(*this)[index] = static_cast<std::int32_t>(value);
      return;
    case DType::boolean:
      data[index] = std::byte{value != 0};
      return;
  }
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype || a.dims != b.dims) return false;
  if (a.data == b.data) return true;
  const std::size_t bytes = size_of(a.dtype);
  for (std::int64_t i = 0; i < a.count(); ++i) {
    const bool equal = std::memcmp(a.data.data() + i * bytes, b.data.data() + i * bytes, bytes) == 0;
    if (!equal && !(std::isnan(a.at(i)) && std::isnan(b.at(i)))) return false;
  }
  return true;
}

}  // namespace nnc
