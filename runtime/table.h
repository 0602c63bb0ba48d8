// Where rows come from: a CSV file, arrays side by side (IDX, NPY, NPZ), or a table written in the program. One face
// for all, so that splits, classes and columns are worked out once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ir/job.h"
#include "runtime/dense_array.h"
#include "runtime/result.h"

namespace nnc {

/// Indices of columns of a table.
using ColumnIds = std::vector<std::size_t>;

class Table {
 public:
  static Result<std::unique_ptr<Table>> open(const Source& source);
  virtual ~Table() = default;

  virtual std::int64_t rows() const = 0;
  virtual std::vector<std::string> names() const = 0;
  /// Where a value stands; a format without lines gives the file alone.
  virtual Place place(std::size_t column, std::int64_t row) const = 0;
  /// A value as text, for classes and stratified splits.
  virtual std::string text(std::size_t column, std::int64_t row) const = 0;
  /// Elements that one row of these columns has.
  virtual std::int64_t width(const ColumnIds& columns) const = 0;
  /// Reads all rows of the columns as numbers of a type, or checks that `copy` can do so without a copy in memory.
  virtual std::optional<Problem> prepare(const ColumnIds& columns, DType dtype) = 0;
  /// Writes one row of prepared columns, densely.
  virtual void copy(const ColumnIds& columns, DType dtype, std::int64_t row, std::byte* to) const = 0;

  /// The columns that a raw input names (all but some, a range, one by one), or which name is unknown.
  Result<ColumnIds> resolve(const RawColumn& raw) const;
  Result<std::size_t> resolve(const std::string& name, const Place& asked) const;

 protected:
  std::string described_;  ///< "the file `a.csv`" or "the table", for messages
};

}  // namespace nnc
