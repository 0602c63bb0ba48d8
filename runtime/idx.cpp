#include "runtime/idx.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>

#include "runtime/unpacked.h"

namespace nnc {

namespace {

Problem wrong(const std::string& path, std::string message, std::string expected = "", std::string found = "") {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = {path, 0, 0},
          .expected = std::move(expected),
          .found = std::move(found),
          .notes = {}};
}

/// The element types of the format by their codes.
std::optional<StoredArray::Element> element_of(unsigned char code) {
  switch (code) {
    case 0x08:
      return StoredArray::Element::u8;
    case 0x09:
      return StoredArray::Element::i8;
    case 0x0b:
      return StoredArray::Element::i16;
    case 0x0c:
      return StoredArray::Element::i32;
    case 0x0d:
      return StoredArray::Element::f32;
    case 0x0e:
      return StoredArray::Element::f64;
  }
  return std::nullopt;
}

std::string hexadecimal(std::span<const char> bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format(" {:02x}", static_cast<unsigned char>(byte));
  return text;
}

/// The header, then as many bytes as it tells of.
Result<StoredArray> parse_idx(const KeptBytes& content, const std::string& path) {
  const std::span<const char> all = content.bytes;
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(all[at]); };
  if (all.size() < 4 || byte(0) != 0 || byte(1) != 0 || !element_of(byte(2)) || byte(3) == 0)
    return wrong(path, "this is not an IDX file", "two zero bytes, an element type (08 to 0e) and the number of axes",
                 fmt::format("{} bytes:{}", std::min<std::size_t>(all.size(), 4),
                             hexadecimal(all.first(std::min<std::size_t>(all.size(), 4)))));
  StoredArray array{.element = *element_of(byte(2)), .dims = {}};
  const std::size_t axes = byte(3), begin = 4 + 4 * axes;
  if (all.size() < begin)
    return wrong(path, "the file ends inside its header", fmt::format("{} extents", axes),
                 fmt::format("{} bytes", all.size() - 4));
  for (std::size_t at = 4; at < begin; at += 4)
    array.dims.push_back(std::int64_t{byte(at)} << 24 | std::int64_t{byte(at + 1)} << 16 |
                         std::int64_t{byte(at + 2)} << 8 | byte(at + 3));
  const std::size_t size = size_of(array.element);
  const std::int64_t count = checked_product(array.dims);
  std::int64_t total = 0;
  if (count < 0 || __builtin_mul_overflow(count, static_cast<std::int64_t>(size), &total) ||
      total > (std::int64_t{1} << 46))
    return wrong(path, fmt::format("the extents [{}] are larger than any memory", fmt::join(array.dims, ", ")));
  const std::string expected = fmt::format("{} bytes behind the header, for [{}]", total, fmt::join(array.dims, ", "));
  const std::size_t found = all.size() - begin;
  if (static_cast<std::int64_t>(found) != total)
    return wrong(path,
                 fmt::format("the file is {} than its header says",
                             static_cast<std::int64_t>(found) < total ? "smaller" : "larger"),
                 expected, fmt::format("{} bytes", found));
  array.content = content.part(begin, found);
  array.big_endian = true;
  array.row_stride = static_cast<std::size_t>(array.row_elements()) * size;
  return array;
}

}  // namespace

Result<StoredArray> read_idx(const std::string& path, const Storage& storage) {
  auto file = MappedFile::open(path);
  if (!file) return file.problem();
  if (!file->text().starts_with(gzip_mark)) return parse_idx(KeptBytes::of(std::move(*file)), path);
  auto content = unpacked(path, storage.stream_over, storage.folder);
  if (!content) return content.problem();
  return parse_idx(*content, path);
}

}  // namespace nnc
