#include "runtime/data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>
#include <span>
#include <utility>

#include "runtime/csv.h"
#include "runtime/random.h"
#include "runtime/split.h"
#include "runtime/table.h"

namespace nnc {

namespace {

/// Generated columns are the same whatever the seed of a training run is.
constexpr std::uint64_t data_seed = 0;

Problem wrong(const Place& place, std::string message, std::string expected = "", std::string found = "") {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = place,
          .expected = std::move(expected),
          .found = std::move(found),
          .notes = {}};
}

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  if (parse_number(text, DType::f64, reinterpret_cast<std::byte*>(&value))) return std::nullopt;
  return value;
}

/// Sorted distinct values with their indices. Where all are numbers they are sorted, and compared, as numbers: "1" and
/// "1.0" are one class, called as it was first written.
class Classes {
 public:
  static Classes learn(const std::vector<std::string>& texts) {
    std::set<std::string> distinct(texts.begin(), texts.end());
    std::map<double, std::string> by_number;
    for (const std::string& text : texts) {
      if (!distinct.contains(text)) continue;
      auto value = number_in(text);
      if (!value) return Classes({distinct.begin(), distinct.end()});
      by_number.try_emplace(*value, text);
    }
    std::vector<std::string> names;
    for (const auto& [value, text] : by_number) names.push_back(text);
    return Classes(names);
  }

  explicit Classes(std::vector<std::string> names) : names_(std::move(names)) {
    numeric_ = true;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      by_text_[names_[i]] = static_cast<std::int32_t>(i);
      auto value = number_in(names_[i]);
      numeric_ = numeric_ && value.has_value();
      if (value) by_number_[*value] = static_cast<std::int32_t>(i);
    }
  }

  const std::vector<std::string>& names() const { return names_; }
  std::optional<std::int32_t> index(const std::string& text) const {
    auto exact = by_text_.find(text);
    if (exact != by_text_.end()) return exact->second;
    auto value = numeric_ ? number_in(text) : std::nullopt;
    auto equal = value ? by_number_.find(*value) : by_number_.end();
    if (equal != by_number_.end()) return equal->second;
    return std::nullopt;
  }

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::int32_t> by_text_;
  std::map<double, std::int32_t> by_number_;
  bool numeric_ = false;
};

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t most = 12;
  std::span<const std::string> first(names.data(), std::min(names.size(), most));
  return fmt::format("{}{}", fmt::join(first, ", "), names.size() > most ? ", ..." : "");
}

/// What the program calls a raw input: `x` is made of `raw.x`.
std::string user_name(const std::string& input) {
  constexpr std::string_view prefix = "raw.";
  return input.starts_with(prefix) ? input.substr(prefix.size()) : input;
}

/// Elements in one row of a batched type.
std::int64_t row_elements(const Type& type) { return element_count(type.shape).count; }

}  // namespace

/// How the rows of one source feed one raw input.
struct Stored {
  ColumnIds columns;
  std::size_t wanted = 0;  ///< what the table calls the numbers, or the texts, of these columns
  /// The class of each text, by the text's number, where the input has classes; -1: none.
  std::optional<std::vector<std::int32_t>> class_of{};
};

struct RawData::State {
  struct SplitRows {
    int source = 0;
    std::vector<std::uint32_t> rows;
  };

  DataJob job;
  std::string folder;                          ///< of rows that are streamed
  std::vector<std::unique_ptr<Table>> tables;  ///< null where a source is not needed
  std::vector<std::string> names;
  std::map<std::string, SplitRows> splits;
  ClassNames classes;
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

namespace {

/// Consecutive rows of a feeder: rows of one source in some order, or, where `rows` is empty, 0 .. count - 1.
struct RowRange {
  int source = 0;
  std::span<const std::uint32_t> rows;
  std::int64_t count = 0;
};
struct RawRow {
  int source = 0;
  std::int64_t row = 0;
};

}  // namespace

/// Gathers raw rows into dense blocks: entries see the rows in the split's order, whatever the table's own order is.
class RawFeeder : public RowFeeder {
 public:
  using Copy = std::function<void(const RawColumn& raw, RawRow row, std::byte* to)>;

  RawFeeder(const DataJob& job, std::vector<RowRange> ranges, Copy copy)
      : job_(job), ranges_(std::move(ranges)), copy_(std::move(copy)) {
    for (const RowRange& range : ranges_) count_ += range.count;
  }

  std::int64_t rows() const override { return count_; }
  void block(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<nnc_feed> feeds) override {
    std::vector<Target> targets;
    for (const nnc_slot& slot : feeds_of(entry)) {
      auto raw = std::find_if(job_.raw.begin(), job_.raw.end(),
                              [&](const RawColumn& column) { return column.input == slot.name; });
      std::size_t bytes = static_cast<std::size_t>(row_elements(raw->type)) * size_of(raw->type.dtype);
      Bytes& scratch = scratch_[raw->input];
      if (scratch.size() < bytes * static_cast<std::size_t>(count))
        scratch = Bytes(bytes * static_cast<std::size_t>(count));
      targets.push_back({&*raw, scratch.data(), bytes});
      feeds[slot.offset] = {scratch.data(), static_cast<std::int64_t>(bytes), identity_order(count)};
    }
    for (std::int64_t i = 0; i < count; ++i) {  // all of a row at once: it may have to come from a file
      const RawRow row = row_at(first + i);
      for (Target& target : targets) copy_(*target.raw, row, std::exchange(target.to, target.to + target.bytes));
    }
  }

 private:
  struct Target {
    const RawColumn* raw;
    std::byte* to;
    std::size_t bytes;
  };

  RawRow row_at(std::int64_t index) const {
    auto range = ranges_.begin();
    while (index >= range->count) index -= (range++)->count;
    return {range->source, range->rows.empty() ? index : std::int64_t{range->rows[static_cast<std::size_t>(index)]}};
  }

  const DataJob& job_;
  std::vector<RowRange> ranges_;
  std::int64_t count_ = 0;
  Copy copy_;
  std::map<std::string, Bytes> scratch_;
};

/// Opens what is needed, step by step; each step ends at the first problem.
class DataReader {
 public:
  DataReader(RawData::State& state, const OpenOptions& options) : state_(state), options_(options) {}

  std::optional<Problem> read() {
    choose_splits();
    for (auto step :
         {&DataReader::open_tables, &DataReader::cut_splits, &DataReader::deal_fold, &DataReader::read_classes})
      if (auto problem = (this->*step)()) return problem;
    return std::nullopt;
  }

 private:
  bool wanted(const RawColumn& raw) const {
    return options_.inputs.empty() ||
           std::find(options_.inputs.begin(), options_.inputs.end(), raw.input) != options_.inputs.end();
  }
  bool fitted_on(const std::string& split) const {
    return std::find(state_.job.fit.begin(), state_.job.fit.end(), split) != state_.job.fit.end();
  }

  /// Those asked for, and those that classes are learnt from.
  void choose_splits() {
    bool learn = options_.classes == nullptr && std::any_of(state_.job.raw.begin(), state_.job.raw.end(),
                                                            [](const RawColumn& raw) { return raw.classes; });
    const auto& asked = options_.splits;
    for (const Split& split : state_.job.splits)
      if (asked.empty() || std::find(asked.begin(), asked.end(), split.name) != asked.end() ||
          (learn && fitted_on(split.name)) || (options_.fold && (split.name == "train" || split.name == "valid")))
        state_.names.push_back(split.name);
  }

  const Split& split(const std::string& name) const {
    return *std::find_if(state_.job.splits.begin(), state_.job.splits.end(),
                         [&](const Split& s) { return s.name == name; });
  }

  std::optional<Problem> open_tables() {
    state_.tables.resize(state_.job.sources.size());
    state_.stored.resize(state_.job.sources.size());
    strata_.resize(state_.job.sources.size());
    for (const std::string& name : state_.names) {
      const auto source = static_cast<std::size_t>(split(name).source);
      if (state_.tables[source]) continue;
      auto table = Table::open(state_.job.sources[source], options_.storage);
      if (!table) return table.problem();
      state_.tables[source] = std::move(*table);
      if (auto problem = want_columns(source)) return problem;
      if (auto problem = want_strata(source)) return problem;
      if (auto problem = state_.tables[source]->load()) return problem;
      if (state_.tables[source]->rows() == 0)
        return wrong(state_.job.sources[source].place, fmt::format("{} has no rows", source_name(source)));
    }
    return std::nullopt;
  }

  std::optional<Problem> want_columns(std::size_t source) {
    Table& table = *state_.tables[source];
    for (const RawColumn& raw : state_.job.raw) {
      if (!wanted(raw)) continue;
      auto columns = table.resolve(raw);
      if (!columns) return columns.problem();
      const std::int64_t want = row_elements(raw.type), have = table.width(*columns);
      if (!raw.classes && want != have)
        return wrong(raw.place, fmt::format("the columns of `{}` do not have the declared width", user_name(raw.input)),
                     fmt::format("{} for {}", want == 1 ? "1 value a row" : fmt::format("{} values a row", want),
                                 to_string(raw.type)),
                     fmt::format("{} in {}", have, source_name(source)));
      Stored stored{*columns};
      stored.wanted = raw.classes ? table.want_texts(columns->at(0)) : table.want_numbers(*columns, raw.type.dtype);
      state_.stored[source][raw.input] = std::move(stored);
    }
    return std::nullopt;
  }

  /// Columns by whose values some split of the source is stratified.
  std::optional<Problem> want_strata(std::size_t source) {
    for (const std::string& name : state_.names) {
      const Split& cut = split(name);
      if (static_cast<std::size_t>(cut.source) != source) continue;
      for (const Cut& part : cut.cuts) {
        if (part.stratify_by.empty() || strata_[source].contains(part.stratify_by)) continue;
        auto column = state_.tables[source]->resolve(part.stratify_by, cut.place);
        if (!column) return column.problem();
        strata_[source][part.stratify_by] = state_.tables[source]->want_texts(*column);
      }
    }
    return std::nullopt;
  }

  /// A row's value of a column that some split is stratified by.
  std::string stratum(std::size_t source, const std::string& column, std::uint32_t row) const {
    const Table& table = *state_.tables[source];
    const std::size_t wanted = strata_[source].at(column);
    return table.texts(wanted)[static_cast<std::size_t>(table.text_number(wanted, row))];
  }

  std::optional<Problem> cut_splits() {
    for (const std::string& name : state_.names) {
      const Split& cut = split(name);
      const Table& table = *state_.tables[static_cast<std::size_t>(cut.source)];
      auto rows = split_rows(cut, table.rows(), [&](const std::string& column, std::uint32_t row) {
        return stratum(static_cast<std::size_t>(cut.source), column, row);
      });
      if (!rows) return rows.problem();
      state_.splits[name] = {cut.source, std::move(*rows)};
    }
    return std::nullopt;
  }

  std::optional<Problem> deal_fold() {
    if (!options_.fold) return std::nullopt;
    RawData::State::SplitRows& train = state_.splits.at("train");
    auto valid = state_.splits.find("valid");
    if (valid == state_.splits.end()) state_.names.insert(state_.names.begin() + 1, "valid");
    std::vector<std::uint32_t> pool = train.rows;
    if (valid != state_.splits.end() && valid->second.source == train.source)
      pool.insert(pool.end(), valid->second.rows.begin(), valid->second.rows.end());
    const auto stratum_of_row = stratum_of(split("train"));
    const auto& [index, of, seed] = *options_.fold;
    const auto count = static_cast<std::int64_t>(pool.size());
    if (count < of)
      return wrong(split("train").place, fmt::format("{} rows cannot be dealt out in {} parts", count, of));
    const auto order = permutation(count, seed, Purpose::fold, 0);
    std::map<std::string, std::vector<std::uint32_t>> strata;
    for (const std::uint32_t at : order) strata[stratum_of_row(pool[at])].push_back(at);
    std::vector<bool> is_valid(pool.size());
    int dealt = 0;  // on and on through all strata, so that parts differ by one row at most
    for (const auto& [name, places] : strata)
      for (const std::uint32_t at : places) is_valid[at] = dealt++ % of == index;
    RawData::State::SplitRows rest{train.source, {}}, part{train.source, {}};
    for (const std::uint32_t at : order) (is_valid[at] ? part : rest).rows.push_back(pool[at]);
    state_.splits["train"] = std::move(rest);
    state_.splits["valid"] = std::move(part);
    return std::nullopt;
  }

  /// What a row's stratum is called; one for all where the split has none.
  std::function<std::string(std::uint32_t)> stratum_of(const Split& split) const {
    for (const Cut& cut : split.cuts)
      if (!cut.stratify_by.empty())
        return [this, &split, &cut](std::uint32_t row) {
          return stratum(static_cast<std::size_t>(split.source), cut.stratify_by, row);
        };
    return [](std::uint32_t) { return std::string(); };
  }

  std::string source_name(std::size_t source) const {
    const Source& from = state_.job.sources[source];
    if (!from.path.empty()) return fmt::format("`{}`", from.path);
    return from.columns.empty() ? "the table" : fmt::format("`{}`", from.columns[0].second);
  }

  std::optional<Problem> read_classes() {
    for (const RawColumn& raw : state_.job.raw) {
      if (!raw.classes || !wanted(raw)) continue;
      Classes classes =
          options_.classes ? Classes(options_.classes->at(raw.input)) : Classes::learn(texts_to_learn(raw));
      state_.classes[raw.input] = classes.names();
      for (std::size_t source = 0; source < state_.tables.size(); ++source)
        if (state_.tables[source])
          if (auto problem = index_classes(raw, source, classes)) return problem;
    }
    return std::nullopt;
  }

  /// The texts of the splits that are fitted on, each once, in the order in which their rows show them.
  std::vector<std::string> texts_to_learn(const RawColumn& raw) const {
    std::vector<std::string> texts;
    for (const std::string& name : state_.names) {
      if (!fitted_on(name)) continue;
      const auto& rows = state_.splits.at(name);
      const Table& table = *state_.tables[static_cast<std::size_t>(rows.source)];
      const std::size_t wanted = state_.stored[static_cast<std::size_t>(rows.source)].at(raw.input).wanted;
      std::vector<bool> seen(table.texts(wanted).size());
      for (std::uint32_t row : rows.rows) {
        const auto number = static_cast<std::size_t>(table.text_number(wanted, row));
        if (seen[number]) continue;
        seen[number] = true;
        if (const std::string& text = table.texts(wanted)[number]; !text.empty()) texts.push_back(text);
      }
    }
    return texts;
  }

  /// Only rows that some split uses are looked up: a class that no split has is nobody's error.
  std::optional<Problem> index_classes(const RawColumn& raw, std::size_t source, const Classes& classes) {
    Stored& stored = state_.stored[source].at(raw.input);
    const Table& table = *state_.tables[source];
    const std::vector<std::string>& texts = table.texts(stored.wanted);
    stored.class_of.emplace();
    for (const std::string& text : texts) stored.class_of->push_back(classes.index(text).value_or(-1));
    if (std::ranges::find(*stored.class_of, -1) == stored.class_of->end()) return std::nullopt;
    for (const std::string& name : state_.names) {
      const auto& rows = state_.splits.at(name);
      if (static_cast<std::size_t>(rows.source) != source) continue;
      std::optional<std::uint32_t> first;  // in file order, whatever the split's order is
      for (std::uint32_t row : rows.rows)
        if ((!first || row < *first) &&
            (*stored.class_of)[static_cast<std::size_t>(table.text_number(stored.wanted, row))] < 0)
          first = row;
      if (!first) continue;
      const std::string& text = texts[static_cast<std::size_t>(table.text_number(stored.wanted, *first))];
      Problem unknown = wrong(
          table.place(stored.columns[0], *first),
          text.empty() ? "a value is missing"
                       : fmt::format("`{}` is not a known class of column `{}`", text, raw.columns.at(0)),
          fmt::format("one of {}", listed(classes.names())), text.empty() ? "nothing" : fmt::format("`{}`", text));
      unknown.notes = {fmt::format("note: classes are those of {}; this row is in `{}`", fitted_names(), name)};
      return unknown;
    }
    return std::nullopt;
  }

  std::string fitted_names() const {
    return options_.classes ? "the run" : fmt::format("`{}`", fmt::join(state_.job.fit, "`, `"));
  }

  RawData::State& state_;
  const OpenOptions& options_;
  std::vector<std::map<std::string, std::size_t>> strata_;  ///< by source, by column: what its texts are called
};

RawData::RawData(std::unique_ptr<State> state) : state_(std::move(state)) {}
RawData::~RawData() = default;
RawData::RawData(RawData&&) noexcept = default;
RawData& RawData::operator=(RawData&&) noexcept = default;

const std::vector<std::string>& RawData::splits() const { return state_->names; }
const ClassNames& RawData::classes() const { return state_->classes; }

std::int64_t RawData::rows(const std::string& split) const {
  auto found = state_->splits.find(split);
  return found == state_->splits.end() ? -1 : static_cast<std::int64_t>(found->second.rows.size());
}

Result<RawData> RawData::open(const DataJob& job, const OpenOptions& options) {
  auto state = std::make_unique<State>();
  state->job = job;
  state->folder = options.storage.folder;
  if (auto problem = DataReader(*state, options).read()) return *problem;
  return RawData(std::move(state));
}

std::optional<Problem> RawData::check(const std::vector<RangeCheck>& checks) const {
  for (const RangeCheck& range : checks) {
    const RawColumn* raw = state_->input(range.name);
    if (raw == nullptr) continue;
    auto names = state_->classes.find(raw->input);
    if (names != state_->classes.end() && static_cast<std::int64_t>(names->second.size()) != range.high - range.low) {
      Problem problem = wrong(
          raw->place,
          fmt::format("column `{}` has another number of classes than the program", fmt::join(raw->columns, ", ")),
          fmt::format("{} classes", range.high - range.low),
          fmt::format("{}: {}", names->second.size(), listed(names->second)));
      return problem;
    }
    DenseArray row(raw->type.dtype, {row_elements(raw->type)});
    for (const auto& [name, split] : state_->splits) {
      if (!state_->stored[static_cast<std::size_t>(split.source)].contains(raw->input)) continue;
      for (std::uint32_t index : split.rows) {
        state_->copy(split.source, *raw, index, row.bytes.data());
        for (std::int64_t i = 0; i < row.count(); ++i)
          if (row.at(i) < static_cast<double>(range.low) || row.at(i) >= static_cast<double>(range.high))
            return wrong(state_->place(split.source, raw->input, index), "a value is out of range",
                         fmt::format("a whole number from {} to {}", range.low, range.high - 1),
                         fmt::format("{}", row.at(i)));
      }
    }
  }
  return std::nullopt;
}

std::optional<Problem> RawData::fit(Runner& runner, const Programs& programs, Weights& weights) const {
  std::vector<RowRange> rows;
  for (const std::string& name : state_->job.fit) {
    auto split = state_->splits.find(name);
    if (split == state_->splits.end()) continue;
    const Source& source = state_->job.sources[static_cast<std::size_t>(split->second.source)];
    bool whole = static_cast<std::int64_t>(split->second.rows.size()) == source.samples;
    if (source.kind == Source::Kind::generated &&
        !(whole && std::is_sorted(split->second.rows.begin(), split->second.rows.end())))
      return wrong(source.place, "generated columns can be standardised over all their samples only, not over a part");
    rows.push_back({split->second.source, split->second.rows, static_cast<std::int64_t>(split->second.rows.size())});
  }
  RawFeeder feeder(state_->job, std::move(rows), [this](const RawColumn& raw, RawRow row, std::byte* to) {
    state_->copy(row.source, raw, row.row, to);
  });
  fold_rows(runner, programs, EntryKind::fit, weights, feeder, data_seed);
  return std::nullopt;
}

namespace {

/// Rows of all columns in another order.
void reorder(std::vector<NamedArray>& columns, const std::vector<std::uint32_t>& rows) {
  for (NamedArray& column : columns) {
    std::vector<std::int64_t> dims = column.array.dims;
    dims[0] = static_cast<std::int64_t>(rows.size());
    DenseArray picked(column.array.dtype, dims);
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::memcpy(picked.row(static_cast<std::int64_t>(i)), column.array.row(rows[i]), picked.row_bytes());
    column.array = std::move(picked);
  }
}

struct OutOfRange {
  std::int64_t row;
  double value;
};

bool has_column(const SplitColumns::Streamed& streamed, const std::string& name) {
  return std::ranges::find(streamed.columns, name, &SplitColumns::Streamed::Column::name) != streamed.columns.end();
}

/// The element out of range whose source row is the smallest: what a reader of the file meets first.
std::optional<OutOfRange> find_out_of_range(const SplitColumns& columns, const RangeCheck& range,
                                            const std::vector<std::uint32_t>& rows) {
  std::optional<OutOfRange> first;
  const auto look = [&](const DenseArray& column, std::int64_t first_row) {
    const std::int64_t width = column.rows() == 0 ? 1 : column.count() / column.rows();
    for (std::int64_t i = 0; i < column.count(); ++i) {
      const double value = column.at(i);
      if (value >= static_cast<double>(range.low) && value < static_cast<double>(range.high)) continue;
      const std::int64_t row = first_row + i / width;
      if (!first || rows[static_cast<std::size_t>(row)] < rows[static_cast<std::size_t>(first->row)])
        first = OutOfRange{row, value};
    }
  };
  if (const DenseArray* column = columns.find(range.name)) look(*column, 0);
  if (columns.streamed && has_column(*columns.streamed, range.name))
    for (std::int64_t at = 0; at < columns.rows; at += block_rows)
      look(*columns.part(at, std::min(block_rows, columns.rows - at)).find(range.name), at);
  return first;
}

/// Rows of several columns side by side.
class StreamSink : public RowSink {
 public:
  StreamSink(std::int64_t rows, std::string folder) : rows_(rows), folder_(std::move(folder)) {}

  void place(const nnc_entry& entry, std::int64_t, std::int64_t count, std::span<void*> outputs) override {
    if (!streamed_) begin(entry);
    for (const nnc_slot& slot : outputs_of(entry)) {
      const auto at = std::ranges::find(streamed_->columns, slot.name, &SplitColumns::Streamed::Column::name);
      Bytes& block = blocks_[static_cast<std::size_t>(at - streamed_->columns.begin())];
      if (block.size() < at->bytes * static_cast<std::size_t>(count))
        block = Bytes(at->bytes * static_cast<std::size_t>(count));
      outputs[slot.offset] = block.data();
    }
  }

  std::optional<Problem> done(std::int64_t count) override {
    const std::size_t row_bytes = streamed_->rows.row_bytes();
    if (side_by_side_.size() < row_bytes * static_cast<std::size_t>(count))
      side_by_side_ = Bytes(row_bytes * static_cast<std::size_t>(count));
    for (std::size_t c = 0; c < streamed_->columns.size(); ++c) {
      const auto& column = streamed_->columns[c];
      for (std::size_t row = 0; row < static_cast<std::size_t>(count); ++row)
        std::memcpy(side_by_side_.data() + row * row_bytes + column.offset, blocks_[c].data() + row * column.bytes,
                    column.bytes);
    }
    return streamed_->rows.append(side_by_side_.data(), count);
  }

  std::shared_ptr<const SplitColumns::Streamed> take() { return std::move(streamed_); }

 private:
  void begin(const nnc_entry& entry) {
    std::vector<SplitColumns::Streamed::Column> columns;
    std::size_t row_bytes = 0;
    constexpr std::size_t alignment = sizeof(double);
    for (const nnc_slot& slot : outputs_of(entry)) {
      std::vector<std::int64_t> dims(slot.dims, slot.dims + slot.rank);
      dims[0] = rows_;
      const auto elements = static_cast<std::size_t>(checked_product(std::span(dims).subspan(1)));
      columns.push_back({slot.name, dtype_of(slot), dims, row_bytes, elements * size_of(dtype_of(slot))});
      row_bytes = (row_bytes + columns.back().bytes + alignment - 1) / alignment * alignment;
    }
    streamed_.reset(new SplitColumns::Streamed{std::move(columns), RowStore(row_bytes, folder_)});
    blocks_.resize(streamed_->columns.size());
  }

  std::int64_t rows_;
  std::string folder_;
  std::shared_ptr<SplitColumns::Streamed> streamed_;
  std::vector<Bytes> blocks_;
  Bytes side_by_side_;
};

}  // namespace

Result<SplitColumns> RawData::feed(const std::string& split, EntryKind kind, Runner& runner, const Programs& programs,
                                   Weights& weights, const std::vector<RangeCheck>& checks,
                                   const std::map<std::string, std::vector<std::string>>& inputs_of) const {
  const State::SplitRows& chosen = state_->splits.at(split);
  const Source& source = state_->job.sources[static_cast<std::size_t>(chosen.source)];
  // A generated row is a function of its number in the source, so all are made and the split's are picked.
  bool generated = source.kind == Source::Kind::generated;
  std::int64_t count = static_cast<std::int64_t>(chosen.rows.size());
  RowRange range =
      generated ? RowRange{chosen.source, {}, source.samples} : RowRange{chosen.source, chosen.rows, count};
  RawFeeder feeder(state_->job, {range}, [this](const RawColumn& raw, RawRow row, std::byte* to) {
    state_->copy(row.source, raw, row.row, to);
  });
  SplitColumns columns{split, count, {}};
  if (state_->tables[static_cast<std::size_t>(chosen.source)]->is_streamed()) {
    StreamSink sink(count, state_->folder);
    if (auto problem = map_rows(runner, programs, kind, weights, feeder, data_seed, sink)) return *problem;
    columns.streamed = sink.take();
  } else {
    columns.columns = map_rows(runner, programs, kind, weights, feeder, data_seed);
    if (generated) reorder(columns.columns, chosen.rows);
  }
  for (const RangeCheck& wanted : checks) {
    auto bad = find_out_of_range(columns, wanted, chosen.rows);
    if (!bad) continue;
    auto inputs = inputs_of.find(wanted.name);
    std::uint32_t row = chosen.rows[static_cast<std::size_t>(bad->row)];
    bool traced = inputs != inputs_of.end() && inputs->second.size() == 1;
    Place place = traced ? state_->place(chosen.source, inputs->second[0], row) : source.place;
    Problem problem = wrong(place, fmt::format("a value of column `{}` is out of range", wanted.name),
                            fmt::format("a whole number from {} to {}", wanted.low, wanted.high - 1),
                            fmt::format("{} in row {} of split `{}`", bad->value, row + 1, split));
    const RawColumn* raw = traced ? state_->input(inputs->second[0]) : nullptr;
    if (raw != nullptr && raw->classes)
      problem.found += fmt::format(", which is the class `{}`",
                                   state_->classes.at(raw->input).at(static_cast<std::size_t>(bad->value)));
    if (raw != nullptr && !raw->classes && raw->columns.size() == 1)
      problem.notes = {
          fmt::format("help: `classes(col(\"{}\"))` numbers the values that there are from 0", raw->columns[0])};
    return problem;
  }
  return columns;
}

const DenseArray* SplitColumns::find(const std::string& column) const {
  for (const NamedArray& named : columns)
    if (named.name == column) return &named.array;
  return nullptr;
}

SplitColumns SplitColumns::part(std::int64_t first, std::int64_t count) const {
  SplitColumns some{name, count, {}};
  const auto with_rows = [count](std::vector<std::int64_t> dims) { return dims[0] = count, dims; };
  for (const NamedArray& column : columns) {
    some.columns.push_back({column.name, DenseArray(column.array.dtype, with_rows(column.array.dims))});
    if (count > 0)
      std::memcpy(some.columns.back().array.row(0), column.array.row(first),
                  column.array.row_bytes() * static_cast<std::size_t>(count));
  }
  if (!streamed) return some;
  for (const Streamed::Column& column : streamed->columns) {
    some.columns.push_back({column.name, DenseArray(column.dtype, with_rows(column.dims))});
    for (std::int64_t i = 0; i < count; ++i)
      streamed->rows.read(first + i, column.offset, column.bytes, some.columns.back().array.row(i));
  }
  return some;
}

std::uint64_t SplitColumns::memory() const {
  std::uint64_t bytes = 0;
  for (const NamedArray& column : columns) bytes += column.array.bytes.size();
  return bytes;
}

void feed_streamed(const SplitColumns::Streamed& streamed, const nnc_entry& entry, const std::byte* rows,
                   std::int64_t count, std::span<nnc_feed> feeds) {
  for (const nnc_slot& slot : feeds_of(entry)) {
    const auto column = std::ranges::find(streamed.columns, slot.name, &SplitColumns::Streamed::Column::name);
    feeds[slot.offset] = {rows + column->offset, static_cast<std::int64_t>(streamed.rows.row_bytes()),
                          identity_order(count)};
  }
}

void ColumnFeeder::block(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<nnc_feed> feeds) {
  if (split_.streamed) {
    const std::size_t bytes = split_.streamed->rows.row_bytes() * static_cast<std::size_t>(count);
    if (block_.size() < bytes) block_ = Bytes(bytes);
    split_.streamed->rows.read_rows(first, count, block_.data());
    return feed_streamed(*split_.streamed, entry, block_.data(), count, feeds);
  }
  for (const nnc_slot& slot : feeds_of(entry)) {
    const DenseArray* column = split_.find(slot.name);
    feeds[slot.offset] = {column->row(first), static_cast<std::int64_t>(column->row_bytes()), identity_order(count)};
  }
}

}  // namespace nnc
