#include "runtime/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "runtime/random.h"
#include "runtime/rule.h"

namespace nnc {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The step's compiled entry for one number of rows, with everything set but what changes from step to step.
class StepCall {
 public:
  StepCall(const Entry& entry, Weights& weights, const SplitColumns& columns, const TrainJob& job) : entry_(entry) {
    for (const nnc_slot& slot : outputs_of(*entry.code))
      outputs_.push_back({slot.name, DenseArray(dtype_of(slot), {slot.dims, slot.dims + slot.rank})});
    for (const std::string& loss : job.losses)
      loss_outputs_.push_back(
          static_cast<std::size_t>(std::ranges::find(outputs_, loss, &NamedArray::name) - outputs_.begin()));
    losses_.resize(job.losses.size());
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
    call_.seed = job.seed;
  }
  StepCall(const StepCall&) = delete;  // call_ points into the object
  StepCall& operator=(const StepCall&) = delete;

  /// The step's losses, valid until the next one.
  std::span<const double> run(Runner& runner, const std::uint32_t* order, Scalars& scalars) {
    for (nnc_feed& feed : feeds_) feed.order = order;
    scalars[ScalarSlot::rows] = entry_.code->rows;
    call_.scalars = scalars.values;
    call_.step = static_cast<std::uint64_t>(scalars[ScalarSlot::step]);
    runner.run(entry_, call_);
    for (std::size_t i = 0; i < losses_.size(); ++i) losses_[i] = outputs_[loss_outputs_[i]].array.at(0);
    return losses_;
  }

 private:
  Entry entry_;
  std::vector<NamedArray> outputs_;
  std::vector<std::size_t> loss_outputs_;
  std::vector<double> losses_;
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

struct Spoilt {
  std::string path;
  double value;
};

/// The first element of a slot that must not be there: NaN and, where asked for, infinity. Padding is zeros.
template <class T>
std::optional<double> find_spoilt(const std::byte* from, std::size_t bytes, bool infinite) {
  const T* values = reinterpret_cast<const T*>(from);
  const std::size_t count = bytes / sizeof(T);
  bool any = false;  // without a branch in the loop, which then runs as fast as memory
  for (std::size_t i = 0; i < count; ++i) any |= infinite ? !(values[i] - values[i] == 0) : values[i] != values[i];
  if (!any) return std::nullopt;
  for (std::size_t i = 0; i < count; ++i)
    if (infinite ? !std::isfinite(values[i]) : std::isnan(values[i])) return static_cast<double>(values[i]);
  return std::nullopt;
}

/// States of optimizers may be infinite: a mean of squares that is too large stops nothing.
bool may_be_infinite(std::string_view path) {
  return path.find('/') != std::string_view::npos && !path.starts_with(average_path(""));
}

std::optional<Spoilt> find_spoilt(std::span<const nnc_slot> slots, const std::byte* region) {
  for (const nnc_slot& slot : slots) {
    const std::byte* from = region + slot.offset;
    const bool infinite = !may_be_infinite(slot.name);
    std::optional<double> value;
    if (slot.dtype == NNC_F32) value = find_spoilt<float>(from, slot.bytes, infinite);
    if (slot.dtype == NNC_F64) value = find_spoilt<double>(from, slot.bytes, infinite);
    if (value) return Spoilt{slot.name, *value};
  }
  return std::nullopt;
}

std::optional<Spoilt> find_spoilt(const Weights& weights) {
  auto spoilt = find_spoilt(params_of(*weights.layout), weights.params.data());
  return spoilt ? spoilt : find_spoilt(state_of(*weights.layout), weights.state.data());
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
        full_(programs.entry(EntryKind::step, 0, batches_.size), weights, train, job_),
        tail_(programs.entry(EntryKind::step, 0, batches_.tail), weights, train, job_),
        good_(weights),
        best_weights_(weights),
        best_(settings.job.best),
        patience_(settings.job.early_stop) {
    scalars_[ScalarSlot::steps_per_epoch] = static_cast<double>(batches_.count);
    scalars_[ScalarSlot::total_steps] = static_cast<double>(job_.epochs * batches_.count);
  }

  TrainOutcome run() {
    if (save()) return finish(End::epochs_done);
    End end = epochs();
    if (end != End::diverged)
      if (auto failure = spoilt_now()) end = diverge(*failure);
    return finish(end);
  }

 private:
  using End = TrainOutcome::End;

  End epochs() {
    for (std::int64_t epoch = 1; epoch <= job_.epochs; ++epoch) {
      begin_epoch(epoch);
      auto end = keep_good();
      if (!end) end = run_epoch();
      if (end) return *end;
    }
    return End::epochs_done;
  }

  void begin_epoch(std::int64_t epoch) {
    at_.epoch = epoch, at_.batch = 0;
    if (job_.shuffle)
      order_ = permutation(train_.rows, job_.seed, Purpose::epoch, static_cast<std::uint32_t>(epoch));
    else
      order_.assign(identity_order(train_.rows), identity_order(train_.rows) + train_.rows);
  }

  std::optional<End> run_epoch() {
    auto start = Clock::now();
    std::vector<double> totals(job_.losses.size(), 0.0);
    std::int64_t rows = 0;
    std::optional<End> end;
    while (at_.batch < batches_.count && !end) {
      std::int64_t count = at_.batch == batches_.count - 1 ? batches_.tail : batches_.size;
      std::span<const double> losses = step();
      for (std::size_t i = 0; i < losses.size(); ++i) {
        if (!std::isfinite(losses[i])) return diverge({at_, job_.losses[i], true, losses[i]});
        totals[i] += losses[i] * static_cast<double>(count);
      }
      rows += count;
      observer_.on_step(at_, losses);
      if (settings_.max_steps && at_.step >= *settings_.max_steps) end = End::max_steps;
      if (observer_.interrupted()) end = End::interrupted;
    }
    if (end == End::interrupted) return end;
    EpochReport report{at_, job_.epochs, {}, seconds_since(start), rows};
    for (std::size_t i = 0; i < totals.size(); ++i) {
      report.figures.push_back({"train." + job_.losses[i], DenseArray(DType::f64, {})});
      report.figures.back().array.set(0, totals[i] / static_cast<double>(rows));
    }
    return judge(report, end);
  }

  std::span<const double> step() {
    bool last = at_.batch == batches_.count - 1;
    scalars_[ScalarSlot::step] = static_cast<double>(at_.step + 1);
    scalars_[ScalarSlot::epoch] = static_cast<double>(at_.epoch);
    const auto losses = (last ? tail_ : full_).run(runner_, order_.data() + at_.batch * batches_.size, scalars_);
    ++at_.step, ++at_.batch;
    return losses;
  }

  // ---- divergence: a step has written its update by the time its loss is known, and an update may have overflowed
  // before any loss tells. Steps are not slowed by looking for that. A copy of weights that were looked at is kept, and
  // since every step gives the same bits again, the last good ones are found by going on from there, looking after
  // every step. Copies are made so rarely that they cost less than a hundredth of the time.

  std::optional<TrainOutcome::Failure> spoilt_now() const {
    auto spoilt = find_spoilt(weights_);
    if (!spoilt) return std::nullopt;
    return TrainOutcome::Failure{at_, spoilt->path, false, spoilt->value};
  }

  /// At the beginning of an epoch: a copy, where it is time for one.
  std::optional<End> keep_good() {
    const auto start = Clock::now();
    if (good_cost_ > 0 && std::chrono::duration<double>(start - good_since_).count() < 100 * good_cost_)
      return std::nullopt;
    if (auto failure = spoilt_now()) return diverge(*failure);
    good_.params = weights_.params, good_.state = weights_.state;
    good_at_ = at_;
    good_since_ = Clock::now();
    good_cost_ = std::chrono::duration<double>(good_since_ - start).count();
    return std::nullopt;
  }

  End diverge(TrainOutcome::Failure failure) {
    failure_ = std::move(failure);
    go_to(good_, good_at_);
    if (failure_->at.step == 0) return End::diverged;  // they were never good
    begin_epoch(good_at_.epoch);
    at_ = good_at_;
    Weights last = weights_;
    while (at_.step + 1 < failure_->at.step) {
      const Cursor before = at_;
      if (at_.batch == batches_.count) begin_epoch(at_.epoch + 1);
      step();
      if (const auto spoilt = find_spoilt(weights_)) {
        spoilt_ = spoilt->path;
        go_to(last, before);
        break;
      }
      last.params = weights_.params, last.state = weights_.state;
    }
    return End::diverged;
  }

  void go_to(const Weights& weights, const Cursor& at) {
    weights_.params = weights.params, weights_.state = weights.state;  // in place: compiled calls point there
    at_ = at;
  }

  /// A figure by its name as one number; nothing where it was not computed.
  std::optional<double> figure(const std::vector<NamedArray>& figures, const std::string& name) const {
    if (name == "epoch") return static_cast<double>(at_.epoch);
    if (name == "step") return static_cast<double>(at_.step);
    return number(figures, name);
  }
  bool stops(const std::vector<NamedArray>& figures) const {
    const auto of = [&](const std::string& name) { return figure(figures, name); };
    return job_.stop && holds(*job_.stop, of).value_or(false);
  }

  /// Evaluates where it is time, applies the rules and keeps what they say.
  std::optional<End> judge(EpochReport& report, std::optional<End> end) {
    bool last = end.has_value() || at_.epoch == job_.epochs || stops(report.figures);
    if (last || at_.epoch % job_.check_every == 0) evaluate(report.figures);
    observer_.on_epoch(report);
    if (best_.improves(report.figures)) {
      if (auto failure = spoilt_now()) return diverge(*failure);
      best_weights_ = weights_;
      best_at_ = at_;
      best_unsaved_ = true;
    }
    patience_.improves(report.figures);
    if (seconds_since(saved_) >= settings_.seconds_between_saves) {
      if (auto failure = spoilt_now()) return diverge(*failure);
      if (save()) return End::interrupted;
    }
    if (end) return end;
    if (stops(report.figures)) return End::stop_rule;
    if (patience_.out_of_patience()) return End::early_stop;
    return std::nullopt;
  }

  void evaluate(std::vector<NamedArray>& figures) {
    bool on_train = valid_ == nullptr;
    if (on_train && job_.metrics.empty()) return;
    ColumnFeeder feeder(on_train ? train_ : *valid_);
    for (NamedArray& result : fold_rows(runner_, programs_, EntryKind::evaluate, weights_, feeder, job_.seed)) {
      // train.loss is the mean of the steps' losses
      if (on_train && std::ranges::find(job_.losses, result.name) != job_.losses.end()) continue;
      figures.push_back({(on_train ? "train." : "valid.") + result.name, std::move(result.array)});
    }
  }

  /// Writes the weights, and the best ones where there are new ones. True where a file could not be written.
  bool save() {
    problem_ = observer_.save(weights_, at_, false);
    if (!problem_ && best_unsaved_) problem_ = observer_.save(best_weights_, best_at_, true);
    best_unsaved_ = false;
    saved_ = Clock::now();
    return problem_.has_value();
  }

  TrainOutcome finish(End end) {
    if (!problem_) save();
    return {end, at_, failure_, spoilt_, best_at_.epoch, problem_};
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
  Cursor at_, good_at_, best_at_;
  Weights good_, best_weights_;
  Record best_, patience_;
  bool best_unsaved_ = false;
  std::optional<TrainOutcome::Failure> failure_;
  std::string spoilt_;
  Clock::time_point saved_, good_since_;
  double good_cost_ = 0;  ///< seconds; 0: there is no copy yet
  std::optional<Problem> problem_;
};

}  // namespace

TrainOutcome train(const TrainSettings& settings, Runner& runner, const Programs& programs, Weights& weights,
                   const SplitColumns& train, const SplitColumns* valid, TrainObserver& observer) {
  return Trainer(settings, runner, programs, weights, train, valid, observer).run();
}

}  // namespace nnc
