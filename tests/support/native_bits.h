// The one sentence that most tests of compiled code end with: it has the evaluator's bits, at both ends of memory.
#pragma once

#include "codegen/compile.h"
#include "passes/passes.h"
#include "tests/support/random_graph.h"
#include "tests/support/run_native.h"
#include "tests/support/share_all.h"
#include "tests/support/targets.h"
#include "tests/unit/catch.h"

namespace nnc::test {

/// The program of a step, every kernel of which all threads share, however short it is.
inline Program lowered_for(const Graph& graph, const Machine& machine, std::int64_t rows, int threads) {
  LowerOptions options;
  options.machine = machine;
  options.rows = rows;
  options.threads = threads;
  Program program = lower(graph, "step", options);
  share_all(program, static_cast<unsigned>(threads));
  return program;
}

inline void check_native_bits(const Program& program, const Environment& environment,
                              const std::map<std::string, Tensor>& expected, const std::string& machine,
                              unsigned threads) {
  REQUIRE(verify(program) == "");
  const auto compiled = compile(program, {.target = targets()[0], .level = CodegenLevel::less});
  for (const Guard guard : {Guard::behind, Guard::before}) {
    CAPTURE(machine, threads);
    const auto found = run_native(compiled->entry(), environment, threads, guard);
    for (const auto& [name, tensor] : expected) {
      INFO(name);
      REQUIRE(found.contains(name));
      CHECK(same_bits(found.at(name), tensor));
    }
  }
}

}  // namespace nnc::test
