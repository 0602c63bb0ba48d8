#include "runtime/table.h"
#include "ir/nearest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "runtime/csv.h"
#include "runtime/idx.h"
#include "runtime/names.h"
#include "runtime/npy.h"
#include "runtime/read_window.h"

namespace nnc {

namespace {

std::string counted(std::int64_t rows) { return fmt::format("{} row{}", rows, rows == 1 ? "" : "s"); }

/// Why a number cannot become an element of a type, or nothing.
std::optional<std::string> misfit(double value, DType dtype) {
  if (!std::isfinite(value)) return fmt::format("{} is not a finite number", value);
  if (dtype == DType::f32 && !std::isfinite(static_cast<float>(value)))
    return fmt::format("{} is out of the range of f32", value);
  if (dtype != DType::i32) return std::nullopt;
  if (value != std::floor(value)) return fmt::format("{} is not a whole number", value);
  if (value < std::numeric_limits<std::int32_t>::min() || value > std::numeric_limits<std::int32_t>::max())
    return fmt::format("{} is out of the range of i32", value);
  return std::nullopt;
}

template <class T>
void store(std::byte* to, double value) {
  T narrow = static_cast<T>(value);
  std::memcpy(to, &narrow, sizeof narrow);
}

void store(DType dtype, std::byte* to, double value) {
  switch (dtype) {
    case DType::f32:
      return store<float>(to, value);
    case DType::f64:
      return store<double>(to, value);
    case DType::i32:
      return store<std::int32_t>(to, std::isnan(value) ? std::numeric_limits<std::int32_t>::min() : value);
    case DType::boolean:
      return store<std::uint8_t>(to, value);
  }
}

class CsvSource : public Table {
 public:
  CsvSource(CsvTable table, const Source& source, const Storage& storage) : table_(std::move(table)) {
    described_ = source.path == "-" ? "standard input" : fmt::format("`{}`", source.path);
    if (table_.bytes() > storage.stream_over) folder_ = storage.folder;
  }

  std::vector<std::string> names() const override { return table_.names(); }
  std::int64_t width(const ColumnIds& columns) const override { return static_cast<std::int64_t>(columns.size()); }
  std::size_t want_numbers(const ColumnIds& columns, DType dtype, bool missing) override {
    const std::size_t first = table_.want_number(columns.at(0), dtype, missing);
    for (std::size_t i = 1; i < columns.size(); ++i) table_.want_number(columns[i], dtype, missing);  // side by side
    wanted_.push_back({first, columns.size() * size_of(dtype), 0});
    return wanted_.size() - 1;
  }
  std::size_t want_texts(std::size_t column) override {
    wanted_.push_back({table_.want_text(column), sizeof(std::int32_t), column});
    return wanted_.size() - 1;
  }
  std::optional<Problem> load() override { return table_.load(folder_); }
  bool is_streamed() const override { return !folder_.empty(); }

  std::int64_t rows() const override { return table_.rows(); }
  Place place(std::size_t column, std::int64_t row) const override { return table_.place(row, column); }
  void copy(std::size_t wanted, std::int64_t row, std::byte* to) const override {
    table_.records().read(row, wanted_[wanted].offset, wanted_[wanted].bytes, to);
  }
  std::int32_t text_number(std::size_t wanted, std::int64_t row) const override {
    std::int32_t number = 0;
    copy(wanted, row, reinterpret_cast<std::byte*>(&number));
    return number;
  }
  const std::vector<std::string>& texts(std::size_t wanted) const override {
    return table_.texts(wanted_[wanted].column);
  }

 private:
  struct Wanted {
    std::size_t offset, bytes;  ///< in a record
    std::size_t column;         ///< of texts
  };
  CsvTable table_;
  std::string folder_;  ///< of the rows, or empty: they lie in memory
  std::vector<Wanted> wanted_;
};

/// What is wanted of a table whose values lie in memory anyway.
class TableInMemory : public Table {
 public:
  std::size_t want_numbers(const ColumnIds& columns, DType dtype, bool missing) override {
    wanted_.push_back({columns, dtype, missing, {}, {}});
    return wanted_.size() - 1;
  }
  std::size_t want_texts(std::size_t column) override {
    wanted_.push_back({{column}, std::nullopt, false, {}, {}});
    return wanted_.size() - 1;
  }
  std::optional<Problem> load() override {
    for (Wanted& wanted : wanted_) {
      if (wanted.dtype) {
        if (auto problem = check(wanted.columns, *wanted.dtype, wanted.missing)) return problem;
      } else {
        for (std::int64_t row = 0; row < rows(); ++row)
          wanted.numbers.push_back(wanted.texts.number_of(text(wanted.columns[0], row)));
      }
    }
    return std::nullopt;
  }
  void copy(std::size_t wanted, std::int64_t row, std::byte* to) const override {
    copy_row(wanted_[wanted].columns, *wanted_[wanted].dtype, row, to);
  }
  std::int32_t text_number(std::size_t wanted, std::int64_t row) const override {
    return wanted_[wanted].numbers[static_cast<std::size_t>(row)];
  }
  const std::vector<std::string>& texts(std::size_t wanted) const override { return wanted_[wanted].texts.texts(); }

 protected:
  virtual std::optional<Problem> check(const ColumnIds& columns, DType dtype, bool missing) const = 0;
  virtual void copy_row(const ColumnIds& columns, DType dtype, std::int64_t row, std::byte* to) const = 0;
  virtual std::string text(std::size_t column, std::int64_t row) const = 0;

 private:
  struct Wanted {
    ColumnIds columns;
    std::optional<DType> dtype;  ///< nothing: as texts
    bool missing;                ///< values may be
    TextNumbers texts;
    std::vector<std::int32_t> numbers;
  };
  std::vector<Wanted> wanted_;
};

/// Arrays side by side, each of one file or of one archive. Their elements become numbers a block at a time, and lie
/// where they are until then; rows of files that are streamed are brought from there one by one, since the pages of a
/// mapping would count as memory.
class ArraySource : public TableInMemory {
 public:
  static Result<std::unique_ptr<Table>> open(const Source& source, const Storage& storage) {
    auto table = std::make_unique<ArraySource>();
    table->stream_over_ = storage.stream_over;
    table->described_ = source.kind == Source::Kind::npz   ? fmt::format("`{}`", source.path)
                        : source.kind == Source::Kind::npy ? "the npy files"
                                                           : "the idx files";
    if (source.kind == Source::Kind::npz) {
      auto arrays = read_npz(source.path);
      if (!arrays) return arrays.problem();
      for (auto& [name, array] : *arrays) {
        const std::string called = fmt::format("{}: {}.npy", source.path, name);
        if (!array) {
          Named& column = table->columns_.emplace_back();
          column.name = name, column.called = called, column.unreadable = array.problem();
        } else if (auto problem = table->add(name, called, std::move(*array))) {
          return *problem;
        }
      }
    }
    if (!source.widths.empty()) {
      if (auto problem = table->add_side_by_side(source)) return *problem;
      return std::unique_ptr<Table>(std::move(table));
    }
    for (const auto& [name, path] : source.columns) {
      auto array = source.kind == Source::Kind::npy ? read_npy(path) : read_idx(path, storage);
      if (!array) return array.problem();
      if (auto problem = table->add(name, path, std::move(*array))) return *problem;
    }
    if (table->columns_.empty()) return wrong_at({source.path, 0, 0}, "the archive holds no array");
    if (table->first() == nullptr) return *table->columns_[0].unreadable;
    return std::unique_ptr<Table>(std::move(table));
  }

  std::optional<Problem> load() override {
    std::uint64_t bytes = 0;
    for (const Named& column : columns_)
      if (column.array.content.file)
        bytes += static_cast<std::uint64_t>(column.array.rows()) * column.array.row_bytes();
    streamed_ = bytes > stream_over_;
    return TableInMemory::load();
  }
  bool is_streamed() const override { return streamed_; }

  std::int64_t rows() const override { return first()->array.rows(); }
  std::optional<Problem> unreadable(std::size_t column) const override { return columns_[column].unreadable; }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const Named& column : columns_) names.push_back(column.name);
    return names;
  }
  Place place(std::size_t column, std::int64_t) const override { return {columns_[column].called, 0, 0}; }
  std::string text(std::size_t column, std::int64_t row) const override {
    const double value = columns_[column].array.number(row_of(columns_[column], row), 0);
    return std::isnan(value) ? "" : fmt::format("{}", value);
  }
  std::int64_t width(const ColumnIds& columns) const override {
    std::int64_t width = 0;
    for (std::size_t column : columns) width += columns_[column].array.row_elements();
    return width;
  }
  std::optional<Problem> check(const ColumnIds& columns, DType dtype, bool missing) const override {
    for (std::size_t column : columns) {
      const StoredArray& array = columns_[column].array;
      using enum StoredArray::Element;
      const bool may_misfit = array.element == f32 || array.element == f64 || array.element == i64;
      if (!may_misfit) continue;
      const std::int64_t width = array.row_elements();
      for (std::int64_t row = 0; row < array.rows(); ++row) {
        const char* from = row_of(columns_[column], row);
        for (std::int64_t i = 0; i < width; ++i)
          if (auto fault = misfit_of(array, array.number(from, i), dtype, missing)) {
            Problem wrong =
                wrong_at({columns_[column].called, 0, 0}, *fault, fmt::format("elements of type {}", name_of(dtype)),
                         fmt::format("this in row {}", row + 1));
            if (std::isnan(array.number(from, i)))
              wrong.notes.push_back(what_stands_for_missing(columns_[column].name));
            return wrong;
          }
      }
    }
    return std::nullopt;
  }
  void copy_row(const ColumnIds& columns, DType dtype, std::int64_t row, std::byte* to) const override {
    for (std::size_t column : columns) {
      const StoredArray& array = columns_[column].array;
      const std::int64_t count = array.row_elements();
      const char* from = row_of(columns_[column], row);
      if (array.element == StoredArray::Element::u8 && dtype == DType::f32) {
        for (std::int64_t i = 0; i < count; ++i, to += sizeof(float))
          store<float>(to, static_cast<unsigned char>(from[i]));
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i, to += size_of(dtype)) store(dtype, to, array.number(from, i));
    }
  }

 private:
  struct Named {
    std::string name, called;
    StoredArray array;
    mutable ReadWindow window{};             ///< of rows that are streamed
    std::optional<Problem> unreadable = {};  ///< there is no array then
  };

  /// The first column that can be read, or null.
  const Named* first() const {
    const auto readable = [](const Named& column) { return !column.unreadable; };
    const auto found = std::ranges::find_if(columns_, readable);
    return found == columns_.end() ? nullptr : &*found;
  }

  /// Where a row lies, valid until the next row of that column.
  const char* row_of(const Named& column, std::int64_t row) const {
    const KeptBytes& content = column.array.content;
    if (!streamed_ || !content.file) return column.array.row(row);
    const std::string_view file = content.file->text();
    const auto place = static_cast<std::uint64_t>(column.array.row(row) - file.data());
    return reinterpret_cast<const char*>(column.window.at(*content.file, file.size(), place, column.array.row_bytes()));
  }

  /// Why an element of an array cannot become a number of a type, or nothing.
  static std::optional<std::string> misfit_of(const StoredArray& array, double value, DType dtype, bool missing) {
    constexpr double exact = 9007199254740992.0;  // 2^53: beyond it not every whole number is an f64
    auto fault = missing && std::isnan(value) ? std::nullopt : misfit(value, dtype);
    if (!fault && array.element == StoredArray::Element::i64 && std::abs(value) > exact)
      fault = fmt::format("{} is larger than 2^53", value);
    return fault;
  }

  std::optional<Problem> add(const std::string& name, std::string called, StoredArray array) {
    const std::string shape = fmt::format("[{}]", fmt::join(array.dims, ", "));
    if (array.row_elements() == 0)
      return wrong_at({called, 0, 0}, "the rows of the array are empty", "at least one value a row", shape);
    if (const Named* other = first(); other != nullptr && array.rows() != rows())
      return wrong_at({called, 0, 0}, "the arrays have different numbers of rows",
                      fmt::format("{}, as in `{}`", counted(rows()), other->called), counted(array.rows()));
    columns_.push_back({name, std::move(called), std::move(array), {}, {}});
    return std::nullopt;
  }

  /// One array whose rows hold the values of all columns, one column behind the other.
  std::optional<Problem> add_side_by_side(const Source& source) {
    auto whole = read_npy(source.path);
    if (!whole) return whole.problem();
    std::int64_t wanted = 0;
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < source.columns.size(); ++i) {
      wanted += source.widths[i];
      parts.push_back(fmt::format("{} of `{}`", source.widths[i], source.columns[i].first));
    }
    const std::int64_t found = whole->row_elements();
    if (found != wanted)
      return wrong_at({source.path, 0, 0}, "the array does not hold the columns that the model reads",
                      fmt::format("{} value{} a row: {}", wanted, wanted == 1 ? "" : "s", fmt::join(parts, ", ")),
                      fmt::format("{}", found));
    std::int64_t first = 0;
    for (std::size_t i = 0; i < source.columns.size(); first += source.widths[i++])
      if (auto problem = add(source.columns[i].first, source.path, whole->columns(first, source.widths[i])))
        return problem;
    return std::nullopt;
  }

  std::vector<Named> columns_;
  std::uint64_t stream_over_ = 0;
  bool streamed_ = false;
};

/// A table that stands in the program, or rows that have no raw columns at all and are generated.
class InlineSource : public TableInMemory {
 public:
  explicit InlineSource(const Source& source) : source_(source) { described_ = "the table"; }

  std::int64_t rows() const override {
    if (source_.kind == Source::Kind::generated) return source_.samples;
    return source_.inline_columns.empty() ? 0 : static_cast<std::int64_t>(source_.inline_columns[0].rows());
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const InlineColumn& column : source_.inline_columns) names.push_back(column.name);
    return names;
  }
  Place place(std::size_t, std::int64_t) const override { return source_.place; }
  std::string text(std::size_t column, std::int64_t row) const override {
    const InlineColumn& from = source_.inline_columns[column];
    return from.texts.empty() ? fmt::format("{}", value(column, row)) : from.texts[static_cast<std::size_t>(row)];
  }
  std::int64_t width(const ColumnIds& columns) const override { return static_cast<std::int64_t>(columns.size()); }
  std::optional<Problem> check(const ColumnIds& columns, DType dtype, bool missing) const override {
    for (std::size_t column : columns)
      for (std::int64_t row = 0; row < rows(); ++row)
        if (auto fault = missing && std::isnan(value(column, row)) ? std::nullopt : misfit(value(column, row), dtype))
          return wrong_at(source_.place, *fault, fmt::format("numbers of type {}", name_of(dtype)),
                          fmt::format("this in row {} of `{}`", row + 1, source_.inline_columns[column].name));
    return std::nullopt;
  }
  void copy_row(const ColumnIds& columns, DType dtype, std::int64_t row, std::byte* to) const override {
    for (std::size_t column : columns) {
      store(dtype, to, value(column, row));
      to += size_of(dtype);
    }
  }

 private:
  double value(std::size_t column, std::int64_t row) const {
    return source_.inline_columns[column].numbers[static_cast<std::size_t>(row)];
  }
  Source source_;
};

}  // namespace

namespace {

/// A file that is not there is named in some program.
Problem placed(Problem problem, const Source& source) {
  if (problem.kind != Problem::Kind::io || source.place.line == 0) return problem;
  problem.place = source.place;
  problem.notes.push_back("help: `--data DIR` says in which folder the data are");
  return problem;
}

Result<std::unique_ptr<Table>> open_source(const Source& source, const Storage& storage) {
  switch (source.kind) {
    case Source::Kind::csv: {
      auto table = CsvTable::open(source.path, storage);
      if (!table) return table.problem();
      return std::unique_ptr<Table>(std::make_unique<CsvSource>(std::move(*table), source, storage));
    }
    case Source::Kind::idx:
    case Source::Kind::npy:
    case Source::Kind::npz:
      return ArraySource::open(source, storage);
    case Source::Kind::table:
    case Source::Kind::generated:
      return std::unique_ptr<Table>(std::make_unique<InlineSource>(source));
  }
  return wrong_at(source.place, "a source of an unknown kind");
}

}  // namespace

Result<std::unique_ptr<Table>> Table::open(const Source& source, const Storage& storage) {
  auto table = open_source(source, storage);
  if (!table) return placed(table.problem(), source);
  return table;
}

Result<std::size_t> Table::resolve(const std::string& name, const Place& asked) const {
  std::vector<std::string> all = names();
  auto found = std::find(all.begin(), all.end(), name);
  if (found == all.end()) {
    Problem problem = wrong_at(asked, fmt::format("{} has no column `{}`", described_, name));
    constexpr std::size_t most = 12;
    problem.found = fmt::format("column{} {}", all.size() == 1 ? "" : "s", in_list(all, most));
    for (std::size_t tab; (tab = problem.found.find('\t')) != std::string::npos;) problem.found.replace(tab, 1, "\\t");
    const auto is_number = [](const std::string& text) {
      double value = 0;
      return !parse_number(text, DType::f64, reinterpret_cast<std::byte*>(&value));
    };
    if (all.size() == 1 && all[0].find_first_of(";\t") != std::string::npos)
      problem.notes.push_back("help: fields are separated by commas, and numbers have a decimal point");
    else if (std::all_of(all.begin(), all.end(), is_number))
      problem.notes.push_back("help: the first line of a CSV file holds the names of its columns; this one has none");
    else if (const std::string meant = did_you_mean(name, all); !meant.empty())
      problem.notes.push_back("help: " + meant);
    else if (std::any_of(all.begin(), all.end(), is_number))
      problem.notes.push_back("help: the first line of a CSV file holds the names of its columns; is this one a row?");
    return problem;
  }
  if (std::find(found + 1, all.end(), name) != all.end())
    return wrong_at(asked, fmt::format("{} has two columns `{}`", described_, name));
  const auto place = static_cast<std::size_t>(found - all.begin());
  if (auto problem = unreadable(place)) return *problem;
  return place;
}

Result<ColumnIds> Table::resolve(const RawColumn& raw) const {
  if (!raw.columns.empty()) return resolve(raw.columns, raw.place);
  ColumnIds columns;
  if (!raw.range_from.empty()) {
    auto from = resolve(raw.range_from, raw.place), to = resolve(raw.range_to, raw.place);
    if (!from) return from.problem();
    if (!to) return to.problem();
    if (*from > *to)
      return wrong_at(raw.place,
                      fmt::format("column `{}` stands behind `{}` in {}", raw.range_from, raw.range_to, described_));
    for (std::size_t i = *from; i <= *to; ++i) columns.push_back(i);
    return readable(columns);
  }
  const std::vector<std::string> all = names();
  for (std::size_t i = 0; i < all.size(); ++i) columns.push_back(i);
  for (const std::string& name : raw.except) {
    const auto place = std::ranges::find(all, name);
    if (place == all.end() || std::find(place + 1, all.end(), name) != all.end())
      return resolve(name, raw.place).problem();
    std::erase(columns, static_cast<std::size_t>(place - all.begin()));
  }
  return readable(columns);
}

Result<ColumnIds> Table::resolve(const std::vector<std::string>& wanted, const Place& asked) const {
  const std::vector<std::string> all = names();
  std::unordered_map<std::string_view, std::size_t> places;
  std::unordered_set<std::string_view> twice;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (!places.emplace(all[i], i).second) twice.insert(all[i]);
  ColumnIds columns;
  for (const std::string& name : wanted) {
    const auto place = places.find(name);
    if (place == places.end() || twice.contains(name)) return resolve(name, asked).problem();
    columns.push_back(place->second);
  }
  return readable(columns);
}

Result<ColumnIds> Table::readable(const ColumnIds& columns) const {
  for (const std::size_t column : columns)
    if (auto problem = unreadable(column)) return *problem;
  return columns;
}

}  // namespace nnc
