// Extents are multiplied with care: a product beyond int64 stays at the greatest int64, so that a hostile shape is seen
// as too large and never wraps to something small.
#include "ir/type.h"

#include <fmt/format.h>

#include <limits>

namespace nnc {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
      return 8;
    case DType::boolean:
      return 1;
  }
  return 0;
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
    case DType::boolean:
      return "bool";
  }
  return "";
}

Extent element_count(const Shape& shape) {
  Extent total;
  bool overflow = false, empty = false;
  for (const Extent& extent : shape) {
    empty |= extent.count == 0;
    overflow |= __builtin_mul_overflow(total.count, extent.count, &total.count);
    total.batched |= extent.batched;
  }
  if (overflow) total.count = std::numeric_limits<std::int64_t>::max();
  if (empty) total.count = 0;
  return total;
}

bool is_batched(const Shape& shape) { return element_count(shape).batched; }

std::string to_string(Extent extent) {
  if (!extent.batched) return fmt::format("{}", extent.count);
  return extent.count == 1 ? "batch" : fmt::format("{}*batch", extent.count);
}

std::string to_string(const Type& type) {
  std::string text{name_of(type.dtype)};
  if (type.shape.empty()) return text;
  std::string_view separator = "[";
  for (const Extent& extent : type.shape) {
    text += separator;
    text += to_string(extent);
    separator = ", ";
  }
  return text + ']';
}

}  // namespace nnc
