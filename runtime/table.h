// Where rows come from: a CSV file, arrays side by side (IDX, NPY, NPZ), or a table written in the program. One face
// for all, so that splits, classes and columns are worked out once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/job.h"
#include "runtime/dense_array.h"
#include "runtime/result.h"
#include "runtime/row_store.h"

namespace nnc {

/// What is wrong with data, and where.
inline Problem wrong_at(const Place& place, std::string message, std::string expected = "", std::string found = "") {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = place,
          .expected = std::move(expected),
          .found = std::move(found),
          .notes = {}};
}

/// Indices of columns of a table.
using ColumnIds = std::vector<std::size_t>;

/// A table is opened, told what is wanted of it, and loaded; only then its rows are known.
class Table {
 public:
  static Result<std::unique_ptr<Table>> open(const Source& source, const Storage& storage);
  virtual ~Table() = default;

  virtual std::vector<std::string> names() const = 0;
  /// Elements that one row of these columns has.
  virtual std::int64_t width(const ColumnIds& columns) const = 0;
  /// Columns as numbers of a type; the result is what `copy` calls them by. Where `missing` may be, it is NaN, or the
  /// least i32.
  virtual std::size_t want_numbers(const ColumnIds& columns, DType dtype, bool missing = false) = 0;
  /// A column's values as texts, for classes and stratified splits.
  virtual std::size_t want_texts(std::size_t column) = 0;
  /// Reads what is wanted, or checks that it can be read without a copy in memory.
  virtual std::optional<Problem> load() = 0;
  /// Whether columns made of this table should not lie in memory either.
  virtual bool is_streamed() const { return false; }

  virtual std::int64_t rows() const = 0;
  /// Where a value stands; a format without lines gives the file alone.
  virtual Place place(std::size_t column, std::int64_t row) const = 0;
  /// One row of wanted numbers, densely.
  virtual void copy(std::size_t wanted, std::int64_t row, std::byte* to) const = 0;
  /// The number of a row's text, and the texts by their numbers.
  virtual std::int32_t text_number(std::size_t wanted, std::int64_t row) const = 0;
  virtual const std::vector<std::string>& texts(std::size_t wanted) const = 0;

  /// The columns that a raw input names (all but some, a range, one by one), or which name is unknown.
  Result<ColumnIds> resolve(const RawColumn& raw) const;
  Result<ColumnIds> resolve(const std::vector<std::string>& wanted, const Place& asked) const;
  Result<std::size_t> resolve(const std::string& name, const Place& asked) const;

 protected:
  /// Why a column that there is cannot be read; nobody asks of one that nothing reads.
  virtual std::optional<Problem> unreadable(std::size_t) const { return std::nullopt; }
  /// The columns, where all can be read.
  Result<ColumnIds> readable(const ColumnIds& columns) const;

  std::string described_;  ///< "the file `a.csv`" or "the table", for messages
};

}  // namespace nnc
