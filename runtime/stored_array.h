// An array as a file holds it: elements of the file's type, rows first, where they lie: in a mapped file, or in memory
// where they had to be unpacked. Images stay bytes and become numbers a block at a time, so that an array may be larger
// than memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/dense_array.h"
#include "runtime/mapped_file.h"

namespace nnc {

/// Bytes and what keeps them.
struct KeptBytes {
  std::span<const char> bytes;
  std::shared_ptr<const MappedFile> file{};           ///< where they lie in a file that is mapped
  std::shared_ptr<const std::vector<char>> memory{};  ///< or in memory

  static KeptBytes of(MappedFile mapped);
  static KeptBytes of(std::vector<char> content);
  /// A part of them.
  KeptBytes part(std::size_t from, std::size_t count) const { return {bytes.subspan(from, count), file, memory}; }
};

struct StoredArray {
  enum class Element : std::uint8_t { boolean, u8, i8, i16, i32, i64, f32, f64 };
  Element element = Element::u8;
  std::vector<std::int64_t> dims;
  KeptBytes content{};
  bool big_endian = false;
  std::size_t row_stride = 0;  ///< bytes from one row to the next

  std::int64_t rows() const { return dims[0]; }
  std::int64_t row_elements() const { return checked_product(std::span(dims).subspan(1)); }
  const char* row(std::int64_t index) const {
    return content.bytes.data() + static_cast<std::size_t>(index) * row_stride;
  }
  std::size_t row_bytes() const;
  /// An element of a row that lies at `row`; of a row by its number; one of all in their order. Exact but for 64-bit
  /// integers beyond 2^53.
  double number(const char* row, std::int64_t index) const;
  double at(std::int64_t row, std::int64_t index) const { return number(this->row(row), index); }
  double at(std::int64_t index) const { return at(index / row_elements(), index % row_elements()); }
  /// Some of the elements of every row.
  StoredArray columns(std::int64_t first, std::int64_t count) const;
};

std::size_t size_of(StoredArray::Element element);

}  // namespace nnc
