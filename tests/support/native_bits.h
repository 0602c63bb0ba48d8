// The one sentence that most tests of compiled code end with: it has the evaluator's bits, at both ends of memory.
#pragma once

#include "codegen/compile.h"
#include "tests/support/random_graph.h"
#include "tests/support/run_native.h"
#include "tests/support/targets.h"
#include "tests/unit/catch.h"

namespace nnc::test {

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
