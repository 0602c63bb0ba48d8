// The builder merges what is equal; the registry is complete.
#include "ir/builder.h"

#include <cmath>
#include <limits>

#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

const Type matrix{DType::f32, {batch_extent, {4}}};

}  // namespace

TEST_CASE("equal expressions are one node") {
  Builder builder;
  const Value x = builder.leaf(Op::input, "x", matrix);
  CHECK(apply(Op::exp, x).id == apply(Op::exp, x).id);
  CHECK((x + 1.0).id == (x + 1.0).id);
  CHECK((x + 1.0).id != (1.0 + x).id);
  CHECK(builder.sum(x, {1}).id != builder.sum(x, {0}).id);
  CHECK(builder.sum(x, {1, 0}).id == builder.sum(x, {0, 1}).id);
  CHECK(builder.leaf(Op::input, "x", matrix).id == x.id);
  CHECK(builder.leaf(Op::param, "x", {DType::f32, {}}).id != x.id);
}

TEST_CASE("numbers are compared by their bits, after rounding to their type") {
  Builder builder;
  CHECK(builder.constant(0.1, DType::f32).id == builder.constant(0.1f, DType::f32).id);
  CHECK(builder.constant(0.1, DType::f32).id != builder.constant(0.1, DType::f64).id);
  CHECK(builder.constant(0.0, DType::f32).id != builder.constant(-0.0, DType::f32).id);
  CHECK(builder.constant(-NAN, DType::f32).id == builder.constant(NAN, DType::f32).id);
  CHECK(builder.size({3}, DType::f32).id == builder.constant(3, DType::f32).id);
}

TEST_CASE("random nodes of different streams are different") {
  Builder builder;
  CHECK(builder.make(Op::random, {}, Random{1}, matrix).id != builder.make(Op::random, {}, Random{2}, matrix).id);
  CHECK(builder.make(Op::random, {}, Random{1}, matrix).id == builder.make(Op::random, {}, Random{1}, matrix).id);
}

TEST_CASE("what is written and derived is written; leaves are never derived") {
  Builder builder;
  const Value x = builder.leaf(Op::input, "x", matrix);
  builder.set_derived(true);
  const Value first = apply(Op::exp, x), second = apply(Op::log, x);
  CHECK(builder[first.id].derived);
  CHECK_FALSE(builder[builder.constant(2, DType::f32).id].derived);
  builder.set_derived(false);
  CHECK(apply(Op::exp, x).id == first.id);
  CHECK_FALSE(builder[first.id].derived);
  CHECK(builder[second.id].derived);
  const Value written = apply(Op::tanh, x);
  builder.set_derived(true);
  CHECK(apply(Op::tanh, x).id == written.id);
  CHECK_FALSE(builder[written.id].derived);
}

TEST_CASE("what would change nothing builds nothing") {
  Builder builder;
  const Value x = builder.leaf(Op::input, "x", matrix);
  CHECK(builder.transpose(x, {0, 1}).id == x.id);
  CHECK(builder.broadcast(x, {0, 1}, matrix.shape).id == x.id);
  CHECK(builder.spread(x, matrix.shape).id == x.id);
  CHECK(builder.reshape(x, matrix.shape).id == x.id);
  CHECK(builder.cast(x, DType::f32).id == x.id);
  CHECK(builder.sum(x, {}).id == x.id);
  CHECK(builder[builder.spread(builder.leaf(Op::param, "b", {DType::f32, {{4}}}), matrix.shape).id].attributes ==
        Attributes(Broadcast{{1}}));
}

TEST_CASE("the first name stays; numbers have none") {
  Builder builder;
  const Value W = builder.leaf(Op::state, "adam.m/Dense1.W", {DType::f32, {}});
  CHECK(builder[W.id].origin.name == "adam.m.Dense1.W");
  builder.name_node(W.id, "other");
  CHECK(builder[W.id].origin.name == "adam.m.Dense1.W");
  const Value half = builder.constant(0.5, DType::f32);
  builder.name_node(half.id, "half");
  CHECK(builder[half.id].origin.name.empty());
}

TEST_CASE("a finished graph has what its outputs need, in the same order") {
  Builder builder;
  const Value x = builder.leaf(Op::input, "x", matrix), unused = builder.leaf(Op::input, "unused", matrix);
  apply(Op::log, unused);
  const Value y = apply(Op::exp, x);
  builder.oblige({"x", 0, 10, {}});
  builder.oblige({"x", 0, 10, {}});
  builder.oblige({"unused", 0, 10, {}});
  builder.output(OutputKind::result, "y", y);
  const Graph graph = std::move(builder).finish();
  REQUIRE(graph.nodes.size() == 2);
  CHECK(graph[1].op == Op::exp);
  CHECK(graph.obligations.size() == 1);
  CHECK(verify(graph) == "");
}

TEST_CASE("a copy keeps mark and origin, and leaves the builder's own as they were") {
  Builder from;
  from.set_derived(true);
  from.set_origin({"y", 1, 2, 3});
  const Value x = from.leaf(Op::input, "x", matrix), y = apply(Op::exp, x);
  Builder to;
  const std::vector<Value> made = rebuild(from.graph(), to, [&](NodeId id, const std::vector<Value>& operands) {
    return copy_node(to, from[id], operands);
  });
  CHECK(same_graph(from.graph(), to.graph()));
  CHECK(to[made[y.id].id].origin.line == 2);
  CHECK_FALSE(to.derived());
  CHECK(to.origin().name.empty());
}

TEST_CASE("every op is in the registry under its own name and says what it means", "[registry]") {
  for (Op op : all_ops()) {
    const OpDef& def = definition(op);
    INFO(def.name);
    CHECK(op_named(def.name) == op);
    CHECK(def.shape != nullptr);
    const bool by_element = def.cls == OpClass::elementwise || def.cls == OpClass::generate;
    CHECK((by_element ? def.scalar != nullptr : true));
  }
  CHECK(op_named("") == std::nullopt);
  CHECK(op_named("softmax") == std::nullopt);
}

TEST_CASE("sizes do not wrap") {
  const std::int64_t big = std::int64_t{1} << 40;
  CHECK(element_count({{big}, {big}}).count == std::numeric_limits<std::int64_t>::max());
  CHECK(element_count({{big}, {big}, {0}}).count == 0);
  CHECK(element_count({{3}, {5, true}}) == Extent{15, true});
  CHECK(to_string(Type{DType::f32, {{4, true}, {7}}}) == "f32[4*batch, 7]");
  CHECK(to_string(Type{DType::boolean, {}}) == "bool");
}
