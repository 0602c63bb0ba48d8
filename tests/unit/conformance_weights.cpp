// tests/conformance/weights.txt holds the SHA-256 of what each example has learnt at its end: every parameter and every
// state, as a run directory would keep them. Reading data, initialising, shuffling, training and evaluating come
// together in one sum, which every machine, instruction set and number of threads must reproduce. NNC_BLESS=1 writes
// the file anew.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "driver/session.h"
#include "frontend/elaborate.h"
#include "runtime/checkpoint.h"
#include "runtime/train.h"
#include "tests/support/examples.h"
#include "tests/support/sha256.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

std::string file_name() { return std::string(NNC_SOURCE_DIR) + "/tests/conformance/weights.txt"; }

/// The file: an example and its element type, two spaces or more, a sum.
std::map<std::string, std::string> committed() {
  std::map<std::string, std::string> sums;
  std::ifstream file(file_name());
  for (std::string line; std::getline(file, line);)
    if (!line.empty() && line[0] != '#') sums[line.substr(0, line.find("  "))] = line.substr(line.rfind(' ') + 1);
  return sums;
}

/// Training that nobody watches.
class Unwatched : public TrainObserver {
 public:
  void on_step(const Cursor&, std::span<const double>) override {}
  void on_epoch(const EpochReport&) override {}
  std::optional<Problem> save(const Weights&, const TrainState&, bool) override { return std::nullopt; }
  bool interrupted() override { return false; }
};

std::string sum_of(const TensorFile& file) {
  std::map<std::string, const DenseArray*> by_name;
  for (const auto& tensor : file.tensors) by_name[tensor.name] = &tensor.array;
  test::Sha256 sum;
  for (const auto& [name, array] : by_name) {
    sum.add(std::as_bytes(std::span(name)));
    sum.add({array->bytes.data(), static_cast<std::size_t>(array->count()) * size_of(array->dtype)});
  }
  return sum.hex();
}

/// What `nnc train` does, without a run directory.
std::string trained(const std::string& example, bool double_precision, const driver::Compilation& compilation) {
  const test::Scratch scratch;
  ElaborateOptions options;
  options.double_precision = double_precision;
  Diagnostics diagnostics;
  const std::vector<Elaborated> blocks =
      elaborate_file(test::reduced_example(example, scratch.path()), options, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  const TrainSettings settings{.job = blocks[0].train, .max_steps = {}};

  auto data = RawData::open(blocks[0].data, {});
  REQUIRE(data);
  driver::Session session(blocks[0], compilation, Batches(settings.job.batch_size, data->rows("train")).size);
  const Programs programs = session.programs();
  Runner runner(compilation.threads);
  const Entry init = session.entry(EntryKind::init, 0, 1);
  Weights weights(*init.code);
  Scalars scalars;
  nnc_call call{};
  call.params = weights.params.data();
  call.state = weights.state.data();
  call.scalars = scalars.values;
  call.seed = settings.job.seed;
  runner.run(init, call);
  if (session.fits()) REQUIRE_FALSE(data->fit(runner, programs, weights));

  std::map<std::string, SplitColumns> splits;
  for (const std::string& split : data->splits()) {
    auto columns = data->feed(split, EntryKind::feed, runner, programs, weights, session.column_checks(),
                              session.inputs_of_columns());
    REQUIRE(columns);
    splits.emplace(split, std::move(*columns));
  }
  Unwatched observer;
  const auto valid = splits.find("valid");
  const TrainOutcome outcome = train(settings, runner, programs, weights, splits.at("train"),
                                     valid == splits.end() ? nullptr : &valid->second, observer);
  CHECK(outcome.end == TrainOutcome::End::epochs_done);
  CHECK(outcome.at.epoch == settings.job.epochs);
  return sum_of(checkpoint_of(weights, {}));
}

std::string name_of(const std::string& example, bool double_precision) {
  return fmt::format("{} {}", example.substr(0, example.find('/')), double_precision ? "f64" : "f32");
}

}  // namespace

TEST_CASE("conformance: what the examples learn is the same everywhere", "[conformance]") {
  const Host here = detect_host();
  std::vector<driver::Compilation> ways = {{.host = here}};
  for (const auto& [cpu, machine, threads] :
       std::vector<std::tuple<std::string, Machine, int>>{{"x86-64-v3", machine_avx2(), 2},
                                                          {"x86-64-v4", machine_avx512(), 3},
                                                          {"x86-64-v3", machine_four_lanes(), 1},
                                                          {"x86-64", machine_sse2(), 2}})
    if (const Target target = target_named(cpu).host.target; executes_here(target))
      ways.push_back({.host = {target, machine}, .threads = threads});

  std::map<std::string, std::string> sums;
  for (const std::string& example : test::example_files)
    for (bool double_precision : {false, true})
      sums[name_of(example, double_precision)] = trained(example, double_precision, ways[0]);
  if (std::getenv("NNC_BLESS")) {
    std::ofstream file(file_name());
    file << "# SHA-256 of the weights that the examples end with; tests/unit/conformance_weights.cpp says of which.\n";
    for (const auto& [name, sum] : sums) file << fmt::format("{:<16}  {}\n", name, sum);
  }
  CHECK(committed() == sums);
  for (const driver::Compilation& way : ways)
    for (const std::string& example : test::example_files)
      for (bool double_precision : {false, true}) {
        const std::string name = name_of(example, double_precision);
        CAPTURE(name, way.host.machine.name, way.host.target.cpu, way.threads);
        if (&way != &ways[0]) CHECK(trained(example, double_precision, way) == sums[name]);
      }
}
