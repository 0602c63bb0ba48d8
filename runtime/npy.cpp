#include "runtime/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "runtime/file.h"
#include "runtime/zip.h"

namespace nnc {

namespace {

Problem wrong(const std::string& called, std::string message, std::string expected = "", std::string found = "",
              std::string help = "") {
  Problem problem{.kind = Problem::Kind::data,
                  .message = std::move(message),
                  .place = {called, 0, 0},
                  .expected = std::move(expected),
                  .found = std::move(found),
                  .notes = {}};
  if (!help.empty()) problem.notes.push_back("help: " + help);
  return problem;
}

constexpr std::string_view magic = "\x93NUMPY";
/// NumPy writes less than 200 bytes for plain arrays.
constexpr std::size_t longest_header = 1 << 16;

struct ElementName {
  std::string_view descr;
  StoredArray::Element element;
};
constexpr ElementName elements[] = {{"|b1", StoredArray::Element::boolean}, {"|u1", StoredArray::Element::u8},
                                    {"|i1", StoredArray::Element::i8},      {"<i2", StoredArray::Element::i16},
                                    {"<i4", StoredArray::Element::i32},     {"<i8", StoredArray::Element::i64},
                                    {"<f4", StoredArray::Element::f32},     {"<f8", StoredArray::Element::f64}};

/// The header's dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
struct Header {
  std::string descr;
  bool structured = false;  ///< `descr` is a list of fields
  std::optional<bool> fortran;
  std::optional<std::vector<std::int64_t>> shape;
};

class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : rest_(text) {}

  std::optional<Header> read() {
    Header header;
    if (!take("{")) return std::nullopt;
    while (!take("}")) {
      const auto key = quoted();
      if (!key || !take(":")) return std::nullopt;
      if (*key == "descr") {
        header.structured = peek('[');
        if (header.structured) return header;
        const auto descr = quoted();
        if (!descr) return std::nullopt;
        header.descr = *descr;
      } else if (*key == "fortran_order") {
        const bool yes = take("True");
        if (!yes && !take("False")) return std::nullopt;
        header.fortran = yes;
      } else if (*key == "shape") {
        header.shape = tuple();
        if (!header.shape) return std::nullopt;
      } else {
        return std::nullopt;
      }
      if (!take(",") && !peek('}')) return std::nullopt;
    }
    if (header.descr.empty() || !header.fortran || !header.shape) return std::nullopt;
    return header;
  }

 private:
  void skip() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size())); }
  bool peek(char c) {
    skip();
    return rest_.starts_with(c);
  }
  bool take(std::string_view word) {
    skip();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string> quoted() {
    skip();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return std::nullopt;
    const std::size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::optional<std::vector<std::int64_t>> tuple() {
    std::vector<std::int64_t> extents;
    if (!take("(")) return std::nullopt;
    while (!take(")")) {
      skip();
      std::int64_t extent = 0;
      std::size_t digits = 0;
      for (; digits < rest_.size() && rest_[digits] >= '0' && rest_[digits] <= '9'; ++digits)
        if (__builtin_mul_overflow(extent, 10, &extent) || __builtin_add_overflow(extent, rest_[digits] - '0', &extent))
          return std::nullopt;
      if (digits == 0) return std::nullopt;
      rest_.remove_prefix(digits);
      take("L");  // Python 2 wrote long numbers so
      extents.push_back(extent);
      if (!take(",") && !peek(')')) return std::nullopt;
    }
    return extents;
  }

  std::string_view rest_;
};

std::optional<Problem> refuse_type(const std::string& called, const Header& header) {
  const std::string& descr = header.descr;
  const std::string expected = "bool, uint8, int8, int16, int32, int64, float32 or float64, little endian";
  if (header.structured)
    return wrong(called, "the elements are records of several fields", expected, {}, "save each field by itself");
  if (descr.starts_with("|O") || descr == "O")
    return wrong(called, "the elements are Python objects, which only Python can read", expected, descr,
                 "save it with a type: `numpy.save(file, array.astype(numpy.float32))`");
  if (descr.starts_with('>'))
    return wrong(called, "the elements are big endian", expected, descr,
                 "save it as `array.astype(array.dtype.newbyteorder('<'))`");
  return wrong(called, "the elements are of a type that is not read", expected, descr,
               "convert it before it is saved: `array.astype(numpy.float32)`");
}

std::uint32_t little_endian(std::span<const char> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

Result<StoredArray> parse_npy(const KeptBytes& content, const std::string& called) {
  const std::span<const char> text = content.bytes;
  const std::string_view all(text.data(), text.size());
  if (!all.starts_with(magic))
    return wrong(called, "this is not an NPY file", "the bytes 93 NUMPY, a version and a header", {});
  const unsigned version = text.size() > 7 ? static_cast<unsigned char>(text[6]) : 0;
  if (version < 1 || version > 3)
    return wrong(called, "this version of NPY is not read", "1, 2 or 3", fmt::format("{}", version));
  const std::size_t length_bytes = version == 1 ? 2 : 4, begin = 8 + length_bytes;
  if (text.size() < begin) return wrong(called, "the file ends inside its header");
  const std::size_t length = little_endian(text.subspan(8, length_bytes));
  if (length > longest_header)
    return wrong(called, "the header is longer than any of plain numbers",
                 fmt::format("at most {} bytes", longest_header), fmt::format("{} bytes", length));
  if (text.size() - begin < length) return wrong(called, "the file ends inside its header");
  const auto header = HeaderReader(all.substr(begin, length)).read();
  if (!header)
    return wrong(called, "the header is damaged",
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } or the like");
  const auto* known = std::ranges::find(elements, std::string_view(header->descr), &ElementName::descr);
  if (header->structured || known == std::end(elements)) return *refuse_type(called, *header);

  StoredArray array{.element = known->element, .dims = *header->shape};
  if (array.dims.empty())
    return wrong(called, "this is one number, not rows", "a shape with rows as its first axis", "()");
  const auto long_axes = std::ranges::count_if(array.dims, [](std::int64_t extent) { return extent > 1; });
  if (*header->fortran && long_axes > 1)
    return wrong(called, "the array lies in Fortran order, column after column", "C order, row after row", {},
                 "save `numpy.ascontiguousarray(array)`");
  const std::int64_t count = checked_product(array.dims);
  std::int64_t total = 0;
  if (count < 0 || __builtin_mul_overflow(count, static_cast<std::int64_t>(size_of(array.element)), &total))
    return wrong(called, fmt::format("the extents [{}] are larger than any memory", fmt::join(array.dims, ", ")));
  const std::span<const char> body = text.subspan(begin + length);
  if (static_cast<std::int64_t>(body.size()) != total)
    return wrong(called,
                 fmt::format("the file is {} than its header says",
                             static_cast<std::int64_t>(body.size()) < total ? "smaller" : "larger"),
                 fmt::format("{} bytes behind the header, for [{}]", total, fmt::join(array.dims, ", ")),
                 fmt::format("{} bytes", body.size()));
  array.content = content.part(begin + length, body.size());
  array.row_stride = static_cast<std::size_t>(array.row_elements()) * size_of(array.element);
  return array;
}

Result<StoredArray> read_npy(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file) return file.problem();
  return parse_npy(KeptBytes::of(std::move(*file)), path);
}

Result<std::vector<std::pair<std::string, Result<StoredArray>>>> read_npz(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file) return file.problem();
  const KeptBytes archive = KeptBytes::of(std::move(*file));
  auto entries = read_zip(archive.bytes, path);
  if (!entries) return entries.problem();
  std::vector<std::pair<std::string, Result<StoredArray>>> arrays;
  constexpr std::string_view ending = ".npy";
  for (const ZipEntry& entry : *entries) {
    if (!entry.name.ends_with(ending))
      return wrong(path, fmt::format("`{}` in the archive is no array", entry.name), "files that end in .npy");
    auto content = unpack(archive, entry, path);
    if (!content) return content.problem();
    arrays.emplace_back(entry.name.substr(0, entry.name.size() - ending.size()),
                        parse_npy(*content, fmt::format("{}: {}", path, entry.name)));
  }
  return arrays;
}

std::string npy_text(const DenseArray& array) {
  const auto descr = [&] {
    switch (array.dtype) {
      case DType::f32:
        return "<f4";
      case DType::f64:
        return "<f8";
      case DType::i32:
        return "<i4";
      case DType::boolean:
        return "|b1";
    }
    return "";
  };
  constexpr std::size_t alignment = 64;  // of the first element, as NumPy has it
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr(),
                                   fmt::join(array.dims, ", "), array.dims.size() == 1 ? "," : "");
  std::string text = "\x93NUMPY";
  text += {'\x01', '\x00'};
  header.resize((text.size() + 2 + header.size() + 1 + alignment - 1) / alignment * alignment - text.size() - 3, ' ');
  header += '\n';
  text += {static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  text += header;
  const auto bytes = static_cast<std::size_t>(array.count()) * size_of(array.dtype);
  return text.append(reinterpret_cast<const char*>(array.bytes.data()), bytes);
}

}  // namespace nnc
