// From `opt` to a program: numbers for extents, clusters, kernels, layouts, schedules, places.
#include "passes/lowering.h"

namespace nnc {

namespace {

Draft in_kernels(const Graph& opt, const LowerOptions& options) {
  const Graph graph = hoist(specialise(opt, options.rows));
  return make_kernels(graph, fuse(graph, options), options);
}

}  // namespace

Program lower(const Graph& opt, const std::string& entry, const LowerOptions& options) {
  std::optional<Draft> whole = options.in_one_piece ? in_one_piece(opt, entry, options) : std::nullopt;
  Draft draft = whole ? std::move(*whole) : in_kernels(opt, options);
  draft.program.entry = entry;
  choose_layouts(draft, options);
  schedule(draft, options);
  plan(draft);
  return std::move(draft.program);
}

}  // namespace nnc
