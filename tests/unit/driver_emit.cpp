// nnc emit and nnc opt as things to look through: stages for other programs, and what is shown of the passes, spelled
// and behaving as in LLVM's opt.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "ir/op.h"
#include "ir/text.h"
#include "tests/support/command.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using test::run_nnc;
using test::Scratch;

const char* program = R"(data d {
  samples = 16
  x: f32[4] = uniform(0, 1)
  y: i32[] = 1
}
model Net(x: f32[batch, 4]) -> f32[batch, 3] { return x |> Dense(5) |> sigmoid |> Dense(3) }
train Net on d {
  let z = Net(x)
  loss = softmax_cross_entropy(z, y)
  output z = z
  optimizer = sgd(lr = 0.1)
  batch_size = 8
  epochs = 1
}
)";

struct Folder {
  Scratch scratch;
  std::filesystem::path path = scratch.path();
  Folder() { std::ofstream(path / "net.nn") << program; }
};

Graph graph_of(const std::string& text) {
  auto parsed = parse_graph(text);
  REQUIRE(std::holds_alternative<Graph>(parsed));
  return std::get<Graph>(parsed);
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_CASE("the json stage says what the opt stage says") {
  const Folder in;
  for (const std::string mode : {"train", "infer"}) {
    const Graph opt = graph_of(run_nnc("emit net.nn --mode " + mode, in.path).out);
    const auto result = run_nnc("emit net.nn --stage json --mode " + mode, in.path);
    REQUIRE(result.status == 0);
    const auto json = nlohmann::json::parse(result.out);
    CHECK(json.at("schema") == "nnc.graph.1");
    CHECK(json.at("name") == opt.name);
    REQUIRE(json.at("nodes").size() == opt.nodes.size());
    std::map<std::string, int> ops, found;
    for (const Node& node : opt.nodes) ++ops[std::string(definition(node.op).name)];
    for (std::size_t i = 0; i < json["nodes"].size(); ++i) {
      const auto& node = json["nodes"][i];
      ++found[node.at("op")];
      CHECK(node.at("id") == i);
      CHECK(node.at("type").at("shape").is_array());
      for (const auto& operand : node.at("operands")) CHECK(operand < i);
      if (node.at("op") == "dot") CHECK(node.at("attributes").at("order") != nullptr);
      if (node.at("op") == "param") CHECK(node.at("attributes").at("name").get<std::string>().starts_with("Dense"));
    }
    CHECK(ops == found);
    REQUIRE(json.at("outputs").size() == opt.outputs.size());
    for (std::size_t i = 0; i < opt.outputs.size(); ++i) CHECK(json["outputs"][i].at("name") == opt.outputs[i].name);
    CHECK(json.at("obligations").size() == opt.obligations.size());
  }
}

TEST_CASE("the dot stage draws every value once, layers in clusters, types on edges") {
  const Folder in;
  const Graph opt = graph_of(run_nnc("emit net.nn", in.path).out);
  const std::string text = run_nnc("emit net.nn --stage dot", in.path).out;
  CHECK(text.starts_with("digraph \"step\" {"));
  CHECK(std::ranges::count(text, '{') == std::ranges::count(text, '}'));
  for (const char* cluster : {"Dense1", "Dense2", "gradients", "updates"})
    CHECK(count_of(text, std::string("label=\"") + cluster + "\"") == 1);

  std::set<std::string> drawn;
  std::size_t edges = 0;
  std::istringstream lines(text);
  const std::regex node(R"(^\s+(n\d+|out\d+) \[label=)"),
      edge(R"(^\s+(n\d+) -> (n\d+|out\d+) \[label="[a-z0-9]+(\[.*\])?"\];$)");
  std::smatch match;
  std::vector<std::string> ends;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_search(line, match, node)) CHECK(drawn.insert(match[1]).second);
    if (std::regex_search(line, match, edge)) {
      ends.insert(ends.end(), {match[1], match[2]});
      ++edges;
    }
  }
  for (const std::string& end : ends) CHECK(drawn.contains(end));
  std::size_t values = 0, uses = 0;
  for (const Node& n : opt.nodes) {
    values += !is_number(n);
    for (NodeId operand : n.operands) uses += !is_number(opt[operand]);
  }
  CHECK(drawn.size() == values + opt.outputs.size());
  CHECK(edges == count_of(text, " -> "));
  CHECK(edges == uses + opt.outputs.size());
}

TEST_CASE("graphs are shown after the passes that were asked for") {
  const Folder in;
  const auto quiet = run_nnc("emit net.nn", in.path);
  CHECK(quiet.err.empty());

  const auto one = run_nnc("emit net.nn --print-after=differentiate", in.path);
  CHECK(one.out == quiet.out);
  const std::string banner = "# *** IR Dump After differentiate on step ***\n";
  REQUIRE(one.err.starts_with(banner));
  CHECK(same_graph(graph_of(one.err), graph_of(run_nnc("emit net.nn --stage grad", in.path).out)));

  const auto two = run_nnc("emit net.nn --print-after=fold,assign_order", in.path);
  CHECK(count_of(two.err, "*** IR Dump After") == 2);
  const auto all = run_nnc("emit net.nn --print-after-all", in.path);
  CHECK(count_of(all.err, "*** IR Dump After") == 7);
  CHECK(all.err.ends_with(quiet.out));

  const auto changed = run_nnc("emit net.nn --print-changed --verify-each", in.path);
  CHECK(changed.err.starts_with("# *** IR Dump At Start ***\ngraph \"step\"\n"));
  CHECK(changed.err.find("# *** IR Dump After fold_expanded on step omitted because no change ***\n") !=
        std::string::npos);
  CHECK(count_of(changed.err, "*** IR Dump After") == 7);

  const auto wrong = run_nnc("emit net.nn --print-after=simplfy", in.path);
  CHECK(wrong.status == 2);
  CHECK(wrong.err.find("simplify") != std::string::npos);
}

TEST_CASE("passes are timed, the longest first, with lowering and code generation") {
  const Folder in;
  const auto timed = run_nnc("emit net.nn --stage asm --time-passes -o out.s", in.path);
  REQUIRE(timed.status == 0);
  CHECK(timed.out.empty());
  CHECK(timed.err.find("Pass execution timing report") != std::string::npos);
  for (const char* name : {"stabilise", "differentiate", "simplify", "assign_order", "lower", "asm", "Total"})
    CHECK(count_of(timed.err, std::string(")  ") + name + "\n") == 1);
  std::vector<double> seconds;
  std::istringstream lines(timed.err);
  std::smatch match;
  for (std::string line; std::getline(lines, line);)
    if (std::regex_match(line, match, std::regex(R"(   (\d+\.\d+) \(.*%\)  \w+)")))
      seconds.push_back(std::stod(match[1]));
  REQUIRE(seconds.size() == 10);
  CHECK(std::is_sorted(seconds.rbegin() + 1, seconds.rend()));
}

TEST_CASE("a reader that has seen enough ends emit quietly") {
  const Folder in;
  std::ofstream(in.path / "pipe.sh") << "'" NNC_BINARY "' emit net.nn --stage llvm | head -1\n";
  const std::string command = "sh '" + (in.path / "pipe.sh").string() + "' >'" + (in.path / "pipe.out").string() +
                              "' 2>'" + (in.path / "pipe.err").string() + "'";
  CHECK(std::system(("cd '" + in.path.string() + "' && " + command).c_str()) == 0);
  CHECK(test::read_file(in.path / "pipe.err").empty());
  CHECK(std::ranges::count(test::read_file(in.path / "pipe.out"), '\n') == 1);
}

TEST_CASE("help of emit begins with examples") {
  const Folder in;
  const std::string text = run_nnc("emit --help", in.path).out;
  CHECK(text.starts_with("Examples:\n  nnc emit "));
}

}  // namespace
