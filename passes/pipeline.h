// The order of the passes, as a list to read, and the one place that runs them: it verifies, times and dumps each.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "passes/passes.h"

namespace nnc {

struct PipelineOptions {
  SimplifyOptions simplify;
  bool verify_each = false;  ///< a graph that does not verify is a bug of the pass before: std::logic_error names it
  std::function<void(std::string_view pass, const Graph&)> after;    ///< sees every pass's result
  std::function<void(std::string_view pass, double seconds)> timed;  ///< and what it took
};

struct PassStep {
  std::string_view name;
  std::string_view reason;
  Graph (*run)(const Graph&, const PipelineOptions&);
};

/// The defining passes in their order. What comes out of the last one, `opt`, is what the program means.
std::span<const PassStep> defining_passes();

/// All defining passes.
Graph optimise(const Graph& graph, const PipelineOptions& options = {});

/// Those up to and including the named one: "differentiate" gives the stage `grad`.
Graph optimise_until(const Graph& graph, std::string_view last, const PipelineOptions& options = {});

/// The passes with these names, in the order given; a name that there is not comes back as an error that lists them
/// all.
std::variant<Graph, std::string> run_passes(const Graph& graph, std::span<const std::string> names,
                                            const PipelineOptions& options = {});

}  // namespace nnc
