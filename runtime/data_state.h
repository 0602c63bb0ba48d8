// What RawData holds once its files are open, for the files that it is made of: data_open.cpp opens, data_missing.cpp
// learns what stands for missing numbers, data_feed.cpp makes columns, data.cpp answers.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "runtime/data.h"
#include "runtime/names.h"
#include "runtime/table.h"

namespace nnc {

/// The first names of a list, for messages.
inline std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t most = 12;
  return in_list(names, most);
}

/// What the user calls a source.
inline std::string called(const Source& source) {
  if (source.path == "-") return "standard input";
  if (!source.path.empty()) return fmt::format("`{}`", source.path);
  if (!source.columns.empty()) return fmt::format("`{}`", source.columns[0].second);
  return source.kind == Source::Kind::generated ? "`samples`" : "the table";
}

/// " in row 3 of `labels.idx`", behind a value whose place does not say which row (from 1) of its source it is in.
inline std::string in_row(const Source& source, const Place& place, std::int64_t row) {
  if (source.kind == Source::Kind::csv && place.line > 0) return "";
  const std::string where = has_arrays(source.kind) && !place.file.empty() ? "`" + place.file + "`" : called(source);
  return fmt::format(" in row {} of {}", row + 1, where);
}

/// Elements in one row of a batched type.
inline std::int64_t row_elements(const Type& type) { return element_count(type.shape).count; }

/// Whether a loaded element stands for one that is missing (RawColumn::missing).
inline bool is_missing(double value, DType dtype) {
  return std::isnan(value) || (dtype == DType::i32 && value == std::numeric_limits<std::int32_t>::min());
}

/// What the user calls an element of a row of a raw input.
inline std::string column_name(const RawColumn& raw, std::int64_t element) {
  if (raw.columns.size() == 1) return fmt::format("column `{}`", raw.columns[0]);
  if (static_cast<std::int64_t>(raw.columns.size()) == row_elements(raw.type))
    return fmt::format("column `{}`", raw.columns[static_cast<std::size_t>(element)]);
  return fmt::format("value {} of a row", element + 1);
}

/// How the rows of one source feed one raw input.
struct Stored {
  ColumnIds columns;
  std::size_t wanted = 0;  ///< what the table calls the numbers, or the texts, of these columns
  /// The class of each text, by the text's number, where the input has classes; -1: none. Of no text: what stands for
  /// it.
  std::optional<std::vector<std::int32_t>> class_of{};
};

/// By source; null where one is not open.
using OpenTables = std::vector<std::unique_ptr<Table>>;

/// Names the columns of `job` that are ranges still, by the header of the source of the first split that is fitted on,
/// which is left open. A name that stands there twice is a problem: another file could not be read by it.
std::optional<Problem> read_names(DataJob& job, const Storage& storage, OpenTables& opened);

struct RawData::State {
  struct SplitRows {
    int source = 0;
    std::vector<std::uint32_t> rows;
  };

  DataJob job;
  std::string folder;  ///< of rows that are streamed
  OpenTables tables;   ///< null where a source is not needed
  std::vector<std::string> names;
  std::map<std::string, SplitRows> splits;
  ClassNames classes;
  std::vector<UnknownClass> unknown;
  std::vector<std::map<std::string, Stored>> stored;  ///< by source, by input

  const RawColumn* input(const std::string& name) const {
    for (const RawColumn& raw : job.raw)
      if (raw.input == name) return &raw;
    return nullptr;
  }
  Place place(int source, const std::string& name, std::int64_t row) const {
    const Stored& where = stored[static_cast<std::size_t>(source)].at(name);
    return tables[static_cast<std::size_t>(source)]->place(where.columns.at(0), row);
  }
  void copy(int source, const RawColumn& raw, std::int64_t row, std::byte* to) const {
    const Stored& where = stored[static_cast<std::size_t>(source)].at(raw.input);
    const Table& table = *tables[static_cast<std::size_t>(source)];
    if (!where.class_of) return table.copy(where.wanted, row, to);
    const std::int32_t index = (*where.class_of)[static_cast<std::size_t>(table.text_number(where.wanted, row))];
    std::memcpy(to, &index, sizeof index);
  }
};

}  // namespace nnc
