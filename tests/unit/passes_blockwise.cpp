// Metrics over a split, block by block: the bits of the whole split at once, whatever the blocks are.
#include <fmt/format.h>

#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/blockwise.h"
#include "passes/pipeline.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

/// Mean, deviation (a second pass), greatest value and a loss over rows; a wide and a narrow sum.
Graph statistics() {
  Builder b("statistics");
  const Shape rows{batch_extent, {20}};
  const Value x = b.leaf(Op::input, "x", {DType::f32, rows});
  const Value y = b.leaf(Op::input, "y", {DType::f32, {batch_extent}});
  const Value n = b.size(batch_extent, DType::f32);
  const Value mean = b.sum(x, {0}) / n;
  const Value centred = x - b.broadcast(mean, {1}, rows);
  const Value deviation = apply(Op::sqrt, b.sum(centred * centred, {0}) / n);
  b.output(OutputKind::update, "mean", mean);
  b.output(OutputKind::update, "deviation", deviation);
  b.output(OutputKind::result, "greatest", b.make(Op::reduce_max, {{x}}, Reduce{.axes = {0}}));
  b.output(OutputKind::result, "loss", b.sum(x * x, {0, 1}) / (n * 20));
  b.output(OutputKind::result, "by segment", b.scatter_add(x, b.cast(y, DType::i32), 5));
  b.output(OutputKind::result, "rows", b.sum(y, {0}) / n);
  b.output(OutputKind::result, "positive",
           b.cast(b.sum(b.cast(apply(Op::less, b.constant(0, DType::f32), y), DType::i32), {0}), DType::f32) / n);
  return std::move(b).finish();
}

Tensor draw(std::vector<std::int64_t> dims, std::uint64_t seed) {
  Tensor x = Tensor::zeros(DType::f32, std::move(dims));
  std::mt19937_64 random(seed);
  for (std::int64_t i = 0; i < x.count(); ++i) x.set(i, static_cast<double>(random() % 100000) / 777.0 - 60);
  return x;
}

Tensor rows_of(const Tensor& x, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> dims = x.dims;
  const std::int64_t width = x.count() / dims[0];
  dims[0] = count;
  Tensor part = Tensor::zeros(x.dtype, dims);
  for (std::int64_t i = 0; i < part.count(); ++i) part.set(i, x.at(first * width + i));
  return part;
}

/// What the runtime does: each pass over all blocks, carries from block to block, then the finish.
std::map<std::string, Tensor> by_blocks(const Blockwise& blocks, const Environment& whole, std::int64_t rows) {
  Environment at;
  at.scalars["rows"] = static_cast<double>(whole.batch);
  for (const Graph& pass : blocks.passes) {
    for (const Output& output : pass.outputs) {
      const Type& type = pass[output.node].type;
      std::vector<std::int64_t> dims;
      for (const Extent& extent : type.shape) dims.push_back(extent.count);
      Tensor start = Tensor::zeros(type.dtype, dims);
      if (pass[output.node].op == Op::reduce_max)
        for (std::int64_t i = 0; i < start.count(); ++i) start.set(i, -INFINITY);
      at.carry.insert_or_assign(output.name, start);
    }
    for (std::int64_t first = 0; first < whole.batch; first += rows) {
      at.batch = std::min(rows, whole.batch - first);
      at.row_offset = static_cast<std::uint64_t>(first);
      for (const auto& [name, x] : whole.inputs) at.inputs.insert_or_assign(name, rows_of(x, first, at.batch));
      for (const auto& [name, total] : evaluate(pass, at))
        at.carry.insert_or_assign(name.substr(7), total);  // "update NAME"
    }
  }
  return evaluate(blocks.finish, at);
}

TEST_CASE("any block size gives the bits of the whole split") {
  const Graph graph = optimise(statistics());
  const Blockwise blocks = blockwise(graph);
  CHECK(blocks.passes.size() == 2);
  for (const Graph& pass : blocks.passes) CHECK(verify(pass).empty());
  CHECK(verify(blocks.finish).empty());
  for (std::int64_t rows : {1, 255, 4096, 4097, 9000}) {
    Environment whole;
    whole.batch = rows;
    whole.inputs = {{"x", draw({rows, 20}, 1)}, {"y", draw({rows}, 2)}};
    const auto expected = evaluate(graph, whole);
    for (std::int64_t size : {4096, 8192, 1 << 20}) {
      const auto found = by_blocks(blocks, whole, size);
      REQUIRE(found.size() == expected.size());
      for (const auto& [name, value] : expected) {
        INFO(name << ", " << rows << " rows in blocks of " << size);
        CHECK(same_bits(found.at(name), value));
      }
    }
  }
}

TEST_CASE("sums of rows alone may be cut at every 256 of them") {
  Builder b("wide");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {batch_extent, {20}}});
  b.output(OutputKind::result, "all", b.sum(x * x, {0, 1}));
  const Graph graph = optimise(std::move(b).finish());
  Environment whole;
  whole.batch = 1000;
  whole.inputs = {{"x", draw({1000, 20}, 3)}};
  for (std::int64_t size : {256, 512, 768})
    CHECK(same_bits(by_blocks(blockwise(graph), whole, size).at("all"), evaluate(graph, whole).at("all")));
}

TEST_CASE("products over the rows are sums of the rows' products, with the same bits for any block size") {
  Builder b("products");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {batch_extent, {5}, {3}}});
  const Value y = b.leaf(Op::input, "y", {DType::f32, {batch_extent, {3}, {4}}});
  const Value u = b.leaf(Op::input, "u", {DType::f32, {batch_extent, {2}}});
  b.output(OutputKind::result, "gram", b.dot(u, u, {0}, {0}));
  b.output(OutputKind::result, "both", b.dot(x, y, {2, 0}, {1, 0}));
  b.output(OutputKind::result, "each", b.dot(x, y, {0}, {0}, {2}, {1}));
  const Graph graph = optimise(std::move(b).finish());
  const Blockwise blocks = blockwise(graph);
  CHECK(blocks.passes.size() == 1);
  CHECK_FALSE(why_not_blockwise(graph));
  Environment whole;
  whole.batch = 9000;
  whole.inputs = {{"x", draw({9000, 5, 3}, 1)}, {"y", draw({9000, 3, 4}, 2)}, {"u", draw({9000, 2}, 3)}};
  const auto expected = evaluate(graph, whole);
  std::map<std::string, Tensor> first;
  for (std::int64_t size : {4096, 8192, 1 << 20}) {
    const auto found = by_blocks(blocks, whole, size);
    for (const auto& [name, value] : expected) {
      INFO(name << " in blocks of " << size);
      REQUIRE(found.at(name).dims == value.dims);
      for (std::int64_t i = 0; i < value.count(); ++i)
        CHECK(std::abs(found.at(name).at(i) - value.at(i)) <= 1e-4 * std::abs(value.at(i)) + 1);
      if (!first.contains(name)) first[name] = found.at(name);
      CHECK(same_bits(first.at(name), found.at(name)));
    }
  }
}

TEST_CASE("finished graphs have no rows left, and passes hold no more than they need") {
  const Blockwise blocks = blockwise(optimise(statistics()));
  for (const Node& node : blocks.finish.nodes) CHECK_FALSE(is_batched(node.type.shape));
  // The second pass sums the squared deviations and nothing else.
  CHECK(blocks.passes[1].outputs.size() == 1);
}

TEST_CASE("what cannot be computed block by block is refused") {
  Builder b("refused");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {batch_extent, {4}}});
  b.output(OutputKind::result, "row", b.make(Op::argmax, {{x}}, Reduce{.axes = {0}}));
  CHECK_THROWS_AS(blockwise(std::move(b).finish()), std::invalid_argument);
  Builder c("rows");
  c.output(OutputKind::result, "x", c.leaf(Op::input, "x", {DType::f32, {batch_extent}}));
  CHECK_THROWS_AS(blockwise(std::move(c).finish()), std::invalid_argument);
}

/// Two parameters with momentum, their gradients clipped together, and a moving statistic of the batch.
Graph step() {
  Builder b("step");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {batch_extent, {3}}});
  const Value y = b.leaf(Op::input, "y", {DType::f32, {batch_extent, {2}}});
  const Value w = b.leaf(Op::param, "W", {DType::f32, {{3}, {2}}}), c = b.leaf(Op::param, "c", {DType::f32, {{2}}});
  const Value v = b.leaf(Op::state, "momentum.v/W", {DType::f32, {{3}, {2}}});
  const Value mu = b.leaf(Op::state, "mu", {DType::f32, {{3}}});
  const Value d = b.dot(x, w, {1}, {0}) + b.broadcast(c, {1}, {batch_extent, {2}}) - y;
  const Value n = b.size(batch_extent, DType::f32);
  const Value loss = b.sum(d * d, {0, 1}) / n;
  const Value dw = b.make(Op::grad, {{loss, w}}), dc = b.make(Op::grad, {{loss, c}});
  const Value norm = apply(Op::sqrt, b.sum(dw * dw, {0, 1}) + b.sum(dc * dc, {0}));
  const Value scale = apply(Op::min, b.constant(1, DType::f32), 1 / norm);
  const Value next = v * 0.9 + dw * scale;
  b.output(OutputKind::result, "loss", loss);
  b.output(OutputKind::update, "W", w - next * 0.1);
  b.output(OutputKind::update, "c", c - dc * scale * 0.1);
  b.output(OutputKind::update, "momentum.v/W", next);
  b.output(OutputKind::update, "mu", mu * 0.9 + b.sum(x, {0}) / n * 0.1);
  return std::move(b).finish();
}

/// The updates of a step in one go, and by way of its two halves; and the halves.
Separated check_halves(const Graph& step, const Environment& at) {
  const Separated parts = separate(step);
  const Graph grads = optimise(parts.grads), update = optimise(parts.update);
  auto found = evaluate(grads, at);
  Environment then = at;
  then.inputs.clear();
  for (const auto& [name, type] : parts.gradients) {
    INFO(name);
    REQUIRE(found.contains(name));
    then.inputs.emplace(name, found.at(name));
  }
  found.merge(evaluate(update, then));
  for (const auto& [name, value] : evaluate(optimise(step), at)) {
    INFO(name);
    REQUIRE(found.contains(name));
    CHECK(same_bits(found.at(name), value));
  }
  return {grads, update, parts.gradients};
}

std::vector<std::string> names_of(const Separated& parts) {
  std::vector<std::string> names;
  for (const auto& [name, type] : parts.gradients) names.push_back(name + " : " + to_string(type));
  return names;
}

TEST_CASE("gradients and then updates give the bits of the step") {
  Environment at;
  at.batch = 7;
  at.inputs = {{"x", draw({7, 3}, 4)}, {"y", draw({7, 2}, 5)}};
  at.params = {{"W", draw({3, 2}, 6)}, {"c", draw({2}, 7)}};
  at.state = {{"momentum.v/W", draw({3, 2}, 8)}, {"mu", draw({3}, 9)}};
  const Separated parts = check_halves(step(), at);
  CHECK(names_of(parts) == std::vector<std::string>{"grad/W : f32[3, 2]", "grad/c : f32[2]"});
  // A statistic of the batch needs the data, which only grads has.
  CHECK(std::ranges::any_of(parts.grads.outputs, [](const Output& output) { return output.name == "mu"; }));
  for (const std::string& name : inputs_of(parts.update)) CHECK(name.starts_with("grad/"));
}

TEST_CASE("a joint optimizer's second derivatives are handed on in one piece, and the data stays behind") {
  // Newton's method on a line with a bend: the matrix differs from step to step, and rows of it differ.
  Builder b("newton");
  const Value x = b.leaf(Op::input, "x", {DType::f32, {batch_extent, {2}}});
  const Value y = b.leaf(Op::input, "y", {DType::f32, {batch_extent}});
  const Value w = b.leaf(Op::param, "w", {DType::f32, {{2}}}), c = b.leaf(Op::param, "c", {DType::f32, {}});
  const Value d = apply(Op::tanh, b.dot(x, w, {1}, {0}) + c) - y;
  const Value loss = b.sum(d * d, {0}) / b.size(batch_extent, DType::f32) + b.sum(w * w, {0}) + c * c;
  const auto end_to_end = [&](Value of) {
    return b.concat(std::vector{b.make(Op::grad, {{of, w}}), b.reshape(b.make(Op::grad, {{of, c}}), {{1}})}, 0);
  };
  const Value g = end_to_end(loss);
  std::vector<Value> rows;
  for (std::int64_t i = 0; i < 3; ++i)
    rows.push_back(b.reshape(end_to_end(b.reshape(b.slice(g, {i}, {1}, {{1}}), {})), {{1}, {3}}));
  const Value direction = b.make(Op::solve, {{b.concat(rows, 0), g}});
  b.output(OutputKind::result, "loss", loss);
  b.output(OutputKind::update, "w", w - b.slice(direction, {0}, {1}, {{2}}));
  b.output(OutputKind::update, "c", c - b.reshape(b.slice(direction, {2}, {1}, {{1}}), {}));
  Environment at;
  at.batch = 9;
  at.inputs = {{"x", draw({9, 2}, 1)}, {"y", draw({9}, 2)}};
  at.params = {{"w", draw({2}, 3)}, {"c", draw({}, 4)}};
  const Separated parts = check_halves(std::move(b).finish(), at);
  CHECK(names_of(parts) == std::vector<std::string>{"grad/w : f32[2]", "grad/c : f32", "grad2/1 : f32[3, 3]"});
  CHECK(inputs_of(parts.update) == std::set<std::string>{"grad/w", "grad/c", "grad2/1"});
}

}  // namespace
}  // namespace nnc
