// Random graphs, compiled and run in configurations drawn anew, against the evaluator, bit for bit: schedules of any
// machine, code for any processor that this one executes, levels of code generation, fusion, layouts, threads, numbers
// of rows, JIT or object, and memory that shows what is read or written beside it. A graph that fails, or crashes, is
// cut down and printed.
//
// NNC_RANDOM_GRAPHS=N runs N graphs from NNC_RANDOM_FIRST on; NNC_RANDOM_DRAWN=FILE writes down what was drawn.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "ir/text.h"
#include "passes/passes.h"
#include "tests/support/random_graph.h"
#include "tests/support/reduce_graph.h"
#include "tests/support/targets.h"
#include "tests/unit/catch.h"
#include "tests/unit/random_trial.h"

using namespace nnc;
using test::Finding;
using test::Plant;

namespace {

TEST_CASE("random graphs: compiled code gives the evaluator's bits in every configuration", "[.][campaign]") {
  const test::RandomSeeds seeds = test::random_seeds(500);
  std::map<std::string, std::uint64_t> drawn;
  for (const Finding& finding : test::run_trials(seeds.first, seeds.last, drawn)) {
    UNSCOPED_INFO("seed " << finding.seed);
    FAIL_CHECK(test::reduced(finding).text);
  }
  for (const char* axis : {"JIT", "object", "fused", "a kernel a node", "threads 7", "batch 17", "memory planned"})
    CHECK((drawn[axis] > 0 || seeds.last - seeds.first < 100));
  if (const char* file = std::getenv("NNC_RANDOM_DRAWN")) {
    std::ofstream out(file);
    for (const auto& [axis, count] : drawn) out << count << ' ' << axis << '\n';
  }
}

/// The first finding of a fault that is planted into programs, cut down.
test::Reduced first_finding(const Plant& plant) {
  std::map<std::string, std::uint64_t> drawn;
  for (std::uint64_t seed = 0; seed < 400; seed += 10)
    if (const auto findings = test::run_trials(seed, seed + 10, drawn, plant); !findings.empty())
      return test::reduced(findings.front(), plant);
  return {};
}

void each_instruction(Program& program, const std::function<void(ScalarInstruction&)>& change) {
  for (Kernel& kernel : program.kernels)
    for (Stage& stage : kernel.stages)
      for (ScalarInstruction& instruction : stage.body.program.code) change(instruction);
}

TEST_CASE("a fault that is planted into compiled programs is found, and cut down to five nodes or fewer") {
  const std::pair<const char*, Plant> faults[] = {
      {"differences the wrong way round",
       [](Program& program) {
         each_instruction(program, [](ScalarInstruction& x) {
           if (x.op == ScalarOp::sub) std::swap(x.operands[0], x.operands[1]);
         });
       }},
      {"contractions without their last step",
       [](Program& program) {
         for (Kernel& kernel : program.kernels)
           if (kernel.core && kernel.core->k > 1 && kernel.core->steps.empty()) --kernel.core->k;
       }},
      {"a guard that does not hold is taken to hold",
       [](Program& program) {
         for (Kernel& kernel : program.kernels)
           for (Stage& stage : kernel.stages)
             for (BodyInput& input : stage.body.inputs)
               if (auto* access = std::get_if<Access>(&input)) access->guards.clear();
       }},
      {"loops that run the other way",
       [](Program& program) {
         for (SerialLoop& loop : program.loops) loop.backwards = !loop.backwards;
       }},
      {"sums in the other order",
       [](Program& program) {
         for (Kernel& kernel : program.kernels)
           for (Stage& stage : kernel.stages)
             for (Fold& fold : stage.folds)
               if (fold.order == Order::serial && fold.op == FoldOp::sum) fold.order = Order::lanes;
       }},
  };
  for (const auto& [what, plant] : faults) {
    const test::Reduced found = first_finding(plant);
    INFO(what << "\n" << found.text);
    CHECK_FALSE(found.text.empty());
    CHECK(test::computing_nodes(found.graph) <= 5);
  }
}

Graph parsed(const std::string& text) {
  const auto graph = parse_graph(text);
  if (const auto* error = std::get_if<TextError>(&graph)) FAIL("line " << error->line << ": " << error->message);
  return std::get<Graph>(graph);
}

void check_everywhere(const Graph& graph, const std::vector<std::int64_t>& batches, bool in_one_piece = false) {
  for (const std::int64_t batch : batches)
    for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_sse2(), machine_four_lanes()})
      for (const Target& target : test::targets())
        for (const CodegenLevel level : {CodegenLevel::none, CodegenLevel::less, CodegenLevel::aggressive}) {
          test::Trial trial{.seed = 1, .gradients = false, .disabled_laws = {}, .configuration = {}};
          trial.configuration.machine = machine;
          trial.configuration.target = target;
          trial.configuration.level = level;
          trial.configuration.batch = batch;
          trial.configuration.in_one_piece = in_one_piece;
          CHECK(test::in_child([&] { return test::difference(graph, trial); }) == "");
        }
}

// What random graphs have found, each as small as it was cut down to.

// LLVM 22.1.8 takes a lane that it knows to be zero to stay zero under fdiv; 0 / 0 in the lanes past the end of a row
// was added to the sum.
TEST_CASE("quotients in the lanes past the end of a row are left out") {
  const Graph graph = parsed(R"(graph "quotients"
%x1 = input "x1" : f32[batch, 2, 2]
%0 : f32[2, batch] = sum(transpose(%x1 / %x1, [2, 0, 1]), 2)
result "r" = %0
)");
  check_everywhere(graph, {16});
}

// LLVM 22.1.8 makes a store of a single lane of a masked one, and wrote the eight bytes that had not been narrowed yet.
TEST_CASE("numbers of rows are written as narrow as they are where one lane is left") {
  check_everywhere(parsed("graph \"rows\"\n%0 = iota 0 : i32[batch]\nresult \"r\" = %0\n"), {1, 5, 9, 17, 33});
}

// A kernel whose code uses short registers passed the counters of eight numbers in two of them, where the function that
// draws looks in one.
TEST_CASE("numbers drawn in few rows of a tiny net are those of many") {
  check_everywhere(parsed("graph \"drawn\"\n%0 = random 0x9f8db2072ec60f38 : f32[batch]\nresult \"r\" = %0\n"),
                   {1, 2, 7, 15, 17, 31, 32, 33}, true);
}

// The steps of a loop in a row read what is handed on and not what else the loop carries.
TEST_CASE("a carry that nothing asks for is not asked for where a loop is written out") {
  const Graph graph = parsed(R"(graph "handed on"
loop 0: 1 steps, 1 carries, 1 sequences
  graph "step"
  %0 = input "0" : f64[1]
  %1 = input "1" : f64[1]
  result "0" = %0
  result "1" = %1
end
%0 = param "sequence" : f64[1, 1]
%1 = param "carried" : f64[1]
%2 : f64[1, 1] = scan(%1, %0, 0, 1)
result "r" = %2
)");
  check_everywhere(graph, {1, 2}, true);
  check_everywhere(graph, {1, 2});
}

// A sum over nothing that goes on from -0 was that and +0, so +0.
TEST_CASE("a sum over nothing leaves what it goes on from") {
  const Graph graph = parsed(R"(graph "nothing"
%0 = input "x1" : f64[batch, 14, 0]
%1 = carry "c5" : f64[14]
%2 : f64[14] = sum(%0, %1, [0, 2])
result "r" = %2
)");
  for (const bool fuse : {false, true})
    for (const std::int64_t batch : {1, 16}) {
      test::Trial trial{.seed = 2305, .gradients = false, .disabled_laws = {}, .configuration = {}};
      trial.configuration.machine = machine_avx2();
      trial.configuration.target = test::targets()[0];
      trial.configuration.fuse = fuse;
      trial.configuration.batch = batch;
      CHECK(test::in_child([&] { return test::difference(graph, trial); }) == "");
    }
}

}  // namespace
