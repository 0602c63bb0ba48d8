// The IDX format of the MNIST files: a big-endian header (element type, extents), then the elements; plain or packed by
// gzip. The header's promise is compared with what the file holds: a file that is larger or smaller is refused.
#pragma once

#include <string>
#include <vector>

#include "runtime/dense_array.h"
#include "runtime/result.h"

namespace nnc {

struct IdxArray {
  /// The element types of the format; all but bytes are converted to the machine's byte order when read.
  enum class Element : std::uint8_t { u8 = 8, i8 = 9, i16 = 11, i32 = 12, f32 = 13, f64 = 14 };
  Element element = Element::u8;
  std::vector<std::int64_t> dims;
  std::vector<unsigned char> bytes;

  std::int64_t rows() const { return dims[0]; }
  std::int64_t row_elements() const;
  double at(std::int64_t index) const;
};

Result<IdxArray> read_idx(const std::string& path);

}  // namespace nnc
