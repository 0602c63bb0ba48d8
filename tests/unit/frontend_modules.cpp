// Imports: what a file sees of others, each read once, and constants that --set gives another value wherever they are.
#include <filesystem>
#include <fstream>

#include "frontend/elaborate.h"
#include "ir/text.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using Catch::Matchers::Contains;

/// Files in a folder of their own.
class Files {
 public:
  Files& add(const std::string& name, const std::string& text) {
    const auto path = scratch_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return *this;
  }
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }

 private:
  test::Scratch scratch_;
};

std::string graph_of(const Files& files, const std::string& name, const ElaborateOptions& options = {}) {
  Diagnostics diagnostics;
  const auto graph = elaborate_model(files.path(name), "", options, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(graph);
  return print(*graph);
}

std::string messages_of(const Files& files, const std::string& name) {
  Diagnostics diagnostics;
  elaborate_file(files.path(name), {}, diagnostics);
  return diagnostics.render(false);
}

const std::string scale =
    "layer Scale()(x: float[..., C]) -> float[..., C] {\n  param a: float[C] = ones\n  return a * x\n}\n";

}  // namespace

TEST_CASE("a file sees constants, functions, layers, models and optimizers of the files that it imports") {
  Files files;
  files.add("lib/layers.nn",
            "import \"names.nn\"\n" + scale +
                "model Body(x: f32[batch, 2]) -> f32[batch, 4] { return x |> Scale() |> Dense(width) }\n"
                "data rows {\n  samples = 5\n  x: f32[1] = 0\n  train = split(1.0)\n}\n");
  files.add("lib/names.nn",
            "const width = 4\nfn twice(x: float[...]) -> float[...] { return x + x }\n"
            "optimizer plain(lr: float)(p: float[...], g: float[...]) -> float[...] { return p - lr * g }\n");
  files.add("main.nn",
            "import \"lib/layers.nn\"\nimport \"lib/../lib/names.nn\"\n"
            "model Net(x: f32[batch, 2]) -> f32[batch, 4] { return x |> Body |> twice }\n"
            "data rows {\n  samples = 5\n  x: f32[2] = uniform(0, 1)\n  train = split(1.0)\n}\n"
            "train Net on rows {\n  loss = mean(square(Net(x)))\n  optimizer = plain(lr = 0.1)\n  epochs = 1\n}\n"
            "train Body on rows {\n  loss = mean(square(Body(x)))\n  optimizer = plain(lr = 0.1)\n  epochs = 1\n}\n");
  Diagnostics diagnostics;
  const auto blocks = elaborate_file(files.path("main.nn"), {}, diagnostics);
  CHECK(diagnostics.render(false) == "");
  REQUIRE(blocks.size() == 2);
  CHECK(blocks[0].variables[0].path == "Body1.Scale1.a");
  CHECK(blocks[1].variables[0].path == "Scale1.a");
  // A diamond: names.nn is there once.
  REQUIRE(blocks[0].sources.size() == 3);
  CHECK(blocks[0].sources[0].path == files.path("main.nn"));
  CHECK(blocks[0].sources[1].path == files.path("lib/layers.nn"));
  CHECK(blocks[0].sources[2].path == files.path("lib/names.nn"));
  CHECK_FALSE(blocks[0].imports_from_root);
}

TEST_CASE("names that an imported file imports itself are not seen") {
  Files files;
  files.add("deep.nn", "const depth = 3\n").add("lib.nn", "import \"deep.nn\"\nconst width = depth\n");
  files.add("main.nn", "import \"lib.nn\"\nconst a = width\nconst b = depth\n");
  const std::string messages = messages_of(files, "main.nn");
  CHECK_THAT(messages, Contains("there is no `depth`") && Contains("main.nn:3:11"));
  CHECK_THAT(messages, !Contains("lib.nn:2"));
}

TEST_CASE("a file's own name wins over an imported one, with a warning") {
  Files files;
  files.add("lib.nn", "const width = 4\n");
  files.add("main.nn",
            "import \"lib.nn\"\nconst width = 7\n"
            "model Net(x: f32[batch, width]) -> f32[batch, 7] { return x }\n");
  CHECK_THAT(graph_of(files, "main.nn"), Contains("f32[batch, 7]"));
  CHECK_THAT(messages_of(files, "main.nn"), Contains("W0207") && Contains("`width` has another meaning in"));
}

TEST_CASE("--set reaches a constant of an imported file, for that file too") {
  Files files;
  files.add("lib.nn", "const width = 4\nfn wide(x: float[..., width]) -> float[..., width] { return x }\n");
  files.add("main.nn", "import \"lib.nn\"\nmodel Net(x: f32[batch, width]) -> f32[batch, width] { return wide(x) }\n");
  ElaborateOptions options;
  options.overrides = {{"width", "9"}};
  CHECK_THAT(graph_of(files, "main.nn", options), Contains("f32[batch, 9]"));
}

TEST_CASE("places in an imported file are told with its name") {
  Files files;
  files.add("lib.nn", "const width = 4\nfn wide(x: float[..., width]) -> float[..., width] { return x }\n");
  files.add("main.nn", "import \"lib.nn\"\nmodel Net(x: f32[batch, 3]) -> f32[batch, width] { return wide(x) }\n");
  CHECK_THAT(messages_of(files, "main.nn"), Contains("lib.nn:1:1") && Contains("main.nn:2:64"));
}

TEST_CASE("an import cycle is answered with its chain, through folders and links too") {
  Files files;
  files.add("a.nn", "import \"sub/b.nn\"\n").add("sub/b.nn", "import \"../c.nn\"\n");
  files.add("c.nn", "import \"sub/link/a.nn\"\n");
  std::filesystem::create_directory_symlink("..", files.path("sub/link"));
  const std::string messages = messages_of(files, "a.nn");
  CHECK_THAT(messages, Contains("E0208") && Contains("imports itself"));
  CHECK_THAT(messages, Contains(files.path("a.nn") + " -> " + files.path("sub/b.nn") + " -> " + files.path("c.nn")));
}
