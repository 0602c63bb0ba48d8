// The outline of a program: its steps are those of the text, in their order, with the shapes that come out.
#include <fmt/format.h>

#include <fstream>

#include "frontend/elaborate.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

/// One line a step: its text, its name, its type, what it learns, the steps that it reads.
std::string outlined(const std::string& layers, const std::string& model, const std::string& loss) {
  const test::Scratch scratch;
  const std::string path = (scratch.path() / "p.nn").string();
  std::ofstream(path) << "data d {\n  samples = 8\n  x: f32[4] = uniform(0, 1)\n  y: f32[3] = uniform(0, 1)\n}\n"
                      << layers << "model M(x: f32[batch, 4]) -> f32[batch, 3] {\n"
                      << model << "}\ntrain M on d {\n  let z = M(x)\n  loss = " << loss
                      << "\n  optimizer = sgd(lr = 0.1)\n  epochs = 1\n}\n";
  Diagnostics diagnostics;
  const std::vector<Elaborated> blocks = elaborate_file(path, {}, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  std::string text;
  for (const OutlineStep& step : blocks[0].outline) {
    text += step.text;
    if (!step.within.empty()) text += " in " + step.within;
    if (!step.name.empty() && step.name != step.text) text += " = " + step.name;
    text += ": " + to_string(step.type);
    for (const auto& [name, type] : step.parameters) text += fmt::format(", {} {}", name, to_string(type));
    for (std::size_t from : step.from) text += fmt::format(" <{}", from);
    text += "\n";
  }
  return text;
}

TEST_CASE("a layer of the library is one step, and so are a function and an expression", "[outline]") {
  CHECK(outlined("", "  let h = x |> Dense(5) |> relu\n  return Dense(3)(h) / 2 + 1\n", "mse(z, y)") ==
        "x: f32[batch, 4]\n"
        "y: f32[batch, 3]\n"
        "Dense(5): f32[batch, 5], W f32[4, 5], b f32[5] <0\n"
        "relu = h: f32[batch, 5] <2\n"
        "Dense(3): f32[batch, 3], W f32[5, 3], b f32[3] <3\n"
        "Dense(3)(h) / 2 + 1 = z: f32[batch, 3] <4\n"
        "mse = loss: f32 <1 <5\n");
}

TEST_CASE("of an own layer the parts are steps, each instance's its own", "[outline]") {
  CHECK(outlined("layer Skip()(x: float[..., C]) -> float[..., C] {\n  return relu(x + Dense(C)(x))\n}\n",
                 "  return x |> Skip() |> Skip() |> Dense(3)\n", "mse(z, y)") ==
        "x: f32[batch, 4]\n"
        "y: f32[batch, 3]\n"
        "Dense(C) in Skip1: f32[batch, 4], W f32[4, 4], b f32[4] <0\n"
        "x + Dense(C)(x) in Skip1: f32[batch, 4] <0 <2\n"
        "relu in Skip1: f32[batch, 4] <3\n"
        "Dense(C) in Skip2: f32[batch, 4], W f32[4, 4], b f32[4] <4\n"
        "x + Dense(C)(x) in Skip2: f32[batch, 4] <4 <5\n"
        "relu in Skip2: f32[batch, 4] <6\n"
        "Dense(3) = z: f32[batch, 3], W f32[4, 3], b f32[3] <7\n"
        "mse = loss: f32 <1 <8\n");
}

TEST_CASE("parameters of a model, a penalty, a repeated layer", "[outline]") {
  CHECK(outlined("",
                 "  param W: f32[4, 3] = zeros\n  param b: f32[3] = zeros\n"
                 "  let h = x |> repeat(2, Dense(4))\n  return tanh(h @ W + b)\n",
                 "mse(z, y) + 0.1 * sum(square(M.W))") ==
        "x: f32[batch, 4]\n"
        "y: f32[batch, 3]\n"
        "Dense(4): f32[batch, 4], W f32[4, 4], b f32[4] <0\n"
        "Dense(4) = h: f32[batch, 4], W f32[4, 4], b f32[4] <2\n"
        "h @ W + b: f32[batch, 3], W f32[4, 3], b f32[3] <3\n"
        "tanh = z: f32[batch, 3] <4\n"
        "mse: f32 <1 <5\n"
        "square: f32[4, 3]\n"
        "sum: f32 <7\n"
        "… + 0.1 * sum(square(M.W)) = loss: f32 <6 <8\n");
}

}  // namespace
