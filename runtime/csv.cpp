#include "runtime/csv.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/file.h"

namespace nnc {

namespace {

constexpr std::size_t longest_quote = 40;  // characters of a cell that a message repeats

/// A cell as messages show it: short, on one line, control characters as escapes.
std::string shown(std::string_view text) {
  std::string out = "`";
  for (std::size_t i = 0; i < text.size() && i < longest_quote; ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f)
      out += fmt::format("\\x{:02x}", c);
    else
      out += static_cast<char>(c);
  }
  if (text.size() > longest_quote) out += "...";
  return out + "`";
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool equal_without_case(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((text[i] | 0x20) != lower[i]) return false;
  return true;
}

bool is_not_finite_word(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  return equal_without_case(text, "nan") || equal_without_case(text, "inf") || equal_without_case(text, "infinity");
}

template <class T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

std::string counted(std::size_t count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace

std::optional<std::string> parse_number(std::string_view text, DType dtype, std::byte* to) {
  text = trimmed(text);
  if (text.empty()) return "a value is missing";
  if (is_not_finite_word(text)) return fmt::format("{} is not a finite number", shown(text));
  std::string_view digits = text.front() == '+' ? text.substr(1) : text;
  const char* end = digits.data() + digits.size();
  double wide = 0;
  auto [stop, fault] = std::from_chars(digits.data(), end, wide);
  if (fault == std::errc::result_out_of_range && stop == end)
    return fmt::format("{} is out of the range of f64", shown(text));
  if (fault != std::errc() || stop != end || digits.front() == '+')
    return fmt::format("{} is not a number", shown(text));
  switch (dtype) {
    case DType::f64:
      store(to, wide);
      return std::nullopt;
    case DType::f32: {
      float narrow = 0;
      // From the digits, not from the double: rounding twice could give another float.
      if (std::from_chars(digits.data(), end, narrow).ec != std::errc()) narrow = static_cast<float>(wide);
      if (!std::isfinite(narrow)) return fmt::format("{} is out of the range of f32", shown(text));
      store(to, narrow);
      return std::nullopt;
    }
    case DType::i32: {
      if (wide != std::floor(wide)) return fmt::format("{} is not a whole number", shown(text));
      if (wide < std::numeric_limits<std::int32_t>::min() || wide > std::numeric_limits<std::int32_t>::max())
        return fmt::format("{} is out of the range of i32", shown(text));
      store(to, static_cast<std::int32_t>(wide));
      return std::nullopt;
    }
    case DType::boolean:
      break;
  }
  return "a boolean cannot be read from a file";
}

/// One pass over the text. A line number is kept for each row, so that places cost nothing until they are asked for.
class CsvReader {
 public:
  explicit CsvReader(CsvTable& table) : table_(table), text_(table.text_) {}

  std::optional<Problem> read() {
    if (text_.size() >= 3 && std::memcmp(text_.data(), "\xef\xbb\xbf", 3) == 0) at_ = 3;
    if (const void* nul = std::memchr(text_.data(), 0, text_.size())) {
      std::size_t offset = static_cast<std::size_t>(static_cast<const char*>(nul) - text_.data());
      return problem_at(offset, "the file holds a NUL byte", "a text file", "a byte of value 0");
    }
    if (only_line_ends(at_))
      return problem_at(at_, "the file is empty", "a header line with the names of the columns", "");
    if (auto problem = read_header()) return problem;
    while (at_ < text_.size() && !only_line_ends(at_))
      if (auto problem = read_row()) return problem;
    return std::nullopt;
  }

 private:
  std::optional<Problem> read_header() {
    std::vector<std::string_view> fields;
    if (auto problem = read_fields(fields)) return problem;
    for (std::string_view field : fields) table_.names_.emplace_back(field);
    return std::nullopt;
  }

  std::optional<Problem> read_row() {
    std::size_t start = at_;
    std::size_t before = table_.cells_.size();
    table_.row_starts_.push_back({start, line_});
    if (auto problem = read_fields(table_.cells_)) return problem;
    std::size_t got = table_.cells_.size() - before, want = table_.names_.size();
    if (got == want) return std::nullopt;
    bool empty = got == 1 && table_.cells_.back().empty();
    return problem_at(start, "the row has another number of fields than the header",
                      fmt::format("{}, as in line 1", counted(want, "field")),
                      empty ? "an empty line" : counted(got, "field"));
  }

  std::optional<Problem> read_fields(std::vector<std::string_view>& fields) {
    for (;;) {
      std::string_view field;
      if (auto problem = read_field(field)) return problem;
      fields.push_back(field);
      if (at_ == text_.size()) return std::nullopt;
      if (text_[at_] == ',') {
        ++at_;
        continue;
      }
      skip_line_end();
      return std::nullopt;
    }
  }

  /// Leaves `at_` on the comma, the line end or the end of the file behind the field.
  std::optional<Problem> read_field(std::string_view& field) {
    std::size_t first = at_;
    while (first < text_.size() && is_blank(text_[first])) ++first;
    if (first < text_.size() && text_[first] == '"') {
      at_ = first;
      return read_quoted(field);
    }
    std::size_t end = at_;
    while (end < text_.size() && text_[end] != ',' && !at_line_end(end)) {
      if (text_[end] == '"')
        return problem_at(end, "a quote inside an unquoted field", "quotes around the whole field, doubled inside", "");
      ++end;
    }
    field = trimmed(std::string_view(text_.data() + at_, end - at_));
    at_ = end;
    return std::nullopt;
  }

  std::optional<Problem> read_quoted(std::string_view& field) {
    std::size_t open = at_++;
    std::size_t write = at_, begin = at_;
    while (at_ < text_.size()) {
      char c = text_[at_];
      if (c == '"') {
        if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') break;
        ++at_;
      }
      if (c == '\n') ++line_;
      text_[write++] = text_[at_++];
    }
    if (at_ == text_.size())
      return problem_at(open, "a quoted field does not end", "a closing quote", "the end of the file");
    field = std::string_view(text_.data() + begin, write - begin);
    std::memset(text_.data() + write, '"', at_ - write);  // keeps the number of line breaks for `place`
    ++at_;
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    if (at_ < text_.size() && text_[at_] != ',' && !at_line_end(at_))
      return problem_at(at_, "text behind a closing quote", "a comma or the end of the line",
                        shown({text_.data() + at_, 1}));
    return std::nullopt;
  }

  bool at_line_end(std::size_t at) const {
    return text_[at] == '\n' || (text_[at] == '\r' && at + 1 < text_.size() && text_[at + 1] == '\n');
  }
  void skip_line_end() {
    if (text_[at_] == '\r') ++at_;
    ++at_;
    ++line_;
  }
  bool only_line_ends(std::size_t from) const {
    for (; from < text_.size(); ++from)
      if (text_[from] != '\n' && text_[from] != '\r') return false;
    return true;
  }

  Problem problem_at(std::size_t offset, std::string message, std::string expected, std::string found) const {
    std::uint32_t line = 1, column = 1;
    for (std::size_t i = 0; i < offset; ++i) {
      if (text_[i] == '\n')
        ++line, column = 1;
      else if ((static_cast<unsigned char>(text_[i]) & 0xc0) != 0x80)
        ++column;
    }
    return {.kind = Problem::Kind::data,
            .message = std::move(message),
            .place = {table_.path_, line, column},
            .expected = std::move(expected),
            .found = std::move(found),
            .notes = {}};
  }

  CsvTable& table_;
  std::vector<char>& text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
};

Result<CsvTable> CsvTable::read(const std::string& path) {
  auto text = read_file(path);
  if (!text) return text.problem();
  return parse(std::move(*text), path);
}

Result<CsvTable> CsvTable::parse(std::vector<char> text, const std::string& path) {
  CsvTable table;
  table.text_ = std::move(text);
  table.path_ = path;
  if (auto problem = CsvReader(table).read()) return *problem;
  return table;
}

Place CsvTable::place(std::int64_t row, std::size_t column) const {
  RowStart start = row_starts_[static_cast<std::size_t>(row)];
  const char* cell_begin = cell(row, column).data();
  Place place{path_, start.line, 1};
  for (const char* c = text_.data() + start.offset; c < cell_begin; ++c) {
    if (*c == '\n')
      ++place.line, place.column = 1;
    else if ((static_cast<unsigned char>(*c) & 0xc0) != 0x80)
      ++place.column;
  }
  return place;
}

std::optional<Problem> CsvTable::read_numbers(std::size_t column, DType dtype, std::byte* to,
                                              std::size_t stride) const {
  for (std::int64_t row = 0; row < rows(); ++row, to += stride) {
    auto fault = parse_number(cell(row, column), dtype, to);
    if (!fault) continue;
    std::string_view text = cell(row, column);
    return Problem{.kind = Problem::Kind::data,
                   .message = *fault,
                   .place = place(row, column),
                   .expected = fmt::format("a number ({}) in column `{}`", name_of(dtype), names_[column]),
                   .found = text.empty() ? "nothing" : shown(text),
                   .notes = {}};
  }
  return std::nullopt;
}

}  // namespace nnc
