#include "passes/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "ir/text.h"

namespace nnc {

namespace {

constexpr PassStep pass_steps[] = {
    {"fold", "numbers known now are computed now, so that rules see a constant exponent",
     [](const Graph& g, const PipelineOptions&) { return fold_constants(g); }},
    {"stabilise", "formulas that overflow where their value does not get a form that does not, before they are derived",
     [](const Graph& g, const PipelineOptions& options) { return stabilise(g, options.simplify); }},
    {"differentiate", "grad(e, x) becomes the graph of the derivative",
     [](const Graph& g, const PipelineOptions& options) { return differentiate(g, options.simplify.record); }},
    {"simplify", "the derivative takes its published form: what cancels is not computed",
     [](const Graph& g, const PipelineOptions& options) { return simplify(g, options.simplify); }},
    {"expand", "whole powers become products, sums of overlapping products convolutions",
     [](const Graph& g, const PipelineOptions&) { return expand(g); }},
    {"fold_expanded", "expansion has made new numbers",
     [](const Graph& g, const PipelineOptions&) { return fold_constants(g); }},
    {"assign_order", "the order of every addition is fixed, for all batches and all machines",
     [](const Graph& g, const PipelineOptions&) { return assign_order(g); }},
};

/// Runs, checks, times and shows one pass.
Graph run_step(const PassStep& step, const Graph& graph, const PipelineOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  Graph result = step.run(graph, options);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  if (options.timed) options.timed(step.name, taken.count());
  if (options.verify_each)
    if (const std::string wrong = verify(result); !wrong.empty())
      throw std::logic_error(fmt::format("the graph after pass {} is not sound: {}", step.name, wrong));
  if (options.after) options.after(step.name, result);
  return result;
}

}  // namespace

std::span<const PassStep> defining_passes() { return pass_steps; }

Graph optimise(const Graph& graph, const PipelineOptions& options) {
  return optimise_until(graph, pass_steps[std::size(pass_steps) - 1].name, options);
}

Graph optimise_until(const Graph& graph, std::string_view last, const PipelineOptions& options) {
  Graph result = graph;
  for (const PassStep& step : pass_steps) {
    result = run_step(step, result, options);
    if (step.name == last) break;
  }
  return result;
}

std::variant<Graph, std::string> run_passes(const Graph& graph, std::span<const std::string> names,
                                            const PipelineOptions& options) {
  Graph result = graph;
  for (const std::string& name : names) {
    const auto step = std::ranges::find(pass_steps, name, &PassStep::name);
    if (step == std::end(pass_steps)) {
      std::string known;
      for (const PassStep& other : pass_steps) known += (known.empty() ? "" : ", ") + std::string(other.name);
      return fmt::format("there is no pass \"{}\"; the passes are {}", name, known);
    }
    result = run_step(*step, result, options);
  }
  return result;
}

}  // namespace nnc
