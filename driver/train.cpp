// nnc train: reads the data, trains each block of a file, and leaves a run directory.
#include <fmt/format.h>
#include <signal.h>

#include <csignal>
#include <filesystem>
#include <iterator>

#include "driver/commands.h"
#include "driver/figures.h"
#include "driver/options.h"
#include "driver/progress.h"
#include "driver/run_record.h"
#include "runtime/checkpoint.h"
#include "runtime/file.h"
#include "runtime/metrics.h"
#include "runtime/run_directory.h"

namespace nnc::driver {

namespace fs = std::filesystem;

namespace {

struct TrainFlags {
  std::string file, model;
  std::optional<std::string> out, init, data;
  std::optional<std::int64_t> epochs, max_steps;
  std::optional<std::uint64_t> seed;
  bool log_steps = false, json = false;
  ProgramOptions program;
  CompileFlags compile;
};

volatile std::sig_atomic_t caught_signal = 0;

/// The first signal is noted and training ends after its step; a second one ends the process at once.
void note_signal(int signal) {
  if (caught_signal != 0) ::_exit(128 + signal);
  caught_signal = signal;
}

/// Writes what training keeps, and shows how it goes.
class RunObserver : public TrainObserver {
 public:
  RunObserver(RunDirectory& run, const TrainFlags& flags, const RunRecord& record, const TrainJob& job,
              Progress progress)
      : run_(run), flags_(flags), record_(record), job_(job), progress_(std::move(progress)) {}

  void on_step(const Cursor& at, std::span<const double> losses) override {
    if (flags_.log_steps) run_.add_metrics(step_line(at, job_.losses, losses));
    progress_.step(at, losses);
  }
  void on_epoch(const EpochReport& report) override {
    std::string line = epoch_line(report);
    run_.add_metrics(line);
    if (flags_.json) fmt::print("{}\n", line);
    progress_.epoch(report);
  }
  std::optional<Problem> save(const Weights& weights, const Cursor& at, bool best) override {
    if (auto problem = run_.flush_metrics()) return problem;
    TensorFile file = checkpoint_of(weights, {at, record_.seed, record_.source_hash});
    return write_safetensors(run_.file(best ? "best.safetensors" : "last.safetensors"), file);
  }
  bool interrupted() override { return caught_signal != 0; }
  void end() { progress_.end(); }

 private:
  RunDirectory& run_;
  const TrainFlags& flags_;
  const RunRecord& record_;
  const TrainJob& job_;
  Progress progress_;
};

/// One train block on its way: each method is a stage, and says why where it cannot go on.
class Training {
 public:
  Training(const Elaborated& block, const TrainFlags& flags, const Compilation& compilation, const Console& console)
      : block_(block),
        job_(block.train),
        data_job_(block.data),
        flags_(flags),
        compilation_(compilation),
        console_(console) {
    if (flags.epochs) job_.epochs = *flags.epochs;
    if (flags.seed) job_.seed = *flags.seed;
    if (flags.data) move_data(data_job_, flags.file, *flags.data);
  }

  Exit run() {
    for (auto stage : {&Training::open_data, &Training::compile, &Training::set_weights, &Training::make_columns,
                       &Training::make_run})
      if (auto problem = (this->*stage)()) return console_.show(*problem), exit_of(*problem);
    announce();
    return train_and_report();
  }

 private:
  std::optional<Problem> open_data() {
    auto data = RawData::open(data_job_, {});
    if (!data) return data.problem();
    data_.emplace(std::move(*data));
    if (data_->rows("train") < 1)
      return Problem{.kind = Problem::Kind::data,
                     .message = fmt::format("data block `{}` has no split `train`", data_job_.name),
                     .place = job_.place,
                     .expected = {},
                     .found = {},
                     .notes = {}};
    return std::nullopt;
  }

  std::optional<Problem> compile() {
    Batches batches(job_.batch_size, data_->rows("train"));
    session_.emplace(block_, compilation_, batches.size);
    programs_ = session_->programs();
    runner_.emplace(compilation_.threads);
    return std::nullopt;
  }

  std::optional<Problem> set_weights() {
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
    auto file = read_safetensors(*flags_.init);
    if (!file) return file.problem();
    std::vector<std::string> notes;
    auto problem = initialise(*file, *flags_.init, *weights_, notes);
    for (const std::string& note : notes) console_.note("note: " + note);
    return problem;
  }

  std::optional<Problem> make_columns() {
    if (auto problem = data_->check(session_->input_checks())) return problem;
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
  void warn_of_constant_columns() const {
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
      for (std::int64_t i = 0; i < spread.count(); ++i)
        if (spread.at(i) == 0)
          console_.warning(fmt::format("value {} of column `{}` is the same in all rows of {}: it becomes 0", i + 1,
                                       path.substr(5, dot - 5), fmt::join(data_job_.fit, ", ")));
    }
  }

  std::optional<Problem> make_run() {
    auto run = RunDirectory::create(job_.name, flags_.out);
    if (!run) return run.problem();
    run_.emplace(std::move(*run));
    const std::vector<std::string> stored = stored_paths(block_);
    record_.train_block = job_.name;
    record_.models = job_.models;
    record_.file = stored.front();
    record_.source_hash = sha256(block_.sources.front().text);
    for (std::size_t i = 1; i < stored.size(); ++i)
      record_.imports.emplace_back(stored[i], sha256(block_.sources[i].text));
    record_.data_folder =
        fs::weakly_canonical(flags_.data ? fs::path(*flags_.data) : fs::absolute(flags_.file).parent_path()).string();
    record_.set = flags_.program.elaborate_options(console_, "")->overrides;
    record_.dtype = flags_.program.dtype;
    record_.seed = job_.seed;
    record_.epochs = job_.epochs;
    record_.best = job_.best.has_value();
    record_.classes = data_->classes();
    for (std::size_t i = 0; i < stored.size(); ++i)
      if (auto problem = run_->write("model/" + stored[i], block_.sources[i].text)) return problem;
    return write_record(nullptr);
  }

  std::optional<Problem> write_record(const TrainOutcome* outcome) {
    return run_->write("run.json", run_json(record_, compilation_, *data_, outcome));
  }

  const SplitColumns* split(const std::string& name) const {
    for (const SplitColumns& columns : splits_)
      if (columns.name == name) return &columns;
    return nullptr;
  }

  void announce() const {
    std::int64_t parameters = 0;
    for (const nnc_slot& slot : params_of(*weights_->layout)) parameters += checked_product({slot.dims, slot.rank});
    std::string rows;
    for (const SplitColumns& columns : splits_)
      rows += fmt::format("{}{} {}", rows.empty() ? "" : ", ", columns.name, columns.rows);
    Batches batches(job_.batch_size, split("train")->rows);
    console_.note(fmt::format("{}: {} parameters; rows: {}; batch {}, {} {} an epoch; run {}", job_.name, parameters,
                              rows, batches.size, batches.count, batches.count == 1 ? "step" : "steps", run_->path()));
    if (session_->fits())
      console_.note(fmt::format("fitted on {}: {}", fmt::join(data_job_.fit, ", "), fitted_names()));
    for (const auto& [input, names] : data_->classes())
      console_.note(fmt::format("classes of `{}`: {}", column_of(input), fmt::join(names, ", ")));
  }

  /// What the program calls an input of classes.
  std::string column_of(const std::string& input) const {
    for (const Column& column : data_job_.columns)
      if (column.classes_of == input) return column.name;
    for (const RawColumn& raw : data_job_.raw)
      if (raw.input == input && raw.columns.size() == 1) return raw.columns[0];
    return input;
  }

  std::string fitted_names() const {
    std::vector<std::string> names;
    for (const Output& output : block_.fit.outputs) names.push_back(output.name);
    return fmt::format("{}", fmt::join(names, ", "));
  }

  Exit train_and_report() {
    TrainSettings settings{job_, flags_.max_steps};
    RunObserver observer(*run_, flags_, record_, settings.job, Progress(console_, settings.job, split("train")->rows));
    TrainOutcome outcome = train(settings, *runner_, programs_, *weights_, *split("train"), split("valid"), observer);
    observer.end();
    auto problem = outcome.problem;
    if (!problem) problem = run_->flush_metrics();
    if (!problem) problem = write_record(&outcome);
    if (problem) return console_.show(*problem), exit_of(*problem);
    if (outcome.end == TrainOutcome::End::diverged) return say_diverged(outcome);
    if (outcome.end == TrainOutcome::End::interrupted) {
      console_.note(
          fmt::format("stopped after step {}; weights are in {}", outcome.at.step, run_->file("last.safetensors")));
      return static_cast<Exit>(128 + caught_signal);
    }
    return report(outcome);
  }

  Exit say_diverged(const TrainOutcome& outcome) {
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
                                          outcome.at.step + 1, outcome.spoilt));
    problem.notes.push_back(fmt::format("note: {} are in {}",
                                        outcome.at.step == 0
                                            ? std::string("the initial weights")
                                            : fmt::format("the last finite weights, after step {},", outcome.at.step),
                                        run_->file("last.safetensors")));
    problem.notes.push_back("help: try a lower learning rate");
    if (!session_->fits())
      problem.notes.push_back("help: columns of very different size train badly: see `standardize` and `minmax`");
    console_.show(problem);
    return Exit::diverged;
  }

  /// Figures of every split by the weights that `eval` will use.
  Exit report(const TrainOutcome& outcome) {
    std::string kept = record_.weights_file();
    if (!fs::exists(run_->file(kept))) kept = "last.safetensors";  // `best` never had a number to go by
    if (kept == "best.safetensors") {
      auto file = read_safetensors(run_->file(kept));
      if (!file) return console_.show(file.problem()), exit_of(file.problem());
      if (auto problem = restore(*file, run_->file(kept), *weights_, Surplus::refused))
        return console_.show(*problem), exit_of(*problem);
    }
    console_.note(fmt::format("{} after epoch {}, step {}{}", describe(outcome.end), outcome.at.epoch, outcome.at.step,
                              kept == "best.safetensors" ? fmt::format("; best epoch {}", outcome.best_epoch) : ""));
    for (const SplitColumns& columns : splits_) {
      SplitFigures figures = figures_of(*runner_, programs_, *weights_, columns, job_.seed);
      fmt::print("{}\n", flags_.json ? json_of(figures) : text_of(figures));
    }
    return Exit::done;
  }

  const Elaborated& block_;
  TrainJob job_;
  DataJob data_job_;
  const TrainFlags& flags_;
  Compilation compilation_;
  const Console& console_;
  std::optional<RawData> data_;
  std::optional<Session> session_;
  Programs programs_;
  std::optional<Runner> runner_;
  std::optional<Weights> weights_;
  std::vector<SplitColumns> splits_;
  std::optional<RunDirectory> run_;
  RunRecord record_;
};

Exit train_file(TrainFlags flags, const Console& console) {
  auto options = flags.program.elaborate_options(console, flags.model);
  auto compilation = flags.compile.compilation(console, true);
  if (!options || !compilation) return Exit::usage;
  if (flags.data) flags.file = movable(flags.file);
  Exit status = Exit::done;
  std::vector<Elaborated> blocks = read_program(flags.file, *options, console, status);
  if (status != Exit::done) return status;
  if (blocks.empty()) return console.error(fmt::format("`{}` has no train block", flags.file)), Exit::wrong;
  if (blocks.size() > 1 && flags.out) return console.error("--out is for one train block: say which one"), Exit::usage;
  std::signal(SIGINT, note_signal);
  std::signal(SIGTERM, note_signal);
  for (const Elaborated& block : blocks) {
    Exit result = Training(block, flags, *compilation, console).run();
    if (result != Exit::done) return result;
  }
  return Exit::done;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = app.add_subcommand("train",
                                         "Trains and leaves a run directory (runs/NAME-N) with weights, metrics and "
                                         "all it takes to evaluate and predict.");
  command->footer(
      "Examples:\n"
      "  nnc train linear.nn\n"
      "  nnc train mnist.nn --data ~/mnist --seed 2 --out run2\n"
      "  nnc train net.nn --set width=512 --epochs 3 --init start.safetensors\n");
  command->add_option("FILE", flags->file, "the program")->required();
  command->add_option("MODEL", flags->model,
                      "one train block: its `as` name or its model (default: all, in file order)");
  command->add_option("--out", flags->out, "the run directory")->type_name("DIR");
  command->add_option("--data", flags->data, "where the data are (default: beside the program)")->type_name("DIR");
  command->add_option("--init", flags->init, "start from the parameters of this safetensors file, by path")
      ->type_name("FILE");
  command->add_option("--epochs", flags->epochs, "instead of the program's `epochs`")
      ->check(whole_from_one())
      ->type_name("N");
  command->add_option("--max-steps", flags->max_steps, "stop after so many steps")
      ->check(whole_from_one())
      ->type_name("N");
  command->add_option("--seed", flags->seed, "instead of the program's `seed`")
      ->check(whole_of_64_bits())
      ->type_name("N");
  command->add_flag("--log-steps", flags->log_steps, "a line in metrics.jsonl for every step too");
  command->add_flag("--json", flags->json, "epochs and results as JSON lines on stdout");
  flags->program.add_to(*command);
  flags->compile.add_to(*command);
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return train_file(*flags, console); }; });
}

}  // namespace nnc::driver
