#include "driver/workload.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <string_view>

namespace nnc::driver {

namespace {

constexpr std::size_t calls_at_once = 64;

/// Extents of a slot.
std::vector<std::int64_t> dims_of(const nnc_slot& slot) { return {slot.dims, slot.dims + slot.rank}; }

DenseArray random_column(const nnc_entry& entry, const nnc_slot& slot, std::int64_t rows, std::mt19937_64& random) {
  std::vector<std::int64_t> dims = dims_of(slot);
  dims[0] = rows;
  DenseArray made(dtype_of(slot), std::move(dims));
  std::int64_t low = 0, high = 2;
  for (std::uint32_t i = 0; i < entry.obligation_count; ++i)
    if (entry.obligations[i].input == std::string_view(slot.name))
      low = entry.obligations[i].low, high = entry.obligations[i].high;
  const auto span = static_cast<std::uint64_t>(std::max<std::int64_t>(high - low, 1));
  for (std::int64_t i = 0; i < made.count(); ++i) {
    const std::uint64_t word = random();
    const bool whole = made.dtype == DType::i32 || made.dtype == DType::boolean;
    made.set(i, whole ? static_cast<double>(low + static_cast<std::int64_t>(word % span))
                      : static_cast<double>(word >> 11) / 0x1p53);
  }
  return made;
}

}  // namespace

Workload::Workload(const nnc_entry& entry, Session& session)
    : entry_(entry), weights_(entry), scalars_(entry.repeat != nullptr ? calls_at_once : 1) {
  initialise(session);
  std::mt19937_64 random(1);
  order_.resize(entry.rows * scalars_.size());
  std::iota(order_.begin(), order_.end(), 0U);
  const auto rows = static_cast<std::int64_t>(order_.size());
  for (const nnc_slot& slot : feeds_of(entry)) columns_.push_back(random_column(entry, slot, rows, random));
  for (const nnc_slot& slot : outputs_of(entry)) {
    std::vector<std::int64_t> dims = dims_of(slot);
    dims.insert(dims.begin(), times());
    results_.emplace_back(dtype_of(slot), dims);
  }
  feeds_.resize(columns_.size());
  for (std::size_t i = 0; i < columns_.size(); ++i)
    feeds_[feeds_of(entry)[i].offset] = {columns_[i].bytes.data(), static_cast<std::int64_t>(columns_[i].row_bytes()),
                                         order_.data()};
  outputs_.resize(results_.size());
  for (std::size_t i = 0; i < results_.size(); ++i) outputs_[outputs_of(entry)[i].offset] = results_[i].bytes.data();
  gradients_ = Bytes(entry.grads_bytes);
}

nnc_call Workload::call() {
  nnc_call call{};
  call.params = weights_.params.data();
  call.state = weights_.state.data();
  call.grads = gradients_.data();
  call.feeds = feeds_.data();
  call.outputs = outputs_.data();
  call.scalars = scalars_[0].values;
  call.seed = 1;
  return call;
}

void Workload::run(Runner& runner, int threads) {
  if (times() > 1)
    runner.repeat({&entry_, threads}, call(), times());
  else
    runner.run({&entry_, threads}, call());
}

void Workload::run_watched(void (*see)(void*), void* watch) {
  if (arena_.size() < entry_.arena_bytes) arena_ = Bytes(entry_.arena_bytes);
  nnc_call watched = call();
  watched.arena = arena_.data();
  watched.threads = 1;
  watched.barrier = see;
  watched.team = watch;
  entry_.call(&watched);
}

void Workload::initialise(Session& session) {
  const Entry init = session.entry(EntryKind::init, 0, 1);
  nnc_call call{};
  call.params = weights_.params.data();
  call.state = weights_.state.data();
  for (std::size_t i = 0; i < scalars_.size(); ++i) {
    for (ScalarSlot slot : {ScalarSlot::step, ScalarSlot::epoch}) scalars_[i][slot] = 1;
    for (ScalarSlot slot : {ScalarSlot::steps_per_epoch, ScalarSlot::total_steps}) scalars_[i][slot] = 1000;
    scalars_[i][ScalarSlot::rows] = entry_.rows;
  }
  call.scalars = scalars_[0].values;
  Runner(1).run({init.code, 1}, call);
  start_ = weights_;
}

}  // namespace nnc::driver
