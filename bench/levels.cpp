// What LLVM's whole O2 pipeline would gain: training steps of the examples and of the nets that `nnc new` writes, as
// nnc compiles them, beside the same LLVM text through `clang -O2`, by turns. Prints figures and fails nothing.
//
//   bench_levels [--cpu NAME] [FILE.nn[:ROWS OF THE FULL BATCH]]...        (paths in the source folder, or absolute)
#include <dlfcn.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "driver/session.h"
#include "driver/workload.h"
#include "passes/pipeline.h"
#include "runtime/measure.h"

using namespace nnc;
namespace fs = std::filesystem;

namespace {

struct Measured {
  std::string file;
  std::int64_t rows_of_full_batch = 32;  ///< the data of a program that trains on all of them are not read
};
const std::vector<Measured> programs = {{"examples/linear/linear.nn"}, {"examples/softmax/flowers.nn"},
                                        {"examples/xor/xor.nn", 4},    {"examples/curve/curve.nn"},
                                        {"examples/mnist/mnist.nn"},   {"driver/templates/cnn.nn"},
                                        {"driver/templates/rnn.nn"},   {"driver/templates/gpt.nn"}};
constexpr int runs = 80;  // short ones, so that some meet a moment without other work
constexpr double run_seconds = 0.003;

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

void measure(const std::string& name, const Elaborated& block, std::int64_t full_batch, const Host& host,
             const fs::path& folder) {
  const std::int64_t rows = block.train.batch_size > 0 ? block.train.batch_size : full_batch;
  driver::Session session(block, {.host = host}, rows);
  const Program program = session.lower_graph(optimise(block.step), EntryKind::step, rows);
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
  fmt::print("{:<40} {:>5} {:>10.3f} {:>10.3f}   {:>5.3f} {:>10.1f}\n", name, rows, 1e6 * best[0], 1e6 * best[1],
             best[0] / best[1], 1e3 * compiled);
  std::fflush(stdout);
}

/// Every train block of a program.
void measure(const Measured& program, const Host& host, const fs::path& folder) {
  Diagnostics diagnostics;
  const std::string path = program.file[0] == '/' ? program.file : std::string(NNC_SOURCE_DIR) + "/" + program.file;
  const auto blocks = elaborate_file(path, {}, diagnostics);
  if (blocks.empty()) return fmt::print("{} cannot be read, or trains nothing\n", program.file);
  for (const Elaborated& block : blocks) {
    const std::string part = blocks.size() > 1 ? ": " + block.train.name : "";
    measure(program.file + part, block, program.rows_of_full_batch, host, folder);
  }
}

/// FILE.nn or FILE.nn:ROWS, where the full batch has so many.
Measured told(const std::string& word) {
  const std::size_t colon = word.rfind(':');
  if (colon == std::string::npos) return {word};
  return {word.substr(0, colon), std::stoll(word.substr(colon + 1))};
}

}  // namespace

int main(int count, char** first_word) {
  Host host = detect_host();
  std::vector<std::string> words(first_word + 1, first_word + count);
  if (words.size() >= 2 && words[0] == "--cpu") {
    const TargetOrError named = target_named(words[1]);
    if (!named.error.empty()) return fmt::print(stderr, "{}\n", named.error), 2;
    if (!executes_here(named.host.target)) return fmt::print(stderr, "{} is not executed here\n", words[1]), 2;
    host = named.host;
    words.erase(words.begin(), words.begin() + 2);
  }
  std::string pattern = (fs::temp_directory_path() / "nnc-levels-XXXXXX").string();
  const fs::path folder = mkdtemp(pattern.data());
  fmt::print("{}, one thread; us a step, best of {} runs; {} -O2\n", host.target.cpu, runs, NNC_TWIN_COMPILER);
  fmt::print("{:<40} {:>5} {:>10} {:>10}   {:>5} {:>10}\n", "program", "rows", "nnc", "O2", "ratio", "compile ms");
  std::vector<Measured> asked;
  for (const std::string& word : words) asked.push_back(told(word));
  for (const Measured& program : asked.empty() ? programs : asked) measure(program, host, folder);
  fs::remove_all(folder);
}
