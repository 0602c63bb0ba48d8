// From `opt` to a program: numbers for extents, clusters, kernels, layouts, schedules, places.
#include "passes/lowering.h"

namespace nnc {

Program lower(const Graph& opt, const std::string& entry, const LowerOptions& options) {
  const Graph graph = hoist(specialise(opt, options.rows));
  const Clusters clusters = fuse(graph, options);
  Draft draft = make_kernels(graph, clusters, options);
  draft.program.entry = entry;
  choose_layouts(draft, options);
  schedule(draft, options);
  plan(draft);
  return std::move(draft.program);
}

}  // namespace nnc
