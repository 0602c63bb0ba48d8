// One trial of a random graph: everything about how it is compiled and run that must not change a bit of what it
// computes, drawn anew, and a check of compiled code against the evaluator.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "codegen/compile.h"
#include "ir/evaluate.h"
#include "ir/graph.h"
#include "tests/support/random.h"
#include "tests/support/run_native.h"

namespace nnc::test {

/// Where what the program keeps and computes lies.
enum class Memory : std::uint8_t {
  planned,  ///< as the plan has it; regions end, and in a second run begin, at a page that cannot be touched
  apart     ///< each buffer alone on its pages, flush with their end or beginning
};
enum class Layouts : std::uint8_t {
  own,     ///< as the program chooses
  dense,   ///< everything row-major
  another  ///< parameters and state lie as another program over another number of rows chose
};

struct Configuration {
  Machine machine;
  Target target{};
  CodegenLevel level = CodegenLevel::less;
  bool fuse = true;
  bool in_one_piece = false;  ///< a tiny net as one kernel
  Layouts layouts = Layouts::own;
  unsigned threads = 1;
  std::int64_t batch = 1;
  Memory memory = Memory::planned;
  Guard guard = Guard::behind;  ///< of buffers that are apart
  bool object = false;          ///< linked from an object file, not by the JIT
};
std::string describe(const Configuration& configuration);

/// A graph and how it is compiled and run. `prepare` is what makes the graph's meaning: the defining passes where it
/// has gradients, else the order of additions.
struct Trial {
  std::uint64_t seed = 0;
  bool gradients = false;
  std::vector<std::string> disabled_laws;
  Configuration configuration;
};

/// The graph of a seed: one in three with gradients, one in three with loops in loops.
Graph trial_graph(std::uint64_t seed);
/// The configurations of a seed; two of them share a number of rows.
std::vector<Trial> trials_of(std::uint64_t seed);

/// What differs between the evaluator and compiled code, or empty. `plant` may spoil the program before it is compiled.
using Plant = std::function<void(Program&)>;
std::string difference(const Graph& written, const Trial& trial, const Plant& plant = {});

/// What `check` returns or throws, or how it crashed: run in a process of its own.
std::string in_child(const std::function<std::string()>& check);

/// A difference that was found.
struct Finding {
  std::uint64_t seed = 0;
  std::size_t trial = 0;
  std::string what;
};
/// All trials of the seeds first ... last - 1, in child processes, so that a crash is a finding like any other. Counts
/// what was drawn: "avx2 code", "7 threads", ...
std::vector<Finding> run_trials(std::uint64_t first, std::uint64_t last, std::map<std::string, std::uint64_t>& drawn,
                                const Plant& plant = {});

/// The finding's graph cut down to what still fails, with a text that says all of it.
struct Reduced {
  Graph graph;
  std::string text;
};
Reduced reduced(const Finding& finding, const Plant& plant = {});

}  // namespace nnc::test
