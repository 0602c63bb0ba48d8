#include "runtime/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iostream>
#include <iterator>
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

/// A field as it stands in the text: `inner` is without the quotes around it, but with the doubled ones inside.
struct Field {
  std::string_view inner;
  bool quoted = false;
};

/// Why a field cannot be read, and where.
struct FieldFault {
  std::size_t offset = 0;
  const char* message = nullptr;  ///< null: no fault
  const char* expected = nullptr;
};

bool at_line_end(std::string_view text, std::size_t at) {
  return text[at] == '\n' || (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n');
}

FieldFault read_quoted(std::string_view text, std::size_t& at, Field& field) {
  std::size_t open = at++;
  while (at < text.size() && (text[at] != '"' || (at + 1 < text.size() && text[at + 1] == '"')))
    at += text[at] == '"' ? 2 : 1;
  if (at >= text.size()) return {open, "a quoted field does not end", "a closing quote"};
  field = {text.substr(open + 1, at - open - 1), true};
  ++at;
  while (at < text.size() && is_blank(text[at])) ++at;
  if (at < text.size() && text[at] != ',' && !at_line_end(text, at))
    return {at, "text behind a closing quote", "a comma or the end of the line"};
  return {};
}

/// Reads the field at `at` and leaves `at` on the comma, the line end or the end of the text behind it.
FieldFault read_field(std::string_view text, std::size_t& at, Field& field) {
  std::size_t first = at;
  while (first < text.size() && is_blank(text[first])) ++first;
  if (first < text.size() && text[first] == '"') {
    at = first;
    return read_quoted(text, at, field);
  }
  std::size_t begin = at;
  for (; at < text.size() && text[at] != ',' && !at_line_end(text, at); ++at)
    if (text[at] == '"')
      return {at, "a quote inside an unquoted field", "quotes around the whole field, doubled inside"};
  field = {trimmed(text.substr(begin, at - begin)), false};
  return {};
}

/// Field number `column` of the row that begins at `at`, in a text that was checked.
Field field_of(std::string_view text, std::size_t at, std::size_t column) {
  Field field;
  for (std::size_t i = 0;; ++i, ++at) {
    read_field(text, at, field);
    if (i == column) return field;
  }
}

std::string unquoted(const Field& field) {
  std::string plain(field.inner);
  if (!field.quoted) return plain;
  for (std::size_t at = 0; (at = plain.find("\"\"", at)) != std::string::npos; ++at) plain.erase(at, 1);
  return plain;
}

Place place_of(std::string_view text, std::size_t offset, const std::string& path) {
  Place place{path, 1, 1};
  for (std::size_t i = 0; i < offset; ++i) {
    if (text[i] == '\n')
      ++place.line, place.column = 1;
    else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80)
      ++place.column;
  }
  return place;
}

std::string counted(std::size_t count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

/// Begins with a letter and is no number: what a column of classes holds.
bool is_word(std::string_view text) {
  text = trimmed(text);
  const auto is_letter = [](unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80; };
  return !text.empty() && is_letter(static_cast<unsigned char>(text.front())) && !is_not_finite_word(text);
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
  bool two_signs = digits.size() < text.size() && digits.starts_with('-');
  if (fault != std::errc() || stop != end || two_signs) return fmt::format("{} is not a number", shown(text));
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

/// One pass over the text that checks every row.
class CsvReader {
 public:
  explicit CsvReader(CsvTable& table) : table_(table), text_(table.text_.data(), table.text_.size()) {}

  std::optional<Problem> read() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    if (std::size_t nul = text_.find('\0'); nul != text_.npos)
      return problem(nul, "the file holds a NUL byte", "a text file", "a byte of value 0");
    if (only_line_ends()) return problem(at_, "the file is empty", "a header line with the names of the columns", "");
    if (auto wrong = read_row([this](const Field& field) { table_.names_.push_back(unquoted(field)); })) return wrong;
    table_.rows_.reserve(static_cast<std::size_t>(std::count(text_.begin(), text_.end(), '\n')));
    while (at_ < text_.size() && !only_line_ends())
      if (auto wrong = read_data_row()) return wrong;
    return std::nullopt;
  }

 private:
  std::optional<Problem> read_data_row() {
    std::size_t start = at_, got = 0, want = table_.names_.size();
    bool empty = false;
    auto wrong = read_row([&](const Field& field) { ++got, empty = field.inner.empty() && !field.quoted; });
    if (wrong) return wrong;
    table_.rows_.push_back(start);
    if (got == want) return std::nullopt;
    Problem uneven = problem(start, "the row has another number of fields than the header",
                             fmt::format("{}, as in line 1", counted(want, "field")),
                             got == 1 && empty ? "an empty line" : counted(got, "field"));
    if (want == 1 && table_.names_[0].find(';') != std::string::npos)
      uneven.notes.push_back("help: fields are separated by commas, and numbers have a decimal point");
    return uneven;
  }

  template <class Visit>
  std::optional<Problem> read_row(Visit&& visit) {
    for (;; ++at_) {
      Field field;
      FieldFault fault = read_field(text_, at_, field);
      if (fault.message) {
        bool ended = at_ >= text_.size();
        return problem(fault.offset, fault.message, fault.expected,
                       ended ? "the end of the file" : shown(text_.substr(fault.offset, 1)));
      }
      visit(field);
      if (at_ == text_.size()) return std::nullopt;
      if (text_[at_] == ',') continue;
      at_ += text_[at_] == '\r' ? 2 : 1;
      return std::nullopt;
    }
  }

  bool only_line_ends() const { return text_.find_first_not_of("\r\n", at_) == text_.npos; }

  Problem problem(std::size_t offset, std::string message, std::string expected, std::string found) const {
    return {.kind = Problem::Kind::data,
            .message = std::move(message),
            .place = place_of(text_, offset, table_.path_),
            .expected = std::move(expected),
            .found = std::move(found),
            .notes = {}};
  }

  CsvTable& table_;
  std::string_view text_;
  std::size_t at_ = 0;
};

Result<CsvTable> CsvTable::read(const std::string& path) {
  if (path == "-") return parse({std::istreambuf_iterator<char>(std::cin), {}}, "stdin");
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

std::string CsvTable::text(std::int64_t row, std::size_t column) const {
  return unquoted(field_of({text_.data(), text_.size()}, rows_[static_cast<std::size_t>(row)], column));
}

Place CsvTable::place(std::int64_t row, std::size_t column) const {
  std::string_view text(text_.data(), text_.size());
  Field field = field_of(text, rows_[static_cast<std::size_t>(row)], column);
  std::size_t offset = static_cast<std::size_t>(field.inner.data() - text.data()) - (field.quoted ? 1 : 0);
  return place_of(text, offset, path_);
}

std::optional<Problem> CsvTable::read_numbers(std::span<const std::size_t> columns, DType dtype, std::byte* to) const {
  std::string_view text(text_.data(), text_.size());
  std::vector<Field> fields(names_.size());
  for (std::int64_t row = 0; row < rows(); ++row) {
    std::size_t at = rows_[static_cast<std::size_t>(row)];
    for (Field& field : fields) read_field(text, at, field), ++at;
    for (std::size_t column : columns) {
      auto fault = parse_number(fields[column].inner, dtype, to);
      to += size_of(dtype);
      if (!fault) continue;
      std::string cell = unquoted(fields[column]);
      std::vector<std::string> notes;
      if (is_word(this->text(0, column)))  // a column of words, not a slip in one of numbers
        notes.push_back(
            fmt::format("help: `classes(col(\"{}\"))` gives each word of a column a number", names_[column]));
      return Problem{.kind = Problem::Kind::data,
                     .message = *fault,
                     .place = place(row, column),
                     .expected = fmt::format("a number ({}) in column `{}`", name_of(dtype), names_[column]),
                     .found = cell.empty() ? "nothing" : shown(cell),
                     .notes = std::move(notes)};
    }
  }
  return std::nullopt;
}

}  // namespace nnc
