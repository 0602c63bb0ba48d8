// The gradient of loops, and what the defining passes do inside them.
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/loops.h"
#include "ir/text.h"
#include "passes/gradcheck.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/loop_graphs.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

Graph recurrent(bool again) { return test::recurrent_step(again, 4); }

int loops_in(const Graph& graph) {
  int count = 0;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    bool first = graph[id].op == Op::scan;
    for (NodeId other = 0; first && other < id; ++other) first = !same_loop(graph[other], graph[id]);
    count += first;
  }
  return count;
}

int count_in(const Graph& graph, Op op) {
  int count = 0;
  for (const Node& node : graph.nodes) count += node.op == op;
  return count;
}

}  // namespace

TEST_CASE("a recurrent cell's gradients are those of differences, also of a gradient") {
  for (bool again : {false, true}) {
    const GradcheckReport report = gradcheck_step(recurrent(again));
    INFO(again << " worst " << report.worst);
    CHECK(report.checked > 15);
    for (const GradcheckFailure& failure : report.failures)
      UNSCOPED_INFO(failure.where << " derived " << failure.derived << " measured " << failure.measured);
    CHECK(report.failures.empty());
  }
}

TEST_CASE("a loop's gradient is one loop back; weights are contracted once, over steps and rows") {
  const Graph graph = optimise(recurrent(false));
  REQUIRE(verify(graph) == "");
  CHECK(loops_in(graph) == 2);
  CHECK(count_in(graph, Op::dot) == 2);  // dW and dU
  for (const Node& node : graph.nodes) {
    if (node.op != Op::scan) continue;
    const Scan& scan = std::get<Scan>(node.attributes);
    CHECK(scan.carries == 1);
    // Forward: x W and h U. Back: dz Ut alone, since z was handed out or the tanh's result is.
    CHECK(count_in(*scan.body, Op::dot) == (scan.backwards ? 1 : 2));
  }
}

TEST_CASE("the passes work inside loops: orders are set there, functions expanded") {
  const Graph graph = optimise(recurrent(false));
  for (const Node& node : graph.nodes) {
    if (node.op != Op::scan) continue;
    for (const Node& inner : std::get<Scan>(node.attributes).body->nodes)
      if (const auto* dot = std::get_if<Dot>(&inner.attributes)) CHECK(dot->order != Order::unset);
  }
}

TEST_CASE("a graph with loops reads back from its text after every pass") {
  PipelineOptions options;
  options.after = [](std::string_view pass, const Graph& graph) {
    INFO(pass);
    const auto read = parse_graph(print(graph));
    REQUIRE(std::holds_alternative<Graph>(read));
    CHECK(same_graph(std::get<Graph>(read), graph));
  };
  options.verify_each = true;
  optimise(recurrent(true), options);
}

TEST_CASE("solve's gradients are those of differences, also of a gradient") {
  for (bool again : {false, true}) {
    const GradcheckReport report = gradcheck_step(test::solving_step(again));
    INFO(again << " worst " << report.worst);
    CHECK(report.checked >= 15);
    CHECK(report.failures.empty());
  }
}
