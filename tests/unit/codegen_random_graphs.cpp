// Random graphs, lowered and compiled, against the evaluator, bit for bit: every choice that must not change a bit
// (schedule, fusion, layouts, code generation level, threads) is drawn anew. A graph that fails is cut down and
// printed.
//
// NNC_RANDOM_GRAPHS=N runs N graphs from NNC_RANDOM_FIRST on instead of the usual ones.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <stdexcept>

#include "codegen/compile.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/random.h"
#include "tests/support/random_graph.h"
#include "tests/support/run_native.h"
#include "tests/support/targets.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

struct Configuration {
  Machine machine;
  Target target{};
  bool fuse = true, layout = true, in_one_piece = false;
  CodegenLevel level = CodegenLevel::less;
  unsigned threads = 1;
  std::int64_t batch = 1;
  test::Guard guard = test::Guard::behind;
  bool defining_passes = false;  ///< the graph is as written, with gradients: all of them run first
};

std::string describe(const Configuration& c) {
  return fmt::format(
      "machine {}, target {}, fuse {}, layout {}, in one piece {}, level {}, threads {}, batch {}, guard {}",
      c.machine.name, c.target.cpu, c.fuse, c.layout, c.in_one_piece, static_cast<int>(c.level), c.threads, c.batch,
      c.guard == test::Guard::behind ? "behind" : "before");
}

Configuration random_configuration(test::Random& random, std::int64_t batch) {
  return {.machine = random.one_of<Machine>({machine_avx512(), machine_avx2(), machine_four_lanes()}),
          .target = random.one_of(test::targets()),
          .fuse = random.chance(0.7),
          .layout = random.chance(0.7),
          .in_one_piece = random.chance(0.5),
          .level = random.one_of<CodegenLevel>({CodegenLevel::none, CodegenLevel::less, CodegenLevel::aggressive}),
          .threads = static_cast<unsigned>(random.between(1, 3)),
          .batch = batch,
          .guard = random.chance(0.5) ? test::Guard::behind : test::Guard::before};
}

Graph parsed(const std::string& text) {
  const auto graph = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&graph)) FAIL("line " << error->line << ": " << error->message);
  return std::get<Graph>(graph);
}

/// What differs between the evaluator and compiled code, or empty.
std::string difference(const Graph& written, const Configuration& c, std::uint64_t seed) {
  PipelineOptions passes;
  passes.verify_each = true;
  const Graph graph = c.defining_passes ? optimise(written, passes) : assign_order(written);
  const Environment environment = test::random_environment(graph, c.batch, seed);
  std::map<std::string, Tensor> expected = evaluate(graph, environment);
  for (const auto* kept : {&environment.params, &environment.state, &environment.carry})
    for (const auto& [name, tensor] : *kept) expected.emplace("update " + name, tensor);  // where nothing updates it

  LowerOptions options;
  options.machine = c.machine;
  options.rows = c.batch;
  options.threads = static_cast<int>(c.threads);
  options.fuse = c.fuse;
  options.layout = c.layout;
  options.in_one_piece = c.in_one_piece;
  Program program = lower(graph, "step", options);
  // Most of these kernels are too small to be worth a second thread; threads share them all the same.
  for (Kernel& kernel : program.kernels)
    if (!kernel.outer.empty()) kernel.schedule.parallel = c.threads;
  if (const std::string wrong = verify(program); !wrong.empty()) return "the program does not verify: " + wrong;
  const auto compiled = compile(program, {.target = c.target, .level = c.level});
  const std::map<std::string, Tensor> found = test::run_native(compiled->entry(), environment, c.threads, c.guard);
  for (const auto& [name, tensor] : expected) {
    if (!found.contains(name)) return "there is no " + name;
    const Tensor& other = found.at(name);
    if (other.dtype != tensor.dtype || other.dims != tensor.dims) return name + " has another type";
    if (same_bits(other, tensor)) continue;
    std::int64_t at = 0;
    while (other.at(at) == tensor.at(at) || (other.at(at) != other.at(at) && tensor.at(at) != tensor.at(at))) ++at;
    return fmt::format("{}[{}] is {:a}, evaluated {:a}", name, at, other.at(at), tensor.at(at));
  }
  return "";
}

/// What `check` returns or throws, run in a process of its own: a graph that crashes can be cut down like any other.
std::string in_child(const std::function<std::string()>& check) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child < 0) return "no process";
  if (child == 0) {
    for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) std::signal(number, SIG_DFL);
    std::string text;
    try {
      text = check();
    } catch (const std::exception& error) {
      text = error.what();
    }
    const bool written = write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string text(1 << 16, '\0');
  std::size_t length = 0;
  for (ssize_t got = 0; (got = read(ends[0], text.data() + length, text.size() - length)) > 0;)
    length += static_cast<std::size_t>(got);
  close(ends[0]);
  text.resize(length);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  return text.empty() && WEXITSTATUS(status) != 0 ? "the child failed" : text;
}

std::string difference_or_error(const Graph& graph, const Configuration& c, std::uint64_t seed) {
  return in_child([&] { return difference(graph, c, seed); });
}

// LLVM 22.1.8 takes a lane that it knows to be zero to stay zero under fdiv; 0 / 0 in the lanes past the end of a row
// was added to the sum.
TEST_CASE("quotients in the lanes past the end of a row are left out") {
  const Graph graph = parsed(R"(graph "quotients"
%x1 = input "x1" : f32[batch, 2, 2]
%0 : f32[2, batch] = sum(transpose(%x1 / %x1, [2, 0, 1]), 2)
result "r" = %0
)");
  for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
    for (const CodegenLevel level : {CodegenLevel::none, CodegenLevel::less, CodegenLevel::aggressive})
      CHECK(difference_or_error(graph, {.machine = machine, .target = test::targets()[0], .level = level, .batch = 16},
                                1) == "");
}

/// `count` graphs from `first` on, each in two configurations.
void check_random_graphs(std::uint64_t count, const test::RandomGraphOptions& kind) {
  const test::RandomSeeds seeds = test::random_seeds(count);
  for (std::uint64_t seed = seeds.first; seed < seeds.last; ++seed) {
    const Graph graph = test::random_graph(seed, kind);
    test::Random random(test::seed_of(seed, "configuration"));
    for (int i = 0; i < 2; ++i) {
      Configuration c = random_configuration(random, test::random_batch(seed + static_cast<std::uint64_t>(i)));
      c.defining_passes = kind.gradients;
      CAPTURE(seed, describe(c));
      const std::string wrong = difference_or_error(graph, c, seed);
      if (wrong.empty()) {
        CHECK(wrong.empty());
        continue;
      }
      const Graph least = test::reduce_failing(
          graph, [&](const Graph& smaller) { return !difference_or_error(smaller, c, seed).empty(); });
      FAIL_CHECK(wrong << "\ncut down to\n" << print(least) << difference_or_error(least, c, seed));
    }
  }
}

TEST_CASE("random graphs: compiled code gives the evaluator's bits") { check_random_graphs(300, {}); }

TEST_CASE("random graphs with gradients: compiled code gives the bits of the optimised graph") {
  check_random_graphs(150, {.most_nodes = 20, .gradients = true});
}

}  // namespace
