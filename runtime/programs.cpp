#include "runtime/programs.h"

#include <algorithm>
#include <numeric>

namespace nnc {

void Runner::run(const Entry& entry, nnc_call call) {
  if (arena_.size() < entry.code->arena_bytes) arena_ = Bytes(entry.code->arena_bytes);
  call.arena = arena_.data();
  team_.run(entry.code->call, call, entry.threads);
}

void Runner::repeat(const Entry& entry, nnc_call call, std::int64_t times) {
  if (arena_.size() < entry.code->arena_bytes) arena_ = Bytes(entry.code->arena_bytes);
  call.arena = arena_.data();
  call.thread = 0;
  call.threads = 1;
  entry.code->repeat(&call, static_cast<std::uint64_t>(times));
}

const std::uint32_t* identity_order(std::int64_t count) {
  thread_local std::vector<std::uint32_t> order;
  std::size_t have = order.size(), want = static_cast<std::size_t>(count);
  if (have < want) {
    order.resize(want);
    std::iota(order.begin() + static_cast<std::ptrdiff_t>(have), order.end(), static_cast<std::uint32_t>(have));
  }
  return order.data();
}

namespace {

EntryKind finish_of(EntryKind kind) {
  return kind == EntryKind::fit ? EntryKind::fit_finish : EntryKind::evaluate_finish;
}

/// Totals between passes and blocks, by name and in logical order, since each program places its carries as it likes.
class Carries {
 public:
  explicit Carries(const Programs& programs) : programs_(programs) {}

  /// The carry region of an entry, filled with what is known by now.
  std::byte* open(const nnc_entry& entry) {
    if (entry_ == &entry) return region_.data();
    close();
    entry_ = &entry;
    region_ = Bytes(entry.carry_bytes);
    for (const nnc_slot& slot : carry_of(entry)) {
      auto known = values_.find(slot.name);
      pack(slot, known != values_.end() ? known->second : start_of(slot), region_.data());
    }
    return region_.data();
  }

 private:
  void close() {
    if (entry_ == nullptr) return;
    for (const nnc_slot& slot : carry_of(*entry_)) values_.insert_or_assign(slot.name, unpack(slot, region_.data()));
  }

  DenseArray start_of(const nnc_slot& slot) const {
    DenseArray start(dtype_of(slot), {slot.dims, slot.dims + slot.rank});
    auto value = programs_.carry_start.find(slot.name);
    if (value != programs_.carry_start.end())
      for (std::int64_t i = 0; i < start.count(); ++i) start.set(i, value->second);
    return start;
  }

  const Programs& programs_;
  const nnc_entry* entry_ = nullptr;
  Bytes region_;
  std::map<std::string, DenseArray> values_;
};

nnc_call call_over(Weights& weights, Scalars& scalars, std::uint64_t seed) {
  nnc_call call{};
  call.params = weights.params.data();
  call.state = weights.state.data();
  call.scalars = scalars.values;
  call.seed = seed;
  return call;
}

}  // namespace

std::vector<NamedArray> fold_rows(Runner& runner, const Programs& programs, EntryKind kind, Weights& weights,
                                  RowFeeder& rows, std::uint64_t seed, std::int64_t block) {
  Scalars scalars;
  scalars[ScalarSlot::rows] = static_cast<double>(rows.rows());
  Carries carries(programs);
  std::vector<nnc_feed> feeds;
  std::vector<void*> outputs;
  nnc_call call = call_over(weights, scalars, seed);
  int passes = kind == EntryKind::fit ? programs.fit_passes : programs.evaluate_passes;
  for (int pass = 0; pass < passes; ++pass) {
    for (std::int64_t first = 0; first < rows.rows(); first += block) {
      std::int64_t count = std::min(block, rows.rows() - first);
      Entry entry = programs.entry(kind, pass, count);
      feeds.resize(entry.code->feed_count);
      rows.block(*entry.code, first, count, feeds);
      call.feeds = feeds.data();
      call.carry = carries.open(*entry.code);
      call.row_offset = static_cast<std::uint64_t>(first);
      runner.run(entry, call);
    }
  }
  Entry finish = programs.entry(finish_of(kind), 0, 1);
  std::vector<NamedArray> results;
  for (const nnc_slot& slot : outputs_of(*finish.code))
    results.push_back({slot.name, DenseArray(dtype_of(slot), {slot.dims, slot.dims + slot.rank})});
  outputs.resize(results.size());
  for (std::size_t i = 0; i < results.size(); ++i)
    outputs[outputs_of(*finish.code)[i].offset] = results[i].array.bytes.data();
  call.feeds = nullptr;
  call.outputs = outputs.data();
  call.carry = carries.open(*finish.code);
  call.row_offset = 0;
  runner.run(finish, call);
  return results;
}

std::optional<Problem> map_rows(Runner& runner, const Programs& programs, EntryKind kind, Weights& weights,
                                RowFeeder& rows, std::uint64_t seed, RowSink& sink, std::int64_t block) {
  Scalars scalars;
  scalars[ScalarSlot::rows] = static_cast<double>(rows.rows());
  std::vector<nnc_feed> feeds;
  std::vector<void*> outputs;
  nnc_call call = call_over(weights, scalars, seed);
  for (std::int64_t first = 0; first < rows.rows(); first += block) {
    const std::int64_t count = std::min(block, rows.rows() - first);
    const Entry entry = programs.entry(kind, 0, count);
    feeds.resize(entry.code->feed_count);
    rows.block(*entry.code, first, count, feeds);
    outputs.resize(entry.code->output_count);
    sink.place(*entry.code, first, count, outputs);
    call.feeds = feeds.data();
    call.outputs = outputs.data();
    call.row_offset = static_cast<std::uint64_t>(first);
    runner.run(entry, call);
    if (auto problem = sink.done(count)) return problem;
  }
  return std::nullopt;
}

namespace {

/// Dense arrays of all rows, which entries write into where they lie.
class ArraySink : public RowSink {
 public:
  explicit ArraySink(std::int64_t rows) : rows_(rows) {}
  void place(const nnc_entry& entry, std::int64_t first, std::int64_t, std::span<void*> outputs) override {
    for (const nnc_slot& slot : outputs_of(entry)) {
      auto at = std::ranges::find(arrays, slot.name, &NamedArray::name);
      if (at == arrays.end()) {
        std::vector<std::int64_t> dims(slot.dims, slot.dims + slot.rank);
        dims[0] = rows_;
        arrays.push_back({slot.name, DenseArray(dtype_of(slot), dims)});
        at = std::prev(arrays.end());
      }
      outputs[slot.offset] = at->array.row(first);
    }
  }
  std::optional<Problem> done(std::int64_t) override { return std::nullopt; }

  std::vector<NamedArray> arrays;

 private:
  std::int64_t rows_;
};

}  // namespace

std::vector<NamedArray> map_rows(Runner& runner, const Programs& programs, EntryKind kind, Weights& weights,
                                 RowFeeder& rows, std::uint64_t seed, std::int64_t block) {
  ArraySink sink(rows.rows());
  map_rows(runner, programs, kind, weights, rows, seed, sink, block);
  return std::move(sink.arrays);
}

}  // namespace nnc
