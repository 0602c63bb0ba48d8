#include "runtime/idx.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "runtime/file.h"

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

/// zlib reads a plain file as it is and unpacks a packed one.
struct GzFile {
  gzFile handle;
  ~GzFile() {
    if (handle != nullptr) gzclose(handle);
  }
};

/// Appends up to `count` bytes, in pieces, so that a header that lies about its size allocates nothing it does not
/// hold. False where the packed stream is damaged.
bool read_bytes(gzFile file, std::int64_t count, std::vector<unsigned char>& to) {
  constexpr std::int64_t piece = 1 << 22;
  while (count > 0) {
    std::size_t before = to.size();
    std::int64_t ask = std::min(count, piece);
    to.resize(before + static_cast<std::size_t>(ask));
    int got = gzread(file, to.data() + before, static_cast<unsigned>(ask));
    to.resize(before + static_cast<std::size_t>(std::max(got, 0)));
    if (got < 0) return false;
    if (got < ask) {
      int error = Z_OK;
      gzerror(file, &error);
      return error == Z_OK || error == Z_STREAM_END;  // a stream that ends early is Z_BUF_ERROR
    }
    count -= got;
  }
  return true;
}

void to_machine_order(std::vector<unsigned char>& bytes, std::size_t size) {
  if (size == 1 || std::endian::native == std::endian::big) return;
  for (std::size_t at = 0; at + size <= bytes.size(); at += size)
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
}

}  // namespace

Result<StoredArray> read_idx(const std::string& path) {
  if (auto problem = unreadable(path)) return *problem;
  GzFile file{gzopen(path.c_str(), "rb")};
  if (file.handle == nullptr) {
    Problem problem = wrong("", fmt::format("cannot read `{}`: {}", path, std::strerror(errno)));
    problem.kind = Problem::Kind::io;
    return problem;
  }
  gzbuffer(file.handle, 1 << 18);
  const Problem damaged = wrong(path, "the packed file is damaged or cut off");

  std::vector<unsigned char> header;
  if (!read_bytes(file.handle, 4, header)) return damaged;
  if (header.size() < 4 || header[0] != 0 || header[1] != 0 || !element_of(header[2]) || header[3] == 0)
    return wrong(path, "this is not an IDX file", "two zero bytes, an element type (08 to 0e) and the number of axes",
                 fmt::format("{} bytes:{}", header.size(), [&] {
                   std::string bytes;
                   for (unsigned char byte : header) bytes += fmt::format(" {:02x}", byte);
                   return bytes;
                 }()));
  StoredArray array;
  array.element = *element_of(header[2]);
  std::vector<unsigned char> extents;
  if (!read_bytes(file.handle, 4 * std::int64_t{header[3]}, extents)) return damaged;
  if (extents.size() < 4u * header[3])
    return wrong(path, "the file ends inside its header", fmt::format("{} extents", header[3]),
                 fmt::format("{} bytes", extents.size()));
  for (std::size_t axis = 0; axis < header[3]; ++axis) {
    const unsigned char* b = &extents[4 * axis];
    array.dims.push_back(std::int64_t{b[0]} << 24 | std::int64_t{b[1]} << 16 | std::int64_t{b[2]} << 8 | b[3]);
  }
  std::size_t size = size_of(array.element);
  std::int64_t count = checked_product(array.dims), total = 0;
  if (count < 0 || __builtin_mul_overflow(count, static_cast<std::int64_t>(size), &total) ||
      total > (std::int64_t{1} << 46))
    return wrong(path, fmt::format("the extents [{}] are larger than any memory", fmt::join(array.dims, ", ")));
  if (!read_bytes(file.handle, total, array.bytes)) return damaged;
  std::string expected = fmt::format("{} bytes behind the header, for [{}]", total, fmt::join(array.dims, ", "));
  if (static_cast<std::int64_t>(array.bytes.size()) < total)
    return wrong(path, "the file is smaller than its header says", expected,
                 fmt::format("{} bytes", array.bytes.size()));
  std::vector<unsigned char> rest;
  if (!read_bytes(file.handle, 1, rest)) return damaged;
  if (!rest.empty()) return wrong(path, "the file is larger than its header says", expected, "more bytes");
  to_machine_order(array.bytes, size);
  return array;
}

}  // namespace nnc
