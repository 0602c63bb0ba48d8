// What a report shows: read from the run's folder, and computed from the model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "driver/report.h"
#include "driver/report_answers.h"
#include "driver/run_record.h"
#include "passes/derive/derivation.h"
#include "passes/derive/markup.h"
#include "passes/pipeline.h"
#include "runtime/file.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

/// Where rows are as long as a square of pixels, and the first layer has a weight for each of them.
void add_pictures(RunReport& report, const Elaborated& block, const Weights& weights,
                  const std::vector<const SplitColumns*>& splits) {
  constexpr std::int64_t least_side = 8, most_side = 64, most_units = 16;
  const auto first = std::ranges::find_if(block.variables, [](const Variable& x) { return !x.is_state; });
  if (first == block.variables.end() || first->type.rank() != 2 || splits.empty()) return;
  const std::int64_t pixels = first->type.shape[0].count, units = first->type.shape[1].count;
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(pixels))));
  if (side * side != pixels || side < least_side || side > most_side) return;
  const auto has_pixels = [&](const NamedArray& column) {
    return column.array.rows() > 0 && column.array.count() / column.array.rows() == pixels;
  };
  if (std::ranges::none_of(splits[0]->columns, has_pixels)) return;
  const nnc_slot* slot = find_slot(params_of(*weights.layout), first->path);
  if (!slot) return;
  const DenseArray weight = unpack(*slot, weights.params.data());
  report.pictures.side = side;
  for (std::int64_t unit = 0; unit < std::min(units, most_units); ++unit) {
    report.pictures.units.emplace_back();
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel)
      report.pictures.units.back().push_back(weight.at(pixel * units + unit));
  }
}

/// Large steps are left out: their derivation takes longer than the page is worth.
void add_derivation(RunReport& report, const Graph& step) {
  constexpr std::size_t most_nodes = 600;
  if (step.nodes.size() > most_nodes) return;
  const Derivation derivation = derive(step);
  if (derivation.parts.size() < 2 || derivation.leaves.size() != 1) return;
  report.values = html_list(derivation.parts[0]);
  report.gradients = html_list(derivation.parts[1]);
  for (std::size_t loop = 2; loop < derivation.parts.size(); ++loop)
    report.gradients +=
        "<h3>" + markup_escaped(derivation.parts[loop].title) + "</h3>\n" + html_list(derivation.parts[loop]);
}

/// Points over epochs. A line that was written within an epoch stands between two: epochs have equally many steps, and
/// no line has more of them an epoch than one at an epoch's end.
std::vector<ReportCurve> read_curves(const std::string& path) {
  std::vector<ReportCurve> curves;
  double steps_an_epoch = 1;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::ordered_json::parse(line, nullptr, false);
    if (json.is_discarded() || json.value("schema", "") != "nnc.epoch.1") continue;
    const double epoch = json.value("epoch", 1.0), step = json.value("step", 1.0);
    steps_an_epoch = std::max(steps_an_epoch, std::ceil(step / std::max(epoch, 1.0)));
    for (const auto& [name, value] : json.items()) {
      if (!value.is_number() || name == "epoch" || name == "step" || name == "seconds" || name == "rows_per_second")
        continue;
      auto curve = std::ranges::find(curves, name, &ReportCurve::name);
      if (curve == curves.end()) curve = curves.insert(curves.end(), {name, {}});
      curve->points.emplace_back(step, value.get<double>());
    }
  }
  for (ReportCurve& curve : curves)
    for (auto& [at, value] : curve.points) at /= steps_an_epoch;
  return curves;
}

}  // namespace

Result<RunReport> read_report(const std::string& folder) {
  RunReport report;
  report.folder = folder;
  auto text = read_file(folder + "/run.json");
  if (!text) return text.problem();
  report.record = nlohmann::ordered_json::parse(text->begin(), text->end(), nullptr, false);
  if (!report.record.is_object())
    return Problem{.kind = Problem::Kind::data,
                   .message = "this is no record of a run",
                   .place = {folder + "/run.json", 0, 0},
                   .expected = {},
                   .found = {},
                   .notes = {}};
  report.title = report.record.value("train", "");
  report.curves = read_curves(folder + "/metrics.jsonl");
  if (auto profile = read_file(folder + "/profile.json"))
    report.profile = profile_of(nlohmann::ordered_json::parse(profile->begin(), profile->end(), nullptr, false));
  if (auto source = read_file(folder + "/model/" + report.record.value("file", "")))
    report.source.assign(source->begin(), source->end());
  return report;
}

std::string spark_of(const ReportCurve& curve, std::size_t width) {
  constexpr const char* levels[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t count = std::min(width, curve.points.size());
  std::vector<double> means(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first = i * curve.points.size() / count, end = (i + 1) * curve.points.size() / count;
    for (std::size_t k = first; k < end; ++k) means[i] += curve.points[k].second / static_cast<double>(end - first);
  }
  if (count < 2 || !std::ranges::all_of(means, [](double x) { return std::isfinite(x); })) return "";
  const auto [least, greatest] = std::ranges::minmax(means);
  std::string line;
  for (double mean : means) {
    const double level = greatest > least ? (mean - least) / (greatest - least) : 0;
    line += levels[static_cast<std::size_t>(std::lround(7 * level))];
  }
  return line;
}

void add_answers(RunReport& report, const Elaborated& block, Session& session, const Compilation& compilation,
                 Runner& runner, Weights& weights, const std::vector<const SplitColumns*>& splits,
                 const ClassNames& classes) {
  for (const Variable& variable : block.variables)
    if (!variable.is_state) report.parameters.push_back({variable.path, variable.type});
  report.outline = block.outline;
  add_pictures(report, block, weights, splits);
  add_derivation(report, block.step);
  std::vector<const SplitColumns*> in_memory;
  std::ranges::copy_if(splits, std::back_inserter(in_memory),
                       [](const SplitColumns* split) { return !split->streamed; });
  if (!in_memory.empty()) add_model_answers(report, block, session, compilation, runner, weights, in_memory, classes);
}

}  // namespace nnc::driver
