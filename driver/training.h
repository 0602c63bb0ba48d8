// One train block on its way from a program to a run directory: data are read, the step is compiled, weights are made
// or restored, and training runs under the eyes of an observer that writes what is kept.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "driver/baseline.h"
#include "driver/figures.h"
#include "driver/options.h"
#include "driver/run_record.h"
#include "runtime/checkpoint.h"
#include "runtime/run_directory.h"

namespace nnc::driver {

struct TrainFlags {
  std::string file, model;
  std::optional<std::string> out, init, data, resume;
  std::optional<std::int64_t> epochs;     ///< of the whole run
  std::optional<std::int64_t> max_steps;  ///< of this command
  std::optional<std::uint64_t> seed;
  std::optional<int> cv;
  std::vector<std::string> following{};  ///< train blocks that come behind this one
  std::string behind{};                  ///< the run, or cross-validation, that this one comes behind; may be ""
  double save_every = 2;                 ///< seconds
  bool log_steps = false, json = false, dry_run = false, profile = false;
  ProgramOptions program;
  CompileFlags compile;
  StorageFlags storage;
};

/// A run that is to go on, as its folder has it.
struct StoppedRun {
  RunDirectory folder;
  RunRecord record;
  TensorFile last;
  CheckpointRecord at;
  std::optional<TensorFile> best;  ///< where at.state.best has a value

  /// Reads and checks all of it, and keeps other processes away.
  static Result<StoppedRun> open(const std::string& path);
};

/// Ends training after its step on SIGINT and SIGTERM, and the process at once on a second signal. A limit on the size
/// of files becomes a failed write.
void watch_signals();

class Training {
 public:
  /// `stopped`: the run that goes on, or null. All live at least as long as the training.
  Training(const Elaborated& block, const TrainFlags& flags, const Compilation& compilation, const Console& console,
           StoppedRun* stopped);
  ~Training();

  /// Trains on a part of the rows and validates on another, for a new run.
  void set_fold(int index, int of) { record_.fold = CrossPart{index, of, job_.seed}; }

  Exit run();
  /// Of the run's folder; "" before it is made.
  std::string path() const { return run_ ? run_->path() : ""; }
  /// Of all splits, at the end of a run.
  const std::vector<SplitFigures>& figures() const { return figures_; }

 private:
  std::optional<Problem> check_epochs();
  std::optional<Problem> open_data();
  std::optional<Problem> compile();
  std::optional<Problem> set_weights();
  std::optional<Problem> make_columns();
  std::optional<Problem> restore_weights();
  std::optional<Problem> make_run();
  std::optional<Problem> take_over(bool begun) const;

  void warn_of_constant_columns() const;
  std::int64_t parameters() const;
  std::uint64_t memory() const;  ///< bytes
  std::uint64_t gathered() const;
  std::optional<Baseline> find_baseline();
  void announce();
  void warn_of_classes() const;
  void compare_with_baseline() const;
  void print_plan() const;
  Exit train_and_report();
  Exit say_diverged(const TrainOutcome& outcome, double least_loss);
  Exit report(const TrainOutcome& outcome);
  std::optional<Problem> write_page();
  std::optional<Problem> write_page_of_curves();
  std::optional<Problem> write_record(const TrainOutcome* outcome);

  std::map<std::string, std::int64_t> rows_of_splits() const;
  std::string column_of(const std::string& input) const;
  std::string fitted_names() const;
  std::string how_to_go_on() const;
  const SplitColumns* split(const std::string& name) const;

  const Elaborated& block_;
  TrainJob job_;
  DataJob data_job_;
  const TrainFlags& flags_;
  Compilation compilation_;
  const Console& console_;
  StoppedRun* stopped_;
  std::optional<RawData> data_;
  std::optional<Session> session_;
  Programs programs_;
  std::optional<Runner> runner_;
  std::optional<Weights> weights_, best_weights_;
  std::vector<SplitColumns> splits_;
  std::optional<RunDirectory> run_;
  RunRecord record_;
  std::vector<SplitFigures> figures_;
  std::optional<Baseline> baseline_;
};

}  // namespace nnc::driver
