#include "runtime/stored_array.h"

#include <cstring>

namespace nnc {

namespace {

template <class T>
double load(const unsigned char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return static_cast<double>(value);
}

}  // namespace

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

double StoredArray::at(std::int64_t index) const {
  const unsigned char* from = bytes.data() + static_cast<std::size_t>(index) * size_of(element);
  switch (element) {
    case Element::boolean:
      return *from != 0 ? 1 : 0;
    case Element::u8:
      return *from;
    case Element::i8:
      return load<signed char>(from);
    case Element::i16:
      return load<std::int16_t>(from);
    case Element::i32:
      return load<std::int32_t>(from);
    case Element::i64:
      return load<std::int64_t>(from);
    case Element::f32:
      return load<float>(from);
    case Element::f64:
      return load<double>(from);
  }
  return 0;
}

}  // namespace nnc
