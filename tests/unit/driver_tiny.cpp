// Tiny nets in one piece: one kernel without memory of its own, and steps that follow one another in one call give the
// bits of steps taken one by one. (That the bits are the evaluator's is for the random graphs and driver_bits.)
#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <numeric>

#include "driver/session.h"
#include "passes/pipeline.h"
#include "tests/support/random.h"
#include "tests/support/scratch.h"
#include "tests/support/targets.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

const std::string folder = NNC_SOURCE_DIR "/bench/tiny/";

std::vector<Elaborated> elaborated(const std::string& file, bool double_precision) {
  ElaborateOptions options;
  options.double_precision = double_precision;
  Diagnostics diagnostics;
  std::vector<Elaborated> blocks = elaborate_file(file, options, diagnostics);
  REQUIRE(blocks.size() == 1);
  return blocks;
}

/// Everything that calls read and write, for `times` calls.
struct Memory {
  Bytes params, state, arena;
  std::vector<Scalars> scalars;
  std::vector<std::uint32_t> order;
  std::vector<DenseArray> columns, results;
  std::vector<nnc_feed> feeds;
  std::vector<void*> outputs;

  Memory(const nnc_entry& entry, std::int64_t times)
      : params(entry.params_bytes), state(entry.state_bytes), arena(entry.arena_bytes) {
    test::Random random(7);
    const auto fill = [&](Bytes& bytes, std::span<const nnc_slot> slots) {
      for (const nnc_slot& slot : slots) {
        DenseArray values(dtype_of(slot), {slot.dims, slot.dims + slot.rank});
        for (std::int64_t i = 0; i < values.count(); ++i) values.set(i, random.between(1, 100) * 0.01);
        pack(slot, values, bytes.data());
      }
    };
    fill(params, params_of(entry));
    fill(state, state_of(entry));
    const std::int64_t rows = times * entry.rows;
    order.resize(static_cast<std::size_t>(rows));
    for (std::uint32_t& row : order) row = static_cast<std::uint32_t>(random.below(static_cast<std::uint64_t>(rows)));
    feeds.resize(entry.feed_count);
    for (const nnc_slot& slot : feeds_of(entry)) {
      std::vector<std::int64_t> dims(slot.dims, slot.dims + slot.rank);
      dims[0] = rows;
      DenseArray& column = columns.emplace_back(dtype_of(slot), dims);
      for (std::int64_t i = 0; i < column.count(); ++i)
        column.set(i, slot.dtype == NNC_I32 ? random.between(0, 2) : random.between(-100, 100) * 0.01);
    }
    for (std::size_t i = 0; i < columns.size(); ++i)
      feeds[feeds_of(entry)[i].offset] = {columns[i].bytes.data(), static_cast<std::int64_t>(columns[i].row_bytes()),
                                          order.data()};
    outputs.resize(entry.output_count);
    for (const nnc_slot& slot : outputs_of(entry)) {
      std::vector<std::int64_t> dims(slot.dims, slot.dims + slot.rank);
      dims.insert(dims.begin(), times);
      results.emplace_back(dtype_of(slot), dims);
    }
    for (std::size_t i = 0; i < results.size(); ++i) outputs[outputs_of(entry)[i].offset] = results[i].bytes.data();
    for (std::int64_t i = 0; i < times; ++i) {
      Scalars& now = scalars.emplace_back();
      now[ScalarSlot::step] = static_cast<double>(i + 1);
      now[ScalarSlot::epoch] = 1;
      now[ScalarSlot::steps_per_epoch] = now[ScalarSlot::total_steps] = 100;
      now[ScalarSlot::rows] = entry.rows;
    }
  }

  nnc_call call() {
    nnc_call made{};
    made.params = params.data(), made.state = state.data(), made.arena = arena.data();
    made.feeds = feeds.data(), made.outputs = outputs.data(), made.scalars = scalars[0].values;
    made.seed = 3, made.step = 1, made.threads = 1;
    return made;
  }
};

bool same(const Bytes& a, const Bytes& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

void check_repeated(const std::string& file, bool double_precision, std::int64_t rows) {
  constexpr std::int64_t times = 5;
  const std::vector<Elaborated> blocks = elaborated(file, double_precision);
  const driver::Session session(blocks[0], {.host = detect_host()}, rows);
  const Program program = session.lower_graph(optimise(blocks[0].step), EntryKind::step, rows);
  CAPTURE(file, double_precision, rows);
  REQUIRE(program.kernels.size() == 1);
  CHECK(program.arena_bytes == 0);
  const auto compiled = compile(program, {.target = test::targets()[0]});
  const nnc_entry& entry = compiled->entry();
  REQUIRE(entry.repeat != nullptr);

  Memory together(entry, times), apart(entry, times);
  const nnc_call all = together.call();
  entry.repeat(&all, times);
  for (std::int64_t i = 0; i < times; ++i) {
    nnc_call one = apart.call();
    one.scalars = apart.scalars[static_cast<std::size_t>(i)].values;
    one.step += static_cast<std::uint64_t>(i);
    for (nnc_feed& feed : apart.feeds) feed.order = apart.order.data() + i * rows;
    std::vector<void*> outputs(apart.outputs.size());
    for (std::size_t j = 0; j < apart.results.size(); ++j)
      outputs[outputs_of(entry)[j].offset] = apart.results[j].row(i);
    one.outputs = outputs.data();
    entry.call(&one);
  }
  CHECK(same(together.params, apart.params));
  CHECK(same(together.state, apart.state));
  for (std::size_t i = 0; i < apart.results.size(); ++i) CHECK(same(together.results[i].bytes, apart.results[i].bytes));
}

}  // namespace

TEST_CASE("a tiny net's step is one kernel without memory of its own, and steps together are steps one by one") {
  for (const char* net : {"linear", "logistic", "xor", "curve", "softmax"})
    for (const bool double_precision : {false, true})
      for (const std::int64_t rows : {1, 3, 4, 10, 17}) check_repeated(folder + net + ".nn", double_precision, rows);
}

TEST_CASE("steps together count on where an optimizer or chance looks at the step") {
  const test::Scratch scratch;
  const std::string file = std::string(scratch.path()) + "/chance.nn";
  std::ofstream(file) << R"(data rows {
  samples = 20
  x: f32[2] = uniform(0, 1)
  y: f32[1] = x[:1]
}
model Net(x: f32[batch, 2]) -> f32[batch, 1] {
  return x |> Dense(3) |> tanh |> Dropout(0.5) |> Dense(1)
}
train Net on rows {
  loss = half_mse(Net(x), y)
  optimizer = adam(lr = cosine(0.1))
  batch_size = 4
  epochs = 1
}
)";
  for (const std::int64_t rows : {1, 4}) check_repeated(file, false, rows);
}
