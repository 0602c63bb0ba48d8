#include "runtime/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "ir/utf8.h"
#include "runtime/names.h"
#include "runtime/unpacked.h"

namespace nnc {

namespace {

constexpr std::size_t longest_quote = 40;  // characters of a cell that a message repeats

/// A cell as messages show it: short, on one line, control characters and what is not UTF-8 as escapes.
std::string shown(std::string_view text) {
  std::string out = "`";
  for (std::size_t i = 0; i < text.size() && i < longest_quote;) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    const std::size_t length = utf8_length(text.substr(i, 4));
    if (c < 0x20 || c == 0x7f || length == 0)
      out += fmt::format("\\x{:02x}", c);
    else
      out += text.substr(i, length);
    i += std::max<std::size_t>(length, 1);
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

/// No number, class or name is longer; without a bound a quote that is never closed would swallow gigabytes.
constexpr std::size_t longest_field = std::size_t{1} << 20;

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

constexpr FieldFault nul_at(std::size_t offset) { return {offset, "the file holds a NUL byte", "a text file"}; }
constexpr FieldFault too_long(std::size_t offset) {
  return {offset, "a field is longer than 1 MiB", "a comma or the end of the line"};
}

FieldFault read_quoted(std::string_view text, std::size_t& at, Field& field) {
  const std::size_t open = at++;
  for (; at < text.size() && (text[at] != '"' || (at + 1 < text.size() && text[at + 1] == '"'));
       at += text[at] == '"' ? 2 : 1) {
    if (text[at] == '\0') return nul_at(at);
    if (at - open > longest_field) return {open, "a quoted field does not end within 1 MiB", "a closing quote"};
  }
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
  const std::size_t begin = at, most = std::min(text.size(), begin + longest_field);
  for (; at < most && text[at] != ',' && text[at] != '\n'; ++at) {
    if (text[at] == '"')
      return {at, "a quote inside an unquoted field", "quotes around the whole field, doubled inside"};
    if (text[at] == '\0') return nul_at(at);
    if (text[at] != '\r') continue;
    if (at_line_end(text, at)) break;
    return {at, "a carriage return without a line feed", "lines that end in LF or CRLF"};
  }
  if (at == most && at < text.size()) return too_long(begin);
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

/// Leaves `at` behind the line end of a row that was checked.
void skip_row(std::string_view text, std::size_t& at) {
  for (Field field;; ++at) {
    read_field(text, at, field);
    if (at == text.size()) return;
    if (text[at] == ',') continue;
    at += text[at] == '\r' ? 2 : 1;
    return;
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

/// What files say instead of a number that is missing.
bool means_missing(std::string_view cell) {
  const std::string_view words[] = {"na", "n/a", "null", "none", "nil", "?", "-", "nan"};
  cell = trimmed(cell);
  return cell.empty() || std::ranges::any_of(words, [&](auto word) { return equal_without_case(cell, word); });
}

constexpr std::int32_t least_i32 = std::numeric_limits<std::int32_t>::min();

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

constexpr const char* stdin_called = "stdin";

/// What a file is that begins like no text, and what to do.
struct Foreign {
  std::string_view begins;
  const char *what, *help;
  const char* help_piped = help;
};
constexpr const char* arrays_piped = "help: standard input is CSV: give an array as a file, `--input FILE`";
constexpr Foreign foreign_files[] = {
    {gzip_mark, "a gzip file", "help: unpack it: `gzip -d`"},  // within another: one is unpacked
    {"PK\x03\x04", "a zip archive, as spreadsheets are", "help: save the sheet as CSV, in UTF-8"},
    {"\x93NUMPY", "an NPY array", "help: `npy(NAME = \"FILE\")` reads it, in place of `csv`", arrays_piped},
    {std::string_view("\0\0", 2), "an IDX array", "help: `idx(NAME = \"FILE\")` reads it, in place of `csv`",
     arrays_piped},
    {"\xff\xfe", "text in UTF-16", "help: save it in UTF-8: `iconv -f UTF-16 -t UTF-8`"},
    {"\xfe\xff", "text in UTF-16", "help: save it in UTF-8: `iconv -f UTF-16 -t UTF-8`"},
};

/// One pass over the text that checks every row and fills the records.
class CsvReader {
 public:
  explicit CsvReader(CsvTable& table) : table_(table), text_(table.text()) {}

  std::optional<Problem> read_header() {
    for (const Foreign& foreign : foreign_files)
      if (text_.starts_with(foreign.begins)) {
        Problem wrong = problem(0, "this is not a CSV file", "text: names, then rows, with commas", foreign.what);
        wrong.place.line = wrong.place.column = 0;
        wrong.notes.push_back(table_.path_ == stdin_called ? foreign.help_piped : foreign.help);
        return wrong;
      }
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    if (only_line_ends()) return problem(at_, "the file is empty", "a header line with the names of the columns", "");
    for (bool more = true; more;) {
      Field field;
      if (auto wrong = field_at(field)) return wrong;
      if (auto wrong = not_utf8(field)) return wrong;
      table_.names_.push_back(unquoted(field));
      more = at_ < text_.size() && text_[at_] == ',';
      end_field();
    }
    table_.first_row_ = at_;
    return std::nullopt;
  }

  std::optional<Problem> read_rows(const std::string& folder) {
    plan();
    table_.records_.emplace(table_.record_bytes_, folder);
    at_ = table_.first_row_;
    const std::size_t bytes = table_.record_bytes_;
    std::vector<std::byte> block(bytes * block_rows);
    std::size_t filled = 0, released = 0;
    const auto flush = [&] {
      auto problem = table_.records_->append(block.data(), static_cast<std::int64_t>(filled));
      filled = 0;
      if (at_ - released > release_bytes) table_.release(std::exchange(released, at_), at_);
      return problem;
    };
    while (at_ < text_.size() && !at_the_end()) {
      if (table_.rows_ % CsvTable::rows_between_marks == 0) table_.marks_.push_back(at_);
      if (auto wrong = read_row(block.data() + filled * bytes)) return wrong;
      ++table_.rows_;
      if (++filled == block_rows)
        if (auto wrong = flush()) return wrong;
    }
    auto wrong = flush();
    table_.release(released, text_.size());
    return wrong;
  }

 private:
  static constexpr std::size_t block_rows = 1024, release_bytes = std::size_t{8} << 20;

  /// What becomes of a column. Most are skipped or one number; `several` has those that are wanted more than once or by
  /// text.
  enum class Use : std::uint8_t { skip, f32, f64, i32, several };
  struct Step {
    Use use = Use::skip;
    std::size_t offset = 0;
  };

  void plan() {
    steps_.assign(table_.names_.size(), {});
    for (const CsvTable::Wanted& wanted : table_.wanted_) {
      Step& step = steps_[wanted.column];
      // The least i32 is a number that only `careful` tells from one that is missing.
      const bool first = step.use == Use::skip && !wanted.as_text && !(wanted.missing && wanted.dtype == DType::i32);
      step.offset = wanted.offset;
      step.use = !first                       ? Use::several
                 : wanted.dtype == DType::f32 ? Use::f32
                 : wanted.dtype == DType::f64 ? Use::f64
                                              : Use::i32;
    }
  }

  std::optional<Problem> read_row(std::byte* record) {
    const std::size_t start = at_, want = steps_.size();
    for (std::size_t column = quick(0, record); column < want; column = quick(column + 1, record)) {
      if (auto wrong = careful(column, record, start)) return wrong;
      const bool comma = at_ < text_.size() && text_[at_] == ',', last = column + 1 == want;
      if (comma == last) return uneven(start);
      end_field();
    }
    return std::nullopt;
  }

  /// Reads plain numbers from `column` on, each where it stands and followed by its comma or line feed, and says before
  /// which column it came to something else: that is left to `careful`, from where its field begins.
  std::size_t quick(std::size_t column, std::byte* record) {
    const char* at = text_.data() + at_;
    const char* const end = text_.data() + text_.size();
    const Step* const steps = steps_.data();
    const std::size_t want = steps_.size();
    for (; column < want; ++column) {
      const Step& step = steps[column];
      const char behind = column + 1 == want ? '\n' : ',';
      bool plain = false;
      if (step.use == Use::f32)
        plain = quick_number<float>(at, end, behind, record + step.offset);
      else if (step.use == Use::f64)
        plain = quick_number<double>(at, end, behind, record + step.offset);
      else if (step.use == Use::i32)
        plain = quick_number<std::int32_t>(at, end, behind, record + step.offset);
      if (!plain) break;
    }
    at_ = static_cast<std::size_t>(at - text_.data());
    return column;
  }

  /// Leaves `at` behind the number and the byte behind it, or where it is.
  template <class T>
  static bool quick_number(const char*& at, const char* end, char behind, std::byte* to) {
    T value;
    const auto [stop, fault] = std::from_chars(at, end, value);
    if (fault != std::errc() || stop == end || *stop != behind) return false;
    if constexpr (std::is_floating_point_v<T>)
      if (!(value - value == 0)) return false;  // from_chars reads `inf`
    store(to, value);
    at = stop + 1;
    return true;
  }

  std::optional<Problem> careful(std::size_t column, std::byte* record, std::size_t start) {
    Field field;
    if (auto wrong = field_at(field)) return wrong;
    if (steps_[column].use == Use::skip) return std::nullopt;
    // A row that is too short is that before one of its cells is wrong.
    const bool ends_early = column + 1 < steps_.size() && (at_ == text_.size() || text_[at_] != ',');
    if (ends_early) return uneven(start);
    for (const CsvTable::Wanted& wanted : table_.wanted_) {
      if (wanted.column != column) continue;
      std::byte* const to = record + wanted.offset;
      if (wanted.as_text) {
        TextNumbers& texts = table_.texts_.at(column);
        const std::size_t known = texts.texts().size();
        store(to, texts.number_of(unquoted(field)));
        if (texts.texts().size() > known)
          if (auto wrong = not_utf8(field)) return wrong;
      } else if (wanted.missing && means_missing(field.inner)) {
        store_missing(wanted.dtype, to);
      } else if (auto fault = parse_number(field.inner, wanted.dtype, to)) {
        return no_number(*fault, wanted, field);
      } else if (wanted.missing && wanted.dtype == DType::i32 && std::memcmp(to, &least_i32, sizeof least_i32) == 0) {
        return no_number(fmt::format("{} is the number that stands for a missing one", shown(field.inner)), wanted,
                         field);
      }
    }
    return std::nullopt;
  }

  static void store_missing(DType dtype, std::byte* to) {
    if (dtype == DType::f32) store(to, std::numeric_limits<float>::quiet_NaN());
    if (dtype == DType::f64) store(to, std::numeric_limits<double>::quiet_NaN());
    if (dtype == DType::i32) store(to, least_i32);
  }

  Problem no_number(const std::string& fault, const CsvTable::Wanted& wanted, const Field& field) const {
    const std::string cell = unquoted(field), &name = table_.names_[wanted.column];
    const std::size_t offset = static_cast<std::size_t>(field.inner.data() - text_.data()) - (field.quoted ? 1 : 0);
    Problem wrong = problem(offset, fault, fmt::format("a number ({}) in column `{}`", name_of(wanted.dtype), name),
                            cell.empty() ? "nothing" : shown(cell));
    constexpr std::string_view minus = "\xe2\x88\x92";
    const bool missing = means_missing(cell);
    if (missing) wrong.notes.push_back(what_stands_for_missing(name));
    if (cell.starts_with(minus)) {
      wrong.notes.push_back("help: this minus is U+2212; a number's is `-`");
      return wrong;
    }
    if (missing) return wrong;
    // A column of words, not a slip in one of numbers.
    if (is_word(unquoted(field_of(text_, table_.first_row_, wanted.column))) && is_word(cell))
      wrong.notes.push_back(fmt::format("help: `classes(col(\"{}\"))` gives each word of a column a number", name));
    return wrong;
  }

  /// The row that begins at `start` has too many or too few fields.
  std::optional<Problem> uneven(std::size_t start) {
    at_ = start;
    std::size_t got = 0;
    bool empty = false;
    for (bool more = true; more; ++got) {
      Field field;
      if (auto wrong = field_at(field)) return wrong;
      empty = field.inner.empty() && !field.quoted;
      more = at_ < text_.size() && text_[at_] == ',';
      end_field();
    }
    return problem(start, "the row has another number of fields than the header",
                   fmt::format("{}, as in line 1", counted(table_.names_.size(), "field")),
                   got == 1 && empty ? "an empty line" : counted(got, "field"));
  }

  std::optional<Problem> field_at(Field& field) {
    const FieldFault fault = read_field(text_, at_, field);
    if (fault.message == nullptr) return std::nullopt;
    const bool ended = at_ >= text_.size(), nul = !ended && text_[fault.offset] == '\0';
    return problem(fault.offset, fault.message, fault.expected,
                   nul     ? "a byte of value 0"
                   : ended ? "the end of the file"
                           : shown(text_.substr(fault.offset, fault.offset < at_ ? longest_quote + 1 : 1)));
  }

  /// A name or a word that is in an encoding of old, mostly Latin-1.
  std::optional<Problem> not_utf8(const Field& field) const {
    const std::size_t at = first_not_utf8(field.inner);
    if (at == field.inner.npos) return std::nullopt;
    Problem wrong = problem(
        static_cast<std::size_t>(field.inner.data() - text_.data()) + at, "this text is not UTF-8",
        "a character in UTF-8",
        fmt::format("the byte 0x{:02X} in {}", static_cast<unsigned char>(field.inner[at]), shown(field.inner)));
    wrong.notes.push_back("help: most such files are in Latin-1: `iconv -f LATIN1 -t UTF-8` makes one in UTF-8");
    return wrong;
  }

  /// Behind a comma or a line end.
  void end_field() {
    if (at_ < text_.size()) at_ += text_[at_] == '\r' ? 2 : 1;
  }

  /// Whether nothing but line ends is left.
  bool at_the_end() const { return (text_[at_] == '\n' || text_[at_] == '\r') && only_line_ends(); }
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
  std::vector<Step> steps_;
};

std::int32_t TextNumbers::number_of(std::string_view text) {
  const auto [at, fresh] = numbers_.try_emplace(std::string(text), static_cast<std::int32_t>(texts_.size()));
  if (fresh) texts_.push_back(at->first);
  return at->second;
}

Result<CsvTable> CsvTable::open(const std::string& path, const Storage& storage) {
  constexpr std::uint64_t most_in_memory = std::uint64_t{16} << 20;  // of a text that is gone through once
  const std::uint64_t most = std::min(most_in_memory, storage.stream_over);
  const auto opened = [&]() -> Result<KeptBytes> {
    if (path == "-") return unpacked_stdin(most, storage.folder);
    auto file = MappedFile::open(path);
    if (!file) return file.problem();
    if (file->text().starts_with(gzip_mark)) return unpacked(path, most, storage.folder);
    return KeptBytes::of(std::move(*file));
  };
  auto content = opened();
  if (!content) return content.problem();
  return of(std::move(*content), path == "-" ? stdin_called : path);
}

Result<CsvTable> CsvTable::parse(std::string text, const std::string& path) {
  return of(KeptBytes::of(std::vector<char>(text.begin(), text.end())), path);
}

Result<CsvTable> CsvTable::of(KeptBytes content, const std::string& path) {
  CsvTable table;
  table.content_ = std::move(content);
  table.path_ = path;
  if (auto problem = CsvReader(table).read_header()) return *problem;
  return table;
}

void CsvTable::release(std::size_t from, std::size_t to) const {
  if (content_.file) content_.file->release(from, to);
}

std::size_t CsvTable::want(std::size_t column, DType dtype, bool as_text, bool missing) {
  const std::size_t size = size_of(dtype), offset = (record_bytes_ + size - 1) / size * size;
  wanted_.push_back({column, offset, dtype, as_text, missing});
  record_bytes_ = offset + size;
  return offset;
}

std::size_t CsvTable::want_number(std::size_t column, DType dtype, bool missing) {
  return want(column, dtype, false, missing);
}

std::size_t CsvTable::want_text(std::size_t column) {
  texts_.try_emplace(column);
  return want(column, DType::i32, true, false);
}

std::optional<Problem> CsvTable::load(const std::string& folder) { return CsvReader(*this).read_rows(folder); }

std::size_t CsvTable::offset_of(std::int64_t row) const {
  std::size_t at = marks_[static_cast<std::size_t>(row / rows_between_marks)];
  for (std::int64_t skipped = row % rows_between_marks; skipped > 0; --skipped) skip_row(text(), at);
  return at;
}

std::string CsvTable::text(std::int64_t row, std::size_t column) const {
  return unquoted(field_of(text(), offset_of(row), column));
}

Place CsvTable::place(std::int64_t row, std::size_t column) const {
  const Field field = field_of(text(), offset_of(row), column);
  const std::size_t offset = static_cast<std::size_t>(field.inner.data() - text().data()) - (field.quoted ? 1 : 0);
  return place_of(text(), offset, path_);
}

}  // namespace nnc
