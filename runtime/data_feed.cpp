// From raw rows to columns: the compiled `fit` sees all rows of the splits that are fitted on, the compiled `feed`
// makes the columns of a split, in memory or, where their source is streamed, in a file.
#include <fmt/format.h>

#include <functional>
#include <utility>

#include "runtime/data_state.h"

namespace nnc {

namespace {

/// Generated columns are the same whatever the seed of a training run is.
constexpr std::uint64_t data_seed = 0;

}  // namespace

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

std::optional<Problem> RawData::fit(Runner& runner, const Programs& programs, Weights& weights) const {
  std::vector<RowRange> rows;
  for (const std::string& name : state_->job.fit) {
    auto split = state_->splits.find(name);
    if (split == state_->splits.end()) continue;
    const Source& source = state_->job.sources[static_cast<std::size_t>(split->second.source)];
    bool whole = static_cast<std::int64_t>(split->second.rows.size()) == source.samples;
    if (source.kind == Source::Kind::generated &&
        !(whole && std::is_sorted(split->second.rows.begin(), split->second.rows.end())))
      return wrong_at(source.place,
                      "generated columns can be standardised over all their samples only, not over a part");
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
    Problem problem = wrong_at(place, fmt::format("a value of column `{}` is out of range", wanted.name),
                               fmt::format("a whole number from {} to {}", wanted.low, wanted.high - 1),
                               fmt::format("{}{}", bad->value, in_row(source, place, row)));
    const RawColumn* raw = traced ? state_->input(inputs->second[0]) : nullptr;
    if (raw != nullptr && raw->classes)
      problem.found += fmt::format(", which is the class `{}`",
                                   state_->classes.at(raw->input).names.at(static_cast<std::size_t>(bad->value)));
    if (raw != nullptr && !raw->classes && raw->columns.size() == 1)
      problem.notes = {
          fmt::format("help: `classes(col(\"{}\"))` numbers the values that there are from 0", raw->columns[0])};
    return problem;
  }
  return columns;
}

}  // namespace nnc
