// What must hold for any graph: its text reads back as it, its rules verify, and evaluating it twice gives equal bits.
#include <algorithm>
#include <map>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "tests/support/random_graph.h"
#include "tests/support/reduce_graph.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

constexpr std::uint64_t graphs = 1000;

TEST_CASE("random graphs: text reads back as the same graph") {
  for (auto [seed, last] = test::random_seeds(graphs); seed < last; ++seed) {
    const Graph graph = test::random_graph(seed);
    const std::string text = print(graph);
    CAPTURE(seed, text);
    REQUIRE(verify(graph) == "");
    const auto parsed = parse_graph(text);
    if (const auto* error = std::get_if<TextError>(&parsed)) FAIL("line " << error->line << ": " << error->message);
    REQUIRE(verify(std::get<Graph>(parsed)) == "");
    REQUIRE(same_graph(std::get<Graph>(parsed), graph));
  }
}

TEST_CASE("random graphs: a seed means the same graph") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) CHECK(same_graph(test::random_graph(seed), test::random_graph(seed)));
  CHECK_FALSE(same_graph(test::random_graph(1), test::random_graph(2)));
}

TEST_CASE("random graphs: a plain copy is the same graph") {
  for (auto [seed, last] = test::random_seeds(graphs); seed < last; ++seed) {
    const Graph graph = test::random_graph(seed);
    Builder builder(graph.name);
    const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
      return copy_node(builder, graph[id], operands);
    });
    for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
    REQUIRE(same_graph(std::move(builder).finish(), graph));
  }
}

TEST_CASE("random graphs: evaluation is a function of graph and environment") {
  std::size_t with_numbers = 0, results = 0;
  for (auto [seed, last] = test::random_seeds(graphs); seed < last; ++seed) {
    const Graph graph = test::random_graph(seed);
    const Environment environment = test::random_environment(graph, test::random_batch(seed), seed);
    const std::map<std::string, Tensor> first = evaluate(graph, environment, true);
    const std::map<std::string, Tensor> second = evaluate(graph, environment, true);
    CAPTURE(seed, print(graph));
    REQUIRE(first.size() == graph.outputs.size());
    for (const auto& [name, tensor] : first) {
      REQUIRE(same_bits(tensor, second.at(name)));
      ++results;
      for (std::int64_t i = 0; i < tensor.count(); ++i)
        if (tensor.at(i) == tensor.at(i) && tensor.at(i) != 0) {
          ++with_numbers;
          break;
        }
    }
  }
  CHECK(with_numbers * 10 >= results * 8);  // else the graphs would test little but NaN
}

TEST_CASE("a failing graph is cut down to what fails") {
  // "Fails" where there is a tanh under a sum: what remains is little more than these two.
  const auto fails = [](const Graph& graph) {
    for (const Node& node : graph.nodes)
      if (node.op == Op::sum && node.operands.size() == 1 && graph[node.operands[0]].op == Op::tanh) return true;
    return false;
  };
  int found = 0;
  for (std::uint64_t seed = 0; seed < 2000 && found < 5; ++seed) {
    const Graph graph = test::random_graph(seed);
    if (!fails(graph)) continue;
    ++found;
    const Graph least = test::reduce_failing(graph, fails);
    CAPTURE(seed, print(least));
    CHECK(verify(least) == "");
    CHECK(fails(least));
    // An axis of rows that is not the first cannot be an input's, so a node may stay to turn it.
    CHECK(std::ranges::count_if(least.nodes,
                                [](const Node& node) { return definition(node.op).cls != OpClass::leaf; }) <= 3);
  }
  CHECK(found == 5);
}

}  // namespace
