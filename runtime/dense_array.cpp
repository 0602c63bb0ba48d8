#include "runtime/dense_array.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace nnc {

namespace {

constexpr std::size_t alignment = 64;

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace

void Bytes::Free::operator()(std::byte* memory) const { std::free(memory); }

Bytes::Bytes(std::size_t size) : size_(size) {
  std::size_t whole = (size + alignment) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, whole);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, whole);
  memory_.reset(static_cast<std::byte*>(memory));
}

Bytes::Bytes(const Bytes& other) : Bytes(other.size_) { std::memcpy(data(), other.data(), size_); }

Bytes& Bytes::operator=(const Bytes& other) {
  if (this == &other) return *this;
  if (size_ != other.size_) *this = Bytes(other.size_);
  std::memcpy(data(), other.data(), size_);
  return *this;
}

std::int64_t checked_product(std::span<const std::int64_t> extents) {
  std::int64_t product = 1;
  for (std::int64_t extent : extents) {
    if (extent < 0 || __builtin_mul_overflow(product, extent, &product)) return -1;
  }
  return product;
}

DenseArray::DenseArray(DType element, std::vector<std::int64_t> extents) : dtype(element), dims(std::move(extents)) {
  std::int64_t elements = checked_product(dims);
  std::int64_t size = 0;
  if (elements < 0 || __builtin_mul_overflow(elements, static_cast<std::int64_t>(size_of(dtype)), &size))
    throw std::bad_alloc();
  bytes = Bytes(static_cast<std::size_t>(size));
}

std::int64_t DenseArray::count() const { return checked_product(dims); }

std::size_t DenseArray::row_bytes() const {
  std::int64_t elements = dims.empty() ? 1 : checked_product(std::span(dims).subspan(1));
  return static_cast<std::size_t>(elements) * size_of(dtype);
}

double DenseArray::at(std::int64_t index) const {
  const std::byte* from = bytes.data() + static_cast<std::size_t>(index) * size_of(dtype);
  switch (dtype) {
    case DType::f32:
      return static_cast<double>(load<float>(from));
    case DType::f64:
      return load<double>(from);
    case DType::i32:
      return load<std::int32_t>(from);
    case DType::boolean:
      return load<std::uint8_t>(from);
  }
  return 0;
}

void DenseArray::set(std::int64_t index, double value) {
  std::byte* to = bytes.data() + static_cast<std::size_t>(index) * size_of(dtype);
  switch (dtype) {
    case DType::f32:
      store(to, static_cast<float>(value));
      break;
    case DType::f64:
      store(to, value);
      break;
    case DType::i32:
      store(to, static_cast<std::int32_t>(value));
      break;
    case DType::boolean:
      store(to, static_cast<std::uint8_t>(value != 0));
      break;
  }
}

}  // namespace nnc
