#include "runtime/stored_array.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace nnc {

namespace {

template <class T>
double load(const char* from, bool big_endian) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), from, sizeof(T));
  if (big_endian) std::ranges::reverse(bytes);
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return static_cast<double>(value);
}

}  // namespace

KeptBytes KeptBytes::of(MappedFile mapped) {
  auto file = std::make_shared<const MappedFile>(std::move(mapped));
  return {{file->text().data(), file->text().size()}, file, {}};
}

KeptBytes KeptBytes::of(std::vector<char> content) {
  auto memory = std::make_shared<const std::vector<char>>(std::move(content));
  return {*memory, {}, memory};
}

std::size_t size_of(StoredArray::Element element) {
  switch (element) {
    case StoredArray::Element::boolean:
    case StoredArray::Element::u8:
    case StoredArray::Element::i8:
      return 1;
    case StoredArray::Element::i16:
      return 2;
    case StoredArray::Element::i32:
    case StoredArray::Element::f32:
      return 4;
    case StoredArray::Element::i64:
    case StoredArray::Element::f64:
      return 8;
  }
  return 0;
}

std::size_t StoredArray::row_bytes() const { return static_cast<std::size_t>(row_elements()) * size_of(element); }

double StoredArray::number(const char* row, std::int64_t index) const {
  const char* from = row + static_cast<std::size_t>(index) * size_of(element);
  switch (element) {
    case Element::boolean:
      return *from != 0 ? 1 : 0;
    case Element::u8:
      return static_cast<unsigned char>(*from);
    case Element::i8:
      return load<signed char>(from, false);
    case Element::i16:
      return load<std::int16_t>(from, big_endian);
    case Element::i32:
      return load<std::int32_t>(from, big_endian);
    case Element::i64:
      return load<std::int64_t>(from, big_endian);
    case Element::f32:
      return load<float>(from, big_endian);
    case Element::f64:
      return load<double>(from, big_endian);
  }
  return 0;
}

StoredArray StoredArray::columns(std::int64_t first, std::int64_t count) const {
  StoredArray some = *this;
  some.dims = {rows(), count};
  const std::size_t skipped = static_cast<std::size_t>(first) * size_of(element);
  if (rows() > 0) some.content = content.part(skipped, content.bytes.size() - skipped);
  return some;
}

}  // namespace nnc
