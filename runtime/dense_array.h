// Owned memory: aligned bytes, and dense row-major arrays in them. Everything that a compiled program touches is
// allocated here, since programs allocate nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/type.h"

namespace nnc {

/// Zeroed bytes that begin on a cache line (64 bytes). Never null, even where empty, so that it can always be passed
/// on.
class Bytes {
 public:
  Bytes() : Bytes(0) {}
  explicit Bytes(std::size_t size);
  Bytes(const Bytes& other);
  Bytes& operator=(const Bytes& other);
  Bytes(Bytes&&) noexcept = default;
  Bytes& operator=(Bytes&&) noexcept = default;

  std::byte* data() { return memory_.get(); }
  const std::byte* data() const { return memory_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t size_ = 0;
};

/// A dense row-major array; booleans take one byte. The first axis of a column is its rows.
struct DenseArray {
  DType dtype = DType::f32;
  std::vector<std::int64_t> dims;
  Bytes bytes;

  DenseArray() = default;
  DenseArray(DType element, std::vector<std::int64_t> extents);

  std::int64_t count() const;
  std::int64_t rows() const { return dims.empty() ? 1 : dims[0]; }
  std::size_t row_bytes() const;  ///< bytes of one index of the first axis
  std::byte* row(std::int64_t index) { return bytes.data() + static_cast<std::size_t>(index) * row_bytes(); }
  const std::byte* row(std::int64_t index) const {
    return bytes.data() + static_cast<std::size_t>(index) * row_bytes();
  }
  double at(std::int64_t index) const;         ///< exact for every element type
  void set(std::int64_t index, double value);  ///< rounds to the element type; an i32 must be in range
};

/// Product of extents, or -1 where one is negative or the product does not fit in 63 bits.
std::int64_t checked_product(std::span<const std::int64_t> extents);

}  // namespace nnc
