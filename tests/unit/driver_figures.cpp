// What a training step is made of, told without a clock, for the examples and the nets that `nnc new` writes: kernels,
// FLOPs, bytes, arena, spills, and what a step of the innermost loop of every contraction executes, for a processor
// with 16 vector registers and for one with 32. tests/golden/figures holds the texts; NNC_BLESS=1 writes them anew.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "codegen/shared_kernels.h"
#include "codegen/tables.h"
#include "driver/session.h"
#include "passes/pipeline.h"
#include "tests/support/assembly.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

constexpr std::int64_t rows_of_full_batch = 32;
constexpr std::int64_t most_stack = 64 << 10;  ///< bytes; the thread of a small system has twice as much

std::string text_of(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// Instructions that a function has only because registers did not suffice.
struct Stack {
  int stores = 0, loads = 0;
};
Stack spills(const std::string& assembly) {
  Stack stack;
  std::istringstream lines(assembly);
  for (std::string line; std::getline(lines, line);) {
    stack.stores += test::has(line, "Spill");
    stack.loads += test::has(line, "Reload");
  }
  return stack;
}

/// "2 x 6x2: 12 fma, 2 loads, 6 broadcasts": how many innermost loops are so.
std::string loops_of(const std::string& assembly) {
  std::vector<std::pair<test::InnerLoop, int>> counted;
  for (const test::InnerLoop& loop : test::innermost_loops(assembly)) {
    const auto same = std::ranges::find(counted, loop, &std::pair<test::InnerLoop, int>::first);
    same == counted.end() ? counted.emplace_back(loop, 1).second : ++same->second;
  }
  std::string text;
  for (const auto& [loop, times] : counted)
    text += fmt::format("    {} x ({} fma, {} loads, {} broadcasts, {} stack, {} calls)\n", times, loop.fma,
                        loop.vector_loads, loop.broadcasts, loop.stack, loop.calls);
  return text;
}

std::string figures(const Elaborated& block, const std::string& cpu) {
  const TargetOrError target = target_named(cpu);
  REQUIRE(target.error.empty());
  const std::int64_t rows = block.train.batch_size > 0 ? block.train.batch_size : rows_of_full_batch;
  const driver::Session session(block, {.host = target.host}, rows);
  const Program program = session.lower_graph(optimise(block.step), EntryKind::step, rows);
  const EntryTables tables(program, nullptr);
  std::uint64_t flops = 0, bytes = 0;
  Stack all;
  std::string contractions;
  for (std::size_t i = 0; i < program.kernels.size(); ++i) {
    const nnc_kernel& kernel = tables.entry().kernels[i];
    flops += kernel.flops;
    bytes += kernel.bytes;
    const std::string assembly = emit_assembly(alone(program, i), {.target = target.host.target});
    const Stack here = spills(assembly);
    CHECK(test::largest_frame(assembly) < most_stack);
    all.stores += here.stores;
    all.loads += here.loads;
    const auto& core = program.kernels[i].core;
    if (!core) continue;
    contractions += fmt::format("  {} [{}, {}] over {}, {} spills, {} reloads\n", kernel.name, core->m, core->n,
                                core->k, here.stores, here.loads);
    contractions += loops_of(assembly);
  }
  return fmt::format("{}: {} rows, {} {}, {} {}, {} FLOP, {} bytes moved, arena {} bytes, {} spills, {} reloads\n{}",
                     cpu, rows, program.kernels.size(), program.kernels.size() == 1 ? "kernel" : "kernels",
                     shared_kernels(program).size(), shared_kernels(program).size() == 1 ? "function" : "functions",
                     flops, bytes, program.arena_bytes, all.stores, all.loads, contractions);
}

/// Of the first train block: the others of a file differ in what they try, not in what a step is made of.
void check_figures(const std::string& name, const std::filesystem::path& file) {
  Diagnostics diagnostics;
  const std::vector<Elaborated> blocks = elaborate_file(file.string(), {}, diagnostics);
  REQUIRE(!blocks.empty());
  const std::string found = figures(blocks[0], "znver3") + "\n" + figures(blocks[0], "znver5");
  const std::filesystem::path golden = std::filesystem::path(NNC_SOURCE_DIR) / "tests/golden/figures" / (name + ".txt");
  if (std::getenv("NNC_BLESS") != nullptr) std::ofstream(golden) << found;
  CHECK(found == text_of(golden));
}

const std::filesystem::path source = NNC_SOURCE_DIR;

}  // namespace

TEST_CASE("figures of the examples' steps: kernels, bytes, arena, spills, innermost loops") {
  for (const auto& file : std::filesystem::recursive_directory_iterator(source / "examples")) {
    if (file.path().extension() != ".nn") continue;
    const std::string in = file.path().parent_path().filename(), stem = file.path().stem();
    const std::string name = in == stem ? stem : in + "_" + stem;
    DYNAMIC_SECTION(name) { check_figures(name, file.path()); }
  }
}

TEST_CASE("figures of a convolutional net, of recurrent ones and of a transformer") {
  for (const char* name : {"cnn", "rnn", "gpt"}) DYNAMIC_SECTION(name) {
      check_figures(name, source / "driver/templates" / (std::string(name) + ".nn"));
    }
  const test::Scratch scratch;
  std::string lstm = text_of(source / "driver/templates/rnn.nn");
  lstm.replace(lstm.find("Gru(16)"), 7, "Lstm(16)");
  std::ofstream(std::filesystem::path(scratch.path()) / "lstm.nn") << lstm;
  check_figures("lstm", std::filesystem::path(scratch.path()) / "lstm.nn");
}
