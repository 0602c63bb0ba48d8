#include "driver/figures.h"

#include <fmt/format.h>

#include <algorithm>

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

namespace {

std::string table_of(const std::vector<SplitFigures>& all) {
  std::vector<std::vector<std::string>> table{{"split", "rows"}};
  std::string matrices;
  for (const NamedArray& figure : all.at(0).figures)
    if (figure.array.count() == 1) table[0].push_back(figure.name);
  for (const SplitFigures& split : all) {
    table.push_back({split.split, fmt::format("{}", split.rows)});
    for (const NamedArray& figure : split.figures) {
      if (figure.array.count() == 1)
        table.back().push_back(shown_text(figure.array));
      else
        matrices += fmt::format("{} of {}: {}\n", figure.name, split.split, shown_text(figure.array));
    }
  }
  std::string text;
  for (const auto& row : table) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t width = 0;
      for (const auto& other : table) width = std::max(width, other[column].size());
      text += column + 1 < row.size() ? fmt::format("{:<{}}  ", row[column], width) : row[column] + "\n";
    }
  }
  return text + matrices;
}

}  // namespace

void print_figures(const std::vector<SplitFigures>& all, bool json, const Console& console, const std::string& owner) {
  if (!json && console.table && !all.empty()) return fmt::print("{}", table_of(all));
  for (const SplitFigures& figures : all)
    fmt::print("{}\n", json ? with_owner(json_of(figures), owner) : text_of(figures));
}

std::string owner_members(const std::string& train_block, const std::optional<CrossPart>& fold) {
  return fmt::format("\"train\": \"{}\", {}", train_block, fold ? fmt::format("\"part\": {}, ", fold->index + 1) : "");
}

std::string with_owner(std::string line, const std::string& owner) { return line.insert(line.find(", ") + 2, owner); }

std::string json_of(const SplitFigures& figures) {
  return fmt::format("{{\"schema\": \"nnc.eval.1\", \"split\": \"{}\", \"rows\": {}{}}}", figures.split, figures.rows,
                     json_members(figures.figures));
}

}  // namespace nnc::driver
