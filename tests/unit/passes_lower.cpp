// Lowering keeps every bit: a program, run by its definition, gives what the evaluator gives for the graph.
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/loop_graphs.h"
#include "tests/support/mlp_graph.h"
#include "tests/support/run_program.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

/// Numbers that look random but are the same everywhere.
struct Numbers {
  std::uint64_t state = 12345;
  double next() {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<double>(static_cast<std::int64_t>(state >> 33) - (std::int64_t{1} << 30)) / (1 << 30);
  }
};

Tensor random_tensor(const Type& type, std::int64_t batch, Numbers& numbers, double scale = 1,
                     std::int64_t classes = 3) {
  std::vector<std::int64_t> dims;
  for (const Extent& extent : type.shape) dims.push_back(extent.batched ? extent.count * batch : extent.count);
  Tensor tensor = Tensor::zeros(type.dtype, dims);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const double value = numbers.next();
    tensor.set(i, type.dtype == DType::i32 ? static_cast<double>(static_cast<std::int64_t>((value + 1) * 1e6) % classes)
                  : type.dtype == DType::boolean ? value > 0
                                                 : value * scale);
  }
  return tensor;
}

Environment environment_for(const Graph& graph, std::int64_t batch) {
  Numbers numbers;
  Environment environment;
  environment.batch = batch;
  environment.seed = 7;
  environment.step = 3;
  environment.row_offset = 5;
  environment.scalars = {{"step", 3}, {"epoch", 1}, {"steps_per_epoch", 10}, {"total_steps", 50}, {"rows", 100}};
  for (const Node& node : graph.nodes) {
    const auto* named = std::get_if<Named>(&node.attributes);
    if (!named || node.op == Op::scalar) continue;
    auto& values = node.op == Op::param   ? environment.params
                   : node.op == Op::state ? environment.state
                   : node.op == Op::carry ? environment.carry
                                          : environment.inputs;
    if (!values.contains(named->name)) values[named->name] = random_tensor(node.type, batch, numbers);
    if (node.op == Op::state)  // second moments are not negative
      for (std::int64_t i = 0; i < values[named->name].count(); ++i)
        values[named->name].set(i, std::fabs(values[named->name].at(i)));
  }
  return environment;
}

void check_same(const Graph& graph, std::int64_t batch, const std::string& entry = "step") {
  const Environment environment = environment_for(graph, batch);
  const std::map<std::string, Tensor> expected = evaluate(graph, environment);
  for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
    for (const bool fuse : {false, true})
      for (const bool layout : {false, true}) {
        LowerOptions options;
        options.machine = machine;
        options.rows = batch;
        options.threads = 2;
        options.fuse = fuse;
        options.layout = layout;
        options.in_one_piece = fuse && layout;
        const Program program = lower(graph, entry, options);
        INFO(print(program));
        CAPTURE(machine.name, fuse, layout, batch);
        REQUIRE(verify(program) == "");
        const std::map<std::string, Tensor> found = run_program(program, environment);
        CHECK(found.size() == expected.size());
        for (const auto& [name, tensor] : expected) {
          INFO(name);
          REQUIRE(found.contains(name));
          REQUIRE(same_bits(found.at(name), tensor));
        }
      }
}

}  // namespace

TEST_CASE("a step of an MLP keeps its bits under every fusion and layout") {
  check_same(mlp_step({20, 17, 16, 10}, true), 13);
  check_same(mlp_step({4, 3, 2}, true), 7);
  check_same(mlp_step({33, 16, 3}, false), 1);
}

TEST_CASE("views in every order, merged and split, keep their bits") {
  Builder b("views");
  const Value x = b.leaf(Op::input, "x", f32(rows({2, 6})));
  const Value w = b.leaf(Op::param, "w", f32(fixed({12, 5})));
  const Value flat = b.reshape(x, rows({12}));
  const Value y = b.dot(flat, w, {1}, {0});
  b.output(OutputKind::result, "dot of merged axes", y);
  const Value turned = b.transpose(x, {2, 0, 1});
  b.output(OutputKind::result, "transposed", turned);
  b.output(OutputKind::result, "split", b.reshape(apply(Op::exp, flat), rows({3, 2, 2})));
  b.output(OutputKind::result, "merged sum", sum(b, b.reshape(turned * 2.0, {{12, true}}), {0}));
  const Value wide = b.broadcast(y, {0, 2}, rows({3, 5}));
  b.output(OutputKind::result, "broadcast", apply(Op::tanh, wide) + 1.0);
  b.output(OutputKind::result, "middle", sum(b, wide * wide, {1}));
  b.output(OutputKind::result, "leaf", x);
  b.output(OutputKind::result, "column", b.reshape(sum(b, y, {1}), rows({1})));
  b.output(OutputKind::update, "w", b.reshape(b.transpose(w, {1, 0}), fixed({12, 5})));
  for (const std::int64_t batch : {1, 4, 17}) check_same(assign_order(Graph(b.graph())), batch);
}

TEST_CASE("contractions of any axes keep their bits") {
  Builder b("dots");
  const Value x = b.leaf(Op::input, "x", f64(rows({3, 4})));
  const Value w = b.leaf(Op::param, "w", f64(fixed({3, 5, 4})));
  const Value v = b.leaf(Op::param, "v", f64(fixed({4})));
  const Value narrow = b.leaf(Op::input, "narrow", f64(rows({2})));
  b.output(OutputKind::result, "two axes", b.dot(x, w, {1, 2}, {0, 2}));
  b.output(OutputKind::result, "crossed", b.dot(x, w, {2, 1}, {2, 0}));
  b.output(OutputKind::result, "one", b.dot(x, w, {2}, {2}));
  b.output(OutputKind::result, "vector", b.dot(x, v, {2}, {0}));
  b.output(OutputKind::result, "vectors", b.dot(v, v, {0}, {0}));
  b.output(OutputKind::result, "tiny", b.dot(narrow, narrow * 2.0, {0}, {0}));
  b.output(OutputKind::result, "over rows", b.dot(x, x, {0}, {0}));
  b.output(OutputKind::update, "v", v - sum(b, b.dot(x, x, {0, 1}, {0, 1}), {0}));
  for (const std::int64_t batch : {1, 5, 16}) check_same(assign_order(Graph(b.graph())), batch);
}

TEST_CASE("indices, random numbers, booleans and integers keep their bits") {
  Builder b("generated");
  const Value x = b.leaf(Op::input, "x", f32(rows({7})));
  const Value k = b.leaf(Op::input, "k", {DType::i32, rows({})});
  const Value yes = b.leaf(Op::input, "yes", {DType::boolean, rows({7})});
  const Value noise = b.make(Op::random, {}, Random{99}, f32(rows({7})));
  const Value still = b.make(Op::random, {}, Random{5}, f32(fixed({3, 5})));
  const Value kept = apply(Op::less, noise, b.constant(0.5, DType::f32));
  b.output(OutputKind::result, "dropped", b.select(kept, x, b.constant(0, DType::f32)));
  b.output(OutputKind::result, "mask", kept);
  b.output(OutputKind::result, "both", apply(Op::logical_and, kept, yes));
  b.output(OutputKind::result, "still", still);
  b.output(OutputKind::result, "count", b.make(Op::iota, {}, Iota{0}, {DType::i32, rows({2})}));
  b.output(OutputKind::result, "argmax", b.make(Op::argmax, std::vector<Value>{x}, Reduce{{1}, Order::unset}));
  b.output(OutputKind::result, "of columns", b.make(Op::argmax, std::vector<Value>{x}, Reduce{{0}, Order::unset}));
  b.output(OutputKind::result, "greatest", b.make(Op::reduce_max, std::vector<Value>{x}, Reduce{{0, 1}, Order::unset}));
  b.output(OutputKind::result, "integers", sum(b, k, {0}));
  b.output(OutputKind::result, "right", sum(b, b.cast(yes, DType::f32), {0, 1}));
  const Value table = b.constant({1, 2, 3, 4, 5, 6, 7}, f32(fixed({7})));
  b.output(OutputKind::result, "table", sum(b, x * b.broadcast(table, {1}, rows({7})), {1}));
  for (const std::int64_t batch : {1, 3, 18}) check_same(assign_order(Graph(b.graph())), batch);
}

TEST_CASE("updates that read each other's old values keep their bits") {
  Builder b("swap");
  const Value x = b.leaf(Op::input, "x", f32(rows({4})));
  const Value p = b.leaf(Op::param, "p", f32(fixed({4})));
  const Value q = b.leaf(Op::param, "q", f32(fixed({4})));
  const Value w = b.leaf(Op::param, "w", f32(fixed({4, 4})));
  const Value s = b.leaf(Op::state, "s", f32(fixed({4, 4})));
  b.output(OutputKind::update, "p", q);
  b.output(OutputKind::update, "q", p * 2.0);
  const Value y = b.dot(x, w, {1}, {0});
  b.output(OutputKind::result, "before", y);
  b.output(OutputKind::update, "s", w);
  // The new weights contract the old ones, and an average of the old ones comes later.
  const Value next = b.dot(w, b.dot(x, y, {0}, {0}), {1}, {0});
  b.output(OutputKind::update, "w", next + b.transpose(w, {1, 0}));
  b.output(OutputKind::result, "after", sum(b, next * w + s, {0, 1}));
  check_same(assign_order(Graph(b.graph())), 6);
}

TEST_CASE("folds over rows that wait for each other keep their bits") {
  Builder b("norms");
  const Value x = b.leaf(Op::input, "x", f32(rows({20})));
  const auto spread_rows = [&](Value v) { return b.broadcast(v, {0}, rows({20})); };
  const auto spread_columns = [&](Value v) { return b.broadcast(v, {1}, rows({20})); };
  const Value centred = x - spread_rows(sum(b, x, {1}) / 20.0);
  const Value deviation = apply(Op::sqrt, sum(b, centred * centred, {1}) / 20.0);
  const Value normal = centred / spread_rows(deviation);
  b.output(OutputKind::result, "layer norm", normal);
  const Value mean = sum(b, normal, {0}) / b.size(batch_extent, DType::f32);
  const Value off = normal - spread_columns(mean);
  const Value variance = sum(b, off * off, {0});
  b.output(OutputKind::result, "batch norm", off / spread_columns(apply(Op::sqrt, variance) + 1e-5));
  const Value total = sum(b, off * normal, {0, 1});
  const Value smooth = apply(Op::softplus, b.broadcast(total, {}, fixed({31})));
  b.output(OutputKind::result, "another nest", apply(Op::sin, b.reshape(smooth, fixed({1, 31}))));
  b.output(OutputKind::result, "scaled", normal * total);
  for (const std::int64_t batch : {1, 2, 300}) check_same(assign_order(Graph(b.graph())), batch);
}

TEST_CASE("a number made of a row of one element is made after it") {
  Builder b("one");
  const Value p = b.leaf(Op::param, "p", f32({}));
  const Value row = b.reshape(apply(Op::logistic, p), fixed({1}));
  const Value greatest = b.make(Op::reduce_max, std::vector<Value>{row}, Reduce{{0}, Order::unset});
  b.output(OutputKind::result, "gradient", b.make(Op::grad, {{greatest, p}}));
  check_same(optimise(std::move(b).finish()), 1);
}

TEST_CASE("totals that are carried from block to block keep their bits") {
  Builder b("carried");
  const Value x = b.leaf(Op::input, "x", f32(rows({5})));
  const auto carry = [&](const char* name, DType dtype, Shape shape) {
    return b.leaf(Op::carry, name, Type{dtype, std::move(shape)});
  };
  const auto fold = [&](Op op, Value value, std::vector<int> axes, Value from) {
    return b.make(op, std::vector<Value>{value, from}, Reduce{std::move(axes), Order::unset});
  };
  const Value columns = fold(Op::sum, x, {0}, carry("columns", DType::f64, fixed({5})));
  const Value all = fold(Op::sum, x * x, {0, 1}, carry("all", DType::f64, {}));
  const Value top = fold(Op::reduce_max, x, {0}, carry("top", DType::f32, fixed({5})));
  b.output(OutputKind::update, "columns", columns);
  b.output(OutputKind::update, "all", all);
  b.output(OutputKind::update, "top", top);
  b.output(OutputKind::result, "so far", columns / all);
  b.output(OutputKind::result, "not kept", fold(Op::sum, x, {0, 1}, carry("start", DType::f64, {})));
  for (const std::int64_t batch : {1, 256, 300}) check_same(assign_order(Graph(b.graph())), batch, "evaluate.0");
}

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Compares a text with the file that holds what it should be; NNC_BLESS=1 writes the file instead.
void check_golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(NNC_SOURCE_DIR) + "/tests/golden/" + name;
  if (std::getenv("NNC_BLESS")) std::ofstream(path) << text;
  CHECK(read_file(path) == text);
}

/// Two layers with relu between and half the squared error behind, by hand; plain gradient descent.
Graph regression_step() {
  Builder b("regression");
  const Value x = b.leaf(Op::input, "x", f32(rows({20})));
  const Value y = b.leaf(Op::input, "y", f32(rows({3})));
  const Value w1 = b.leaf(Op::param, "Hidden.W", f32(fixed({20, 32})));
  const Value b1 = b.leaf(Op::param, "Hidden.b", f32(fixed({32})));
  const Value w2 = b.leaf(Op::param, "Out.W", f32(fixed({32, 3})));
  const Value zero = b.constant(0, DType::f32);
  const Value z = b.dot(x, w1, {1}, {0}) + b.broadcast(b1, {1}, rows({32}));
  const Value off = apply(Op::less_equal, z, zero);
  const Value h = b.select(off, zero, z);
  const Value error = b.dot(h, w2, {1}, {0}) - y;
  b.output(OutputKind::result, "loss", sum(b, error * error, {0, 1}) * 0.5);
  const Value dz = b.select(off, zero, b.dot(error, w2, {1}, {1}));
  b.output(OutputKind::update, "Out.W", w2 - b.dot(h, error, {0}, {0}) * 0.1);
  b.output(OutputKind::update, "Hidden.W", w1 - b.dot(x, dz, {0}, {0}) * 0.1);
  b.output(OutputKind::update, "Hidden.b", b1 - sum(b, dz, {0}) * 0.1);
  return assign_order(std::move(b).finish());
}

}  // namespace

TEST_CASE("the fused program of a small regression, to be read") {
  LowerOptions options;
  options.machine = machine_avx2();
  options.rows = 48;
  check_golden("fused_regression.txt", print(lower(regression_step(), "step", options)));
  for (const std::int64_t batch : {1, 48}) check_same(regression_step(), batch);
}

TEST_CASE("the fused program of a recurrent cell, to be read") {
  LowerOptions options;
  options.machine = machine_avx2();
  options.rows = 6;
  check_golden("fused_recurrent.txt",
               print(lower(optimise(test::recurrent_step(false, 8, DType::f32)), "step", options)));
}

TEST_CASE("the MNIST step: one kernel a contraction, with everything beside it that has its shape") {
  LowerOptions options;
  options.machine = machine_avx2();
  options.rows = 128;
  const Program program = lower(mlp_step({784, 256, 128, 10}, true), "step", options);
  CHECK(verify(program) == "");
  std::size_t contractions = 0;
  for (const Kernel& kernel : program.kernels) contractions += kernel.core ? 1 : 0;
  CHECK(contractions == 8);  // three forward, three for the weights, two for the layers below
  CHECK(program.kernels.size() <= 16);
  // Parameters and their moments lie in panels, and what updates them is the contraction itself.
  for (const auto* slots : {&program.params, &program.state}) {
    std::size_t in_panels = 0;
    for (const Slot& slot : *slots) {
      const Buffer& buffer = program.buffers[slot.buffer];
      if (buffer.dims.size() != 2) continue;
      CHECK(buffer.layout.kind == Layout::Kind::panels);
      ++in_panels;
    }
    CHECK(in_panels == (slots == &program.params ? 3 : 6));
  }
  std::set<std::string> stored;
  for (const Kernel& kernel : program.kernels)
    for (const Store& store : kernel.stages.back().stores) {
      const Buffer& to = program.buffers[store.to.buffer];
      if (to.region != Region::params || to.dims.size() != 2) continue;
      CHECK(kernel.core.has_value());
      CHECK(to.layout.kind == Layout::Kind::panels);
      CHECK(stored.insert(to.name).second);
    }
  CHECK(stored.size() == 3);
}

TEST_CASE(
    "contractions read long rows of a feed where they are, and the gradient of weights copies them tile by tile") {
  LowerOptions options;
  options.rows = 128;
  const auto reads_feed = [](const Program& program, const Kernel& kernel) {
    return kernel.core && program.buffers[kernel.core->a.buffer].region == Region::feed;
  };
  for (const Machine& machine : {machine_avx512(), machine_avx2()}) {
    options.machine = machine;
    const auto lowered = [&](std::int64_t columns, std::int64_t hidden) {
      return lower(mlp_step({columns, hidden, 10}, true), "step", options);
    };
    // Forward, and the gradient of the first weights; no kernel copies a feed into the arena.
    const Program deep = lowered(784, 256);
    std::vector<const Kernel*> readers;
    for (const Kernel& kernel : deep.kernels)
      if (reads_feed(deep, kernel)) readers.push_back(&kernel);
    REQUIRE(readers.size() == 2);
    CHECK(std::ranges::none_of(deep.kernels, [](const Kernel& kernel) { return kernel.name == "x"; }));
    CHECK(readers[0]->schedule.packed_for == 0);
    CHECK(readers[1]->schedule.packed_for == 256 / machine.panel(4));
    CHECK(readers[1]->schedule.block_k == 128);  // whole sums
    CHECK(readers[1]->schedule.block_tiles > 0);
    // Where each thread has too few panels for a copy of its own, all make one.
    options.threads = 256 / machine.panel(4) / 4 + 1;
    const Program by_many = lowered(784, 256);
    CHECK(std::ranges::none_of(by_many.kernels, [&](const Kernel& kernel) { return reads_feed(by_many, kernel); }));
    options.threads = 1;
    // A panel or two are not worth the copy.
    for (const Kernel& kernel : lowered(784, 16).kernels) CHECK(kernel.schedule.packed_for == 0);
    // Short rows are not worth a look-up, rows that meet in the same sets of the cache are kept apart.
    for (const std::int64_t columns : {63, 256, 1024}) {
      const Program copied = lowered(columns, 256);
      CHECK(std::ranges::none_of(copied.kernels, [&](const Kernel& kernel) { return reads_feed(copied, kernel); }));
    }
  }
  for (const std::int64_t batch : {1, 5, 48}) check_same(mlp_step({70, 130, 10}, true), batch);
}

TEST_CASE("other programs over the same parameters find them where training left them") {
  const Graph step = mlp_step({20, 33, 10}, true);
  LowerOptions options;
  options.machine = machine_avx2();
  options.rows = 9;
  const Program training = lower(step, "step", options);
  const VariableLayouts layouts = layouts_of(training);

  Builder b("predict");
  const Value x = b.leaf(Op::input, "x", f32(rows({20})));
  const Value w = b.leaf(Op::param, "Dense1.W", f32(fixed({20, 33})));
  b.output(OutputKind::result, "forward", b.dot(x, w, {1}, {0}));
  b.output(OutputKind::result, "as rows", b.dot(w, x, {0}, {1}));
  b.output(OutputKind::result, "flat", sum(b, b.reshape(w, fixed({660})), {0}));
  const Graph predict = assign_order(std::move(b).finish());
  options.obey = &layouts;
  options.rows = 2;
  for (const Slot& slot : training.params) options.params.emplace_back(slot.name, Type{});
  for (auto& [name, type] : options.params)
    for (const Node& node : step.nodes)
      if (node.op == Op::param && std::get<Named>(node.attributes).name == name) type = node.type;
  const Program program = lower(predict, "predict", options);
  REQUIRE(verify(program) == "");
  REQUIRE(program.params_bytes == training.params_bytes);
  REQUIRE(program.params.size() == training.params.size());
  for (std::size_t i = 0; i < program.params.size(); ++i) {
    const Buffer &here = program.buffers[program.params[i].buffer],
                 &there = training.buffers[training.params[i].buffer];
    CHECK(here.name == there.name);
    CHECK(here.layout == there.layout);
    CHECK(here.offset == there.offset);
    CHECK(here.bytes == there.bytes);
  }
  const Environment environment = environment_for(predict, 2);
  const auto expected = evaluate(predict, environment);
  const auto found = run_program(program, environment);
  for (const auto& [name, tensor] : expected) CHECK(same_bits(found.at(name), tensor));
}

TEST_CASE("gradients and updates apart: the second finds what the first left") {
  const Type matrix = f32(fixed({20, 32})), row = f32(fixed({32}));
  Builder forward("grads");
  const Value x = forward.leaf(Op::input, "x", f32(rows({20})));
  const Value w = forward.leaf(Op::param, "A.W", matrix), bias = forward.leaf(Op::param, "A.b", row);
  const Value error = forward.dot(x, w, {1}, {0}) + forward.broadcast(bias, {1}, rows({32}));
  forward.output(OutputKind::result, "loss", sum(forward, error * error, {0, 1}));
  forward.output(OutputKind::result, "grad/A.W", forward.dot(x, error, {0}, {0}));
  forward.output(OutputKind::result, "grad/A.b", sum(forward, error, {0}));
  Builder after("update");
  for (const auto& [path, type] : {std::pair("A.W", matrix), std::pair("A.b", row)}) {
    const Value gradient = after.leaf(Op::input, std::string("grad/") + path, type);
    after.output(OutputKind::update, path, after.leaf(Op::param, path, type) - gradient * 0.1);
  }
  const Graph first = assign_order(std::move(forward).finish()), second = assign_order(std::move(after).finish());

  VariableLayouts layouts;
  layouts.layouts = {{"A.W", {.kind = Layout::Kind::panels, .strides = {}, .panel = 16}}};
  LowerOptions options;
  options.machine = machine_avx2();
  options.rows = 6;
  options.obey = &layouts;
  options.params = {{"A.W", matrix}, {"A.b", row}};
  options.gradients = {{"grad/A.W", matrix}, {"grad/A.b", row}};
  const Program grads = lower(first, "grads", options), update = lower(second, "update", options);
  REQUIRE(verify(grads) == "");
  REQUIRE(verify(update) == "");
  REQUIRE(grads.grads.size() == 2);
  REQUIRE(grads.grads_bytes == update.grads_bytes);
  for (std::size_t i = 0; i < grads.grads.size(); ++i)
    CHECK(grads.buffers[grads.grads[i].buffer].offset == update.buffers[update.grads[i].buffer].offset);

  Environment environment = environment_for(first, 6);
  const auto made = run_program(grads, environment);
  for (const auto& [name, tensor] : evaluate(first, environment)) {
    INFO(name);
    CHECK(same_bits(made.at(name), tensor));
    environment.inputs[name] = tensor;
  }
  const auto updated = run_program(update, environment);
  for (const auto& [name, tensor] : evaluate(second, environment)) CHECK(same_bits(updated.at(name), tensor));
}

// ---- rows by their numbers, and stacks of matrices

namespace {

constexpr std::int64_t batches[] = {1, 5, 17};

/// An embedding table in training: rows of a parameter by ids from an input, and the table's gradient step.
Graph embedding_step(const Shape& ids_shape, std::int64_t width) {
  Builder b("embedding");
  const Value table = b.leaf(Op::param, "W", f32(fixed({3, width})));
  const Value ids = b.leaf(Op::input, "ids", {DType::i32, ids_shape});
  const Value rows = b.gather(table, ids);
  b.output(OutputKind::result, "rows", apply(Op::tanh, rows));
  b.output(OutputKind::update, "W", table - b.scatter_add(rows * rows, ids, 3) * 0.125);
  return assign_order(std::move(b).finish());
}

}  // namespace

TEST_CASE("rows of a table, and what is added to them, lower to their meaning") {
  for (const std::int64_t batch : batches)
    for (const std::int64_t width : {1, 3, 16, 20}) {
      check_same(embedding_step({batch_extent}, width), batch);
      check_same(embedding_step({batch_extent, {4}}, width), batch);
      check_same(embedding_step({{2}, batch_extent}, width), batch);
    }
}

TEST_CASE("ids that a program computes, and tables that it computes") {
  Builder b("computed");
  const Value x = b.leaf(Op::input, "x", f32(rows({20}))), y = b.leaf(Op::param, "p", f32(fixed({20, 7})));
  const Value first = b.make(Op::argmax, {{x}}, Reduce{.axes = {1}});  // [batch]
  const Value far = b.cast(b.sum(x, {1}) * 1000, DType::i32);          // mostly outside
  const Value ramp = b.make(Op::iota, {}, Iota{0}, f32(fixed({20})));  // a table that is no memory
  const Value nested = b.gather(b.make(Op::iota, {}, Iota{0}, {DType::i32, fixed({20})}), first);
  const Value turned = b.transpose(y, {1, 0});
  b.output(OutputKind::result, "row", b.gather(y, first));
  b.output(OutputKind::result, "outside", b.gather(apply(Op::exp, y), far));
  b.output(OutputKind::result, "ramp", b.gather(ramp, first));
  b.output(OutputKind::result, "nested", b.gather(y, nested));
  b.output(OutputKind::result, "column", b.gather(turned, first));
  b.output(OutputKind::result, "of rows",
           b.gather(b.transpose(x, {1, 0}), b.constant({3, 1, 3}, {DType::i32, fixed({3})})));
  b.output(OutputKind::result, "one", b.gather(y, b.constant(5, DType::i32)));
  b.output(OutputKind::result, "counts",
           b.scatter_add(b.broadcast(b.constant(1, DType::i32), {}, rows({})), first, 20));
  b.output(OutputKind::result, "sums", b.scatter_add(apply(Op::exp, x), far, 2));
  b.output(OutputKind::result, "along rows",
           b.scatter_add(b.transpose(x, {1, 0}), b.make(Op::iota, {}, Iota{0}, {DType::i32, fixed({20})}), 6));
  const Graph graph = assign_order(std::move(b).finish());
  for (const std::int64_t batch : batches) check_same(graph, batch);
}

TEST_CASE("contractions that keep pairs of axes lower to their meaning") {
  const auto product = [](const Shape& a, const Shape& b, Dot pairs) {
    Builder builder("stack");
    const Value x = builder.leaf(Op::input, "x", f32(a)),
                y = builder.leaf(is_batched(b) ? Op::input : Op::param, "y", f32(b));
    pairs.order = Order::serial;
    builder.output(OutputKind::result, "r", apply(Op::tanh, builder.make(Op::dot, {{x, y}}, pairs)));
    return std::move(builder).finish();
  };
  const std::vector<Graph> graphs = {
      product(rows({3, 4, 9}), rows({3, 9, 5}), Dot{{3}, {2}, Order::serial, {0, 1}, {0, 1}}),
      product(rows({4, 3, 9}), rows({5, 9, 3}), Dot{{3}, {2}, Order::serial, {0, 2}, {0, 3}}),
      product(rows({20, 9}), rows({9, 20}), Dot{{2}, {1}, Order::serial, {0}, {0}}),
      product(rows({20, 9}), rows({20, 9}), Dot{{1}, {1}, Order::serial, {0}, {0}}),
      product(rows({20, 9}), rows({20, 9}), Dot{{1, 2}, {1, 2}, Order::serial, {0}, {0}}),
      product(rows({1, 9}), rows({9, 33}), Dot{{2}, {1}, Order::serial, {0}, {0}}),
      product(rows({1, 9, 4}), fixed({1, 9, 4}), Dot{{2}, {1}, Order::serial, {1, 3}, {0, 2}}),
  };
  for (const Graph& graph : graphs)
    for (const std::int64_t batch : batches) check_same(graph, batch);
}

TEST_CASE("an index that is not clamped, or not known when it is used, is refused") {
  LowerOptions options;
  options.rows = 5;
  const Program good = lower(embedding_step({batch_extent}, 20), "step", options);
  REQUIRE(verify(good) == "");
  bool changed = false;
  for (std::size_t kernel = 0; kernel < good.kernels.size(); ++kernel)
    for (std::size_t stage = 0; stage < good.kernels[kernel].stages.size(); ++stage) {
      if (good.kernels[kernel].stages[stage].body.indices.empty()) continue;
      Program bad = good;
      bad.kernels[kernel].stages[stage].body.indices[0].extent = 2;  // the clamp is to 3 rows
      CHECK(verify(bad).find("a computed index that may leave 0 ... 1") != std::string::npos);
      changed = true;
    }
  CHECK(changed);
}
