// Compiled entries through the session: blocks of any size give the same bits of figures, batches of any size the same
// bits of predictions, and every program finds parameters where the training step wants them.
#include <cstring>
#include <fstream>

#include "driver/session.h"
#include "runtime/data.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

const char* const program =
    "data rows {\n  train = csv(\"rows.csv\")\n  x: f32[3] = standardize(cols(\"a\", \"b\", \"c\"))\n  y: i32[] = "
    "col(\"y\")\n}\n"
    "model Net(x: f32[batch, 3]) -> f32[batch, 4] { return x |> Dense(40) |> tanh |> Dense(4) }\n"
    "train Net on rows {\n  let z = Net(x)\n  loss = softmax_cross_entropy(z, y)\n  metric acc = accuracy(z, y)\n"
    "  output p = softmax(z)\n  output best = argmax(z, over = -1)\n  optimizer = adam(lr = 0.01)\n  batch_size = 32\n "
    " epochs = 1\n}\n";

/// The program on so many rows, with fresh weights and fitted state.
struct Model {
  nnc::test::Scratch scratch;
  std::vector<Elaborated> blocks;
  std::optional<driver::Session> session;
  Programs programs;
  Runner runner{2};
  std::optional<Weights> weights;
  SplitColumns columns;

  explicit Model(int rows) {
    std::ofstream file(scratch.path() / "rows.csv");
    file << "a,b,c,y\n";
    for (int i = 0; i < rows; ++i)
      file << i % 17 << "," << (i * 7) % 23 << "," << (i * i) % 31 << "," << (i % 17 + i % 5) % 4 << "\n";
    file.close();
    std::ofstream(scratch.path() / "net.nn") << program;
    Diagnostics diagnostics;
    blocks = elaborate_file((scratch.path() / "net.nn").string(), {}, diagnostics);
    INFO(diagnostics.render(false));
    REQUIRE(blocks.size() == 1);
    driver::Compilation compilation{detect_host(), CodegenLevel::less, 2};
    session.emplace(blocks[0], compilation, 32);
    programs = session->programs();
    Entry init = session->entry(EntryKind::init, 0, 1);
    weights.emplace(*init.code);
    Scalars scalars;
    nnc_call call{};
    call.params = weights->params.data(), call.state = weights->state.data(), call.scalars = scalars.values,
    call.seed = 7;
    runner.run(init, call);
    auto data = RawData::open(blocks[0].data, {});
    REQUIRE(data);
    REQUIRE_FALSE(data->fit(runner, programs, *weights));
    auto fed = data->feed("train", EntryKind::feed, runner, programs, *weights, session->column_checks(),
                          session->inputs_of_columns());
    REQUIRE(fed);
    columns = std::move(*fed);
  }
};

bool same(const std::vector<NamedArray>& a, const std::vector<NamedArray>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].name != b[i].name || a[i].array.dims != b[i].array.dims ||
        std::memcmp(a[i].array.bytes.data(), b[i].array.bytes.data(), a[i].array.bytes.size()) != 0)
      return false;
  return true;
}

}  // namespace

TEST_CASE("blocks of any multiple of 4096 rows give the same bits of loss and metrics") {
  Model model(20000);
  ColumnFeeder feeder(model.columns);
  auto figures = fold_rows(model.runner, model.programs, EntryKind::evaluate, *model.weights, feeder, 0);
  REQUIRE(figures.size() == 2);
  CHECK(figures[0].array.at(0) > 1);
  for (std::int64_t block : {2 * block_rows, 3 * block_rows, 5 * block_rows})
    CHECK(
        same(figures, fold_rows(model.runner, model.programs, EntryKind::evaluate, *model.weights, feeder, 0, block)));
}

TEST_CASE("a prediction's bits do not depend on its batch") {
  Model model(97);
  ColumnFeeder feeder(model.columns);
  auto outputs = map_rows(model.runner, model.programs, EntryKind::predict, *model.weights, feeder, 0);
  REQUIRE(outputs.size() == 2);
  for (std::int64_t batch : {1, 2, 15, 16, 17, 96})
    CHECK(same(outputs, map_rows(model.runner, model.programs, EntryKind::predict, *model.weights, feeder, 0, batch)));
}

TEST_CASE("every entry has the same slots of parameters and state as the training step") {
  Model model(64);
  const nnc_entry& step = *model.session->entry(EntryKind::step, 0, 32).code;
  for (auto [kind, rows] : {std::pair{EntryKind::init, 1},
                            {EntryKind::step, 17},
                            {EntryKind::grads, 32},
                            {EntryKind::update, 1},
                            {EntryKind::pack, 1},
                            {EntryKind::unpack, 1},
                            {EntryKind::evaluate, 64},
                            {EntryKind::predict, 5},
                            {EntryKind::feed, 64},
                            {EntryKind::fit_finish, 1}}) {
    const nnc_entry& entry = *model.session->entry(kind, 0, rows).code;
    INFO(entry.name);
    CHECK(entry.params_bytes == step.params_bytes);
    CHECK(entry.state_bytes == step.state_bytes);
    REQUIRE(entry.param_count == step.param_count);
    for (std::uint32_t i = 0; i < step.param_count; ++i) {
      CHECK(std::string(entry.params[i].name) == step.params[i].name);
      CHECK(entry.params[i].offset == step.params[i].offset);
      CHECK(entry.params[i].layout == step.params[i].layout);
    }
  }
  // What is packed comes back.
  for (const nnc_slot& slot : params_of(step)) {
    DenseArray values(DType::f32, {slot.dims, slot.dims + slot.rank});
    for (std::int64_t i = 0; i < values.count(); ++i) values.set(i, static_cast<double>(i) + 0.5);
    pack(slot, values, model.weights->params.data());
    DenseArray back = unpack(slot, model.weights->params.data());
    CHECK(std::memcmp(back.bytes.data(), values.bytes.data(), values.bytes.size()) == 0);
  }
}

TEST_CASE("the entries pack and unpack move parameters and state as the slots say, to the bit") {
  Model model(64);
  Scalars scalars;
  const Entry pack_entry = model.session->entry(EntryKind::pack, 0, 1);
  const Entry unpack_entry = model.session->entry(EntryKind::unpack, 0, 1);
  const std::span<const nnc_slot> arrays{pack_entry.code->grads, pack_entry.code->grad_count};
  REQUIRE(arrays.size() == params_of(*pack_entry.code).size() + state_of(*pack_entry.code).size());
  REQUIRE(unpack_entry.code->grads_bytes == pack_entry.code->grads_bytes);

  // Whatever lies in the regions, as the slots alone say, is what is unpacked.
  const Weights before = *model.weights;
  Bytes logical(pack_entry.code->grads_bytes);
  const auto run = [&](const Entry& entry, Weights& weights) {
    nnc_call call{};
    call.params = weights.params.data(), call.state = weights.state.data(), call.grads = logical.data();
    call.scalars = scalars.values;
    model.runner.run(entry, call);
  };
  Weights from = before;
  run(unpack_entry, from);
  std::size_t panels = 0;
  for (const auto& [slots, region] :
       {std::pair{params_of(*pack_entry.code), &before.params}, std::pair{state_of(*pack_entry.code), &before.state}})
    for (const nnc_slot& slot : slots) {
      const nnc_slot* array = find_slot(arrays, "logical/" + std::string(slot.name));
      INFO(slot.name);
      REQUIRE(array != nullptr);
      CHECK(array->layout == NNC_ROW_MAJOR);
      const DenseArray expected = unpack(slot, region->data());
      CHECK(std::memcmp(logical.data() + array->offset, expected.bytes.data(), expected.bytes.size()) == 0);
      panels += slot.layout == NNC_PANELS;
    }
  CHECK(panels > 0);  // else nothing was moved about

  // And packing that into fresh memory (zeros: runtime/abi.h) gives the regions again, padding and all.
  Weights to(*pack_entry.code);
  run(pack_entry, to);
  for (const nnc_slot& slot : params_of(*pack_entry.code))
    CHECK(std::memcmp(to.params.data() + slot.offset, before.params.data() + slot.offset, slot.bytes) == 0);
  for (const nnc_slot& slot : state_of(*pack_entry.code))
    CHECK(std::memcmp(to.state.data() + slot.offset, before.state.data() + slot.offset, slot.bytes) == 0);
}

TEST_CASE("gradients, and then the update from them, are the step to the bit") {
  Model model(64);
  const std::int64_t rows = 32;
  ColumnFeeder feeder(model.columns);
  Scalars scalars;
  scalars[ScalarSlot::step] = scalars[ScalarSlot::epoch] = 1;
  scalars[ScalarSlot::steps_per_epoch] = scalars[ScalarSlot::total_steps] = 2;

  // Every gradient lies where both halves look for it, dense.
  const nnc_entry& grads = *model.session->entry(EntryKind::grads, 0, rows).code;
  const nnc_entry& update = *model.session->entry(EntryKind::update, 0, 1).code;
  REQUIRE(grads.grad_count == grads.param_count);
  REQUIRE(update.grad_count == grads.grad_count);
  REQUIRE(update.grads_bytes == grads.grads_bytes);
  CHECK(update.feed_count == 0);
  for (std::uint32_t i = 0; i < grads.grad_count; ++i) {
    CHECK(std::string(grads.grads[i].name) == update.grads[i].name);
    CHECK(grads.grads[i].offset == update.grads[i].offset);
    CHECK(grads.grads[i].layout == NNC_ROW_MAJOR);
  }

  Bytes gradients(grads.grads_bytes);
  const auto run = [&](EntryKind kind, std::int64_t entry_rows, Weights& weights) {
    const Entry entry = model.session->entry(kind, 0, entry_rows);
    std::vector<nnc_feed> feeds(entry.code->feed_count);
    feeder.block(*entry.code, 0, entry_rows, feeds);
    std::vector<DenseArray> results;
    std::vector<void*> outputs;
    for (const nnc_slot& slot : outputs_of(*entry.code))
      results.emplace_back(dtype_of(slot), std::vector<std::int64_t>(slot.dims, slot.dims + slot.rank));
    for (DenseArray& result : results) outputs.push_back(result.bytes.data());
    nnc_call call{};
    call.params = weights.params.data(), call.state = weights.state.data(), call.grads = gradients.data();
    call.feeds = feeds.data(), call.outputs = outputs.data(), call.scalars = scalars.values;
    call.seed = 7, call.step = 1;
    model.runner.run(entry, call);
    return results;
  };
  const auto equal = [](const Bytes& a, const Bytes& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
  };
  const Weights before = *model.weights;
  Weights whole = before, halves = before;
  const std::vector<DenseArray> loss = run(EntryKind::step, rows, whole);
  const std::vector<DenseArray> loss_again = run(EntryKind::grads, rows, halves);
  CHECK(equal(halves.params, before.params));
  run(EntryKind::update, 1, halves);
  CHECK_FALSE(equal(whole.params, before.params));
  CHECK_FALSE(equal(whole.state, before.state));
  CHECK(equal(halves.params, whole.params));
  CHECK(equal(halves.state, whole.state));
  REQUIRE(loss.size() == 1);
  REQUIRE(loss_again.size() == 1);
  CHECK(loss_again[0].at(0) == loss[0].at(0));
}
