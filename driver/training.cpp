#include "driver/training.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <utility>

#include "driver/column_names.h"
#include "driver/figures.h"
#include "driver/progress.h"
#include "driver/report.h"
#include "driver/stderr.h"
#include "driver/trained.h"
#include "passes/pipeline.h"
#include "runtime/file.h"
#include "runtime/metrics.h"
#include "runtime/safetensors.h"

namespace nnc::driver {

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t caught_signal = 0;

/// The first signal is noted and training ends after its step; a second one ends the process at once.
void note_signal(int signal) {
  if (caught_signal != 0) ::_exit(128 + signal);
  caught_signal = signal;
}

/// Writes what training keeps, and shows how it goes.
class RunObserver : public TrainObserver {
 public:
  /// `on_first_save` is done once the first checkpoint is there.
  RunObserver(RunDirectory& run, const TrainFlags& flags, const RunRecord& record, const TrainJob& job,
              Progress progress, std::function<std::optional<Problem>()> on_first_save)
      : run_(run),
        flags_(flags),
        record_(record),
        job_(job),
        progress_(std::move(progress)),
        on_first_save_(std::move(on_first_save)),
        log_bytes_(run.metrics_bytes()) {}

  void on_step(const Cursor& at, std::span<const double> losses) override {
    if (record_.log_steps) add_line(step_line(at, job_.losses, losses));
    least_loss_ = std::min(least_loss_, losses.front());
    progress_.step(at, losses);
  }
  void on_epoch(const EpochReport& report) override {
    std::string line = epoch_line(report);
    if (report.kept)
      add_line(line);
    else
      run_.add_metrics(line);
    if (flags_.json) fmt::print("{}\n", with_owner(line, owner_members(record_.train_block, record_.fold)));
    progress_.epoch(report);
  }
  std::optional<Problem> save(const Weights& weights, const TrainState& state, bool best) override {
    if (auto problem = run_.flush_metrics()) return problem;
    TensorFile file = checkpoint_of(weights, {state, record_.seed, record_.source_hash, best ? 0 : log_bytes_});
    if (auto problem = write_safetensors(run_.file(best ? best_weights : last_weights), file)) return problem;
    const auto act = std::exchange(on_first_save_, nullptr);
    return act ? act() : std::nullopt;
  }
  bool interrupted() override { return caught_signal != 0; }
  void end() { progress_.end(); }
  /// Of all steps; the first loss where there are several.
  double least_loss() const { return least_loss_; }

 private:
  void add_line(const std::string& line) {
    run_.add_metrics(line);
    log_bytes_ = run_.metrics_bytes();
  }

  RunDirectory& run_;
  const TrainFlags& flags_;
  const RunRecord& record_;
  const TrainJob& job_;
  Progress progress_;
  std::function<std::optional<Problem>()> on_first_save_;
  std::uint64_t log_bytes_;
  double least_loss_ = std::numeric_limits<double>::infinity();
};

Problem wrong(const std::string& path, std::string message, std::string expected = "", std::string found = "",
              std::vector<std::string> notes = {}) {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = {path, 0, 0},
          .expected = std::move(expected),
          .found = std::move(found),
          .notes = std::move(notes)};
}

std::string rows_text(const std::map<std::string, std::int64_t>& rows) {
  std::string text;
  for (const auto& [split, count] : rows) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", split, count);
  return text;
}

}  // namespace

void watch_signals() {
  std::signal(SIGINT, note_signal);
  std::signal(SIGTERM, note_signal);
}

Result<StoppedRun> StoppedRun::open(const std::string& path) {
  auto folder = RunDirectory::open(path);
  if (!folder) return folder.problem();
  auto record = read_run(path);
  if (!record) return record.problem();
  auto last = read_safetensors(folder->file(last_weights));
  if (!last) return last.problem();
  auto at = record_of(*last, folder->file(last_weights), record->source_hash);
  if (!at) return at.problem();
  StoppedRun run{std::move(*folder), std::move(*record), std::move(*last), std::move(*at), std::nullopt};
  if (run.at.state.ended == TrainState::Ended::diverged)
    return wrong(path, "a run that diverged does not go on", "", "",
                 {fmt::format("help: `nnc train PROGRAM --init {}` starts another from its last good weights; with a "
                              "lower learning rate, say",
                              run.folder.file(last_weights))});
  if (!fs::exists(run.folder.file(best_weights))) {
    if (auto problem = lost_best(run.folder.file(last_weights), run.at)) return *problem;
    return run;
  }
  // The file of the best weights says itself how good they are: it is written first, and may be newer than the last.
  auto best = read_safetensors(run.folder.file(best_weights));
  if (!best) return best.problem();
  auto best_at = record_of(*best, run.folder.file(best_weights), run.record.source_hash);
  if (!best_at) return best_at.problem();
  run.at.state.best = best_at->state.best;
  run.best = std::move(*best);
  return run;
}

Training::Training(const Elaborated& block, const TrainFlags& flags, const Compilation& compilation,
                   const Console& console, StoppedRun* stopped)
    : block_(block),
      job_(block.train),
      data_job_(block.data),
      flags_(flags),
      compilation_(compilation),
      console_(console),
      stopped_(stopped) {
  if (stopped) {
    record_ = stopped->record;
    job_.seed = stopped->record.seed;
    job_.epochs = stopped->record.epochs;
    name_columns(data_job_, record_.columns);
    move_data(data_job_, flags.file, flags.data ? *flags.data : stopped->record.data_folder);
  } else if (flags.data) {
    move_data(data_job_, flags.file, *flags.data);
  }
  if (flags.epochs) job_.epochs = *flags.epochs;
  if (flags.seed) job_.seed = *flags.seed;
}

Training::~Training() = default;

Exit Training::run() {
  for (auto stage : {&Training::check_epochs, &Training::open_data, &Training::compile, &Training::set_weights,
                     &Training::make_columns, &Training::restore_weights, &Training::make_run})
    if (auto problem = (this->*stage)()) return console_.show(*problem), exit_of(*problem);
  announce();
  if (!flags_.dry_run) return train_and_report();
  if (flags_.json) print_plan();
  return Exit::done;
}

/// --epochs counts from the beginning of the run.
std::optional<Problem> Training::check_epochs() {
  const std::int64_t begun = stopped_ ? stopped_->at.state.at.epoch : 0;
  if (!flags_.epochs || *flags_.epochs >= begun) return std::nullopt;
  return Problem{.kind = Problem::Kind::io,
                 .message = fmt::format("--epochs {}: the run is in epoch {} already", *flags_.epochs, begun),
                 .place = {},
                 .expected = {},
                 .found = {},
                 .notes = {"help: epochs are counted from the beginning of the run; --max-steps counts the steps that "
                           "are taken from here"}};
}

std::optional<Problem> Training::open_data() {
  OpenOptions options;
  options.fold = record_.fold;
  options.storage = flags_.storage.storage();
  auto data = RawData::open(data_job_, options);
  if (!data) return data.problem();
  data_.emplace(std::move(*data));
  record_.columns = data_->column_names();
  name_columns(data_job_, record_.columns);
  if (data_->rows("train") < 1)
    return Problem{.kind = Problem::Kind::data,
                   .message = fmt::format("data block `{}` has no split `train`", data_job_.name),
                   .place = job_.place,
                   .expected = {},
                   .found = {},
                   .notes = {}};
  return std::nullopt;
}

std::optional<Problem> Training::compile() {
  Batches batches(job_.batch_size, data_->rows("train"));
  session_.emplace(block_, compilation_, batches.size);
  session_->prepare(EntryKind::step, 0, batches.size);  // while weights and columns are made
  if (batches.tail != batches.size) session_->prepare(EntryKind::step, 0, batches.tail);
  programs_ = session_->programs();
  runner_.emplace(compilation_.threads);
  return std::nullopt;
}

std::optional<Problem> Training::set_weights() {
  Entry init = session_->entry(EntryKind::init, 0, 1);
  weights_.emplace(*init.code);
  Scalars scalars;
  nnc_call call{};
  call.params = weights_->params.data();
  call.state = weights_->state.data();
  call.scalars = scalars.values;
  call.seed = job_.seed;
  runner_->run(init, call);
  if (!flags_.init) return std::nullopt;
  auto file = read_tensors(*flags_.init);
  if (!file) return file.problem();
  std::vector<std::string> notes;
  auto problem = initialise(*file, *flags_.init, *weights_, notes);
  for (const std::string& note : notes) console_.note("note: " + note);
  return problem;
}

std::optional<Problem> Training::make_columns() {
  if (auto problem = data_->check(session_->input_checks())) return problem;
  if (auto problem = data_->learn_missing(*weights_)) return problem;
  if (session_->fits()) {
    if (auto problem = data_->fit(*runner_, programs_, *weights_)) return problem;
    warn_of_constant_columns();
  }
  for (const std::string& split : data_->splits()) {
    auto columns = data_->feed(split, EntryKind::feed, *runner_, programs_, *weights_, session_->column_checks(),
                               session_->inputs_of_columns());
    if (!columns) return columns.problem();
    splits_.push_back(std::move(*columns));
  }
  return std::nullopt;
}

/// standardize and minmax make 0 of a column that never changes; nobody means to train on that.
void Training::warn_of_constant_columns() const {
  for (const nnc_slot& slot : state_of(*weights_->layout)) {
    std::string path = slot.name;
    std::size_t dot = path.rfind('.');
    if (!path.starts_with("data.") || (!path.ends_with(".deviation") && !path.ends_with(".max"))) continue;
    DenseArray spread = unpack(slot, weights_->state.data());
    if (path.ends_with(".max")) {
      const nnc_slot* low = find_slot(state_of(*weights_->layout), path.substr(0, dot) + ".min");
      if (low == nullptr) continue;
      DenseArray lowest = unpack(*low, weights_->state.data());
      for (std::int64_t i = 0; i < spread.count(); ++i) spread.set(i, spread.at(i) - lowest.at(i));
    }
    const std::string column = path.substr(5, dot - 5);
    const std::vector<std::string> names = value_names(data_job_, *session_, column, spread.count());
    const bool is_own = names.front() == column || names.front().starts_with(column + "[");
    for (std::int64_t i = 0; i < spread.count(); ++i)
      if (spread.at(i) == 0)
        console_.warning(
            fmt::format("`{}`{} is the same in all rows of {}: it becomes 0", names[static_cast<std::size_t>(i)],
                        is_own ? "" : fmt::format(" of column `{}`", column), fmt::join(data_job_.fit, ", ")));
  }
}

/// A run goes on with the weights that it kept, over the data that it had.
std::optional<Problem> Training::restore_weights() {
  if (!stopped_) return std::nullopt;
  const std::string path = stopped_->folder.file(last_weights);
  const auto changed = [&](std::string expected, std::string found) {
    return wrong(path, "the data are not those that the run was trained with", std::move(expected), std::move(found),
                 {"help: put them back, or start another run from these weights with --init"});
  };
  const std::map<std::string, std::int64_t> rows = rows_of_splits();
  if (rows != stopped_->record.rows) return changed(rows_text(stopped_->record.rows), rows_text(rows));
  if (data_->classes() != stopped_->record.classes) return changed("the same classes", "others");
  const Weights fitted = *weights_;
  if (auto problem = restore(stopped_->last, path, *weights_, Surplus::refused)) return problem;
  for (const nnc_slot& slot : state_of(*weights_->layout))
    if (std::string_view(slot.name).starts_with("data.") &&
        std::memcmp(fitted.state.data() + slot.offset, weights_->state.data() + slot.offset, slot.bytes) != 0)
      return changed(fmt::format("`{}` as the run has it", slot.name), "another when fitted again");
  for (const SplitColumns& columns : splits_)
    if (const auto then = record_.fingerprints.find(columns.name);
        then != record_.fingerprints.end() && then->second != fingerprint_text(columns))
      return changed(fmt::format("the values of `{}` as the run had them", columns.name), "others");
  if (!stopped_->best) return std::nullopt;
  best_weights_ = *weights_;
  return restore(*stopped_->best, stopped_->folder.file(best_weights), *best_weights_, Surplus::refused);
}

std::map<std::string, std::int64_t> Training::rows_of_splits() const {
  std::map<std::string, std::int64_t> rows;
  for (const SplitColumns& columns : splits_) rows[columns.name] = columns.rows;
  return rows;
}

std::optional<Problem> Training::make_run() {
  if (flags_.dry_run) return std::nullopt;
  if (stopped_) {
    run_.emplace(std::move(stopped_->folder));
    record_.log_steps |= flags_.log_steps;
    return run_->cut_metrics(stopped_->at.log_bytes);
  }
  auto run = RunDirectory::create(job_.name, flags_.out);
  if (!run) return run.problem();
  run_.emplace(std::move(*run));
  if (auto problem = take_over(false)) return problem;
  const std::vector<std::string> stored = stored_paths(block_);
  record_.train_block = job_.name;
  record_.models = job_.models;
  record_.file = stored.front();
  record_.source_hash = sha256(block_.sources.front().text);
  for (std::size_t i = 1; i < stored.size(); ++i)
    record_.imports.emplace_back(stored[i], sha256(block_.sources[i].text));
  record_.data_folder = data_folder_of(flags_.file, flags_.data);
  record_.set = flags_.program.elaborate_options(console_, "")->overrides;
  record_.dtype = flags_.program.dtype;
  record_.seed = job_.seed;
  record_.epochs = job_.epochs;
  record_.following = {flags_.following, flags_.seed, flags_.epochs, {}};
  if (flags_.init) record_.following.init = fs::absolute(*flags_.init).string();
  record_.best = job_.best.has_value();
  record_.log_steps = flags_.log_steps;
  record_.classes = data_->classes();
  record_.rows = rows_of_splits();
  for (const SplitColumns& columns : splits_) record_.fingerprints[columns.name] = fingerprint_text(columns);
  for (std::size_t i = 0; i < stored.size(); ++i)
    if (auto problem = run_->write("model/" + stored[i], block_.sources[i].text)) return problem;
  return std::nullopt;
}

/// The run before this one answers for it until it has a record of its own.
std::optional<Problem> Training::take_over(bool begun) const {
  if (flags_.behind.empty()) return std::nullopt;
  const fs::path own = run_->path();
  return hand_on(flags_.behind, (record_.fold ? own.parent_path() : own).string(), begun);
}

std::optional<Problem> Training::write_record(const TrainOutcome* outcome) {
  return run_->write("run.json", run_json(record_, compilation_, outcome));
}

const SplitColumns* Training::split(const std::string& name) const {
  for (const SplitColumns& columns : splits_)
    if (columns.name == name) return &columns;
  return nullptr;
}

std::int64_t Training::parameters() const {
  std::int64_t parameters = 0;
  for (const nnc_slot& slot : params_of(*weights_->layout))
    parameters += checked_product(std::span(slot.dims, slot.rank));
  return parameters;
}

/// Columns, weights and states with the copies that training keeps of them, and what a step works in.
std::uint64_t Training::memory() const {
  std::uint64_t bytes = 3 * (weights_->params.size() + weights_->state.size());
  for (const SplitColumns& columns : splits_) bytes += columns.memory();
  const Batches batches(job_.batch_size, split("train")->rows);
  return bytes + gathered() + programs_.entry(EntryKind::step, 0, batches.size).code->arena_bytes;
}

/// What a step's rows take that are brought together from a file.
std::uint64_t Training::gathered() const {
  const SplitColumns& train = *split("train");
  if (!train.streamed) return 0;
  const Batches batches(job_.batch_size, train.rows);
  return static_cast<std::uint64_t>(batches.size) * train.streamed->rows.row_bytes();
}

std::optional<Baseline> Training::find_baseline() {
  const SplitColumns* shown = split("valid") ? split("valid") : split("train");
  return baseline_of(optimise(block_.evaluate), job_.losses, *split("train"), *shown, *weights_,
                     {*session_, compilation_, *runner_});
}

Exit Training::train_and_report() {
  TrainSettings settings{.job = job_, .max_steps = flags_.max_steps};
  settings.seconds_between_saves = flags_.save_every;
  settings.planned_epochs = record_.epochs;
  if (stopped_) settings.from = &stopped_->at.state;
  if (best_weights_) settings.best = &*best_weights_;
  // A run has a record from its first checkpoint on, so that what has a record can go on.
  const auto first_save = [this] {
    auto problem = write_record(nullptr);
    return problem ? problem : take_over(true);
  };
  RunObserver observer(*run_, flags_, record_, settings.job, Progress(console_, settings.job, split("train")->rows),
                       first_save);
  TrainOutcome outcome = train(settings, *runner_, programs_, *weights_, *split("train"), split("valid"), observer);
  observer.end();
  auto problem = outcome.problem;
  if (!problem) problem = run_->flush_metrics();
  if (!problem) problem = write_record(&outcome);
  if (problem && is_run(run_->path()))
    problem->notes.push_back(fmt::format("help: `{}` goes on from the last checkpoint", how_to_go_on()));
  if (problem) return console_.show(*problem), exit_of(*problem);
  const bool cut_short = outcome.end == TrainOutcome::End::diverged || outcome.end == TrainOutcome::End::interrupted;
  if (cut_short && is_run(run_->path()))
    if (auto unwritten = write_page_of_curves()) console_.show(*unwritten);
  if (outcome.end == TrainOutcome::End::diverged) return say_diverged(outcome, observer.least_loss());
  if (outcome.end == TrainOutcome::End::interrupted) {
    console_.note(fmt::format("stopped after step {}; all of it is in {}; to go on:\n  {}", outcome.at.step,
                              run_->path(), how_to_go_on()));
    return static_cast<Exit>(128 + caught_signal);
  }
  return report(outcome);
}

std::string Training::how_to_go_on() const {
  // Of a cross-validation all parts go on.
  const std::string folder = record_.fold ? fs::path(run_->path()).parent_path().string() : run_->path();
  std::string command = "nnc train --resume " + shell_word(folder);
  if (flags_.epochs && stopped_) command += fmt::format(" --epochs {}", *flags_.epochs);
  return command;
}

/// Figures of every split by the weights that `eval` will use.
Exit Training::report(const TrainOutcome& outcome) {
  std::string kept = record_.weights_file();
  if (!fs::exists(run_->file(kept))) {
    const bool judged = outcome.whole_epoch || outcome.at.epoch > 1;  // at the end of an epoch it is looked at
    if (judged)
      console_.warning(fmt::format(
          "`best` goes by {}, which was never a number: the figures are those of the last weights", job_.best->metric));
    kept = last_weights;
  }
  if (kept == best_weights) {
    auto file = read_safetensors(run_->file(kept));
    if (!file) return console_.show(file.problem()), exit_of(file.problem());
    if (auto problem = restore(*file, run_->file(kept), *weights_, Surplus::refused))
      return console_.show(*problem), exit_of(*problem);
  }
  const bool idle = stopped_ && outcome.at.step == stopped_->at.state.at.step;
  if (idle && outcome.end == TrainOutcome::End::epochs_done && !waits(run_->path(), record_))
    console_.note(fmt::format("nothing was left to do; `nnc train --resume {} --epochs N` trains for N epochs in all",
                              shell_word(run_->path())));
  console_.note(fmt::format(
      "{} {}{}", describe(outcome.end), place_text(outcome.at, outcome.whole_epoch),
      kept == best_weights ? fmt::format("; the figures are those of epoch {}, the best", outcome.best_epoch) : ""));
  for (const SplitColumns& columns : splits_) {
    figures_.push_back(figures_of(*runner_, programs_, *weights_, columns, job_.seed));
  }
  print_figures(figures_, flags_.json, console_, owner_members(record_.train_block, record_.fold));
  if (outcome.end != TrainOutcome::End::max_steps) compare_with_baseline();
  if (auto problem = write_page()) {
    problem->notes.push_back(
        fmt::format("help: the run is whole; `nnc report {}` makes its page", shell_word(run_->path())));
    return console_.show(*problem), exit_of(*problem);
  }
  std::fflush(stdout);  // before what the next train block says on stderr
  return Exit::done;
}

/// report.html of a run that was cut short: what its record says, without a pass over the rows. `nnc report` adds what
/// its weights answer.
std::optional<Problem> Training::write_page_of_curves() {
  auto page = read_report(run_->path());
  if (!page) return page.problem();
  return run_->write("report.html", page_of({std::move(*page)}));
}

/// report.html, by the weights that the figures are of.
std::optional<Problem> Training::write_page() {
  const Batches batches(job_.batch_size, split("train")->rows);
  const StepProfile profile = profile_step(*session_, compilation_, batches.size);
  if (auto problem = run_->write("profile.json", json_of(profile) + "\n")) return problem;
  if (flags_.profile && flags_.json)
    fmt::print("{}\n", with_owner(json_of(profile, -1), owner_members(record_.train_block, record_.fold)));
  else if (flags_.profile)
    fmt::print("{}", text_of(profile));
  auto page = read_report(run_->path());
  if (!page) return page.problem();
  page->figures = figures_;
  std::vector<const SplitColumns*> splits;
  for (const SplitColumns& columns : splits_) splits.push_back(&columns);
  add_answers(*page, block_, *session_, compilation_, *runner_, *weights_, splits, record_.classes);
  if (console_.live && !flags_.json)
    for (const ReportCurve& curve : page->curves)
      if (const std::string spark = spark_of(curve, 40); !spark.empty())
        to_stderr("{:<14} {} {:.6g}\n", curve.name, spark, curve.points.back().second);
  return run_->write("report.html", page_of({std::move(*page)}));
}

}  // namespace nnc::driver
