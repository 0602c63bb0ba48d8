// What a model answers: over the rows of splits and over a grid of its inputs. The answer of a model is the value that
// the baseline replaces, whatever the model is; it is compiled as an entry of its own. Where columns end in fitted
// steps, what is shown goes back to the units of the file.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "driver/baseline.h"
#include "driver/column_names.h"
#include "driver/report_answers.h"
#include "passes/pipeline.h"

namespace nnc::driver {

namespace {

constexpr const char* answer_name = "answer";
constexpr std::int64_t most_points = 400, most_wrong = 8, most_classes = 24;

/// A graph of rows, with one result, as a program of its own.
class RowProgram {
 public:
  RowProgram(Graph graph, Session& session, const Compilation& compilation)
      : graph_(std::move(graph)), session_(session), compilation_(compilation) {}

  DenseArray run(Runner& runner, Weights& weights, const SplitColumns& rows, std::int64_t block = block_rows) {
    Programs programs;
    programs.entry = [this](EntryKind kind, int, std::int64_t count) {
      auto& code = compiled_[count];
      if (!code)
        code = compile(session_.lower_graph(graph_, kind, count), {compilation_.host.target, compilation_.level});
      return Entry{&code->entry(), 1};
    };
    ColumnFeeder feeder(rows);
    return std::move(map_rows(runner, programs, EntryKind::predict, weights, feeder, 0, block).at(0).array);
  }

 private:
  Graph graph_;
  Session& session_;
  Compilation compilation_;
  std::map<std::int64_t, std::unique_ptr<Compiled>> compiled_;
};

/// Values of columns in the units that the file has them in.
class FileUnits {
 public:
  FileUnits(const Graph& undo, Session& session, const Compilation& compilation, Runner& runner, Weights& weights)
      : undo_(undo), session_(session), compilation_(compilation), runner_(runner), weights_(weights) {}

  /// Whether they differ from those that the model sees.
  bool differ(const std::string& column) const {
    return std::ranges::find(undo_.outputs, column, &Output::name) != undo_.outputs.end();
  }
  /// `values`, which are like the column, row by row.
  std::vector<double> of(const std::string& column, DType dtype, std::span<const double> values) {
    std::vector<double> result(values.begin(), values.end());
    if (!differ(column) || values.empty()) return result;
    auto& program = programs_[column];
    if (!program)
      program = std::make_unique<RowProgram>(optimise(with_outputs(undo_, {column})), session_, compilation_);
    const Graph graph = with_outputs(undo_, {column});
    const Shape& shape = graph[graph.outputs.at(0).node].type.shape;
    std::vector<std::int64_t> dims;
    std::int64_t width = 1;
    for (const Extent& extent : shape) dims.push_back(extent.count), width *= extent.batched ? 1 : extent.count;
    dims[0] = static_cast<std::int64_t>(values.size()) / width;
    DenseArray array(dtype, dims);
    for (std::size_t i = 0; i < values.size(); ++i) array.set(static_cast<std::int64_t>(i), values[i]);
    SplitColumns rows{"values", dims[0], {}};
    rows.columns.push_back({column, std::move(array)});
    const DenseArray made = program->run(runner_, weights_, rows);
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = made.at(static_cast<std::int64_t>(i));
    return result;
  }

 private:
  const Graph& undo_;
  Session& session_;
  const Compilation& compilation_;
  Runner& runner_;
  Weights& weights_;
  std::map<std::string, std::unique_ptr<RowProgram>> programs_;
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

/// Rows of so many values are squares of pixels.
bool is_image(std::int64_t values) {
  constexpr std::int64_t least_side = 8, most_side = 64;
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(values))));
  return side * side == values && side >= least_side && side <= most_side;
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
      : block_(block),
        session_(session),
        runner_(runner),
        weights_(weights),
        evaluate_(optimise(block.evaluate)),
        units_(block.undo, session, compilation, runner, weights) {
    auto at = answer_of(evaluate_);
    if (!at && !block.train.metrics.empty()) {  // a penalty on weights is no answer's; what is measured is
      evaluate_ = with_outputs(evaluate_, {block.train.metrics.begin(), block.train.metrics.end()});
      at = answer_of(evaluate_);
    }
    if (!at) return;
    logit_ = is_logit(evaluate_, *at);
    Graph graph = evaluate_;
    graph.outputs.push_back({OutputKind::result, answer_name, *at});
    graph = with_outputs(graph, {answer_name});
    for (const std::string& name : nnc::inputs_of(graph)) inputs_.push_back(name);
    target_ = target_of_loss();
    program_.emplace(std::move(graph), session, compilation);
  }

  bool known() const { return program_.has_value(); }

  void add(RunReport& report, const std::vector<const SplitColumns*>& splits, const ClassNames& names) {
    const SplitColumns& shown = *shown_split(splits);
    std::vector<std::int64_t> rows;
    for (const SplitColumns* split : splits) rows.push_back(split->rows);
    const std::int64_t block = common_block(rows);
    const DenseArray answer = program_->run(runner_, weights_, shown, block);
    if (answer.dims.size() != 2) return;
    const std::optional<Classes> classes = classes_of(shown, width_of_row(answer), names);
    if (classes && classes->names.size() <= most_classes) {
      for (const SplitColumns* split : splits)
        report.confusions.push_back(
            confusion(*split, *classes, split == &shown ? answer : program_->run(runner_, weights_, *split, block)));
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

  /// The one column that the losses read beside the answer: what the answer is to be. Nothing where there are several,
  /// as with weights of rows: which of them is meant is not clear, and a page shows no guess. Metrics may read others.
  std::string target_of_loss() const {
    std::set<std::string> losses;
    for (const Output& output : evaluate_.outputs)
      if (std::ranges::find(block_.train.metrics, output.name) == block_.train.metrics.end())
        losses.insert(output.name);
    std::vector<std::string> names;
    for (const std::string& name : nnc::inputs_of(losses.empty() ? evaluate_ : with_outputs(evaluate_, losses)))
      if (std::ranges::find(inputs_, name) == inputs_.end()) names.push_back(name);
    return names.size() == 1 ? names[0] : "";
  }

  std::optional<Classes> classes_of(const SplitColumns& split, std::int64_t width, const ClassNames& known) const {
    if (const DenseArray* wanted = split.find(target_); wanted && width_of_row(*wanted) == 1) {
      const DenseArray& column = *wanted;
      double least = INFINITY, greatest = -INFINITY;
      bool whole = true;
      for (std::int64_t i = 0; i < column.count(); ++i) {
        least = std::min(least, column.at(i)), greatest = std::max(greatest, column.at(i));
        whole = whole && column.at(i) == std::trunc(column.at(i));
      }
      const bool several = column.dtype == DType::i32 && width > 1 && greatest < static_cast<double>(width);
      const bool two = width == 1 && whole && least >= 0 && greatest <= 1;
      if (least < 0 || !(several || two)) return std::nullopt;
      Classes classes{target_, {}, logit_ ? 0 : 0.5};
      for (std::int64_t i = 0; i < std::max<std::int64_t>(width, 2); ++i) classes.names.push_back(std::to_string(i));
      for (const Column& made : block_.data.columns)
        if (made.name == target_)
          if (const auto words = known.find(made.classes_of);
              words != known.end() && words->second.names.size() == classes.names.size())
            classes.names = words->second.names;
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

  static Confusion confusion(const SplitColumns& split, const Classes& classes, const DenseArray& answer) {
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
                 const std::optional<Classes>& classes) {
    const std::int64_t width = width_of_row(answer);
    report.wrong_split = split.name;
    const DenseArray* target = split.find(target_);
    if (target && (classes || (width == 1 && width_of_row(*target) == 1))) {
      const DenseArray& wanted = *target;
      std::vector<WrongRow> rows;
      for (std::int64_t row = 0; row < split.rows; ++row) {
        WrongRow wrong{row + 1, "", "", std::abs(answer.at(row * width) - wanted.at(row))};
        if (classes) {
          const std::int64_t said = class_at(answer, row, *classes), is = static_cast<std::int64_t>(wanted.at(row));
          if (said == is) continue;
          wrong.by = width == 1 ? std::abs(answer.at(row) - classes->threshold)
                                : answer.at(row * width + said) - answer.at(row * width + is);
          wrong.wanted = classes->names[static_cast<std::size_t>(is)];
          wrong.answered = classes->names[static_cast<std::size_t>(said)];
        }
        rows.push_back(std::move(wrong));
      }
      std::ranges::stable_sort(rows, std::ranges::greater{}, &WrongRow::by);
      if (rows.size() > most_wrong) rows.resize(most_wrong);
      if (!classes)
        for (WrongRow& row : rows) tell_numbers(row, target_, wanted, answer);
      report.wrong = std::move(rows);
    }
    add_inputs(report, split);
  }

  void tell_numbers(WrongRow& row, const std::string& target, const DenseArray& wanted, const DenseArray& answer) {
    const double pair[2] = {wanted.at(row.row - 1), answer.at(row.row - 1)};
    const std::vector<double> told = units_.of(target, wanted.dtype, pair);
    row.wanted = fmt::format("{:.6g}", told[0]), row.answered = fmt::format("{:.6g}", told[1]);
    row.by = std::abs(told[1] - told[0]);
  }

  /// What the model was given in these rows: an image, or a few numbers.
  void add_inputs(RunReport& report, const SplitColumns& split) {
    constexpr std::int64_t most_values = 8;
    std::int64_t values = 0;
    for (const std::string& input : inputs_) {
      const DenseArray* column = split.find(input);
      values += column ? width_of_row(*column) : most_values + 1;
    }
    const bool image = inputs_.size() == 1 && split.find(inputs_[0]) && is_image(values);
    if (values > most_values && !image) return;
    for (const std::string& input : inputs_) {
      const DenseArray& column = *split.find(input);
      const std::int64_t width = width_of_row(column);
      if (!image)
        for (std::string& name : value_names(block_.data, session_, input, width))
          report.wrong_inputs.push_back(std::move(name));
      for (WrongRow& row : report.wrong) {
        std::vector<double> own;
        for (std::int64_t i = 0; i < width; ++i) own.push_back(column.at((row.row - 1) * width + i));
        if (!image) own = units_.of(input, column.dtype, own);
        row.inputs.insert(row.inputs.end(), own.begin(), own.end());
      }
    }
  }

  void add_field(RunReport& report, const SplitColumns& split, const DenseArray& answer,
                 const std::optional<Classes>& classes) {
    if (inputs_.size() != 1 || !split.find(inputs_[0]) || split.rows == 0) return;
    const DenseArray& input = *split.find(inputs_[0]);
    const std::int64_t inputs = width_of_row(input);
    if (!is_float(input.dtype) || inputs < 1 || inputs > 2 || (inputs == 2 && !classes)) return;
    if (inputs == 1 && width_of_row(answer) != 1) return;
    AnswerField field{.split = split.name,
                      .axes = value_names(block_.data, session_, inputs_[0], inputs),
                      .classes = classes.has_value()};
    std::string target = classes ? classes->column : "";
    if (inputs == 1) {
      const DenseArray* wanted = split.find(target_);
      if (!wanted || width_of_row(*wanted) != 1) return;
      target = target_;
      field.axes.push_back(value_names(block_.data, session_, target, 1)[0]);
      field.classes = false;
    }
    set_grid(field, input, inputs);
    fill_grid(field, input.dtype, classes);
    add_points(field, input, *split.find(target));
    to_file_units(field, input.dtype, target, split.find(target)->dtype);
    report.field = std::move(field);
  }

  static void add_points(AnswerField& field, const DenseArray& input, const DenseArray& wanted) {
    const std::int64_t inputs = field.height == 1 ? 1 : 2, rows = input.rows();
    for (std::int64_t row = 0; row < rows; row += (rows + most_points - 1) / most_points) {
      const double y = inputs == 2 ? input.at(row * 2 + 1) : wanted.at(row);
      field.points.push_back({input.at(row * inputs), y, inputs == 2 ? static_cast<std::int64_t>(wanted.at(row)) : 0});
    }
  }

  /// Each axis by itself: what standardize and minmax do, and so what goes back, knows no other.
  void to_file_units(AnswerField& field, DType dtype, const std::string& target, DType target_dtype) {
    const bool two = field.height > 1;
    const auto moved = [&](double x, double y) {
      if (two) return units_.of(inputs_[0], dtype, std::vector<double>{x, y});
      return std::vector<double>{units_.of(inputs_[0], dtype, std::vector<double>{x})[0],
                                 units_.of(target, target_dtype, std::vector<double>{y})[0]};
    };
    // Along each axis it is a line, which two points of it tell.
    const std::vector<double> at0 = moved(0, 0), at1 = moved(1, 1);
    const auto move = [&](std::size_t axis, double value) { return at0[axis] + (at1[axis] - at0[axis]) * value; };
    for (std::size_t axis : {0, 1})
      field.low[axis] = move(axis, field.low[axis]), field.high[axis] = move(axis, field.high[axis]);
    for (AnswerField::Point& point : field.points) point.x = move(0, point.x), point.y = move(1, point.y);
    if (!two)
      for (double& answer : field.answers) answer = move(1, answer);
    field.of_file = units_.differ(inputs_[0]) || (!two && units_.differ(target));
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
    const bool is_share = inputs == 1 && classes && logit_;  // of a logit the probability is shown
    for (std::int64_t i = 0; i < count; ++i) {
      const double value = inputs == 2 ? static_cast<double>(class_at(answer, i, *classes)) : answer.at(i);
      field.answers.push_back(is_share ? 1 / (1 + std::exp(-value)) : value);
    }
  }

  const Elaborated& block_;
  const Session& session_;
  Runner& runner_;
  Weights& weights_;
  Graph evaluate_;
  FileUnits units_;
  bool logit_ = false;
  std::optional<RowProgram> program_;
  std::vector<std::string> inputs_;
  std::string target_;  ///< empty where it is not clear
};

}  // namespace

std::int64_t common_block(std::span<const std::int64_t> splits) {
  constexpr std::int64_t most_blocks = 64;
  std::int64_t shared = 0, most_rows = 0;
  for (const std::int64_t rows : splits) shared = std::gcd(shared, rows), most_rows = std::max(most_rows, rows);
  std::int64_t block = std::min(shared, block_rows);
  while (block > 1 && shared % block != 0) --block;
  return most_rows > most_blocks * block ? block_rows : std::max<std::int64_t>(block, 1);
}

void add_model_answers(RunReport& report, const Elaborated& block, Session& session, const Compilation& compilation,
                       Runner& runner, Weights& weights, const std::vector<const SplitColumns*>& splits,
                       const ClassNames& names) {
  Answers answers(block, session, compilation, runner, weights);
  if (answers.known()) answers.add(report, splits, names);
}

}  // namespace nnc::driver
