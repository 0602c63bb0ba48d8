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
  // The processor's time, not the clock's, of the best of three runs: others on the machine do not count.
  const auto seconds = [](const std::string& text) {
    double least = INFINITY;
    for (int run = 0; run < 3; ++run) {
      const double start = test::cpu_seconds();
      elaborated(text);
      least = std::min(least, test::cpu_seconds() - start);
    }
    return least;
  };
  const auto repeated = [](int layers) { return block + net(fmt::format("|> repeat({}, Block())", layers)) + rest; };
  const auto written = [](int layers) {
    std::string body = "let h0 = x\n";
    for (int i = 0; i < layers; ++i) body += fmt::format("let h{} = h{} |> Block()\n", i + 1, i);
    return block + rest +
           fmt::format("model Net(x: f32[batch, 8]) -> f32[batch, 8] {{\n{}return h{}\n}}\n", body, layers);
  };
  for (const auto& program : {std::function<std::string(int)>(repeated), std::function<std::string(int)>(written)}) {
    const double few = seconds(program(250)), more = seconds(program(500)), many = seconds(program(1000));
    INFO(few << " s for 250 layers, " << more << " s for 500, " << many << " s for 1000");
    CHECK(more < 3.5 * few);  // 2 where work is in proportion, 4 where it is squared
    CHECK(many < 8 * few);    // 4, and 16; caches take their share
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
