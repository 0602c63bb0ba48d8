// Loops in graphs: what they compute, their text, what verify and the shape rule refuse, and which of them are one.
#include "ir/loops.h"

#include "ir/evaluate.h"
#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using Catch::Matchers::Contains;

/// A running product-sum: s' = s * w + x[t], which each step hands out.
std::string running(const std::string& direction, const std::string& results) {
  return "loop 0: 3 steps" + direction +
         ", 1 carries, 1 sequences\n"
         "  %s = input \"0\" : f64[2]\n"
         "  %x = input \"1\" : f64[2]\n"
         "  %w = input \"2\" : f64\n"
         "  %next : f64[2] = %s * %w + %x\n"
         "  result \"0\" = %next\n"
         "  result \"1\" = %next\n"
         "end\n"
         "%a = input \"a\" : f64[2]\n"
         "%x = input \"x\" : f64[3, 2]\n"
         "%w = input \"w\" : f64\n" +
         results;
}
const std::string both =
    "%last : f64[2] = scan(%a, %x, %w, 0, 0)\n"
    "%all : f64[3, 2] = scan(%a, %x, %w, 0, 1)\n"
    "result \"last\" = %last\n"
    "result \"all\" = %all\n";

Graph parsed(const std::string& text) {
  const auto result = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&result)) FAIL(error->line << ": " << error->message);
  const Graph& graph = std::get<Graph>(result);
  REQUIRE(verify(graph) == "");
  return graph;
}
std::string message(const std::string& text) {
  const auto result = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&result)) return error->message;
  return verify(std::get<Graph>(result));
}

Tensor tensor(std::vector<std::int64_t> dims, std::vector<double> values) {
  Tensor result = Tensor::zeros(DType::f64, std::move(dims));
  for (std::int64_t i = 0; i < result.count(); ++i) result.set(i, values[static_cast<std::size_t>(i)]);
  return result;
}

const Environment environment = [] {
  Environment given;
  given.inputs = {{"a", tensor({2}, {1, 2})}, {"x", tensor({3, 2}, {1, 2, 3, 4, 5, 6})}, {"w", tensor({}, {10})}};
  return given;
}();

int loops_in(const Graph& graph) {
  std::vector<const Node*> loops;
  for (const Node& node : graph.nodes)
    if (node.op == Op::scan &&
        std::none_of(loops.begin(), loops.end(), [&](const Node* known) { return same_loop(*known, node); }))
      loops.push_back(&node);
  return static_cast<int>(loops.size());
}

}  // namespace

TEST_CASE("a loop carries values from step to step and stacks what its steps hand out, in either direction") {
  const auto forwards = evaluate(parsed(running("", both)), environment);
  CHECK(forwards.at("last") == tensor({2}, {1135, 2246}));
  CHECK(forwards.at("all") == tensor({3, 2}, {11, 22, 113, 224, 1135, 2246}));
  const auto backwards = evaluate(parsed(running(" backwards", both)), environment);
  CHECK(backwards.at("last") == tensor({2}, {1531, 2642}));
  CHECK(backwards.at("all") == tensor({3, 2}, {1531, 2642, 153, 264, 15, 26}));
}

TEST_CASE("a loop's text reads back as the same graph, and prints as the same text") {
  for (const std::string direction : {"", " backwards"}) {
    const Graph graph = parsed(running(direction, both));
    CHECK(print(graph) == running(direction, both));
    CHECK(same_graph(parsed(print(graph)), graph));
  }
  CHECK_FALSE(same_graph(parsed(running("", both)), parsed(running(" backwards", both))));
}

TEST_CASE("loops within loops print and compute") {
  const std::string text =
      "loop 0: 2 steps, 1 carries, 1 sequences\n"
      "  loop 0: 3 steps, 1 carries, 1 sequences\n"
      "    %0 = input \"0\" : f64\n"
      "    %1 = input \"1\" : f64\n"
      "    %2 : f64 = %0 * 2 + %1\n"
      "    result \"0\" = %2\n"
      "  end\n"
      "  %0 = input \"0\" : f64\n"
      "  %1 = input \"1\" : f64[3]\n"
      "  %2 : f64 = scan(%0, %1, 0, 0)\n"
      "  result \"0\" = %2\n"
      "end\n"
      "%x = input \"x\" : f64[2, 3]\n"
      "%0 : f64 = scan(1_f64, %x, 0, 0)\n"
      "result \"y\" = %0\n";
  const Graph graph = parsed(text);
  CHECK(print(graph) == text);
  Environment given;
  given.inputs = {{"x", tensor({2, 3}, {1, 2, 3, 4, 5, 6})}};
  CHECK(evaluate(graph, given).at("y").at(0) == ((((1 * 2 + 1) * 2 + 2) * 2 + 3) * 2 + 4) * 4 + 16);
}

TEST_CASE("equal bodies are one value, however they are numbered; another body is another loop") {
  const Graph a = parsed(running("", both)), b = parsed(running("", both));
  const auto& first = std::get<Scan>(a.nodes.back().attributes);
  const auto& second = std::get<Scan>(b.nodes.back().attributes);
  CHECK(first.body == second.body);
  CHECK(first.body.hash() == second.body.hash());
  Graph other = *first.body;
  other.nodes.back().op = Op::sub;
  CHECK_FALSE(ScanBody(other) == first.body);
}

TEST_CASE("loops that do not fit their operands are refused") {
  CHECK_THAT(message(running("", "%r : f64[2] = scan(%x, %x, %w, 0, 0)\n")), Contains("scan: "));
  CHECK_THAT(message(running("", "%r : f64[2] = scan(%a, %a, %w, 0, 0)\n")), Contains("wrong number of axes"));
  CHECK_THAT(message(running("", "%r : f64[2] = scan(%a, %x, 0, 0)\n")), Contains("it does not take 2 operands"));
  CHECK_THAT(message(running("", "%r : f64[2] = scan(%a, %x, %w, 0, 2)\n")), Contains("attributes"));
  CHECK_THAT(message(running("", "%r : f64[2] = scan(%a, %x, %w, 1, 0)\n")), Contains("does not stand before"));
  CHECK_THAT(message("loop 1: 3 steps, 0 carries, 0 sequences\nend\n"), Contains("this is loop 0"));
  CHECK_THAT(message("loop 0: 3 steps, 0 carries, 0 sequences\n"), Contains("`end`") || Contains("label"));
}

TEST_CASE("a body has no leaves but inputs by position, and numbers") {
  const auto with = [](const std::string& leaf) {
    return "loop 0: 3 steps, 0 carries, 0 sequences\n  %p = " + leaf +
           "\n  result \"0\" = %p\nend\n%x = input \"x\" : f32\n%r : f32[3] = scan(%x, 0, 0)\nresult \"r\" = %r\n";
  };
  CHECK(message(with("input \"0\" : f32")) == "");
  CHECK_THAT(message(with("param \"W\" : f32")), Contains("a loop's body has a param of its own"));
  CHECK_THAT(message(with("random 0x1 : f32")), Contains("a loop's body has a random of its own"));
}

TEST_CASE(
    "loops over the same operands whose carries go the same way become one, and what nobody asks for is dropped") {
  const std::string text =
      "loop 0: 3 steps, 2 carries, 2 sequences\n"
      "  %s = input \"0\" : f64[2]\n"
      "  %c = input \"1\" : f64\n"
      "  %x = input \"2\" : f64[2]\n"
      "  %next : f64[2] = %s + %x\n"
      "  %count : f64 = %c + 1\n"
      "  result \"0\" = %next\n"
      "  result \"1\" = %count\n"
      "  result \"2\" = %next\n"
      "end\n"
      "loop 1: 3 steps, 2 carries, 2 sequences\n"
      "  %s = input \"0\" : f64[2]\n"
      "  %c = input \"1\" : f64\n"
      "  %x = input \"2\" : f64[2]\n"
      "  %next : f64[2] = %s + %x\n"
      "  %count : f64 = %c + 1\n"
      "  %twice : f64[2] = %s * 2\n"
      "  result \"0\" = %next\n"
      "  result \"1\" = %count\n"
      "  result \"2\" = %twice\n"
      "end\n"
      "%a = input \"a\" : f64[2]\n"
      "%x = input \"x\" : f64[3, 2]\n"
      "%y = input \"y\" : f64[3, 2]\n"
      "%p : f64[2] = scan(%a, 0_f64, %x, %y, 0, 0)\n"
      "%q : f64[3, 2] = scan(%a, 0_f64, %x, %y, 1, 2)\n"
      "result \"p\" = %p\n"
      "result \"q\" = %q\n";
  const Graph graph = parsed(text), shared = share_loops(graph);
  REQUIRE(verify(shared) == "");
  CHECK(loops_in(graph) == 2);
  CHECK(loops_in(shared) == 1);
  for (const Node& node : shared.nodes)
    if (node.op == Op::scan) CHECK(node.operands.size() == 2);  // the count and y are gone
  Environment given = environment;
  given.inputs["y"] = given.inputs["x"];
  const auto before = evaluate(graph, given), after = evaluate(shared, given);
  CHECK(before == after);
}
