// Kernels that differ only in where their buffers lie, and in the numbers of their random streams, are one function.
#include "codegen/shared_kernels.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/native_bits.h"
#include "tests/support/programs.h"

using namespace nnc;
using namespace nnc::test;

namespace {

/// A training step of so many layers of one shape, each with a dropout of its own.
Graph layers(int count) {
  Builder builder("layers");
  const Shape wide{batch_extent, {24}};
  const auto drawn = [&](std::uint64_t stream) {
    return builder.make(Op::random, {}, nnc::Random{stream}, {DType::f32, wide});
  };
  Value h = builder.leaf(Op::input, "x", {DType::f32, wide});
  std::vector<Value> params;
  for (int i = 0; i < count; ++i) {
    const auto param = [&](const char* name, const Shape& shape) {
      return params.emplace_back(builder.leaf(Op::param, name + std::to_string(i), {DType::f32, shape}));
    };
    const Value W = param("W", {{24}, {24}}), b = param("b", {{24}});
    const Value kept =
        apply(Op::less, drawn(0x1234567 + static_cast<std::uint64_t>(i)), builder.constant(0.9, DType::f32));
    h = apply(Op::tanh, builder.dot(h, W, {1}, {0}) + builder.broadcast(b, {1}, wide));
    h = builder.select(kept, h, builder.constant(0, DType::f32));
  }
  const Value loss = builder.sum(h * h, {0, 1});
  builder.output(OutputKind::result, "loss", loss);
  for (const Value param : params)
    builder.output(OutputKind::update, std::get<Named>(builder[param.id].attributes).name,
                   param - 0.01 * builder.make(Op::grad, {{loss, param}}));
  return optimise(std::move(builder).finish());
}

std::size_t times(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// out[i] = 2 in[i], for pairs of buffers.
Program doubled(const Draft& draft, const std::vector<std::pair<BufferId, BufferId>>& pairs) {
  Program program = draft.program;
  for (const auto& [in, out] : pairs) {
    Stage stage;
    stage.body = body({{ScalarType::f32, access(in, {0}, 1)}},
                      [](std::span<const Scalar> x) { return std::vector{x[0] + x[0]}; });
    stage.stores = {{access(out, {0}, 1), 0}};
    Kernel kernel;
    kernel.name = "double";
    kernel.outer = {40};
    kernel.stages = {stage};
    program.kernels.push_back(kernel);
  }
  return program;
}

}  // namespace

TEST_CASE("layers of one shape are the same functions, however many there are", "[codegen]") {
  const Graph four = layers(4), eight = layers(8);
  const Program few = lowered_for(four, machine_avx2(), 33, 3), many = lowered_for(eight, machine_avx2(), 33, 3);
  const std::size_t functions = shared_kernels(few).size();
  CHECK(many.kernels.size() > few.kernels.size() + 12);
  CHECK(shared_kernels(many).size() == functions);
  for (const Program* program : {&few, &many}) {
    const std::string text = emit_llvm(*program, {.target = detect_host().target});
    CHECK(times(text, "define internal void @kernel") == functions);
    CHECK(times(text, "call void @kernel") == program->kernels.size());
  }
}

TEST_CASE("shared functions have the evaluator's bits, for every number of threads", "[codegen]") {
  const Graph graph = layers(5);
  const Environment environment = random_environment(graph, 33, 1);
  const std::map<std::string, Tensor> expected = evaluate(graph, environment);
  for (const unsigned threads : {2u, 3u})
    check_native_bits(lowered_for(graph, machine_avx2(), 33, static_cast<int>(threads)), environment, expected, "avx2",
                      threads);
}

TEST_CASE("kernels share a function only where nothing but places differs", "[codegen]") {
  const auto functions = [](const Program& program) { return shared_kernels(program).size(); };
  Draft draft;
  const auto buffer = [&](Region region) { return draft.row_major(region, DType::f32, {40}); };
  const BufferId a = buffer(Region::arena), b = buffer(Region::arena), c = buffer(Region::arena),
                 d = buffer(Region::arena), p = buffer(Region::params), out = buffer(Region::output),
                 other_out = buffer(Region::output), feed = buffer(Region::feed), other_feed = buffer(Region::feed);
  CHECK(functions(doubled(draft, {{a, b}, {c, d}, {d, a}})) == 1);
  CHECK(functions(doubled(draft, {{feed, out}, {other_feed, other_out}})) == 1);
  CHECK(functions(doubled(draft, {{a, b}, {p, b}})) == 2);  // another region
  CHECK(functions(doubled(draft, {{a, b}, {a, a}})) == 2);  // in place

  const BufferId same = static_cast<BufferId>(draft.program.buffers.size());
  draft.program.buffers.push_back(draft.program.buffers[a]);  // a's memory under another name
  CHECK(functions(doubled(draft, {{a, b}, {c, d}, {a, same}})) == 2);

  const BufferId ones = draft.constant(DType::f32, {40}, std::vector<double>(40, 1)),
                 again = draft.constant(DType::f32, {40}, std::vector<double>(40, 1)),
                 twos = draft.constant(DType::f32, {40}, std::vector<double>(40, 2));
  CHECK(functions(doubled(draft, {{ones, a}, {again, b}})) == 1);
  CHECK(functions(doubled(draft, {{ones, a}, {twos, b}})) == 2);

  Program scheduled = doubled(draft, {{a, b}, {c, d}});
  scheduled.kernels[1].schedule.parallel = 2;
  CHECK(functions(scheduled) == 2);
  scheduled.kernels[1].schedule.parallel = 1;
  scheduled.kernels[1].name = "another name", scheduled.kernels[1].line = 7;
  CHECK(functions(scheduled) == 1);
}

TEST_CASE("feeds and outputs of a shared function are the kernel's own", "[codegen]") {
  Draft draft;
  const auto buffer = [&](Region region) { return draft.row_major(region, DType::f32, {40}); };
  std::vector<std::pair<BufferId, BufferId>> pairs;
  for (int i = 0; i < 3; ++i) pairs.emplace_back(buffer(Region::feed), buffer(Region::output));
  std::swap(pairs[0].second, pairs[2].second);
  Program program = doubled(draft, pairs);
  for (Kernel& kernel : program.kernels) kernel.schedule.parallel = 2;
  REQUIRE(shared_kernels(program).size() == 1);
  const auto compiled = compile(program, host_options());
  Arena memory(program);
  for (const auto& [in, out] : pairs) fill(memory.at<float>(in), 40, in);
  memory.run(compiled->entry(), 2);
  for (const auto& [in, out] : pairs)
    for (int i = 0; i < 40; ++i) REQUIRE(memory.at<float>(out)[i] == 2 * memory.at<float>(in)[i]);
}
