// Comma-separated values as RFC 4180 has them: a header of names, one row a line, quotes around fields that hold
// commas, quotes ("" inside) or line breaks. A byte order mark and CRLF are accepted; spaces around unquoted fields do
// not count. Numbers are read with a decimal point whatever the locale says. Whatever is not a plain row is an error
// with its place: nothing is skipped but empty lines at the end of the file.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dense_array.h"
#include "runtime/result.h"

namespace nnc {

/// The text of a file, checked to be a table, with the place where each row begins. Fields are found again when they
/// are asked for, so that a table takes little more memory than its file.
class CsvTable {
 public:
  /// "-" is stdin.
  static Result<CsvTable> read(const std::string& path);
  /// `path` is for messages.
  static Result<CsvTable> parse(std::vector<char> text, const std::string& path);

  const std::vector<std::string>& names() const { return names_; }
  std::int64_t rows() const { return static_cast<std::int64_t>(rows_.size()); }
  /// A cell without the quotes around it.
  std::string text(std::int64_t row, std::size_t column) const;
  /// Line and column (in characters, from 1) where a cell stands.
  Place place(std::int64_t row, std::size_t column) const;

  /// Converts columns to `dtype` (f32, f64 or i32): element (row, i) of `to` is columns[i]. An empty cell, text, NaN,
  /// infinity, a number out of range, and a fraction for i32 are problems with their place.
  std::optional<Problem> read_numbers(std::span<const std::size_t> columns, DType dtype, std::byte* to) const;

 private:
  friend class CsvReader;
  std::vector<char> text_;
  std::string path_;
  std::vector<std::string> names_;
  std::vector<std::uint64_t> rows_;  ///< offset of each row's first byte
};

/// Reads one number of the given type as CSV cells are read, or says why not ("`abc` is not a number").
std::optional<std::string> parse_number(std::string_view text, DType dtype, std::byte* to);

}  // namespace nnc
