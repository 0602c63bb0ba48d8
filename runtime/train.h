// The training loop: epochs of shuffled batches, the smaller last batch included; evaluation, the rules that stop, and
// what is kept. It decides; files and terminals are the observer's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/job.h"
#include "runtime/data.h"
#include "runtime/programs.h"

namespace nnc {

/// Where training stands: all that a continuation needs beside the weights and the seed.
struct Cursor {
  std::int64_t epoch = 0;  ///< begun, counted from 1; 0 before the first
  std::int64_t step = 0;   ///< done in all
  std::int64_t batch = 0;  ///< done in this epoch
};

/// The best value of a watched figure so far.
struct BestFigure {
  std::optional<double> value;
  std::int64_t epoch = 0;  ///< in which it was seen
};

/// Where training stands: all that an exact continuation needs beside the weights, the seed and the program.
struct TrainState {
  /// By which rule a run has ended for good. One that was stopped from outside, or whose epochs are done, can go on.
  enum class Ended : std::uint8_t { not_yet, stop_rule, early_stop, diverged };

  Cursor at;
  bool judged = false;              ///< the epoch is over: its figures were told, rules and `best` have seen them
  std::vector<double> loss_totals;  ///< of the epoch so far, for each loss: the sum of step losses times rows
  BestFigure best, early_stop;      ///< as these two rules have seen them
  std::int64_t waited = 0;          ///< evaluations since early_stop's best
  Ended ended = Ended::not_yet;
};

/// Of an epoch, or where figures are evaluated between steps, of an epoch so far.
struct EpochReport {
  Cursor at;
  std::int64_t epochs = 0;
  std::vector<NamedArray> figures;  ///< "train.loss" (f64) for each loss, and where it was evaluated "valid.loss", ...
  double seconds = 0;               ///< of the steps, without evaluation
  std::int64_t rows = 0;            ///< seen in these steps, those since the last report
  bool whole = true;                ///< else batches are left of the epoch
  bool kept = true;                 ///< else it is told of once more when training goes on from here
};

class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  /// The step's losses, in the order of TrainJob::losses.
  virtual void on_step(const Cursor& at, std::span<const double> losses) = 0;
  virtual void on_epoch(const EpochReport& report) = 0;
  /// Keeps weights with where training stood: as the last ones, or as the best ones by the job's rule.
  virtual std::optional<Problem> save(const Weights& weights, const TrainState& state, bool best) = 0;
  /// True once someone asked to stop; looked at after each step.
  virtual bool interrupted() = 0;
};

struct TrainSettings {
  TrainJob job;  ///< with the command's epochs and seed
  /// Stop after so many, those before `from` not counted; schedules still see the whole plan.
  std::optional<std::int64_t> max_steps;
  /// What schedules see as the plan: the epochs that the run set out with, or 0: the job's.
  std::int64_t planned_epochs = 0;
  double seconds_between_saves = 2;  ///< least time between two checkpoints
  /// Go on from there: `weights` are those that were kept with it. Null: from the start.
  const TrainState* from = nullptr;
  const Weights* best = nullptr;  ///< the best ones so far, where from->best has a value
};

struct TrainOutcome {
  enum class End : std::uint8_t { epochs_done, stop_rule, early_stop, max_steps, interrupted, diverged };
  End end{};
  /// Diverged: of the weights that were kept, the last that were good: they and their losses are finite.
  Cursor at;
  bool whole_epoch = false;  ///< no batch of at.epoch is left
  /// Diverged: what was not finite any more, and after which step that was seen.
  struct Failure {
    Cursor at;
    std::string what;  ///< "loss", "loss(Gen)"; or the path of a parameter or state
    bool is_loss = true;
    double value = 0;
  };
  std::optional<Failure> failure;
  /// The loss failed because an update before it had made this parameter or state infinite or NaN.
  std::string spoilt;
  /// Diverged: weights before the step that went wrong. Where training cannot start there are none.
  struct LastFinite {
    Weights weights;
    Cursor at;
  };
  std::optional<LastFinite> last_finite;
  /// Diverged: the last finite weights are kept; older ones, since those give an infinite loss; or those although they
  /// do, since nothing older is better.
  enum class Kept : std::uint8_t { last, older, last_without_loss };
  Kept kept = Kept::last;
  std::int64_t best_epoch = 0;
  std::optional<Problem> problem;  ///< a file that could not be written
};

/// Trains `weights` on `train`; evaluates on `valid`, or on `train` where that is null and there are metrics.
TrainOutcome train(const TrainSettings& settings, Runner& runner, const Programs& programs, Weights& weights,
                   const SplitColumns& train, const SplitColumns* valid, TrainObserver& observer);

/// Batches of an epoch: the last one may be smaller.
struct Batches {
  std::int64_t size, count, tail;  ///< tail: rows of the last batch
  Batches(std::int64_t batch_size, std::int64_t rows)
      : size(batch_size == 0 || batch_size > rows ? rows : batch_size),
        count((rows + size - 1) / size),
        tail(rows - (count - 1) * size) {}
};

}  // namespace nnc
