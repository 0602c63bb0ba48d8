// An array as a file holds it: elements of the file's type in the machine's byte order, row-major, rows first. Images
// stay bytes in memory and become numbers a block at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/dense_array.h"

namespace nnc {

struct StoredArray {
  enum class Element : std::uint8_t { boolean, u8, i8, i16, i32, i64, f32, f64 };
  Element element = Element::u8;
  std::vector<std::int64_t> dims;
  std::vector<unsigned char> bytes;

  std::int64_t rows() const { return dims[0]; }
  std::int64_t row_elements() const { return checked_product(std::span(dims).subspan(1)); }
  /// Exact but for 64-bit integers beyond 2^53.
  double at(std::int64_t index) const;
};

std::size_t size_of(StoredArray::Element element);

}  // namespace nnc
