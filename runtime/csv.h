// Comma-separated values as RFC 4180 has them: a header of names, one row a line, quotes around fields that hold
// commas, quotes ("" inside) or line breaks. A byte order mark and CRLF are accepted; spaces around unquoted fields do
// not count. Numbers are read with a decimal point whatever the locale says. Whatever is not a plain row is an error
// with its place: nothing is skipped but empty lines at the end of the file.
//
// A file is mapped and gone through once, when it is known which columns are wanted: what they hold goes into records
// of equal length (RowStore), and pages that were read are let go of. So a file may be larger than memory, also one
// that is packed, and what comes through a pipe: its text is spooled into a file without a name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ir/type.h"
#include "runtime/result.h"
#include "runtime/row_store.h"
#include "runtime/stored_array.h"

namespace nnc {

/// Distinct texts, numbered in the order in which they were first seen.
class TextNumbers {
 public:
  std::int32_t number_of(std::string_view text);
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::vector<std::string> texts_;
  std::unordered_map<std::string, std::int32_t> numbers_;
};

class CsvTable {
 public:
  /// Opens a file and reads its header; it may be a gzip file. "-" is stdin. What is unpacked, or comes through a pipe,
  /// is kept in memory where it is little, else in a file in `storage.folder`.
  static Result<CsvTable> open(const std::string& path, const Storage& storage = {});
  /// `path` is for messages.
  static Result<CsvTable> parse(std::string text, const std::string& path);

  const std::vector<std::string>& names() const { return names_; }
  std::size_t bytes() const { return text().size(); }

  // ---- before load(): what a record holds
  /// A column as a number (f32, f64 or i32), or by the number of its text (i32); the result is its place in a record.
  /// Where `missing` is said, a cell that is empty, or a word for nothing (NA, null, ...), is NaN, or the least i32.
  std::size_t want_number(std::size_t column, DType dtype, bool missing = false);
  std::size_t want_text(std::size_t column);
  /// Goes through all rows. A field too many or too few, an empty cell, text, NaN, infinity, a number out of range, and
  /// a fraction for i32 are problems with their place. Records lie in memory, or where `folder` is not empty in a file
  /// there.
  std::optional<Problem> load(const std::string& folder = "");

  // ---- after it
  std::int64_t rows() const { return rows_; }
  const RowStore& records() const { return *records_; }
  /// Distinct texts of a column that was wanted by text.
  const std::vector<std::string>& texts(std::size_t column) const { return texts_.at(column).texts(); }
  /// A cell without the quotes around it, found again in the file.
  std::string text(std::int64_t row, std::size_t column) const;
  /// Line and column (in characters, from 1) where a cell stands.
  Place place(std::int64_t row, std::size_t column) const;

 private:
  friend class CsvReader;
  struct Wanted {
    std::size_t column, offset;
    DType dtype;
    bool as_text, missing;
  };
  static constexpr std::int64_t rows_between_marks = 64;

  std::string_view text() const { return {content_.bytes.data(), content_.bytes.size()}; }
  static Result<CsvTable> of(KeptBytes content, const std::string& path);
  /// Lets go of pages of a file.
  void release(std::size_t from, std::size_t to) const;
  std::size_t want(std::size_t column, DType dtype, bool as_text, bool missing);
  std::size_t offset_of(std::int64_t row) const;

  KeptBytes content_;
  std::string path_;
  std::vector<std::string> names_;
  std::size_t first_row_ = 0;  ///< where the rows begin
  std::vector<Wanted> wanted_;
  std::size_t record_bytes_ = 0;
  std::map<std::size_t, TextNumbers> texts_;  ///< by column
  std::int64_t rows_ = 0;
  std::vector<std::uint64_t> marks_;  ///< where every so-many-th row begins
  std::optional<RowStore> records_;
};

/// Reads one number of the given type as CSV cells are read, or says why not ("`abc` is not a number").
std::optional<std::string> parse_number(std::string_view text, DType dtype, std::byte* to);

}  // namespace nnc
