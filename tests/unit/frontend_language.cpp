// How work and names grow with a program: elaboration is linear in the layers, and paths depend on nothing else.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "frontend/elaborate.h"
#include "ir/text.h"
#include "tests/support/cpu_time.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

Elaborated elaborated(const std::string& text) {
  const test::Scratch scratch;
  const std::string path = (scratch.path() / "a.nn").string();
  std::ofstream(path) << text;
  Diagnostics diagnostics;
  auto blocks = elaborate_file(path, {}, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  return std::move(blocks[0]);
}

const std::string block =
    "layer Block()(x: float[..., D]) -> float[..., D] { return x + (x |> LayerNorm() |> Dense(D) |> relu) }\n";
const std::string rest =
    "data points {\n  samples = 10\n  x: f32[8] = uniform(0, 1)\n  train = split(1.0)\n}\n"
    "train Net on points {\n  loss = mse(Net(x), x)\n  optimizer = adam(lr = 0.1)\n  epochs = 1\n}\n";

std::string net(const std::string& body) {
  return "model Net(x: f32[batch, 8]) -> f32[batch, 8] { return x " + body + " }\n";
}

std::vector<std::string> paths(const Elaborated& program) {
  std::vector<std::string> result;
  for (const Variable& variable : program.variables) result.push_back(variable.path);
  return result;
}

}  // namespace

TEST_CASE("a model of 500 layers is elaborated in proportion: every further layer costs the same nodes") {
  const auto nodes = [](int layers) {
    const Elaborated program = elaborated(block + net(fmt::format("|> repeat({}, Block())", layers)) + rest);
    return std::vector<std::size_t>{program.step.nodes.size(), program.evaluate.nodes.size(), program.init.nodes.size(),
                                    program.variables.size()};
  };
  const auto ten = nodes(10), twenty = nodes(20), five_hundred = nodes(500);
  for (std::size_t i = 0; i < ten.size(); ++i) CHECK(five_hundred[i] == ten[i] + 49 * (twenty[i] - ten[i]));
}

TEST_CASE("twice the layers take twice the work") {
  const auto seconds = [](const std::string& text) {  // of the processor, not of the clock
    const double start = test::cpu_seconds();
    elaborated(text);
    return test::cpu_seconds() - start;
  };
  const auto repeated = [](int layers) { return block + net(fmt::format("|> repeat({}, Block())", layers)) + rest; };
  const auto written = [](int layers) {
    std::string body = "let h0 = x\n";
    for (int i = 0; i < layers; ++i) body += fmt::format("let h{} = h{} |> Block()\n", i + 1, i);
    return block + rest +
           fmt::format("model Net(x: f32[batch, 8]) -> f32[batch, 8] {{\n{}return h{}\n}}\n", body, layers);
  };
  for (const auto& program : {std::function<std::string(int)>(repeated), std::function<std::string(int)>(written)}) {
    // 4 where work is in proportion and 16 where it is squared. What else the machine does may spoil its caches for one
    // of the two runs, so one good pair in eight is enough; squared work would never give one.
    double least = INFINITY;
    for (int attempt = 0; attempt < 8 && least >= 6; ++attempt)
      least = std::min(least, seconds(program(1000)) / seconds(program(250)));
    CHECK(least < 8);
  }
}

TEST_CASE("repeat means what the layers written out mean, with the same paths") {
  const Elaborated repeated = elaborated(block + net("|> repeat(4, Block())") + rest);
  const Elaborated written = elaborated(block + net("|> Block() |> Block() |> Block() |> Block()") + rest);
  CHECK(paths(repeated) == paths(written));
  CHECK(repeated.variables.front().path == "Block1.LayerNorm1.scale");
  CHECK(same_graph(repeated.step, written.step));
  CHECK(same_graph(repeated.init, written.init));
}

TEST_CASE("checkpoint paths survive edits that have nothing to do with the layers") {
  const Elaborated before = elaborated(block + net("|> repeat(2, Block()) |> tanh |> Dense(8)") + rest);
  const Elaborated after = elaborated(
      "# another comment\nconst unused = 3\nfn helper(x: float[...]) -> float[...] { return 2 * x }\n" + rest + block +
      "model Net(x: f32[batch, 8]) -> f32[batch, 8] {\n  let deep = x\n    |> repeat(2, Block())\n"
      "  if unused > 5 { let more = deep |> Dense(8) }\n  let y = helper(tanh(deep))\n  return Dense(8)(y)\n}\n");
  CHECK(paths(before) == paths(after));
}

TEST_CASE(
    "paths are those of the ruling: kinds numbered in elaborated order, names without numbers, no level for loops") {
  struct Ruling {
    const char *says, *body;
    std::vector<std::string> weights;  ///< the paths of matrices, in order
  };
  const std::string cell =
      "layer Cell(n: int)(x: float[..., In]) -> float[..., n] {\n  carry h: float[..., n] = zeros\n"
      "  update h = tanh((x |> Dense(n)) + (h |> Dense(n)))\n  return h\n}\n"
      "fn add(a: float[...], b: float[...]) -> float[...] { return a + b }\n"
      "model Part(x: float[batch, 8]) -> float[batch, 8] { return x |> Dense(8) }\n";
  const std::vector<Ruling> rulings{
      {"one of a kind has a number too", "return x |> Dense(8)", {"Dense1.W"}},
      {"left before right",
       "return add(x |> Dense(8), x |> Block()) |> Dense(8)",
       {"Dense1.W", "Block1.Dense1.W", "Dense2.W"}},
      {"callee before argument", "return Dense(8)(x |> Dense(9))", {"Dense2.W", "Dense1.W"}},
      {"a name takes no number",
       "let F = Dense(8)\n  return x |> Dense(8) |> F |> Dense(8)",
       {"Dense1.W", "F.W", "Dense2.W"}},
      {"a name twice is one", "let F = Dense(8)\n  return x |> F |> F", {"F.W"}},
      {"a name through an if",
       "let F = if 1 < 2 { Dense(8) } else { Dense(8, bias = false) }\n  return x |> F",
       {"F.W"}},
      {"a branch that is not taken makes none",
       "if 2 < 1 { let a = x |> Dense(8) }\n  return x |> Dense(8)",
       {"Dense1.W"}},
      {"one iteration after the other",
       "let all = [x |> Dense(8) |> Dense(8) for i in range(2)]\n  return sum(all)",
       {"Dense1.W", "Dense2.W", "Dense3.W", "Dense4.W"}},
      {"repeat adds no level", "return x |> repeat(2, Block())", {"Block1.Dense1.W", "Block2.Dense1.W"}},
      {"scan adds no level",
       "let s = [x, x][:, :]\n  return mean(transpose(s, [1, 0, 2]) |> scan(Cell(8)), over = 1)",
       {"Cell1.Dense1.W", "Cell1.Dense2.W"}},
      {"a model in a model is an instance", "return x |> Part |> Part", {"Part1.Dense1.W", "Part2.Dense1.W"}},
      {"a named instance of the library says how its members are called",
       "let A = Attention(2)\n  return reshape(A(reshape(x, [batch, 2, 4])), [batch, 8])",
       {"A.Q.W", "A.K.W", "A.V.W", "A.O.W"}},
  };
  for (const Ruling& ruling : rulings) {
    INFO(ruling.says);
    const Elaborated program =
        elaborated(block + cell + "model Net(x: f32[batch, 8]) -> f32[batch, 8] {\n  " + ruling.body + "\n}\n" + rest);
    std::vector<std::string> matrices;
    for (const Variable& variable : program.variables)
      if (!variable.is_state && variable.type.rank() == 2) matrices.push_back(variable.path);
    CHECK(matrices == ruling.weights);
  }
}

TEST_CASE("a model's paths begin below it; of several models in one block each has its name in front") {
  const std::string net = "model Net(x: f32[batch, 8]) -> f32[batch, 8] { return x |> Dense(8) }\n";
  const std::string other = "model Other(x: f32[batch, 8]) -> f32[batch, 8] { return x |> Dense(8) }\n";
  const std::string data = "data points {\n  samples = 10\n  x: f32[8] = uniform(0, 1)\n}\n";
  const auto train = [](const std::string& models, const std::string& loss) {
    return "train " + models + " on points {\n  loss = " + loss + "\n  optimizer = sgd(lr = 0.1)\n  epochs = 1\n}\n";
  };
  CHECK(paths(elaborated(net + data + train("Net", "mse(Net(x), x)"))) ==
        std::vector<std::string>{"Dense1.W", "Dense1.b"});
  CHECK(paths(elaborated(net + other + data + train("Net, Other", "mse(Net(x), Other(x))"))) ==
        std::vector<std::string>{"Net.Dense1.W", "Net.Dense1.b", "Other.Dense1.W", "Other.Dense1.b"});
}
