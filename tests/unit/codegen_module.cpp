// What surrounds the kernels: targets and this processor, the tables of an entry, the memory of the JIT, and what the
// assembly of every target may not contain.
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/native_bits.h"
#include "tests/support/programs.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

/// One map over 100 elements per function: every elementary function, in f32 and f64, and masks from signs.
Program functions() {
  Draft draft;
  for (const DType dtype : {DType::f32, DType::f64}) {
    const ScalarType type = scalar_type(dtype);
    const BufferId in = draft.row_major(Region::arena, dtype, {100});
    const BufferId out = draft.row_major(Region::arena, dtype, {100});
    const auto add = [&](const std::function<Scalar(Scalar)>& f) {
      Stage stage;
      std::vector<std::pair<ScalarType, BodyInput>> inputs;
      inputs.emplace_back(type, access(in, {0}, 1));
      stage.body = body(inputs, [&](std::span<const Scalar> x) { return std::vector<Scalar>{f(x[0])}; });
      stage.stores = {{access(out, {0}, 1), 0}};
      Kernel kernel;
      kernel.name = "map";
      kernel.outer = {100};
      kernel.stages = {stage};
      kernel.schedule.vector = Schedule::Vector::outer;
      kernel.schedule.lanes = dtype == DType::f32 ? 16 : 8;
      draft.program.kernels.push_back(kernel);
    };
    add(scalar::exp);
    add(scalar::log);
    add(scalar::tanh);
    add(scalar::sin);
    add(scalar::cos);
    add(scalar::logistic);
    add(scalar::softplus);
    add([](Scalar x) { return scalar::pow(x, x); });
    add([](Scalar x) { return fma(x, x, sqrt(abs(x))) / maximum(x, -x); });
    add([type](Scalar x) {
      ScalarBuilder& b = *x.builder;
      const bool wide = type == ScalarType::f64;
      const ScalarType integer = wide ? ScalarType::i64 : ScalarType::i32;
      const Scalar sign = less(bitcast(x, integer), b.constant(0, integer));
      const Scalar small = less(x, b.constant(-1, type));
      const Scalar both = logical_and(sign, logical_not(small));
      return select(both, select(sign, x * x, x), select(logical_or(sign, small), x + x, x));
    });
  }
  return draft.program;
}

std::vector<std::string> lines_with(const std::string& text, const std::vector<std::string>& parts) {
  std::vector<std::string> found;
  std::istringstream stream(text);
  std::string line;
  while (std::getline(stream, line))
    for (const std::string& part : parts)
      if (line.find(part) != std::string::npos) found.push_back(line);
  return found;
}

}  // namespace

TEST_CASE("targets by name", "[codegen]") {
  for (const char* name : {"znver3", "x86-64-v3"}) {
    const TargetOrError found = target_named(name);
    CHECK(found.error.empty());
    CHECK(found.host.target.cpu == name);
    CHECK(found.host.machine.name == "avx2");
  }
  for (const char* name : {"znver5", "x86-64-v4"}) CHECK(target_named(name).host.machine.name == "avx512");
  for (const char* name : {"x86-64", "x86-64-v2", "nehalem"}) {
    CHECK(target_named(name).host.machine.name == "sse2");
    CHECK_FALSE(has_fma(target_named(name).host.target));
  }
  CHECK(has_fma(target_named("x86-64-v3").host.target));
  CHECK_THAT(target_named("pentium7").error, Catch::Matchers::Contains("unknown processor 'pentium7'"));
  const Host host = detect_host();
  CHECK(target_named("native").host.target.cpu == host.target.cpu);
  CHECK(executes_here(host.target));
  CHECK(executes_here({.cpu = "x86-64", .features = ""}));
}

TEST_CASE("no target calls out of its code", "[codegen]") {
  const Program program = functions();
  for (const char* name : {"znver3", "znver5", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"})
    for (const CodegenLevel level : {CodegenLevel::none, CodegenLevel::less, CodegenLevel::aggressive}) {
      const std::string assembly = emit_assembly(program, {.target = target_named(name).host.target, .level = level});
      for (const std::string& line : lines_with(assembly, {"\tcall", "\tjmp"})) {
        CAPTURE(name, line);
        const bool inside = line.find("kernel") != std::string::npos || line.find(".L") != std::string::npos ||
                            line.find("\tfma") != std::string::npos ||
                            line.find('*') != std::string::npos;  // the barrier
        CHECK(inside);
      }
    }
}

// The pass that loses other uses of a mask makes moves of signs; code that has none cannot have lost any.
TEST_CASE("masks do not become moves of signs", "[codegen]") {
  for (const char* name : {"znver5", "x86-64-v4"}) {
    const std::string assembly = emit_assembly(functions(), {.target = target_named(name).host.target});
    CHECK(lines_with(assembly, {"zmm"}).size() > 100);
    CHECK(lines_with(assembly, {"vmovmskp", "vpmovmskb"}).empty());
  }
}

TEST_CASE("compiled code is never writable and executable", "[codegen]") {
  const auto compiled = compile(functions(), host_options());
  std::ifstream maps("/proc/self/maps");
  std::string line;
  int executable = 0;
  while (std::getline(maps, line)) {
    CAPTURE(line);
    CHECK(line.find(" rwx") == std::string::npos);
    executable += line.find(" r-x") != std::string::npos ? 1 : 0;
  }
  CHECK(executable > 0);
}

/// A line through the rows by gradient descent, with tanh and a quotient: a net in one piece.
Graph line_step(DType dtype) {
  Builder b("line");
  const Value x = b.leaf(Op::input, "x", {dtype, {batch_extent, {2}}}), w = b.leaf(Op::param, "w", {dtype, {{2}}});
  const Value z = apply(Op::tanh, b.dot(x, w, {1}, {0}));
  const Value loss = b.sum(z * z / (1 + z * z), {0}) / b.size(batch_extent, dtype);
  b.output(OutputKind::result, "loss", loss);
  b.output(OutputKind::update, "w", w - 0.1 * b.make(Op::grad, {{loss, w}}));
  return optimise(std::move(b).finish());
}

TEST_CASE("a tiny net of few rows is in short vectors, one of many in wide ones; both have the evaluator's bits",
          "[codegen]") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const std::int64_t rows : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 70}) {
      CAPTURE(dtype == DType::f32, rows);
      const Graph graph = line_step(dtype);
      LowerOptions options;
      options.machine = machine_avx512();
      options.rows = rows;
      options.in_one_piece = true;
      const Program program = lower(graph, "step", options);
      REQUIRE(program.kernels.size() == 1);
      const bool few = rows < 2 * machine_avx512().lanes(size_of(dtype));
      CHECK((program.kernels[0].schedule.widest_bytes == (few ? 32 : 0)));
      CHECK((print(program).find("in registers of 32 bytes") != std::string::npos) == few);
      const std::string assembly = emit_assembly(program, {.target = target_named("x86-64-v4").host.target});
      CHECK((assembly.find("%zmm") == std::string::npos) == few);
      CHECK(assembly.find(rows == 1 ? "%xmm" : "%ymm") != std::string::npos);
      const Environment environment = random_environment(graph, rows, 5);
      check_native_bits(program, environment, evaluate(graph, environment), options.machine.name, 1);
    }
}

TEST_CASE("an entry describes its program", "[codegen]") {
  Draft draft;
  const BufferId w = draft.panels(Region::params, DType::f32, 20, 10, 16);
  const BufferId x = draft.row_major(Region::feed, DType::f64, {7, 3});
  const BufferId out = draft.row_major(Region::output, DType::boolean, {7});
  const BufferId a = draft.row_major(Region::arena, DType::f32, {20, 5});
  draft.program.entry = "infer";
  draft.program.rows = 7;
  draft.program.params = {{"Dense1.W", w}};
  draft.program.obligations = {{.input = "y", .low = 0, .high = 10, .origin = {}}};
  Kernel kernel;
  kernel.name = "dot";
  kernel.line = 12;
  kernel.schedule.lanes = 8;
  kernel.schedule.tile_rows = 6;
  kernel.schedule.tile_vectors = 2;
  kernel.outer = {20, 10};
  kernel.core = Contract{access(a, {0, 1}, 2), access(w, {0, 1}, 2), 20, 10, 5};
  draft.program.kernels = {kernel};
  const auto compiled = compile(draft.program, host_options());
  const nnc_entry& entry = compiled->entry();
  CHECK(entry.abi_version == NNC_ABI_VERSION);
  CHECK(std::string(entry.name) == "infer");
  CHECK(entry.rows == 7);
  CHECK(entry.params_bytes == 20 * 16 * 4);
  REQUIRE(entry.param_count == 1);
  CHECK(std::string(entry.params[0].name) == "Dense1.W");
  CHECK(entry.params[0].layout == NNC_PANELS);
  CHECK(entry.params[0].panel == 16);
  CHECK(entry.params[0].dims[1] == 10);
  REQUIRE(entry.feed_count == 1);
  CHECK(entry.feeds[0].dtype == NNC_F64);
  CHECK(entry.feeds[0].strides[0] == 3);
  CHECK(entry.feeds[0].offset == draft.program.buffers[x].offset);
  REQUIRE(entry.output_count == 1);
  CHECK(entry.outputs[0].dtype == NNC_BOOL);
  CHECK(entry.outputs[0].offset == draft.program.buffers[out].offset);
  REQUIRE(entry.obligation_count == 1);
  CHECK(entry.obligations[0].high == 10);
  REQUIRE(entry.kernel_count == 1);
  CHECK(entry.kernels[0].line == 12);
  CHECK(entry.kernels[0].flops == 2 * 20 * 10 * 5);
  CHECK(entry.kernels[0].bytes == (20 * 10 + 20 * 5) * 4);
}
