// What a report shows: read from the run's folder, and computed from the model. The answer of a model is the value that
// the baseline replaces, whatever the model is; it is compiled as an entry of its own.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "driver/baseline.h"
#include "driver/report.h"
#include "driver/run_record.h"
#include "passes/derive/derivation.h"
#include "passes/pipeline.h"
#include "runtime/file.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

constexpr const char* answer_name = "answer";
constexpr std::int64_t most_points = 400, most_wrong = 8, most_classes = 24;

/// The model's answer as a program of its own.
class AnswerProgram {
 public:
  AnswerProgram(const Graph& answer, Session& session, const Compilation& compilation)
      : answer_(answer), session_(session), compilation_(compilation) {}

  DenseArray run(Runner& runner, Weights& weights, const SplitColumns& rows) {
    Programs programs;
    programs.entry = [this](EntryKind kind, int, std::int64_t count) {
      auto& code = compiled_[count];
      if (!code)
        code = compile(session_.lower_graph(answer_, kind, count), {compilation_.host.target, compilation_.level});
      return Entry{&code->entry(), 1};
    };
    ColumnFeeder feeder(rows);
    return std::move(map_rows(runner, programs, EntryKind::predict, weights, feeder, 0).at(0).array);
  }

 private:
  const Graph& answer_;
  Session& session_;
  Compilation compilation_;
  std::map<std::int64_t, std::unique_ptr<Compiled>> compiled_;
};

/// Whether the answer is a logit: whatever it goes into is a function of the logistic kind.
bool is_logit(const Graph& graph, NodeId answer) {
  bool any = false;
  for (const Node& node : graph.nodes) {
    if (std::ranges::find(node.operands, answer) == node.operands.end()) continue;
    if (node.op == Op::logistic || node.op == Op::softplus) any = true;
  }
  return any;
}

std::int64_t width_of_row(const DenseArray& array) { return array.rows() == 0 ? 0 : array.count() / array.rows(); }

/// How an answer is a class: the greatest of several, or one number against a threshold.
struct Classes {
  std::string column;
  std::vector<std::string> names;
  double threshold = 0;
};

class Answers {
 public:
  Answers(const Elaborated& block, Session& session, const Compilation& compilation, Runner& runner, Weights& weights)
      : block_(block), runner_(runner), weights_(weights), evaluate_(optimise(block.evaluate)) {
    const auto at = answer_of(evaluate_);
    if (!at) return;
    logit_ = is_logit(evaluate_, *at);
    graph_ = evaluate_;
    graph_.outputs.push_back({OutputKind::result, answer_name, *at});
    graph_ = with_outputs(graph_, {answer_name});
    program_.emplace(graph_, session, compilation);
    for (const std::string& name : nnc::inputs_of(graph_)) inputs_.push_back(name);
  }

  bool known() const { return program_.has_value(); }

  void add(RunReport& report, const std::vector<const SplitColumns*>& splits, const ClassNames& names) {
    const SplitColumns& shown = *shown_split(splits);
    const DenseArray answer = program_->run(runner_, weights_, shown);
    if (answer.dims.size() != 2) return;
    const std::optional<Classes> classes = classes_of(shown, width_of_row(answer), names);
    if (classes && classes->names.size() <= most_classes) {
      for (const SplitColumns* split : splits) report.confusions.push_back(confusion(*split, *classes));
    }
    add_wrong(report, shown, answer, classes);
    add_field(report, shown, answer, classes);
  }

 private:
  static const SplitColumns* shown_split(const std::vector<const SplitColumns*>& splits) {
    for (const char* name : {"test", "valid"})
      for (const SplitColumns* split : splits)
        if (split->name == name) return split;
    return splits.at(0);
  }

  /// Columns that the figures read and the answer does not.
  std::vector<std::string> targets(const SplitColumns& split) const {
    std::vector<std::string> names;
    for (const std::string& name : nnc::inputs_of(evaluate_))
      if (std::ranges::find(inputs_, name) == inputs_.end() && split.find(name)) names.push_back(name);
    return names;
  }

  std::optional<Classes> classes_of(const SplitColumns& split, std::int64_t width, const ClassNames& known) const {
    for (const std::string& name : targets(split)) {
      const DenseArray& column = *split.find(name);
      if (width_of_row(column) != 1) continue;
      double least = INFINITY, greatest = -INFINITY;
      bool whole = true;
      for (std::int64_t i = 0; i < column.count(); ++i) {
        least = std::min(least, column.at(i)), greatest = std::max(greatest, column.at(i));
        whole = whole && column.at(i) == std::trunc(column.at(i));
      }
      const bool several = column.dtype == DType::i32 && width > 1 && greatest < static_cast<double>(width);
      const bool two = width == 1 && whole && least >= 0 && greatest <= 1;
      if (least < 0 || !(several || two)) continue;
      Classes classes{name, {}, logit_ ? 0 : 0.5};
      for (std::int64_t i = 0; i < std::max<std::int64_t>(width, 2); ++i) classes.names.push_back(std::to_string(i));
      for (const Column& made : block_.data.columns)
        if (made.name == name)
          if (const auto words = known.find(made.classes_of);
              words != known.end() && words->second.size() == classes.names.size())
            classes.names = words->second;
      return classes;
    }
    return std::nullopt;
  }

  static std::int64_t class_at(const DenseArray& answer, std::int64_t row, const Classes& classes) {
    const std::int64_t width = width_of_row(answer);
    if (width == 1) return answer.at(row) > classes.threshold ? 1 : 0;
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < width; ++i)
      if (answer.at(row * width + i) > answer.at(row * width + best)) best = i;
    return best;
  }

  Confusion confusion(const SplitColumns& split, const Classes& classes) {
    const DenseArray answer = program_->run(runner_, weights_, split);
    const DenseArray& wanted = *split.find(classes.column);
    const std::size_t count = classes.names.size();
    Confusion result{split.name, classes.names, std::vector<std::int64_t>(count * count)};
    for (std::int64_t row = 0; row < split.rows; ++row)
      ++result.counts[static_cast<std::size_t>(wanted.at(row)) * count +
                      static_cast<std::size_t>(class_at(answer, row, classes))];
    return result;
  }

  /// By how much a row is wrong: the answer's distance from the target; of classes, how far the one that is answered is
  /// ahead of the right one.
  void add_wrong(RunReport& report, const SplitColumns& split, const DenseArray& answer,
                 const std::optional<Classes>& classes) const {
    const std::int64_t width = width_of_row(answer);
    const auto number = [](double x) { return fmt::format("{:.6g}", x); };
    std::vector<WrongRow> rows;
    for (const std::string& name : targets(split)) {
      const DenseArray& wanted = *split.find(name);
      if (classes ? name != classes->column : width != 1 || width_of_row(wanted) != 1) continue;
      for (std::int64_t row = 0; row < split.rows; ++row) {
        const double right = wanted.at(row);
        WrongRow wrong{row + 1, number(right), number(answer.at(row * width)),
                       std::abs(answer.at(row * width) - right)};
        if (classes) {
          const std::int64_t said = class_at(answer, row, *classes), is = static_cast<std::int64_t>(right);
          if (said == is) continue;
          wrong.by = width == 1 ? std::abs(answer.at(row) - classes->threshold)
                                : answer.at(row * width + said) - answer.at(row * width + is);
          wrong.wanted = classes->names[static_cast<std::size_t>(is)];
          wrong.answered = classes->names[static_cast<std::size_t>(said)];
        }
        rows.push_back(std::move(wrong));
      }
      break;
    }
    std::ranges::stable_sort(rows, std::ranges::greater{}, &WrongRow::by);
    if (rows.size() > most_wrong) rows.resize(most_wrong);
    report.wrong_split = split.name;
    report.wrong = std::move(rows);
  }

  void add_field(RunReport& report, const SplitColumns& split, const DenseArray& answer,
                 const std::optional<Classes>& classes) {
    if (inputs_.size() != 1 || !split.find(inputs_[0]) || split.rows == 0) return;
    const DenseArray& input = *split.find(inputs_[0]);
    const std::int64_t inputs = width_of_row(input);
    if (!is_float(input.dtype) || inputs < 1 || inputs > 2 || (inputs == 2 && !classes)) return;
    if (inputs == 1 && width_of_row(answer) != 1) return;
    AnswerField field{.split = split.name, .axes = {inputs_[0]}, .classes = classes.has_value()};
    std::string target = classes ? classes->column : "";
    if (inputs == 2) {
      field.axes = {inputs_[0] + "[0]", inputs_[0] + "[1]"};
    } else {
      for (const std::string& name : targets(split))
        if (width_of_row(*split.find(name)) == 1) target = name;
      if (target.empty() || (classes && logit_)) return;  // a logit is no value of the target's
      field.axes.push_back(target);
      field.classes = false;
    }
    set_grid(field, input, inputs);
    fill_grid(field, input.dtype, classes);
    const DenseArray& wanted = *split.find(target);
    const std::int64_t every = (split.rows + most_points - 1) / most_points;
    for (std::int64_t row = 0; row < split.rows; row += every) {
      const double y = inputs == 2 ? input.at(row * 2 + 1) : wanted.at(row);
      field.points.push_back({input.at(row * inputs), y, inputs == 2 ? static_cast<std::int64_t>(wanted.at(row)) : 0});
    }
    report.field = std::move(field);
  }

  static void set_grid(AnswerField& field, const DenseArray& input, std::int64_t inputs) {
    for (std::int64_t axis = 0; axis < inputs; ++axis) {
      double low = INFINITY, high = -INFINITY;
      for (std::int64_t row = 0; row < input.rows(); ++row) {
        low = std::min(low, input.at(row * inputs + axis));
        high = std::max(high, input.at(row * inputs + axis));
      }
      const double margin = high > low ? (inputs == 2 ? 0.1 : 0.02) * (high - low) : 1;
      field.low[axis] = low - margin, field.high[axis] = high + margin;
    }
    field.width = inputs == 2 ? 64 : 201;
    field.height = inputs == 2 ? 64 : 1;
  }

  void fill_grid(AnswerField& field, DType dtype, const std::optional<Classes>& classes) {
    const std::int64_t inputs = field.height == 1 ? 1 : 2, count = field.width * field.height;
    DenseArray grid(dtype, {count, inputs});
    const auto at = [&](int axis, std::int64_t i, std::int64_t of) {
      return field.low[axis] +
             (field.high[axis] - field.low[axis]) * static_cast<double>(i) / static_cast<double>(of - 1);
    };
    for (std::int64_t i = 0; i < count; ++i) {
      grid.set(i * inputs, at(0, i % field.width, field.width));
      if (inputs == 2) grid.set(i * inputs + 1, at(1, i / field.width, field.height));
    }
    SplitColumns rows{"grid", count, {}};
    rows.columns.push_back({inputs_[0], std::move(grid)});
    const DenseArray answer = program_->run(runner_, weights_, rows);
    for (std::int64_t i = 0; i < count; ++i)
      field.answers.push_back(inputs == 2 ? static_cast<double>(class_at(answer, i, *classes)) : answer.at(i));
  }

  const Elaborated& block_;
  Runner& runner_;
  Weights& weights_;
  Graph evaluate_, graph_;
  bool logit_ = false;
  std::optional<AnswerProgram> program_;
  std::vector<std::string> inputs_;
};

/// Where rows are as long as a square of pixels, and the first layer has a weight for each of them.
void add_pictures(RunReport& report, const Elaborated& block, const Weights& weights,
                  const std::vector<const SplitColumns*>& splits) {
  constexpr std::int64_t least_side = 8, most_side = 64, most_units = 16;
  const auto first = std::ranges::find_if(block.variables, [](const Variable& x) { return !x.is_state; });
  if (first == block.variables.end() || first->type.rank() != 2 || splits.empty()) return;
  const std::int64_t pixels = first->type.shape[0].count, units = first->type.shape[1].count;
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(pixels))));
  if (side * side != pixels || side < least_side || side > most_side) return;
  const auto is_image = [&](const NamedArray& column) { return width_of_row(column.array) == pixels; };
  if (std::ranges::none_of(splits[0]->columns, is_image)) return;
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
  if (derivation.parts.size() != 2) return;
  report.values = html_list(derivation.parts[0]);
  report.gradients = html_list(derivation.parts[1]);
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
                 const ClassNames& classes, std::int64_t step_rows) {
  for (const Variable& variable : block.variables)
    if (!variable.is_state) report.parameters.emplace_back(variable.path, to_string(variable.type));
  const nnc_entry& step = *session.entry(EntryKind::step, 0, step_rows).code;
  report.step_rows = step_rows;
  for (std::uint32_t i = 0; i < step.kernel_count; ++i)
    report.kernels.push_back(
        {step.kernels[i].name, step.kernels[i].line, step.kernels[i].flops, step.kernels[i].bytes});
  add_pictures(report, block, weights, splits);
  add_derivation(report, block.step);
  Answers answers(block, session, compilation, runner, weights);
  std::vector<const SplitColumns*> in_memory;
  std::ranges::copy_if(splits, std::back_inserter(in_memory),
                       [](const SplitColumns* split) { return !split->streamed; });
  if (answers.known() && !in_memory.empty()) answers.add(report, in_memory, classes);
}

}  // namespace nnc::driver
