// A run of a program that imports carries all its files: it is evaluated from another folder when they are gone.
#include <filesystem>
#include <fstream>

#include "tests/support/command.h"
#include "tests/unit/catch.h"

namespace {

using Catch::Matchers::Contains;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::string program_that_imports(const std::string& path) {
  return "import \"" + path +
         "\"\n"
         "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Body }\n"
         "data line {\n  samples = 40\n  x: f32[1] = uniform(-1, 1)\n  y: f32[1] = 2 * x\n"
         "  train, valid = split(0.5, 0.5)\n}\n"
         "train Net on line {\n  loss = mse(Net(x), y)\n  optimizer = sgd(lr = 0.1)\n  epochs = 2\n}\n";
}

const std::string layers =
    "import \"deep/er.nn\"\nmodel Body(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(width) |> Dense(1) }\n";

}  // namespace

TEST_CASE("a run of a program with imports is evaluated from another folder after its source is deleted") {
  const bool from_root = GENERATE(false, true);
  const Scratch scratch, elsewhere;
  const fs::path library = scratch.path() / "shared/layers.nn";
  write(library, layers);
  write(scratch.path() / "shared/deep/er.nn", "const width = 3\n");
  write(scratch.path() / "work/main.nn", program_that_imports(from_root ? library.string() : "../shared/layers.nn"));
  const auto trained = run_nnc("train main.nn --set width=5 --out ../run", scratch.path() / "work");
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  fs::remove_all(scratch.path() / "work");
  fs::remove_all(scratch.path() / "shared");
  fs::rename(scratch.path() / "run", elsewhere.path() / "run");
  const auto evaluated = run_nnc("eval run", elsewhere.path());
  INFO(evaluated.err);
  CHECK(evaluated.status == 0);
  CHECK_THAT(trained.out, Contains(evaluated.out));

  fs::path stored;
  for (const auto& entry : fs::recursive_directory_iterator(elsewhere.path() / "run/model"))
    if (entry.path().filename() == "er.nn") stored = entry.path();
  REQUIRE(!stored.empty());
  std::ofstream(stored, std::ios::app) << "# another text\n";
  const auto refused = run_nnc("eval run", elsewhere.path());
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, Contains("er.nn") && Contains("is not the one that it was trained with"));
}
