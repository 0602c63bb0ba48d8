#include "runtime/train.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "runtime/random.h"

namespace nnc {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The step's compiled entry for one number of rows, with everything set but what changes from step to step.
class StepCall {
 public:
  StepCall(const Entry& entry, Weights& weights, const SplitColumns& columns, std::uint64_t seed) : entry_(entry) {
    for (const nnc_slot& slot : outputs_of(*entry.code)) {
      outputs_.push_back({slot.name, DenseArray(dtype_of(slot), {slot.dims, slot.dims + slot.rank})});
      if (outputs_.back().name == "loss") loss_ = outputs_.size() - 1;
    }
    pointers_.resize(outputs_.size());
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      pointers_[outputs_of(*entry.code)[i].offset] = outputs_[i].array.bytes.data();
    feeds_.resize(entry.code->feed_count);
    for (const nnc_slot& slot : feeds_of(*entry.code)) {
      const DenseArray* column = columns.find(slot.name);
      feeds_[slot.offset] = {column->bytes.data(), static_cast<std::int64_t>(column->row_bytes()), nullptr};
    }
    call_.params = weights.params.data();
    call_.state = weights.state.data();
    call_.feeds = feeds_.data();
    call_.outputs = pointers_.data();
    call_.seed = seed;
  }
  StepCall(const StepCall&) = delete;  // call_ points into the object
  StepCall& operator=(const StepCall&) = delete;

  double run(Runner& runner, const std::uint32_t* order, Scalars& scalars) {
    for (nnc_feed& feed : feeds_) feed.order = order;
    scalars[ScalarSlot::rows] = entry_.code->rows;
    call_.scalars = scalars.values;
    call_.step = static_cast<std::uint64_t>(scalars[ScalarSlot::step]);
    runner.run(entry_, call_);
    return outputs_[loss_].array.at(0);
  }

 private:
  Entry entry_;
  std::vector<NamedArray> outputs_;
  std::size_t loss_ = 0;
  std::vector<void*> pointers_;
  std::vector<nnc_feed> feeds_;
  nnc_call call_{};
};

/// A figure by its name as one number; nothing where it was not computed.
std::optional<double> number(const std::vector<NamedArray>& figures, const std::string& name) {
  for (const NamedArray& figure : figures)
    if (figure.name == name && figure.array.count() == 1) return figure.array.at(0);
  return std::nullopt;
}

/// The best value of a figure so far, and how many evaluations ago it was seen.
class Record {
 public:
  explicit Record(const std::optional<Watch>& watch) : watch_(watch) {}

  /// True where the figure is there and better than ever. NaN is never better.
  bool improves(const std::vector<NamedArray>& figures) {
    auto value = watch_ ? number(figures, watch_->metric) : std::nullopt;
    if (!value) return false;
    bool better = !best_ ? !std::isnan(*value) : watch_->highest ? *value > *best_ : *value < *best_;
    since_ = better ? 0 : since_ + 1;
    if (better) best_ = value;
    return better;
  }
  bool out_of_patience() const { return watch_ && since_ > 0 && since_ >= watch_->patience; }

 private:
  const std::optional<Watch>& watch_;
  std::optional<double> best_;
  std::int64_t since_ = 0;
};

bool holds(const std::optional<StopBelow>& stop, const std::vector<NamedArray>& figures) {
  auto value = stop ? number(figures, stop->metric) : std::nullopt;
  return value && (stop->above ? *value > stop->bound : *value < stop->bound);
}

class Trainer {
 public:
  Trainer(const TrainSettings& settings, Runner& runner, const Programs& programs, Weights& weights,
          const SplitColumns& train, const SplitColumns* valid, TrainObserver& observer)
      : settings_(settings),
        job_(settings.job),
        runner_(runner),
        programs_(programs),
        weights_(weights),
        train_(train),
        valid_(valid),
        observer_(observer),
        batches_(job_.batch_size, train.rows),
        full_(programs.entry(EntryKind::step, 0, batches_.size), weights, train, job_.seed),
        tail_(programs.entry(EntryKind::step, 0, batches_.tail), weights, train, job_.seed),
        before_epoch_(weights),
        best_weights_(weights),
        best_(settings.job.best),
        patience_(settings.job.early_stop) {
    scalars_[ScalarSlot::steps_per_epoch] = static_cast<double>(batches_.count);
    scalars_[ScalarSlot::total_steps] = static_cast<double>(job_.epochs * batches_.count);
  }

  TrainOutcome run() {
    if (save_last(true)) return finish(TrainOutcome::End::epochs_done);
    for (std::int64_t epoch = 1; epoch <= job_.epochs; ++epoch) {
      auto end = run_epoch(epoch);
      if (end) return finish(*end);
    }
    return finish(TrainOutcome::End::epochs_done);
  }

 private:
  using End = TrainOutcome::End;

  std::optional<End> run_epoch(std::int64_t epoch) {
    before_epoch_ = weights_;
    at_.epoch = epoch, at_.batch = 0;
    if (job_.shuffle)
      order_ = permutation(train_.rows, job_.seed, Purpose::epoch, static_cast<std::uint32_t>(epoch));
    else
      order_.assign(identity_order(train_.rows), identity_order(train_.rows) + train_.rows);
    auto start = Clock::now();
    double total = 0;
    std::int64_t rows = 0;
    std::optional<End> end;
    while (at_.batch < batches_.count && !end) {
      std::int64_t count = at_.batch == batches_.count - 1 ? batches_.tail : batches_.size;
      double loss = step();
      if (!std::isfinite(loss)) return diverge(loss);
      total += loss * static_cast<double>(count);
      rows += count;
      observer_.on_step(at_, loss);
      if (settings_.max_steps && at_.step >= *settings_.max_steps) end = End::max_steps;
      if (observer_.interrupted()) end = End::interrupted;
    }
    if (end == End::interrupted) return end;
    EpochReport report{at_, job_.epochs, {}, seconds_since(start), rows};
    return judge(report, total / static_cast<double>(rows), end);
  }

  double step() {
    bool last = at_.batch == batches_.count - 1;
    scalars_[ScalarSlot::step] = static_cast<double>(at_.step + 1);
    scalars_[ScalarSlot::epoch] = static_cast<double>(at_.epoch);
    double loss = (last ? tail_ : full_).run(runner_, order_.data() + at_.batch * batches_.size, scalars_);
    ++at_.step, ++at_.batch;
    return loss;
  }

  /// The step has written its update by the time its loss is known. Since every step gives the same bits again, the
  /// weights before it are those of the epoch's start, taken through the steps that were good.
  End diverge(double loss) {
    std::int64_t good = at_.batch - 1;
    at_.step -= at_.batch, at_.batch = 0;
    weights_.params = before_epoch_.params;
    weights_.state = before_epoch_.state;
    while (at_.batch < good) step();
    failed_loss_ = loss;
    return End::diverged;
  }

  /// Evaluates where it is time, applies the rules and keeps what they say.
  std::optional<End> judge(EpochReport& report, double loss, std::optional<End> end) {
    report.figures.push_back({"train.loss", DenseArray(DType::f64, {})});
    report.figures.back().array.set(0, loss);
    bool last = end.has_value() || at_.epoch == job_.epochs || holds(job_.stop, report.figures);
    if (last || at_.epoch % job_.check_every == 0) evaluate(report.figures);
    observer_.on_epoch(report);
    if (best_.improves(report.figures)) {
      best_weights_ = weights_;
      best_at_ = at_;
      best_unsaved_ = true;
    }
    patience_.improves(report.figures);
    if (save_last(false)) return End::interrupted;
    if (end) return end;
    if (holds(job_.stop, report.figures)) return End::stop_rule;
    if (patience_.out_of_patience()) return End::early_stop;
    return std::nullopt;
  }

  void evaluate(std::vector<NamedArray>& figures) {
    bool on_train = valid_ == nullptr;
    if (on_train && job_.metrics.empty()) return;
    ColumnFeeder feeder(on_train ? train_ : *valid_);
    for (NamedArray& result : fold_rows(runner_, programs_, EntryKind::evaluate, weights_, feeder, job_.seed)) {
      if (on_train && result.name == "loss") continue;  // train.loss is the mean of the steps' losses
      figures.push_back({(on_train ? "train." : "valid.") + result.name, std::move(result.array)});
    }
  }

  /// Writes what is due: always where `now`, else when enough time has passed. True where a file could not be written.
  bool save_last(bool now) {
    if (!now && seconds_since(saved_) < settings_.seconds_between_saves) return false;
    problem_ = observer_.save(weights_, at_, false);
    if (!problem_ && best_unsaved_) problem_ = observer_.save(best_weights_, best_at_, true);
    best_unsaved_ = false;
    saved_ = Clock::now();
    return problem_.has_value();
  }

  TrainOutcome finish(End end) {
    if (!problem_) save_last(true);
    return {end, at_, failed_loss_, best_at_.epoch, problem_};
  }

  const TrainSettings& settings_;
  const TrainJob& job_;
  Runner& runner_;
  const Programs& programs_;
  Weights& weights_;
  const SplitColumns& train_;
  const SplitColumns* valid_;
  TrainObserver& observer_;
  Batches batches_;
  StepCall full_, tail_;
  Scalars scalars_;
  std::vector<std::uint32_t> order_;
  Cursor at_, best_at_;
  Weights before_epoch_, best_weights_;
  Record best_, patience_;
  bool best_unsaved_ = false;
  double failed_loss_ = 0;
  Clock::time_point saved_;
  std::optional<Problem> problem_;
};

}  // namespace

TrainOutcome train(const TrainSettings& settings, Runner& runner, const Programs& programs, Weights& weights,
                   const SplitColumns& train, const SplitColumns* valid, TrainObserver& observer) {
  return Trainer(settings, runner, programs, weights, train, valid, observer).run();
}

}  // namespace nnc
