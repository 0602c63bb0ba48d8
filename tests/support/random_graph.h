// Random programs: well-typed graphs grown op by op from what is there, so that any op meets any shape. They are the
// test of everything that works on graphs: what one form of a graph computes, another must compute too.
#pragma once

#include <cstdint>
#include <functional>

#include "ir/evaluate.h"
#include "ir/graph.h"

namespace nnc::test {

struct RandomGraphOptions {
  int most_nodes = 40;
  std::int64_t most_extent = 127;
  bool random_ops = true;     ///< random and iota, which depend on seed, step and row_offset
  bool updates = true;        ///< parameters, state and carries that are written
  bool carries = true;        ///< folds over a split
  bool pieces = true;         ///< slices, pads, concatenations, windows, rows by number and their adjoints
  bool nested_loops = false;  ///< more loops, with loops in their steps
  bool newer = false;         ///< what tests/conformance, whose seeds stay what they are, does not have: axes without
                              ///< elements, normal_cdf, solve
  bool gradients = false;     ///< grad nodes of a sum of all results, by the parameters, which they update
};

/// The graph of a seed: one float type, two to four extents out of {1, 2, 15, 16, 17, 31, 33, 64, 127} and the batch,
/// values used by many, parameters shared by many. Orders are unset. It verifies, or this aborts.
Graph random_graph(std::uint64_t seed, const RandomGraphOptions& options = {});

/// Number of rows for a seed: next to what vectors and tiles divide.
std::int64_t random_batch(std::uint64_t seed);

/// Tame values for every leaf: floats in [-2, 2) with zeros of both signs and integers among them, small whole numbers.
/// A leaf's values depend on its name alone, so a graph cut smaller keeps those it has left.
Environment random_environment(const Graph& graph, std::int64_t batch, std::uint64_t seed);

/// Which seeds a test runs: NNC_RANDOM_GRAPHS of them from NNC_RANDOM_FIRST on, where these are set, else `count` from
/// 0.
struct RandomSeeds {
  std::uint64_t first = 0, last = 0;
};
RandomSeeds random_seeds(std::uint64_t count);

}  // namespace nnc::test
