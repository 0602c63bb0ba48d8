// Convolutions from the gradient to the program: the gradient by the images is a contraction over windows like the
// convolution itself, and contractions read windows where they lie, so no pass over memory is longer than an image.
#include <fmt/format.h>

#include <cmath>
#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/index_map.h"
#include "passes/passes.h"
#include "tests/support/run_program.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

int count_of(const Graph& graph, Op op) { return static_cast<int>(std::ranges::count(graph.nodes, op, &Node::op)); }

Tensor random_tensor(DType dtype, const std::vector<std::int64_t>& dims, unsigned seed) {
  std::mt19937 random(seed);
  Tensor x = Tensor::zeros(dtype, dims);
  for (std::int64_t i = 0; i < x.count(); ++i) x.set(i, static_cast<double>(random() % 2001) / 1000 - 1);
  return x;
}

struct Images {
  std::int64_t count, lines, columns, channels, outputs, size, stride, border;
};

/// Forward, by the weights and by the images, of a loss that weighs every output.
Graph gradients(const Images& s, DType dtype) {
  Builder b("conv");
  const Value x = b.leaf(Op::param, "x", {dtype, {{s.count}, {s.lines}, {s.columns}, {s.channels}}});
  const Value w = b.leaf(Op::param, "w", {dtype, {{s.size}, {s.size}, {s.channels}, {s.outputs}}});
  const std::vector<std::int64_t> border{0, s.border, s.border, 0};
  const Value wide = b.pad(x * 1.5, border, border, {0, 0, 0, 0});
  Value parts = b.window(b.window(wide, 1, s.size, s.stride), 3, s.size, s.stride);
  parts = b.transpose(parts, {0, 1, 3, 2, 4, 5});
  Shape shape(parts.type().shape.begin(), parts.type().shape.begin() + 3);
  shape.push_back({s.size * s.size * s.channels});
  const Value flat = b.reshape(w, {{s.size * s.size * s.channels}, {s.outputs}});
  const Value y = b.dot(b.reshape(parts, shape), flat, {3}, {0});
  const Value weight = b.leaf(Op::param, "c", y.type());
  const Value loss = b.sum(y * weight, {0, 1, 2, 3});
  b.output(OutputKind::result, "y", y);
  b.output(OutputKind::result, "dx", b.make(Op::grad, {{loss, x}}));
  b.output(OutputKind::result, "dw", b.make(Op::grad, {{loss, w}}));
  return differentiate(std::move(b).finish());
}

Environment values_for(const Graph& graph) {
  Environment at;
  unsigned seed = 1;
  for (const Node& node : graph.nodes)
    if (node.op == Op::param)
      at.params[std::get<Named>(node.attributes).name] = random_tensor(node.type.dtype, dims_of(node.type), seed++);
  return at;
}

void check_close(const Graph& plain, const Graph& expanded) {
  const Environment at = values_for(plain);
  const auto expected = evaluate(assign_order(plain), at), found = evaluate(assign_order(expanded), at);
  for (const auto& [name, tensor] : expected) {
    REQUIRE(found.at(name).dims == tensor.dims);
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      CAPTURE(name, i);
      CHECK(std::abs(found.at(name).at(i) - tensor.at(i)) <= 1e-12 * (1 + std::abs(tensor.at(i))));
    }
  }
}

std::vector<Images> shapes() {
  return {{2, 5, 6, 3, 4, 3, 1, 0}, {2, 5, 6, 3, 4, 3, 1, 1}, {1, 7, 5, 2, 3, 3, 2, 1},
          {2, 6, 4, 1, 2, 2, 2, 0}, {1, 8, 6, 2, 2, 4, 2, 1}, {1, 9, 7, 2, 3, 2, 3, 0},
          {2, 4, 4, 3, 2, 1, 1, 0}, {1, 6, 6, 1, 1, 5, 1, 2}, {1, 5, 5, 2, 2, 1, 2, 0}};
}

}  // namespace

TEST_CASE("the gradient of a convolution by its images is a contraction over windows") {
  for (const Images& s : shapes()) {
    const Graph plain = gradients(s, DType::f64), expanded = expand(plain);
    INFO(print(expanded));
    check_close(plain, expanded);
    if (s.size > 1) CHECK(count_of(expanded, Op::overlap_add) == 0);
    if (s.stride > 1) continue;
    // What the border takes away is not computed.
    const Dims images{s.count, s.lines, s.columns, s.channels};
    CHECK(std::ranges::any_of(expanded.nodes,
                              [&](const Node& node) { return node.op == Op::dot && dims_of(node.type) == images; }));
    CHECK(count_of(expanded, Op::slice) <= 2);  // of the kernel, turned round
  }
}

TEST_CASE("windows with distances between their elements") {
  for (const auto& [stride, dilation, turned] : {std::tuple{1, 2, true}, {1, 3, true}, {2, 1, true}, {2, 2, false}}) {
    Builder b("overlap");
    const std::int64_t windows = 4, size = 3, extent = (windows - 1) * stride + (size - 1) * dilation + 1;
    const Value z = b.leaf(Op::param, "z", {DType::f64, {{2}, {windows}, {5}}});
    const Value w = b.leaf(Op::param, "w", {DType::f64, {{size}, {7}, {5}}});
    for (const bool exchanged : {false, true}) {
      const Value product = exchanged ? b.transpose(b.dot(w, z, {2}, {2}), {2, 3, 0, 1}) : b.dot(z, w, {2}, {2});
      b.output(OutputKind::result, exchanged ? "second" : "first", b.overlap_add(product, 1, extent, stride, dilation));
    }
    const Graph plain = std::move(b).finish(), expanded = expand(plain);
    check_close(plain, expanded);
    CHECK(count_of(expanded, Op::overlap_add) == (turned ? 0 : 2));
  }
}

TEST_CASE("windows that do not reach into the next one are summed by a view") {
  Builder b("apart");
  const Value y = b.leaf(Op::input, "y", {DType::f32, {{1, true}, {4, false}, {2, false}}});
  b.output(OutputKind::result, "side by side", b.overlap_add(y, 1, 8, 2));
  b.output(OutputKind::result, "with distances", b.overlap_add(y, 1, 11, 3));
  b.output(OutputKind::result, "and zeros behind", b.overlap_add(y, 1, 13, 3));
  const Graph graph = std::move(b).finish(), expanded = expand(graph);
  CHECK(count_of(expanded, Op::overlap_add) == 0);
  Environment environment;
  environment.batch = 3;
  environment.inputs["y"] = random_tensor(DType::f32, {3, 4, 2}, 1);
  const auto before = evaluate(graph, environment, true), after = evaluate(expanded, environment, true);
  for (const auto& [name, value] : before) CHECK(same_bits(value, after.at(name)));
}

TEST_CASE("overlaps of what is no such product stay") {
  Builder b("overlap");
  const Value z = b.leaf(Op::param, "z", {DType::f64, {{4}, {3}, {5}}}),
              w = b.leaf(Op::param, "w", {DType::f64, {{5}, {2}}});
  b.output(OutputKind::result, "both axes in one factor", b.overlap_add(b.dot(z, w, {2}, {0}), 0, 6));
  b.output(OutputKind::result, "no product", b.overlap_add(z, 0, 6));
  CHECK(count_of(expand(std::move(b).finish()), Op::overlap_add) == 2);
}

TEST_CASE("contractions read windows where they lie") {
  for (const Images& s : shapes())
    for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
      for (const bool fuse : {false, true}) {
        const Graph graph = assign_order(expand(gradients(s, DType::f32)));
        LowerOptions options;
        options.machine = machine;
        options.fuse = fuse;
        const Program program = lower(graph, "gradients", options);
        INFO(print(program));
        REQUIRE(verify(program) == "");
        const Environment at = values_for(graph);
        const auto expected = evaluate(graph, at), found = run_program(program, at);
        for (const auto& [name, tensor] : expected) CHECK(same_bits(found.at(name), tensor));
        int in_place = 0;
        for (const Kernel& kernel : program.kernels) in_place += kernel.core && !kernel.core->rows.empty() ? 1 : 0;
        if (s.size > s.stride) CHECK(in_place == 3);  // otherwise windows show nothing twice
        // Nothing in memory is larger than images with a border, or all the weights of every phase.
        const std::int64_t border = 2 * (s.size - 1), phases = (s.size + s.stride) * (s.size + s.stride);
        const std::int64_t most = std::max(s.count * (s.lines + border) * (s.columns + border), phases) *
                                  std::max(s.channels, s.outputs) * std::max<std::int64_t>(1, s.stride * s.stride);
        for (const Buffer& buffer : program.buffers)
          if (buffer.region == Region::arena) CHECK(count_of(buffer.dims) <= most);
      }
}

}  // namespace nnc
