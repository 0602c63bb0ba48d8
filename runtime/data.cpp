#include "runtime/data.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/data_state.h"

namespace nnc {

namespace {

ColumnNames column_names_of(const DataJob& job) {
  ColumnNames names;
  for (const RawColumn& raw : job.raw)
    if (raw.is_range() && !raw.columns.empty()) names[range_text(raw)] = raw.columns;
  return names;
}

}  // namespace

std::string range_text(const RawColumn& range) {
  return range.except.empty() ? fmt::format("cols(\"{}\", to = \"{}\")", range.range_from, range.range_to)
                              : fmt::format("cols(except = [\"{}\"])", fmt::join(range.except, "\", \""));
}

void name_columns(DataJob& job, const ColumnNames& names) {
  for (RawColumn& raw : job.raw)
    if (raw.is_range())
      if (const auto known = names.find(range_text(raw)); known != names.end()) raw.columns = known->second;
}

Result<ColumnNames> RawData::read_column_names(const DataJob& job, const Storage& storage) {
  DataJob named = job;
  OpenTables opened(job.sources.size());
  if (auto problem = read_names(named, storage, opened)) return *problem;
  return column_names_of(named);
}

RawData::RawData(std::unique_ptr<State> state) : state_(std::move(state)) {}
RawData::~RawData() = default;
RawData::RawData(RawData&&) noexcept = default;
RawData& RawData::operator=(RawData&&) noexcept = default;

const std::vector<std::string>& RawData::splits() const { return state_->names; }
const ClassNames& RawData::classes() const { return state_->classes; }
ColumnNames RawData::column_names() const { return column_names_of(state_->job); }
const std::vector<UnknownClass>& RawData::unknown() const { return state_->unknown; }

std::int64_t RawData::rows(const std::string& split) const {
  auto found = state_->splits.find(split);
  return found == state_->splits.end() ? -1 : static_cast<std::int64_t>(found->second.rows.size());
}

std::vector<UnusedRows> RawData::unused() const {
  std::vector<UnusedRows> all;
  for (std::size_t source = 0; source < state_->tables.size(); ++source) {
    if (!state_->tables[source]) continue;
    std::vector<bool> used(static_cast<std::size_t>(state_->tables[source]->rows()));
    for (const auto& [name, split] : state_->splits)
      if (static_cast<std::size_t>(split.source) == source)
        for (const std::uint32_t row : split.rows) used[row] = true;
    const std::int64_t unused = std::ranges::count(used, false);
    if (unused == 0) continue;
    all.push_back({called(state_->job.sources[source]), static_cast<std::int64_t>(used.size()), unused});
  }
  return all;
}

std::optional<Problem> RawData::check(const std::vector<RangeCheck>& checks) const {
  for (const RangeCheck& range : checks) {
    const RawColumn* raw = state_->input(range.name);
    if (raw == nullptr) continue;
    auto names = state_->classes.find(raw->input);
    if (names != state_->classes.end() &&
        static_cast<std::int64_t>(names->second.names.size()) != range.high - range.low) {
      Problem problem = wrong_at(
          raw->place,
          fmt::format("column `{}` has another number of classes than the program", fmt::join(raw->columns, ", ")),
          fmt::format("{} class{}", range.high - range.low, range.high - range.low == 1 ? "" : "es"),
          fmt::format("{}: {}", names->second.names.size(), listed(names->second.names)));
      return problem;
    }
    const auto out_of_range = [&](int at, std::uint32_t index, double value) {
      const Place place = state_->place(at, raw->input, index);
      const Source& source = state_->job.sources[static_cast<std::size_t>(at)];
      return wrong_at(place, "a value is out of range",
                      fmt::format("a whole number from {} to {}", range.low, range.high - 1),
                      fmt::format("{}{}", value, in_row(source, place, index)));
    };
    DenseArray row(raw->type.dtype, {row_elements(raw->type)});
    for (const auto& [name, split] : state_->splits) {
      if (!state_->stored[static_cast<std::size_t>(split.source)].contains(raw->input)) continue;
      for (std::uint32_t index : split.rows) {
        state_->copy(split.source, *raw, index, row.bytes.data());
        for (std::int64_t i = 0; i < row.count(); ++i)
          if (row.at(i) < static_cast<double>(range.low) || row.at(i) >= static_cast<double>(range.high))
            return out_of_range(split.source, index, row.at(i));
      }
    }
  }
  return std::nullopt;
}

}  // namespace nnc
