#include "runtime/safetensors.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/file.h"

namespace nnc {

namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::size_t header_alignment = 64;           // the first tensor begins on a cache line
constexpr std::uint64_t longest_header = 100'000'000;  // as in the reference implementation
constexpr const char* checksum_key = "crc32";
constexpr std::string_view no_checksum = "00000000";  // stands in the header while the checksum is made
constexpr std::string_view own_format = "nnc.";       // what metadata "format" begins with in files of ours

struct ElementName {
  DType dtype;
  std::string_view name;
};
constexpr ElementName element_names[] = {
    {DType::f32, "F32"}, {DType::f64, "F64"}, {DType::i32, "I32"}, {DType::boolean, "BOOL"}};

std::string_view element_name(DType dtype) {
  for (const ElementName& element : element_names)
    if (element.dtype == dtype) return element.name;
  return "";
}

/// Of the header, which says what the elements mean, and of the elements.
std::string checksum(std::string_view header, std::string_view data) {
  uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
  crc = crc32_z(crc, reinterpret_cast<const Bytef*>(data.data()), data.size());
  return fmt::format("{:08x}", static_cast<std::uint32_t>(crc));
}

/// Parses JSON and notices a key that stands twice in one object, which the parser itself lets pass.
Json parse_unique(std::string_view text, std::string& duplicate) {
  std::vector<std::set<std::string>> keys;
  auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      duplicate = parsed.get<std::string>();
    return true;
  };
  return Json::parse(text, watch, false);
}

/// Nothing in the header nests deeper than an entry's lists; a header of brackets alone must not exhaust the stack.
bool nests_too_deep(std::string_view header) {
  int depth = 0, deepest = 0;
  for (char c : header) {
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if (c == '}' || c == ']') --depth;
  }
  return deepest > 1000;
}

class HeaderReader {
 public:
  HeaderReader(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  Result<TensorFile> read() {
    if (bytes_.size() < 8) return wrong("the file is too short for a safetensors header");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), 8);
    if (length > longest_header || length > bytes_.size() - 8) {
      if (bytes_.size() > 8 && bytes_[8] != '{') return no_weights();
      return wrong(fmt::format("the header is said to have {} bytes, the file has {}", length, bytes_.size()));
    }
    std::string_view header = bytes_.substr(8, length);
    data_ = bytes_.substr(8 + length);
    if (nests_too_deep(header)) return wrong("the header is not a safetensors header");
    std::string duplicate;
    Json json = parse_unique(header, duplicate);
    if (!json.is_object()) return wrong("the header is not a JSON object");
    if (!duplicate.empty()) return wrong(fmt::format("the name `{}` stands twice in the header", duplicate));
    for (const auto& [name, entry] : json.items()) {
      auto problem = name == "__metadata__" ? read_metadata(entry) : read_entry(name, entry);
      if (problem) return *problem;
    }
    if (auto problem = check_cover()) return *problem;
    if (auto problem = check_sum(std::string(header))) return *problem;
    load();
    return std::move(file_);
  }

 private:
  struct Range {
    std::uint64_t begin, end;
    std::string name;
    DType dtype;
    std::vector<std::int64_t> dims;
  };

  Problem wrong(std::string message) const {
    return {.kind = Problem::Kind::data,
            .message = std::move(message),
            .place = {path_, 0, 0},
            .expected = {},
            .found = {},
            .notes = {}};
  }

  Problem no_weights() const {
    Problem problem = wrong("this is no file of weights");
    problem.expected = "safetensors: the length of a header, and the header in braces";
    return problem;
  }

  std::optional<Problem> read_metadata(const Json& json) {
    if (!json.is_object()) return wrong("__metadata__ is not an object");
    for (const auto& [key, value] : json.items()) {
      if (!value.is_string()) return wrong(fmt::format("__metadata__ `{}` is not a string", key));
      file_.metadata[key] = value.get<std::string>();
    }
    return std::nullopt;
  }

  std::optional<Problem> read_entry(const std::string& name, const Json& json) {
    Range range{.begin = 0, .end = 0, .name = name, .dtype = DType::f32, .dims = {}};
    bool formed = json.is_object() && json.contains("dtype") && json["dtype"].is_string() && json.contains("shape") &&
                  json["shape"].is_array() && json.contains("data_offsets") && json["data_offsets"].is_array() &&
                  json["data_offsets"].size() == 2 && json["data_offsets"][0].is_number_unsigned() &&
                  json["data_offsets"][1].is_number_unsigned();
    if (!formed) return wrong(fmt::format("tensor `{}` lacks dtype, shape or data_offsets", name));
    std::string dtype = json["dtype"];
    auto known = std::find_if(std::begin(element_names), std::end(element_names),
                              [&](const ElementName& element) { return element.name == dtype; });
    if (known == std::end(element_names))
      return wrong(fmt::format("tensor `{}` has element type {}; F32, F64, I32 and BOOL can be read", name, dtype));
    range.dtype = known->dtype;
    for (const Json& extent : json["shape"]) {
      if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > INT64_MAX)
        return wrong(fmt::format("tensor `{}` has a shape that is none", name));
      range.dims.push_back(static_cast<std::int64_t>(extent.get<std::uint64_t>()));
    }
    range.begin = json["data_offsets"][0];
    range.end = json["data_offsets"][1];
    std::int64_t elements = checked_product(range.dims), size = 0;
    if (elements < 0 || __builtin_mul_overflow(elements, static_cast<std::int64_t>(size_of(range.dtype)), &size) ||
        range.begin > range.end || range.end > data_.size() ||
        range.end - range.begin != static_cast<std::uint64_t>(size))
      return wrong(fmt::format("tensor `{}` does not fit its place: shape [{}], bytes {} to {} of {}", name,
                               fmt::join(range.dims, ", "), range.begin, range.end, data_.size()));
    ranges_.push_back(std::move(range));
    return std::nullopt;
  }

  /// Every byte belongs to exactly one tensor.
  std::optional<Problem> check_cover() {
    std::stable_sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t covered = 0;
    for (const Range& range : ranges_) {
      if (range.begin != covered)
        return wrong(fmt::format("tensor `{}` begins at byte {}, where {} was expected: tensors overlap or leave a gap",
                                 range.name, range.begin, covered));
      covered = range.end;
    }
    if (covered != data_.size())
      return wrong(fmt::format("{} bytes at the end belong to no tensor", data_.size() - covered));
    return std::nullopt;
  }

  /// Files of other programs have no checksum; ours do.
  std::optional<Problem> check_sum(std::string header) {
    auto stored = file_.metadata.find(checksum_key);
    auto format = file_.metadata.find("format");
    if (stored == file_.metadata.end()) {
      if (format == file_.metadata.end() || !format->second.starts_with(own_format)) return std::nullopt;
      return wrong("the checksum is missing: the file is damaged");
    }
    const std::string entry = fmt::format("\"{}\":\"", checksum_key);
    const std::size_t at = header.find(entry + stored->second + '"');
    if (at != std::string::npos) header.replace(at + entry.size(), stored->second.size(), no_checksum);
    if (stored->second != checksum(header, data_)) return wrong("the checksum does not fit: the file is damaged");
    file_.metadata.erase(stored);
    return std::nullopt;
  }

  void load() {
    for (Range& range : ranges_) {
      DenseArray array(range.dtype, range.dims);
      std::memcpy(array.bytes.data(), data_.data() + range.begin, range.end - range.begin);
      file_.tensors.push_back({range.name, std::move(array)});
    }
  }

  std::string_view bytes_, data_;
  const std::string& path_;
  std::vector<Range> ranges_;
  TensorFile file_;
};

}  // namespace

const DenseArray* TensorFile::find(std::string_view name) const {
  for (const NamedArray& tensor : tensors)
    if (tensor.name == name) return &tensor.array;
  return nullptr;
}

std::optional<Problem> write_safetensors(const std::string& path, const TensorFile& file, const FileCalls& calls) {
  std::string data;
  Json header = Json::object();
  for (const NamedArray& tensor : file.tensors) {
    std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.array.bytes.data()), tensor.array.bytes.size());
    header[tensor.name] = {{"dtype", element_name(tensor.array.dtype)},
                           {"shape", tensor.array.dims},
                           {"data_offsets", {begin, data.size()}}};
  }
  Json metadata(file.metadata);
  metadata[checksum_key] = no_checksum;
  header["__metadata__"] = metadata;
  std::string text = header.dump();
  text.resize((text.size() + 8 + header_alignment - 1) / header_alignment * header_alignment - 8, ' ');
  const std::string entry = fmt::format("\"{}\":\"", checksum_key);
  text.replace(text.rfind(entry) + entry.size(), no_checksum.size(), checksum(text, data));
  std::uint64_t length = text.size();
  std::string content(reinterpret_cast<const char*>(&length), 8);
  return write_file_atomically(path, content + text + data, calls);
}

Result<TensorFile> parse_safetensors(std::string_view bytes, const std::string& path) {
  return HeaderReader(bytes, path).read();
}

Result<TensorFile> read_safetensors(const std::string& path) {
  auto bytes = read_file(path);
  if (!bytes) return bytes.problem();
  return parse_safetensors({bytes->data(), bytes->size()}, path);
}

}  // namespace nnc
