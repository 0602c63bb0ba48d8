// What a pass takes of deep networks: blocks that are all alike are each as much work as the next one, and each comes
// out as the next one does. Steps are counted, so that no clock and no other program has a say.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "frontend/elaborate.h"
#include "passes/pipeline.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

/// The step of so many blocks, with its derivatives as they were derived.
Graph derived(const std::string& block, int blocks) {
  const auto path =
      std::filesystem::temp_directory_path() /
      fmt::format("nnc-depth-{}-{}.nn", std::chrono::steady_clock::now().time_since_epoch().count(), blocks);
  std::ofstream(path) << fmt::format(R"(data d {{
  samples = 8
  x: f32[4, 6] = uniform(0, 1)
}}
layer Block()(x: float[N, T, D]) -> float[N, T, D] {{
{}
}}
model Net(x: f32[batch, 4, 6]) -> f32[batch, 4, 6] {{ return x |> repeat({}, Block()) }}
train Net on d {{
  loss = mse(Net(x), x)
  optimizer = sgd(lr = 0.1)
  epochs = 1
}}
)",
                                     block, blocks);
  Diagnostics diagnostics;
  const auto found = elaborate_file(path.string(), {}, diagnostics);
  std::filesystem::remove(path);
  INFO(block << diagnostics.render(false));
  REQUIRE(found.size() == 1);
  return optimise_until(found[0].step, "differentiate");
}

struct Work {
  std::int64_t steps = 0, nodes = 0;
};
Work of_simplify(const std::string& block, int blocks) {
  Work work;
  const Graph graph = simplify(derived(block, blocks), {.disabled_laws = {}, .record = nullptr, .steps = &work.steps});
  work.nodes = static_cast<std::int64_t>(graph.nodes.size());
  return work;
}

TEST_CASE("simplify takes as many steps for each block, however deep a network is, and makes the same of each") {
  const char* const of_norm = "  return x + (x |> LayerNorm() |> Dense(D) |> gelu)";
  const char* const after_norm = "  return x + (x |> Dense(D) |> relu) |> LayerNorm()";
  const char* const of_attention = R"(  let h = x + (x |> LayerNorm() |> Attention(2, causal = true))
  return h + (h |> LayerNorm() |> Dense(2 * D) |> gelu |> Dense(D)))";
  const char* const of_statistics = "  return x + (x |> BatchNorm() |> relu |> Dense(D) |> tanh)";
  for (const std::string block : {of_norm, after_norm, of_attention, of_statistics}) {
    INFO(block);
    const Work few = of_simplify(block, 8), more = of_simplify(block, 16), many = of_simplify(block, 32);
    CHECK(few.steps > 0);
    CHECK(many.nodes - more.nodes == 2 * (more.nodes - few.nodes));
    CHECK(static_cast<double>(many.steps - more.steps) <= 2.1 * static_cast<double>(more.steps - few.steps));
  }
}

}  // namespace
}  // namespace nnc
