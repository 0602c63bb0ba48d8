#include "driver/figures.h"

#include <fmt/format.h>

#include "runtime/metrics.h"

namespace nnc::driver {

SplitFigures figures_of(Runner& runner, const Programs& programs, Weights& weights, const SplitColumns& split,
                        std::uint64_t seed) {
  ColumnFeeder feeder(split);
  return {split.name, split.rows, fold_rows(runner, programs, EntryKind::evaluate, weights, feeder, seed)};
}

std::string text_of(const SplitFigures& figures) {
  std::string text = fmt::format("{}: {} rows", figures.split, figures.rows);
  for (const NamedArray& figure : figures.figures)
    text += fmt::format(", {} {}", figure.name, shown_text(figure.array));
  return text;
}

std::string json_of(const SplitFigures& figures) {
  return fmt::format("{{\"schema\": \"nnc.eval.1\", \"split\": \"{}\", \"rows\": {}{}}}", figures.split, figures.rows,
                     json_members(figures.figures));
}

}  // namespace nnc::driver
