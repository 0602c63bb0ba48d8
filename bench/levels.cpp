// What LLVM's whole O2 pipeline would gain: training steps of the examples and of the nets that `nnc new` writes, as
// nnc compiles them, beside the same LLVM text through `clang -O2`, by turns. Prints figures and fails nothing.
#include <dlfcn.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "driver/session.h"
#include "driver/workload.h"
#include "passes/pipeline.h"
#include "runtime/measure.h"

using namespace nnc;
namespace fs = std::filesystem;

namespace {

constexpr const char* programs[] = {
    "examples/linear/linear.nn", "examples/softmax/flowers.nn", "examples/xor/xor.nn",     "examples/curve/curve.nn",
    "examples/mnist/mnist.nn",   "driver/templates/cnn.nn",     "driver/templates/rnn.nn", "driver/templates/gpt.nn"};
constexpr int runs = 80;  // short ones, so that some meet a moment without other work
constexpr double run_seconds = 0.003;
constexpr std::int64_t rows_of_full_batch = 32;

/// The text through clang -O2, loaded; the entry is `ours` with the functions exchanged. Null where clang is missing.
const nnc_entry* through_o2(const std::string& text, const nnc_entry& ours, const fs::path& folder, nnc_entry& made) {
  static int number = 0;  // a library that is loaded must not be written over
  const std::string stem = (folder / std::to_string(number++)).string();
  std::ofstream(stem + ".ll") << text;
  const std::string line =
      fmt::format("{0} -O2 -shared -fPIC -Wno-override-module -x ir {1}.ll -o {1}.so", NNC_TWIN_COMPILER, stem);
  if (std::system(line.c_str()) != 0) return nullptr;
  void* library = dlopen((stem + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  made = ours;
  made.call = reinterpret_cast<nnc_function>(dlsym(library, "nnc_entry_call"));
  made.repeat = reinterpret_cast<nnc_repeated>(dlsym(library, "nnc_entry_repeat"));
  return made.call != nullptr ? &made : nullptr;
}

double seconds_of(driver::Workload& work, Runner& runner) {
  const double begin = seconds_now();
  double now = begin;
  std::int64_t calls = 0;
  do {
    work.run(runner, 1);
    calls += work.times();
    now = seconds_now();
  } while (now - begin < run_seconds);
  return (now - begin) / static_cast<double>(calls);
}

void measure(const std::string& name, const Host& host, const fs::path& folder) {
  Diagnostics diagnostics;
  const auto blocks = elaborate_file(std::string(NNC_SOURCE_DIR) + "/" + name, {}, diagnostics);
  if (blocks.size() != 1) return fmt::print("{} cannot be read\n", name);
  const std::int64_t rows = blocks[0].train.batch_size > 0 ? blocks[0].train.batch_size : rows_of_full_batch;
  driver::Session session(blocks[0], {.host = host}, rows);
  const Program program = session.lower_graph(optimise(blocks[0].step), EntryKind::step, rows);
  const double begin = seconds_now();
  const auto less = compile(program, {.target = host.target});
  const double compiled = seconds_now() - begin;
  nnc_entry o2_entry;
  const nnc_entry* o2 = through_o2(emit_llvm(program, {.target = host.target}), less->entry(), folder, o2_entry);
  if (o2 == nullptr) return fmt::print("{}: {} does not take its text\n", name, NNC_TWIN_COMPILER);
  driver::Workload first(less->entry(), session), second(*o2, session);
  Runner runner(1);
  double best[2] = {INFINITY, INFINITY};
  for (int run = 0; run < runs; ++run) {
    first.restart(), second.restart();
    best[0] = std::min(best[0], seconds_of(first, runner));
    best[1] = std::min(best[1], seconds_of(second, runner));
  }
  fmt::print("{:<28} {:>5} {:>10.3f} {:>10.3f}   {:>5.3f} {:>10.1f}\n", name, rows, 1e6 * best[0], 1e6 * best[1],
             best[0] / best[1], 1e3 * compiled);
  std::fflush(stdout);
}

}  // namespace

int main() {
  const Host host = detect_host();
  std::string pattern = (fs::temp_directory_path() / "nnc-levels-XXXXXX").string();
  const fs::path folder = mkdtemp(pattern.data());
  fmt::print("{}, one thread; us a step, best of {} runs; {} -O2\n", host.target.cpu, runs, NNC_TWIN_COMPILER);
  fmt::print("{:<28} {:>5} {:>10} {:>10}   {:>5} {:>10}\n", "program", "rows", "nnc", "O2", "ratio", "compile ms");
  for (const char* program : programs) measure(program, host, folder);
  fs::remove_all(folder);
}
