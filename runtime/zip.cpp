// Source of the format: PKWARE, APPNOTE.TXT 6.3 (4.3.7 local header, 4.3.12 directory, 4.3.16 its end, 4.5.3 zip64).
#include "runtime/zip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <optional>
#include <string_view>

namespace nnc {

namespace {

Problem wrong(const std::string& path, std::string message, std::string found = "") {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = {path, 0, 0},
          .expected = {},
          .found = std::move(found),
          .notes = {}};
}

constexpr std::uint32_t local_mark = 0x04034b50, directory_mark = 0x02014b50, end_mark = 0x06054b50,
                        end64_mark = 0x06064b50, locator64_mark = 0x07064b50;
constexpr std::size_t local_size = 30, directory_size = 46, end_size = 22, end64_size = 56, locator64_size = 20;
constexpr std::uint64_t in_extension = 0xffffffff;  ///< a 32-bit field whose value stands in the extension

/// Little-endian fields of a piece of the archive.
class Record {
 public:
  explicit Record(std::span<const char> bytes) : bytes_(bytes) {}
  std::uint16_t u16(std::size_t at) const { return static_cast<std::uint16_t>(number(at, 2)); }
  std::uint32_t u32(std::size_t at) const { return static_cast<std::uint32_t>(number(at, 4)); }
  std::uint64_t u64(std::size_t at) const { return number(at, 8); }

 private:
  std::uint64_t number(std::size_t at, std::size_t size) const {
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes_[at + i]);
    return value;
  }
  std::span<const char> bytes_;
};

/// A piece of the archive, or nothing where it would end behind it.
std::optional<std::span<const char>> piece(std::span<const char> archive, std::uint64_t at, std::uint64_t size) {
  if (at > archive.size() || size > archive.size() - at) return std::nullopt;
  return archive.subspan(at, size);
}

std::optional<Record> record(std::span<const char> archive, std::uint64_t at, std::size_t size, std::uint32_t mark) {
  const auto bytes = piece(archive, at, size);
  if (!bytes || Record(*bytes).u32(0) != mark) return std::nullopt;
  return Record(*bytes);
}

struct Directory {
  std::uint64_t at = 0, entries = 0;
};

/// The end of the directory is the last thing in the archive but for a comment.
std::optional<Directory> find_directory(std::span<const char> archive) {
  if (archive.size() < end_size) return std::nullopt;
  constexpr std::size_t longest_comment = 0xffff;
  const std::size_t last = archive.size() - end_size, first = last - std::min(last, longest_comment);
  for (std::size_t at = last + 1; at-- > first;) {
    const auto end = record(archive, at, end_size, end_mark);
    if (!end || end->u16(20) != archive.size() - at - end_size) continue;
    Directory directory{end->u32(16), end->u16(10)};
    const auto locator =
        at >= locator64_size ? record(archive, at - locator64_size, locator64_size, locator64_mark) : std::nullopt;
    if (!locator) return directory;
    const auto end64 = record(archive, locator->u64(8), end64_size, end64_mark);
    if (!end64) return std::nullopt;
    return Directory{end64->u64(48), end64->u64(32)};
  }
  return std::nullopt;
}

/// Sizes and place of an entry that do not fit in 32 bits, in this order in the extension 1. False where they are not
/// there.
bool extend(std::span<const char> extra, ZipEntry& entry) {
  std::vector<std::uint64_t*> open;
  for (std::uint64_t* field : {&entry.size, &entry.packed, &entry.offset})
    if (*field == in_extension) open.push_back(field);
  if (open.empty()) return true;
  while (extra.size() >= 4) {
    const Record head(extra);
    const std::size_t size = head.u16(2);
    if (size > extra.size() - 4) return false;
    if (head.u16(0) == 1) {
      if (size < 8 * open.size()) return false;
      for (std::size_t i = 0; i < open.size(); ++i) *open[i] = head.u64(4 + 8 * i);
      return true;
    }
    extra = extra.subspan(4 + size);
  }
  return false;
}

/// What a deflated piece unpacks to, in steps, so that a size that lies allocates nothing that is not there.
std::optional<std::vector<char>> inflate_all(std::span<const char> packed, std::uint64_t size) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return std::nullopt;
  std::vector<char> content;
  constexpr std::size_t step = 1 << 20;
  int state = Z_OK;
  std::size_t read = 0;
  while (state == Z_OK && content.size() <= size) {
    if (stream.avail_in == 0) {
      const std::size_t more = std::min<std::size_t>(packed.size() - read, step);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + read));  // zlib only reads there
      stream.avail_in = static_cast<uInt>(more);
      read += more;
    }
    const std::size_t before = content.size();
    content.resize(before + step);
    stream.next_out = reinterpret_cast<Bytef*>(content.data() + before);
    stream.avail_out = step;
    state = inflate(&stream, Z_NO_FLUSH);
    content.resize(content.size() - stream.avail_out);
    if (state == Z_BUF_ERROR && stream.avail_in == 0 && read < packed.size()) state = Z_OK;
  }
  inflateEnd(&stream);
  if (state != Z_STREAM_END || content.size() != size) return std::nullopt;
  return content;
}

/// The checksum of bytes; pages of a file are let go of behind it.
std::uint32_t checksum(const KeptBytes& content) {
  constexpr std::size_t piece = std::size_t{1} << 22;
  const std::size_t before =
      content.file ? static_cast<std::size_t>(content.bytes.data() - content.file->text().data()) : 0;
  uLong sum = crc32_z(0, nullptr, 0);
  for (std::size_t at = 0; at < content.bytes.size(); at += piece) {
    const auto some = content.bytes.subspan(at, std::min(piece, content.bytes.size() - at));
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(some.data()), some.size());
    if (content.file) content.file->release(before + at, before + at + some.size());
  }
  return static_cast<std::uint32_t>(sum);
}

}  // namespace

Result<std::vector<ZipEntry>> read_zip(std::span<const char> archive, const std::string& path) {
  const auto directory = find_directory(archive);
  if (!directory) return wrong(path, "this is not a zip archive, or it is cut off");
  std::vector<ZipEntry> entries;
  std::uint64_t at = directory->at;
  for (std::uint64_t i = 0; i < directory->entries; ++i) {
    const auto head = record(archive, at, directory_size, directory_mark);
    const std::uint64_t name = head ? head->u16(28) : 0, extra = head ? head->u16(30) : 0;
    const auto rest = head ? piece(archive, at + directory_size, name + extra) : std::nullopt;
    if (!rest) return wrong(path, "the directory of the archive is damaged", fmt::format("{} entries", i));
    ZipEntry entry{.name = {rest->data(), name},
                   .method = head->u16(10),
                   .crc = head->u32(16),
                   .packed = head->u32(20),
                   .size = head->u32(24),
                   .offset = head->u32(42)};
    if (!extend(rest->subspan(name), entry))
      return wrong(path, fmt::format("the entry `{}` of the archive is damaged", entry.name));
    if ((head->u16(8) & 1) != 0) return wrong(path, fmt::format("`{}` in the archive is encrypted", entry.name));
    entries.push_back(std::move(entry));
    at += directory_size + name + extra + head->u16(32);
  }
  return entries;
}

Result<KeptBytes> unpack(const KeptBytes& kept, const ZipEntry& entry, const std::string& path) {
  const std::span<const char> archive = kept.bytes;
  const Problem damaged = wrong(path, fmt::format("`{}` in the archive is damaged", entry.name));
  const auto head = record(archive, entry.offset, local_size, local_mark);
  if (!head) return damaged;
  const auto packed = piece(archive, entry.offset + local_size + head->u16(26) + head->u16(28), entry.packed);
  if (!packed) return damaged;
  std::optional<KeptBytes> content;
  if (entry.method == 0 && entry.packed == entry.size)
    content = kept.part(static_cast<std::size_t>(packed->data() - archive.data()), packed->size());
  if (entry.method == 8)
    if (auto inflated = inflate_all(*packed, entry.size)) content = KeptBytes::of(std::move(*inflated));
  if (entry.method != 0 && entry.method != 8)
    return wrong(path, fmt::format("`{}` in the archive is packed by a method that is not read", entry.name),
                 fmt::format("method {}", entry.method));
  if (!content) return damaged;
  if (checksum(*content) != entry.crc) return damaged;
  return std::move(*content);
}

namespace {

/// Little-endian fields, one behind the other.
class Writer {
 public:
  Writer& u16(std::uint64_t value) { return number(value, 2); }
  Writer& u32(std::uint64_t value) { return number(value, 4); }
  Writer& u64(std::uint64_t value) { return number(value, 8); }
  Writer& raw(std::string_view bytes) { return text.append(bytes), *this; }

  std::string text;

 private:
  Writer& number(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
    return *this;
  }
};

}  // namespace

std::string zip_text(const std::vector<ZipMember>& members) {
  constexpr std::uint16_t version = 45, extension_mark = 1, first_of_1980 = 0x21;
  Writer archive, directory;
  for (const ZipMember& member : members) {
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(member.content.data()), member.content.size());
    const std::uint64_t offset = archive.text.size(), size = member.content.size();
    Writer common;  // flags, method, time, date, checksum, sizes, length of the name
    common.u16(0).u16(0).u16(0).u16(first_of_1980).u32(crc).u32(in_extension).u32(in_extension).u16(member.name.size());
    archive.u32(local_mark).u16(version).raw(common.text).u16(20).raw(member.name);
    archive.u16(extension_mark).u16(16).u64(size).u64(size).raw(member.content);
    directory.u32(directory_mark).u16(version).u16(version).raw(common.text).u16(28);
    directory.u16(0).u16(0).u16(0).u32(0).u32(in_extension).raw(member.name);
    directory.u16(extension_mark).u16(24).u64(size).u64(size).u64(offset);
  }
  const std::uint64_t begin = archive.text.size(), length = directory.text.size(), end = begin + length;
  archive.raw(directory.text);
  archive.u32(end64_mark).u64(end64_size - 12).u16(version).u16(version).u32(0).u32(0);
  archive.u64(members.size()).u64(members.size()).u64(length).u64(begin);
  archive.u32(locator64_mark).u32(0).u64(end).u32(1);
  archive.u32(end_mark).u16(0).u16(0).u16(0xffff).u16(0xffff).u32(in_extension).u32(in_extension).u16(0);
  return archive.text;
}

}  // namespace nnc
