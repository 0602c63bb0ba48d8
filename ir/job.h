// What is to be done with the compiled graphs: which files to read, how to split them, how long to train. Plain numbers
// and names that a `data` and a `train` block state; the frontend fills it, the runtime obeys it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ir/type.h"

namespace nnc {

/// Where something was written, for messages of the runtime.
struct Place {
  std::string file;
  std::uint32_t line = 0, column = 0;
};

/// A column of a table that stands in the program: numbers, or words for classes.
struct InlineColumn {
  std::string name;
  std::vector<double> numbers;
  std::vector<std::string> texts;
  std::size_t rows() const { return numbers.size() + texts.size(); }
};

/// Files or an inline table that rows come from.
struct Source {
  enum class Kind : std::uint8_t { csv, idx, npy, npz, table, generated };
  Kind kind{};
  std::string path;  ///< csv, npz, as resolved against the folder of the .nn file
  std::vector<std::pair<std::string, std::string>> columns;  ///< idx, npy: column name, path
  std::vector<std::int64_t> widths{};  ///< npy: where set, one array holds all `columns`, so many values a row of each
  std::vector<InlineColumn> inline_columns;  ///< table
  std::int64_t samples = 0;                  ///< generated: number of rows
  Place place;
};
/// A column is an array, of which a row may have many values.
constexpr bool has_arrays(Source::Kind kind) {
  return kind == Source::Kind::idx || kind == Source::Kind::npy || kind == Source::Kind::npz;
}

/// Some of the rows that there are.
struct Cut {
  /// share: consecutive rows of their permutation by `seed` (Fisher-Yates on Philox): `first` and `count` are fractions
  /// where `fractional`, else rows. every: row i where first <= i % every < first + count, in order.
  enum class Kind : std::uint8_t { share, every } kind = Kind::share;
  double first = 0, count = 0;
  bool fractional = false;
  std::uint64_t seed = 0;
  std::int64_t every = 0;
  std::string stratify_by{};  ///< a share: empty, or the column whose values keep their proportions
};

/// The rows of a named split (train, valid, test): those of a source, cut again and again.
struct Split {
  std::string name;
  int source = 0;
  std::vector<Cut> cuts{};
  Place place{};
};

/// What stands for a value that is missing: nothing (it is an error), what the program says, or what the rows that
/// preprocessing is fitted on say. Each value of a row by itself.
struct Missing {
  enum class By : std::uint8_t { nothing, number, word, mean, median, most_frequent } by = By::nothing;
  double number = 0;
  std::string word{};  ///< of a column of classes
  bool asked() const { return by != By::nothing; }
  bool learnt() const { return by == By::mean || by == By::median || by == By::most_frequent; }
  bool operator==(const Missing&) const = default;
};

/// An input of the feed graph, read from a source: a column, several columns side by side, or class indices.
struct RawColumn {
  std::string input;                 ///< name of the graph's input node
  std::vector<std::string> columns;  ///< names in the file, or one idx column; what is read where there are any
  std::vector<std::string> except;   ///< all columns but these: the header of the file that is fitted on names them
  std::string range_from, range_to;  ///< cols("p0", to = "p63"), likewise
  bool classes = false;              ///< strings or numbers become i32 indices of the sorted distinct values, fitted
  Type type;                         ///< f32 or f64 or i32, [batch, ...]: elements of one row are dense
  Place place;
  /// Where asked for, a number that is missing is NaN in a floating input and the least i32 in another one, and the
  /// feed graph puts something there; a class is never missing, the loader puts one there.
  Missing missing{};
  /// Of a column of classes: which of them stands for a value that is none of them; most_frequent, a word, or nothing
  /// (it is an error).
  Missing unknown{};

  /// It stands for columns that only a file names.
  bool is_range() const { return !except.empty() || !range_from.empty(); }
};

/// The state that holds what stands for the missing numbers of a raw input, where that is learnt: [...] of one row.
inline std::string missing_path(const std::string& input) { return "data." + input.substr(4) + ".missing"; }

/// A column that training sees: a result of the feed graph.
struct Column {
  std::string name;
  Type type;
  std::string classes_of;  ///< RawColumn::input whose class names label it, or empty
};

/// The state that keeps the average of a parameter.
inline std::string average_path(const std::string& parameter) { return "average/" + parameter; }

struct DataJob {
  std::string name;
  std::vector<Source> sources;
  std::vector<Split> splits;
  std::vector<std::string> fit;  ///< splits that preprocessing is fitted on; train unless told
  std::vector<RawColumn> raw;
  std::vector<Column> columns;
};

/// Keep or stop rules: early_stop = lowest(valid.loss, patience = 3), best = highest(valid.acc).
struct Watch {
  std::string metric;  ///< "valid.loss", "train.loss", "valid.acc"
  bool highest = false;
  std::int64_t patience = 0;
};
/// A condition on figures: `stop = train.loss < 1e-3 or epoch >= 50`. Numbers are f64.
struct Rule {
  enum class Kind : std::uint8_t {
    number,
    figure,  ///< "train.loss", "valid.loss(Gen)"; "epoch" and "step" are those done
    negate,
    add,
    subtract,
    multiply,
    divide,
    power,
    less,
    less_equal,
    greater,
    greater_equal,
    equal,
    not_equal,
    logical_not,
    logical_and,
    logical_or
  };
  Kind kind = Kind::number;
  double value = 0;
  std::string figure;
  std::vector<Rule> operands;
};
/// What comes out is a truth value.
constexpr bool is_condition(Rule::Kind kind) { return kind >= Rule::Kind::less; }
/// What goes in are truth values.
constexpr bool combines_conditions(Rule::Kind kind) { return kind >= Rule::Kind::logical_not; }

struct TrainJob {
  std::string name;                 ///< the train block's name: its `as` name or its (first) model's
  std::vector<std::string> models;  ///< those that are trained
  std::string data;
  std::int64_t batch_size = 32;  ///< 0: full
  std::int64_t epochs = 0;
  bool shuffle = true;
  std::uint64_t seed = 0;
  std::int64_t check_every = 1;                ///< epochs between two evaluations
  std::int64_t check_every_steps = 0;          ///< where it is not 0, so many steps instead, also within an epoch
  std::vector<std::string> losses = {"loss"};  ///< names, in order: "loss", "loss(Gen)"; results of step and evaluate
  std::vector<std::string> metrics;            ///< names, in order; further results of the evaluate graph
  std::vector<std::string> outputs;            ///< results of the predict graph
  /// For each output the RawColumn::input whose class names it is written by, where it has as many values; or empty.
  std::vector<std::string> classes_of_outputs;
  std::optional<Watch> early_stop, best;
  std::optional<Rule> stop;
  Place place;
};

}  // namespace nnc
