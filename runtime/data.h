// From files to the columns that training sees, in three steps: `RawData::open` reads the sources, cuts the splits and
// learns the classes; the compiled `fit` learns what is standardised; the compiled `feed` turns raw rows into columns.
// Labels and ids are checked here, where their file, line and column are still known.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/job.h"
#include "runtime/programs.h"
#include "runtime/result.h"
#include "runtime/row_store.h"

namespace nnc {

/// The classes of a column, and which of them stands for a value that is missing, and for one that is none of them
/// (empty: none does, it is an error).
struct LearntClasses {
  std::vector<std::string> names;
  std::string missing{}, unknown{};
  bool operator==(const LearntClasses&) const = default;
};
/// Of each input that has classes, by the input's name.
using ClassNames = std::map<std::string, LearntClasses>;

/// A range of columns as programs write it: cols("a", to = "e"), cols(except = ["y"]).
std::string range_text(const RawColumn& range);
/// The columns that ranges stand for, by their texts: those that the file has that is fitted on. Every file is read by
/// these names, so its columns may stand in any order and among others.
using ColumnNames = std::map<std::string, std::vector<std::string>>;
/// Puts them into the raw inputs of a job.
void name_columns(DataJob& job, const ColumnNames& names);

/// One part of a cross-validation: the rows of `train` and of a `valid` of the same source are dealt out in `of` parts;
/// part `index` (from 0) is `valid`, the others are `train`. Strata of `train` are dealt out evenly.
struct CrossPart {
  int index = 0, of = 2;
  std::uint64_t seed = 0;
};

struct OpenOptions {
  std::vector<std::string>
      splits;  ///< those to read; empty: all. Those that are fitted on are read where classes must be learnt
  std::vector<std::string> inputs;      ///< raw inputs that are needed; empty: all
  const ClassNames* classes = nullptr;  ///< as a run remembers them; null: learnt from the splits that are fitted on
  std::optional<CrossPart> fold{};
  Storage storage{};
  bool may_be_empty = false;  ///< sources and splits may be without rows
};

/// Values of a column that are none of its classes, where one of these stands for them.
struct UnknownClass {
  std::string column, stands;  ///< the column in the file, and the class
  std::string first;           ///< the first such value in the order of the file
  std::int64_t rows = 0;
};

/// A source of which some rows are in no split.
struct UnusedRows {
  std::string source;  ///< as the user calls it
  std::int64_t rows = 0, unused = 0;
};

/// low <= every element < high of a column or of a raw input, which compiled programs rely on.
struct RangeCheck {
  std::string name;
  std::int64_t low = 0, high = 0;
};

/// Columns of one split, by name; row i of each belongs together. They lie in memory, each a dense array, or, where
/// their source is streamed, row by row in a file.
struct SplitColumns {
  struct Streamed {
    struct Column {
      std::string name;
      DType dtype;
      std::vector<std::int64_t> dims;  ///< of all rows
      std::size_t offset, bytes;       ///< in a row of the store
    };
    std::vector<Column> columns;
    RowStore rows;
  };

  std::string name;
  std::int64_t rows = 0;
  std::vector<NamedArray> columns;             ///< those in memory
  std::shared_ptr<const Streamed> streamed{};  ///< or null

  /// A column in memory; null where there is none of this name, or where columns are streamed.
  const DenseArray* find(const std::string& column) const;
  /// Some rows of all columns, in memory.
  SplitColumns part(std::int64_t first, std::int64_t count) const;
  std::uint64_t memory() const;  ///< bytes
  /// A number that is another where a column, its name or its type, a value or the order of the rows is another.
  std::uint64_t fingerprint() const;
};

class RawData {
 public:
  static Result<RawData> open(const DataJob& job, const OpenOptions& options);
  ~RawData();
  RawData(RawData&&) noexcept;
  RawData& operator=(RawData&&) noexcept;

  const std::vector<std::string>& splits() const;
  /// Number of rows of a split that was opened, else -1.
  std::int64_t rows(const std::string& split) const;
  const ClassNames& classes() const;
  ColumnNames column_names() const;
  /// Of a job, from the header alone of the file that is fitted on.
  static Result<ColumnNames> read_column_names(const DataJob& job, const Storage& storage);
  /// Of the sources of splits that were opened, by these splits.
  std::vector<UnusedRows> unused() const;
  /// Of the rows of all splits that were opened.
  const std::vector<UnknownClass>& unknown() const;

  /// Raw inputs against their ranges; a class index out of range lists the classes.
  std::optional<Problem> check(const std::vector<RangeCheck>& checks) const;

  /// Learns what stands for missing numbers, from the rows of the splits that are fitted on, where that is asked for:
  /// the mean in f64, the median (of an even number the mean of the middle two), the most frequent (the least of
  /// equals). No value to learn from is a problem.
  std::optional<Problem> learn_missing(Weights& weights) const;

  /// Learns the fitted state over the rows of the splits that are fitted on, in their order.
  std::optional<Problem> fit(Runner& runner, const Programs& programs, Weights& weights) const;

  /// The columns of a split by `kind` (feed or predict_feed), checked against `checks`. `inputs_of` names the raw
  /// inputs that a column comes from, for the place of a value out of range.
  Result<SplitColumns> feed(const std::string& split, EntryKind kind, Runner& runner, const Programs& programs,
                            Weights& weights, const std::vector<RangeCheck>& checks,
                            const std::map<std::string, std::vector<std::string>>& inputs_of) const;

 private:
  friend class DataReader;
  struct State;
  explicit RawData(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Feeds entries from columns in memory.
class ColumnFeeder : public RowFeeder {
 public:
  explicit ColumnFeeder(const SplitColumns& split) : split_(split) {}
  std::int64_t rows() const override { return split_.rows; }
  void block(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<nnc_feed> feeds) override;

 private:
  const SplitColumns& split_;
  Bytes block_;  ///< of streamed rows
};

/// Sets feeds[i] for each feed slot of the entry to where streamed rows lie in `rows`, one behind the other.
void feed_streamed(const SplitColumns::Streamed& streamed, const nnc_entry& entry, const std::byte* rows,
                   std::int64_t count, std::span<nnc_feed> feeds);

}  // namespace nnc
