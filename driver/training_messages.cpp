// What training says before its first epoch and at its end, beside the figures: what will be trained, what to think of
// it, and what to try where it went wrong.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "driver/advice.h"
#include "driver/first_wrong.h"
#include "driver/trained.h"
#include "driver/training.h"
#include "driver/units.h"
#include "driver/unsolved.h"
#include "passes/pipeline.h"
#include "runtime/metrics.h"
#include "runtime/names.h"

namespace nnc::driver {

void Training::announce() {
  std::string rows;
  for (const SplitColumns& columns : splits_)
    rows += fmt::format("{}{} {}", rows.empty() ? "" : ", ", columns.name, columns.rows);
  Batches batches(job_.batch_size, split("train")->rows);
  console_.note(fmt::format("{}: {} parameters; rows: {}; batch {}, {} {} an epoch; memory {}{}", job_.name,
                            parameters(), rows, batches.size, batches.count, batches.count == 1 ? "step" : "steps",
                            bytes_text(memory()), run_ ? "; run " + run_->path() : ""));
  for (const UnusedRows& some : data_->unused())
    console_.warning(fmt::format("{} of the {} rows of {} are in no split", some.unused, some.rows, some.source));
  if (job_.batch_size == 0 && gathered() > 0)
    console_.note(
        fmt::format("note: `batch_size = full` brings all {} rows of `train` into memory, {} of the above, though they "
                    "are streamed; "
                    "with a number, such as `batch_size = 4096`, so many at a time",
                    split("train")->rows, bytes_text(gathered())));
  if (const std::string names = fitted_names(); !names.empty())
    console_.note(fmt::format("fitted on {}: {}", fmt::join(data_job_.fit, ", "), names));
  for (const auto& [input, learnt] : data_->classes())
    console_.note(
        fmt::format("classes of `{}`: {}{}{}", column_of(input), in_list(learnt.names),
                    learnt.missing.empty() ? "" : fmt::format("; `{}` where the value is missing", learnt.missing),
                    learnt.unknown.empty() ? "" : fmt::format("; `{}` where it is none of them", learnt.unknown)));
  tell_unknown(*data_, console_);
  warn_of_classes();
  baseline_ = find_baseline();
  if (baseline_) {
    std::string text = fmt::format("baseline (always {}):", baseline_->always);
    for (const NamedArray& figure : baseline_->figures)
      if (figure.array.count() == 1)
        text += fmt::format(" {}.{} {:.6g}", split("valid") ? "valid" : "train", figure.name, figure.array.at(0));
    console_.note(text);
  }
  if (stopped_)
    console_.note("going on " + place_text(stopped_->at.state.at, stopped_->at.state.at.batch == batches.count));
}

/// --dry-run --json
void Training::print_plan() const {
  nlohmann::ordered_json json;
  json["schema"] = "nnc.plan.1";
  json["train"] = job_.name;
  json["parameters"] = parameters();
  json["rows"] = rows_of_splits();
  const Batches batches(job_.batch_size, split("train")->rows);
  json["batch"] = batches.size;
  json["steps_per_epoch"] = batches.count;
  json["epochs"] = job_.epochs;
  json["memory_bytes"] = memory();
  fmt::print("{}\n", json.dump());
}

/// A model for more classes than the data have is allowed, and mostly a mistake about one of the two.
void Training::warn_of_classes() const {
  for (const Obligation& promise : block_.step.obligations)
    for (const Column& column : data_job_.columns) {
      const auto names = data_->classes().find(column.classes_of);
      if (column.name != promise.input || names == data_->classes().end()) continue;
      const auto known = static_cast<std::int64_t>(names->second.names.size());
      if (known < promise.high)
        console_.warning(fmt::format("`{}` has {} class{}, and the program takes it for one of {}", column.name, known,
                                     known == 1 ? "" : "es", promise.high));
    }
}

std::string Training::column_of(const std::string& input) const {
  for (const Column& column : data_job_.columns)
    if (column.classes_of == input) return column.name;
  for (const RawColumn& raw : data_job_.raw)
    if (raw.input == input && raw.columns.size() == 1) return raw.columns[0];
  return input;
}

std::string Training::fitted_names() const {
  std::vector<std::string> names;
  for (const RawColumn& raw : data_job_.raw)
    if (!raw.classes && raw.missing.learnt()) names.push_back(missing_path(raw.input));
  for (const Output& output : block_.fit.outputs) names.push_back(output.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

namespace {

/// What a diverged run leaves.
std::string kept_weights(const TrainOutcome& outcome) {
  if (outcome.at.step == 0) return "the initial weights";
  switch (outcome.kept) {
    case TrainOutcome::Kept::last:
      return "the last good weights";
    case TrainOutcome::Kept::older:
      return "the last weights with a finite loss over all rows";
    case TrainOutcome::Kept::last_without_loss:
      break;
  }
  return "the last finite weights, whose loss over all rows is not finite";
}

}  // namespace

Exit Training::say_diverged(const TrainOutcome& outcome, double least_loss) {
  const TrainOutcome::Failure& failure = *outcome.failure;
  const std::string value = number_shown(failure.value, DType::f64);
  const std::string what = failure.is_loss ? fmt::format("the {} became {}", failure.what, value)
                                           : fmt::format("`{}` has an element that is {}", failure.what, value);
  Problem problem{
      .kind = Problem::Kind::diverged, .message = {}, .place = job_.place, .expected = {}, .found = {}, .notes = {}};
  problem.message = failure.at.step == 0 ? fmt::format("training cannot start: {} before the first step", what)
                                         : fmt::format("training diverged: {} in epoch {}, step {}", what,
                                                       failure.at.epoch, failure.at.step);
  if (!outcome.spoilt.empty())
    problem.notes.push_back(fmt::format("note: the update of step {} had made `{}` infinite or NaN",
                                        outcome.last_finite->at.step + 1, outcome.spoilt));
  std::optional<StepTaken> step;
  if (failure.at.step > 0 && outcome.last_finite)
    step.emplace(StepTaken{outcome.last_finite->at, outcome.last_finite->weights, *split("train"), job_,
                           record_.epochs > 0 ? record_.epochs : job_.epochs});
  // The loss of the first step is that of the initial weights: no rate has had a part in it.
  const bool at_once = failure.is_loss && failure.at.step == 1 && outcome.spoilt.empty();
  std::string help = "help: try a lower learning rate";
  if (at_once)
    help =
        "help: the loss of the initial weights is not finite, whatever the learning rate: look at the ranges of the "
        "columns, and at what the loss does with them";
  if (step && !session_->solves()) {
    const bool spoilt = !outcome.spoilt.empty();
    const auto first = first_wrong(block_, *step, spoilt ? outcome.spoilt : failure.what, failure.is_loss && !spoilt);
    if (first) problem.notes.push_back(first->what);
    if (first && at_once && !first->input.empty())
      help = fmt::format(
          "help: {} in this batch, and no weight has changed yet: what goes in there must be kept within "
          "its range",
          first->input);
    if (first && first->place.line > 0) problem.place = first->place;
  }
  const std::string kept = kept_weights(outcome);
  problem.notes.push_back(fmt::format("note: {}{} are in {}", kept,
                                      outcome.at.step == 0 ? "" : fmt::format(", after step {},", outcome.at.step),
                                      run_->file(last_weights)));
  if (!session_->solves()) problem.notes.push_back(help);
  for (std::string& line : session_->solves() ? why_unsolved({*split("train"), *session_, data_job_, *weights_,
                                                              job_.models, least_loss, block_, step})
                                              : advice_of(optimise(block_.evaluate), *split("train"), *weights_))
    problem.notes.push_back(std::move(line));
  console_.show(problem);
  return Exit::diverged;
}

/// A model that is no better than a constant has learnt nothing, and nobody sees that from its figures alone.
void Training::compare_with_baseline() const {
  if (!baseline_) return;
  const auto loss_in = [&](const std::vector<NamedArray>& figures) {
    const auto at = std::ranges::find(figures, job_.losses[0], &NamedArray::name);
    return at == figures.end() || at->array.count() != 1 ? NAN : at->array.at(0);
  };
  const std::string shown = split("valid") ? "valid" : "train";
  const auto figures = std::ranges::find(figures_, shown, &SplitFigures::split);
  if (figures == figures_.end()) return;
  const double loss = loss_in(figures->figures), constant = loss_in(baseline_->figures);
  if (!(loss >= constant)) return;
  console_.warning(fmt::format("the model is no better than always {}: {}.loss is {:.6g} against {:.6g}",
                               baseline_->always, shown, loss, constant));
  console_.note(
      "help: look at train.loss of the first epochs: if it rises, the learning rate is too high; if it hardly moves, "
      "too low");
  for (const std::string& line : advice_of(optimise(block_.evaluate), *split("train"), *weights_)) console_.note(line);
}

}  // namespace nnc::driver
