// The gradient of loops, and what the defining passes do inside them.
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/loops.h"
#include "ir/text.h"
#include "passes/gradcheck.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

/// h' = tanh(x W + h U + b) over `steps` steps; the loss reads the last h and all of them. `again`: the loss is the
/// squared norm of that loss's gradient by U.
Graph recurrent(bool again) {
  const Extent steps{4}, width{3}, features{2};
  Builder cell("cell");
  const Value h = cell.leaf(Op::input, "h", {DType::f64, {batch_extent, width}});
  const Value x = cell.leaf(Op::input, "x", {DType::f64, {batch_extent, features}});
  const Value W = cell.leaf(Op::input, "W", {DType::f64, {features, width}});
  const Value U = cell.leaf(Op::input, "U", {DType::f64, {width, width}});
  const Value b = cell.leaf(Op::input, "b", {DType::f64, {width}});
  const Value z = cell.dot(x, W, {1}, {0}) + cell.dot(h, U, {1}, {0}) + cell.spread(b, {batch_extent, width});
  const Value next = apply(Op::tanh, z);
  const std::vector<std::string> names{"h", "x", "W", "U", "b"};
  Scan scan{.body = loop_body(cell.graph(), names, std::vector{next.id, next.id}),
            .carries = 1,
            .sequences = 1,
            .steps = steps.count};

  Builder builder("step");
  const Value first = builder.spread(builder.constant(0, DType::f64), {batch_extent, width});
  const Value sequence = builder.leaf(Op::input, "x", {DType::f64, {steps, batch_extent, features}});
  const std::vector<Value> params{builder.leaf(Op::param, "W", {DType::f64, {features, width}}),
                                  builder.leaf(Op::param, "U", {DType::f64, {width, width}}),
                                  builder.leaf(Op::param, "b", {DType::f64, {width}})};
  const std::vector<Value> operands{first, sequence, params[0], params[1], params[2]};
  const Value last = builder.make(Op::scan, operands, scan);
  scan.result = 1;
  const Value all = builder.make(Op::scan, operands, scan);
  Value loss = builder.sum(last * last * last, {0, 1}) + builder.sum(all * all, {0, 1, 2});
  if (again) {
    const Value gradient = builder.make(Op::grad, {{loss, params[1]}});
    loss = builder.sum(gradient * gradient, {0, 1});
  }
  builder.output(OutputKind::result, "loss", loss);
  for (const Value& param : params) {
    const std::string name = std::get<Named>(builder[param.id].attributes).name;
    builder.output(OutputKind::update, name, param - 0.1 * builder.make(Op::grad, {{loss, param}}));
  }
  return std::move(builder).finish();
}

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
    Builder builder("step");
    const Shape square{{3}, {3}}, right{{3}, {2}};
    const Value m = builder.leaf(Op::param, "M", {DType::f64, square});
    const Value b = builder.leaf(Op::param, "b", {DType::f64, right});
    const Value row = builder.make(Op::iota, {}, Iota{0}, {DType::i32, square});
    const Value column = builder.make(Op::iota, {}, Iota{1}, {DType::i32, square});
    const Value diagonal = builder.cast(apply(Op::equal, row, column), DType::f64);
    const Value a = builder.dot(m, m, {1}, {1}) + 2 * diagonal + 0.1 * m;  // the symmetric part is positive definite
    const Value x = builder.make(Op::solve, {{a, b}});
    Value loss = builder.sum(x * x, {0, 1});
    if (again) {
      const Value gradient = builder.make(Op::grad, {{loss, m}});
      loss = builder.sum(gradient * gradient, {0, 1});
    }
    builder.output(OutputKind::result, "loss", loss);
    for (Value param : {m, b})
      builder.output(OutputKind::update, std::get<Named>(builder[param.id].attributes).name,
                     param - 0.1 * builder.make(Op::grad, {{loss, param}}));
    const GradcheckReport report = gradcheck_step(std::move(builder).finish());
    INFO(again << " worst " << report.worst);
    CHECK(report.checked >= 15);
    CHECK(report.failures.empty());
  }
}
