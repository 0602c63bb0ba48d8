// Element types and static shapes. Every extent is a number except one: the batch, which is known only when a
// program is specialised. An extent is therefore `count` or `count * batch`, never a general expression.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nnc {

enum class DType : std::uint8_t { f32, f64, i32, boolean };

/// Size of one element in bytes (a boolean takes one).
std::size_t size_of(DType dtype);
/// "f32", "f64", "i32", "bool": the spelling of the language and of printed graphs.
std::string_view name_of(DType dtype);
inline bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// The length of one axis: `count`, or `count * batch` where `batched`.
struct Extent {
  std::int64_t count = 1;
  bool batched = false;

  bool operator==(const Extent&) const = default;
};

inline constexpr Extent batch_extent{1, true};

using Shape = std::vector<Extent>;

struct Type {
  DType dtype = DType::f32;
  Shape shape;

  bool operator==(const Type&) const = default;
  int rank() const { return static_cast<int>(shape.size()); }
};

/// Number of elements; `count` is the product of the static parts. At most one axis of a type is batched.
Extent element_count(const Shape& shape);
bool is_batched(const Shape& shape);

/// "batch", "784", "4*batch".
std::string to_string(Extent extent);
/// "f32[batch, 784]"; a rank-0 type is just "f32".
std::string to_string(const Type& type);

}  // namespace nnc
