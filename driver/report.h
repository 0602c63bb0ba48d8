// report.html: how a run went, as one page that needs nothing else. What it shows is gathered into a value first; the
// page is a function of that value.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "driver/figures.h"
#include "driver/profile.h"
#include "driver/session.h"
#include "runtime/data.h"

namespace nnc::driver {

/// A figure over the epochs, as metrics.jsonl has it.
struct ReportCurve {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< epoch, value
};

/// What the model answers over a grid of its one or two inputs, and the data among it.
struct AnswerField {
  std::string split;
  std::vector<std::string> axes;  ///< names of the inputs, and of the target where there is one input
  double low[2] = {}, high[2] = {};
  std::int64_t width = 0, height = 1;
  std::vector<double> answers{};  ///< at each point of the grid, row after row: a value, or a class where there are any
  struct Point {
    double x = 0, y = 0;
    std::int64_t group = 0;  ///< its class
  };
  std::vector<Point> points{};
  bool classes = false;
  bool of_file = false;  ///< axes, answers and points are in the units of the file, else as the model sees them
};

struct Confusion {
  std::string split;
  std::vector<std::string> names;
  std::vector<std::int64_t> counts;  ///< [true class][answered class]
};

/// A row of a split that the model is furthest from.
struct WrongRow {
  std::int64_t row = 0;  ///< counted from 1
  std::string wanted, answered;
  double by = 0;
  std::vector<double> inputs{};  ///< the values of RunReport::wrong_inputs, or the pixels of an image
};

struct RunReport {
  std::string folder, title;
  nlohmann::ordered_json record;  ///< run.json
  std::vector<ReportCurve> curves;
  std::vector<SplitFigures> figures;
  std::optional<AnswerField> field;
  std::vector<Confusion> confusions;
  std::string wrong_split;
  std::vector<WrongRow> wrong;
  std::vector<std::string> wrong_inputs;  ///< names; empty for images, and where there are too many
  Outline outline;
  struct Parameter {
    std::string path;
    Type type{};
  };
  std::vector<Parameter> parameters;
  std::optional<StepProfile> profile;
  std::string source;
  std::string values, gradients;  ///< of the model, as lists of MathML
  /// What each unit of the first layer weighs an image's pixels by: squares of `side` pixels.
  struct Pictures {
    std::int64_t side = 0;
    std::vector<std::vector<double>> units{};
  };
  Pictures pictures;
};

/// What lies in a run's folder: run.json, metrics.jsonl, profile.json, the source.
Result<RunReport> read_report(const std::string& folder);

/// What takes the model: answers for rows of the splits and over a grid, its outline, its derivation. `figures` are
/// filled by the caller.
void add_answers(RunReport& report, const Elaborated& block, Session& session, const Compilation& compilation,
                 Runner& runner, Weights& weights, const std::vector<const SplitColumns*>& splits,
                 const ClassNames& classes);

/// A curve in one line of signs, at most `width` of them: of each stretch of epochs the mean, from its least to its
/// greatest. Empty where it has no two values.
std::string spark_of(const ReportCurve& curve, std::size_t width);

/// The page of a run; of several, their curves in one picture and the settings in which they differ.
std::string page_of(const std::vector<RunReport>& runs);

}  // namespace nnc::driver
