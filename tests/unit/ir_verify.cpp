// The verifier finds graphs that were broken by hand, one rule at a time.
#include "ir/builder.h"
#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

/// Nodes: 0 X, 1 W, 2 dot, 3 a number, 4 sum, 5 product.
Graph sound_graph() {
  Builder builder;
  const Value X = builder.leaf(Op::input, "X", {DType::f32, {batch_extent, {4}}});
  const Value W = builder.leaf(Op::param, "W", {DType::f32, {{4}, {4}}});
  const Value Z = builder.dot(X, W, {1}, {0});
  const Value half = builder.constant(0.5, DType::f32);
  const Value total = builder.sum(Z, {0, 1});
  builder.output(OutputKind::result, "loss", half * total);
  builder.output(OutputKind::update, "W", W);
  builder.oblige({"X", 0, 4, {}});
  return builder.graph();
}

template <class Break>
std::string broken(Break&& change) {
  Graph graph = sound_graph();
  change(graph);
  return verify(graph);
}

}  // namespace

TEST_CASE("a sound graph passes") { CHECK(verify(sound_graph()) == ""); }

TEST_CASE("a broken graph does not") {
  CHECK(broken([](Graph& g) { g.nodes[2].operands[0] = 4; }) == "node 2, dot: its operand 4 is not before it");
  CHECK(broken([](Graph& g) { g.nodes[2].operands[0] = 99; }) == "node 2, dot: its operand 99 is not before it");
  CHECK(broken([](Graph& g) { g.nodes[2].operands.pop_back(); }) == "node 2, dot: dot: it takes 2 operands, not 1");
  CHECK(broken([](Graph& g) { g.nodes[2].type.shape[1].count = 5; }) ==
        "node 2, dot: its type is f32[batch, 5], by the op's rule it is f32[batch, 4]");
  CHECK(broken([](Graph& g) { g.nodes[2].attributes = NoAttributes{}; }) ==
        "node 2, dot: dot: its attributes do not fit it");
  CHECK(broken([](Graph& g) { g.nodes[4].attributes = Reduce{{0, 2}}; }) ==
        "node 4, sum: sum: its axes do not fit its operands");
  CHECK(broken([](Graph& g) { g.nodes[3].attributes = Constant{{0.1}}; }) ==
        "node 3, constant: constant: its attributes do not fit it");
  CHECK(broken([](Graph& g) { g.nodes[1].derived = true; }) == "node 1 (W), param: a leaf is not derived");
  CHECK(broken([](Graph& g) { g.nodes[4].attributes = Reduce{{0, 1}, Order::lanes}; }) ==
        "node 4, sum has an order, node 2, dot has none");
  CHECK(broken([](Graph& g) { g.nodes.push_back(g.nodes[2]); }) == "node 6, dot: node 2 is equal to it");
  CHECK(broken([](Graph& g) {
          g.nodes.push_back(g.nodes[0]);
          g.nodes.back().type.dtype = DType::f64;
        }) == "node 6 (X), input: \"X\" is there already");
  CHECK(broken([](Graph& g) { g.outputs[0].node = 6; }) == "output \"loss\" is no node");
  CHECK(broken([](Graph& g) { g.outputs.push_back(g.outputs[0]); }) == "output \"loss\" is there twice");
  CHECK(broken([](Graph& g) { g.outputs[1].node = 4; }) == "update \"W\" is f32, not f32[4, 4]");
  CHECK(broken([](Graph& g) { g.obligations[0].input = "Y"; }) == "an obligation is about \"Y\", which is no input");
  CHECK(broken([](Graph& g) { g.obligations[0].high = 0; }) == "the obligation of \"X\" leaves no value");
}
