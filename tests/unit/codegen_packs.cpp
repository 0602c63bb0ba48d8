// Like computations on single values are packed where that pays, in an order in which everything is known in time.
#include "codegen/packs.h"

#include <set>

#include "ir/builder.h"
#include "ir/scalar/builder.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/native_bits.h"
#include "tests/support/programs.h"

using namespace nnc;
using namespace nnc::test;

namespace {

Scalar number(Scalar like, double value) { return like.builder->constant(value, like.type()); }

/// Nothing is known but which are single.
SingleValues only_single(const ScalarProgram& body, bool single = true) {
  const std::size_t size = body.code.size();
  return {std::vector<bool>(size, single),
          std::vector<Home>(size),
          std::vector<int>(size, -1),
          std::vector<int>(size, -1),
          {}};
}

Packs packed(const ScalarProgram& body, int lanes = 8) { return pack_alike(body, only_single(body), lanes); }

std::size_t single_instructions(const ScalarProgram& body, const Packs& packs) {
  std::size_t count = 0;
  for (std::size_t id = 0; id < body.code.size(); ++id) {
    const ScalarOp op = body.code[id].op;
    count += packs.pack_of[id] < 0 && op != ScalarOp::input && op != ScalarOp::constant;
  }
  return count;
}

/// What holds of all packs: lanes of one opcode and types, every instruction in one pack at most, single values taken
/// out before they are used, and no truth value moved.
void check_packs(const ScalarProgram& body, const Packs& packs, int lanes) {
  std::set<ScalarId> seen;
  for (const Pack& pack : packs.packs) {
    const ScalarInstruction& first = body.code[pack.members.front()];
    CHECK((pack.members.size() <= static_cast<std::size_t>(lanes) && pack.last == std::ranges::max(pack.members)));
    std::set<ScalarId> distinct(pack.members.begin(), pack.members.end());
    CHECK(distinct.size() > 1);
    for (const ScalarId id : distinct) {
      CHECK((seen.insert(id).second && body.code[id].op == first.op && body.code[id].type == first.type));
      CHECK(body.code[body.code[id].operands[0]].type == body.code[first.operands[0]].type);
    }
  }
  const auto used_alone = [&](ScalarId user, ScalarId used) {
    if (packs.pack_of[used] < 0) return;
    CHECK((packs.taken_out[used] && body.code[used].type != ScalarType::boolean));
    CHECK(packs.packs[static_cast<std::size_t>(packs.pack_of[used])].last < user);
  };
  for (ScalarId id = 0; id < body.code.size(); ++id)
    for (int i = 0; i < operand_count(body.code[id].op); ++i)
      if (packs.pack_of[id] < 0) used_alone(id, body.code[id].operands[i]);
  for (const ScalarId id : body.results) used_alone(static_cast<ScalarId>(body.code.size()), id);
}

/// Adam's update of so many single parameters: per parameter its two averages and its new value.
ScalarProgram adam(int parameters, ScalarType type = ScalarType::f32) {
  ScalarBuilder b;
  std::vector<Scalar> results;
  const Scalar correction = b.input(type);
  for (int i = 0; i < parameters; ++i) {
    const Scalar w = b.input(type), m = b.input(type), v = b.input(type), g = b.input(type);
    const Scalar average = number(g, 0.9) * m + number(g, 0.1) * g;
    const Scalar square = number(g, 0.999) * v + number(g, 0.001) * (g * g);
    const Scalar step = average / correction / (sqrt(square / correction) + number(g, 1e-8));
    for (const Scalar result : {average, square, w - step}) results.push_back(result);
  }
  return std::move(b).finish(results);
}

}  // namespace

TEST_CASE("Adam's updates of nine parameters are those of eight side by side, and one", "[codegen]") {
  const ScalarProgram one = adam(1), nine = adam(9);
  const Packs packs = packed(nine);
  check_packs(nine, packs, 8);
  CHECK(single_instructions(nine, packs) == single_instructions(one, packed(one)));
  CHECK(packs.packs.size() == single_instructions(one, packed(one)));
  CHECK(std::ranges::count(packs.taken_out, true) == 3 * 8);
}

TEST_CASE("lanes that are left over repeat the last member", "[codegen]") {
  const ScalarProgram three = adam(3);
  const Packs packs = packed(three);
  check_packs(three, packs, 8);
  REQUIRE(!packs.packs.empty());
  for (const Pack& pack : packs.packs) CHECK((pack.members.size() == 4 && pack.members[3] == pack.members[2]));
  const Packs two_lanes = packed(adam(3, ScalarType::f64), 2);
  REQUIRE(!two_lanes.packs.empty());
  for (const Pack& pack : two_lanes.packs) CHECK(pack.members.size() == 2);
}

TEST_CASE("what moving costs more than packing saves stays single", "[codegen]") {
  ScalarBuilder b;
  std::vector<Scalar> results;
  for (int i = 0; i < 8; ++i) {
    const Scalar w = b.input(ScalarType::f32), g = b.input(ScalarType::f32);
    results.push_back(w - number(g, 0.01) * g);
  }
  const ScalarProgram descent = std::move(b).finish(results);
  CHECK(packed(descent).packs.empty());
  CHECK(packed(adam(9), 1).packs.empty());
  const ScalarProgram nine = adam(9);
  CHECK(pack_alike(nine, only_single(nine, false), 8).packs.empty());
}

TEST_CASE("updates take the lanes in which their sums lie, and what is kept stays there", "[codegen]") {
  constexpr int parameters = 5;
  constexpr int lanes_of_sums[parameters] = {6, 1, 5, 2, 3};
  ScalarBuilder b;
  std::vector<Scalar> results;
  for (int i = 0; i < parameters; ++i) {
    const Scalar w = b.input(ScalarType::f32), g = b.input(ScalarType::f32);
    results.push_back(w - number(g, 0.01) * g);
  }
  const ScalarProgram descent = std::move(b).finish(results);
  SingleValues known = only_single(descent);
  known.wanted_alone.assign(parameters, false);
  for (ScalarId id = 0; id < descent.code.size(); ++id) {
    if (descent.code[id].op != ScalarOp::input) continue;
    const auto parameter = static_cast<int>(descent.code[id].bits / 2);
    if (descent.code[id].bits % 2 == 0) known.reads[id] = parameter;
    if (descent.code[id].bits % 2 == 1) known.homes[id] = {0, lanes_of_sums[parameter], 8};
  }
  for (int i = 0; i < parameters; ++i) known.writes[descent.results[static_cast<std::size_t>(i)]] = i;

  const Packs packs = pack_alike(descent, known, 8);
  check_packs(descent, packs, 8);
  REQUIRE(packs.packs.size() == 2);
  CHECK(single_instructions(descent, packs) == 0);
  const Pack& last = packs.packs.back();
  CHECK((last.kept && !packs.packs.front().kept));
  CHECK(std::ranges::count(last.nobodys, false) == parameters);
  for (int i = 0; i < parameters; ++i) {
    const auto lane = static_cast<std::size_t>(lanes_of_sums[i]);
    CHECK((last.members[lane] == descent.results[static_cast<std::size_t>(i)] && !last.nobodys[lane]));
  }
  // Elsewhere each is wanted as a single value: taking them out would cost more.
  known.wanted_alone.assign(parameters, true);
  CHECK(pack_alike(descent, known, 8).packs.empty());
}

TEST_CASE("values of which one is made from the other are not packed", "[codegen]") {
  ScalarBuilder b;
  Scalar x = b.input(ScalarType::f64);
  std::vector<Scalar> results;
  for (int i = 0; i < 4; ++i) {
    const Scalar y = b.input(ScalarType::f64);
    results.push_back(x = sqrt(y / x) / (sqrt(y) + number(y, 1)));
  }
  const ScalarProgram chain = std::move(b).finish(results);
  const Packs packs = packed(chain, 4);
  check_packs(chain, packs, 4);
  for (const ScalarId id : chain.results) CHECK(packs.pack_of[id] < 0);
}

TEST_CASE("truth values are packed with what makes and uses them, or not at all", "[codegen]") {
  const auto chosen = [](bool alike) {
    ScalarBuilder b;
    std::vector<Scalar> results;
    for (int i = 0; i < 8; ++i) {
      const Scalar x = b.input(ScalarType::f32), y = b.input(ScalarType::f32);
      const Scalar condition = alike || i % 2 == 0 ? less(x, y) : equal(x, y);
      results.push_back(sqrt(sqrt(sqrt(sqrt(select(condition, sqrt(x) / y, sqrt(y) / x))))));
    }
    return std::move(b).finish(results);
  };
  const ScalarProgram alike = chosen(true), mixed = chosen(false);
  const Packs of_alike = packed(alike), of_mixed = packed(mixed);
  check_packs(alike, of_alike, 8), check_packs(mixed, of_mixed, 8);
  CHECK(single_instructions(alike, of_alike) == 0);
  for (ScalarId id = 0; id < mixed.code.size(); ++id)
    if (mixed.code[id].op == ScalarOp::select) CHECK(of_mixed.pack_of[id] < 0);
}

TEST_CASE("packed updates have the evaluator's bits", "[codegen]") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const std::int64_t width : {1, 2, 3, 5}) {
      Builder builder("updates");
      const Type type{dtype, {{width}, {2}}};
      const Value x = builder.leaf(Op::input, "x", {dtype, {batch_extent, {width}}});
      const Value w = builder.leaf(Op::param, "w", type), m = builder.leaf(Op::state, "m", type),
                  v = builder.leaf(Op::state, "v", type);
      const Value h = builder.dot(x, w, {1}, {0});
      const Value loss = builder.sum(h * h, {0, 1});
      const Value g = builder.make(Op::grad, {{loss, w}});
      const Value average = 0.9 * m + 0.1 * g, square = 0.99 * v + 0.01 * (g * g);
      const Value large = apply(Op::less, builder.broadcast(builder.constant(1, dtype), {}, type.shape), square);
      const Value step = builder.select(large, average / (1e-8 + apply(Op::sqrt, square)), average);
      builder.output(OutputKind::result, "loss", loss);
      builder.output(OutputKind::update, "w", w - 0.1 * step);
      builder.output(OutputKind::update, "m", average);
      builder.output(OutputKind::update, "v", square);
      const Graph graph = optimise(std::move(builder).finish());
      for (const std::int64_t rows : {1, 3, 16}) {
        Environment environment = random_environment(graph, rows, 1);
        const std::map<std::string, Tensor> expected = evaluate(graph, environment);
        for (const Machine& machine : {machine_avx2(), machine_avx512()}) {
          LowerOptions options;
          options.machine = machine;
          options.rows = rows;
          check_native_bits(lower(graph, "step", options), environment, expected, machine.name, 1);
        }
      }
    }
}
