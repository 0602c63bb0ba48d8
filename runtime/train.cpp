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

/// Steps of a tiny net are taken so many at a time, where they take less time than what happens between them.
constexpr std::int64_t most_steps_at_once = 64;

/// The step's compiled entry for one number of rows, with everything set but what changes from step to step.
class StepCall {
 public:
  StepCall(const Entry& entry, Weights& weights, const SplitColumns& columns, const TrainJob& job)
      : entry_(entry), streamed_(columns.streamed.get()) {
    scalars_.resize(static_cast<std::size_t>(steps_at_once()));
    for (const nnc_slot& slot : outputs_of(*entry.code)) {
      std::vector<std::int64_t> dims{steps_at_once()};
      dims.insert(dims.end(), slot.dims, slot.dims + slot.rank);
      outputs_.push_back({slot.name, DenseArray(dtype_of(slot), dims)});
    }
    for (const std::string& loss : job.losses)
      loss_outputs_.push_back(
          static_cast<std::size_t>(std::ranges::find(outputs_, loss, &NamedArray::name) - outputs_.begin()));
    losses_.resize(job.losses.size() * scalars_.size());
    pointers_.resize(outputs_.size());
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      pointers_[outputs_of(*entry.code)[i].offset] = outputs_[i].array.bytes.data();
    feeds_.resize(entry.code->feed_count);
    if (streamed_ != nullptr) {
      const std::int64_t most = steps_at_once() * entry.code->rows;
      batch_ = Bytes(streamed_->rows.row_bytes() * static_cast<std::size_t>(most));
      feed_streamed(*streamed_, *entry.code, batch_.data(), most, feeds_);
    } else {
      for (const nnc_slot& slot : feeds_of(*entry.code)) {
        const DenseArray* column = columns.find(slot.name);
        feeds_[slot.offset] = {column->bytes.data(), static_cast<std::int64_t>(column->row_bytes()), nullptr};
      }
    }
    call_.params = weights.params.data();
    call_.state = weights.state.data();
    call_.feeds = feeds_.data();
    call_.outputs = pointers_.data();
    call_.scalars = scalars_[0].values;
    call_.seed = job.seed;
  }
  StepCall(const StepCall&) = delete;  // call_ points into the object
  StepCall& operator=(const StepCall&) = delete;

  /// The most steps that `run` takes.
  std::int64_t steps_at_once() const { return entry_.code->repeat != nullptr ? most_steps_at_once : 1; }

  /// The losses of so many steps, one step's after the other, valid until the next ones. `scalars` are the first one's.
  std::span<const double> run(Runner& runner, const std::uint32_t* order, const Scalars& scalars, std::int64_t steps) {
    if (streamed_ != nullptr)
      gather(order, steps);
    else
      for (nnc_feed& feed : feeds_) feed.order = order;
    const auto count = static_cast<std::size_t>(steps);
    for (std::size_t i = 0; i < count; ++i) {
      scalars_[i] = scalars;
      scalars_[i][ScalarSlot::rows] = entry_.code->rows;
      scalars_[i][ScalarSlot::step] += static_cast<double>(i);
    }
    call_.step = static_cast<std::uint64_t>(scalars_[0].values[0]);
    steps > 1 ? runner.repeat(entry_, call_, steps) : runner.run(entry_, call_);
    const std::size_t losses = loss_outputs_.size();
    for (std::size_t i = 0; i < losses; ++i)
      for (std::size_t step = 0; step < count; ++step)
        losses_[step * losses + i] = outputs_[loss_outputs_[i]].array.at(static_cast<std::int64_t>(step));
    return std::span(losses_).first(count * losses);
  }

 private:
  /// The rows of these steps from the file, one behind the other.
  void gather(const std::uint32_t* order, std::int64_t steps) {
    const std::size_t bytes = streamed_->rows.row_bytes();
    const std::int64_t rows = steps * entry_.code->rows;
    for (std::int64_t i = 0; i < rows; ++i)
      streamed_->rows.read(order[i], 0, bytes, batch_.data() + static_cast<std::size_t>(i) * bytes);
    for (nnc_feed& feed : feeds_) feed.order = identity_order(rows);
  }

  Entry entry_;
  const SplitColumns::Streamed* streamed_;
  Bytes batch_;  ///< of streamed rows
  std::vector<NamedArray> outputs_;
  std::vector<std::size_t> loss_outputs_;
  std::vector<double> losses_;
  std::vector<Scalars> scalars_;  ///< of each step
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

/// What a rule has seen of the figure that it watches.
class Record {
 public:
  Record(const std::optional<Watch>& watch, const BestFigure& from, std::int64_t waited = 0)
      : watch_(watch), seen_(from), waited_(waited) {}

  /// True where the figure is there and better than ever. NaN is never better.
  bool improves(const std::vector<NamedArray>& figures, std::int64_t epoch) {
    auto value = watch_ ? number(figures, watch_->metric) : std::nullopt;
    if (!value) return false;
    bool better = !seen_.value ? !std::isnan(*value) : watch_->highest ? *value > *seen_.value : *value < *seen_.value;
    waited_ = better ? 0 : waited_ + 1;
    if (better) seen_ = {value, epoch};
    return better;
  }
  bool out_of_patience() const { return watch_ && waited_ > 0 && waited_ >= watch_->patience; }
  const BestFigure& seen() const { return seen_; }
  std::int64_t waited() const { return waited_; }

 private:
  const std::optional<Watch>& watch_;
  BestFigure seen_;
  std::int64_t waited_;  ///< evaluations since then
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
        good_{weights, {}, {}},
        newer_(good_),
        best_weights_(weights),
        best_(settings.job.best, settings.from ? settings.from->best : BestFigure{}),
        patience_(settings.job.early_stop, settings.from ? settings.from->early_stop : BestFigure{},
                  settings.from ? settings.from->waited : 0) {
    if (batches_.tail != batches_.size)
      tail_.emplace(programs.entry(EntryKind::step, 0, batches_.tail), weights, train, job_);
    const std::int64_t planned = settings.planned_epochs > 0 ? settings.planned_epochs : job_.epochs;
    scalars_[ScalarSlot::steps_per_epoch] = static_cast<double>(batches_.count);
    scalars_[ScalarSlot::total_steps] = static_cast<double>(planned * batches_.count);
    totals_.assign(job_.losses.size(), 0.0);
    if (settings.from) go_on(*settings.from);
    if (settings.max_steps) last_step_ = at_.step + *settings.max_steps;
  }

  TrainOutcome run() {
    if (!settings_.from && save()) return finish(End::epochs_done);
    End end = epochs();
    if (end != End::diverged)
      if (auto failure = spoilt_now()) end = diverge(*failure);
    return finish(end);
  }

 private:
  using End = TrainOutcome::End;
  using LastFinite = TrainOutcome::LastFinite;
  using Kept = TrainOutcome::Kept;
  using Ended = TrainState::Ended;

  void go_on(const TrainState& from) {
    at_ = from.at, judged_ = from.judged, ended_ = from.ended;
    if (from.loss_totals.size() == totals_.size()) totals_ = from.loss_totals;
    if (settings_.best) best_weights_ = *settings_.best;
    good_.at = at_, saved_ = Clock::now();
    shuffle(at_.epoch);
  }

  End epochs() {
    if (ended_ == Ended::stop_rule) return End::stop_rule;
    if (ended_ == Ended::early_stop) return End::early_stop;
    while (at_.epoch < job_.epochs || (at_.epoch == job_.epochs && !judged_)) {
      if (at_.epoch == 0 || judged_) begin_epoch(at_.epoch + 1);
      auto end = keep_good();
      if (!end) end = run_epoch();
      if (end) return *end;
    }
    return End::epochs_done;
  }

  void begin_epoch(std::int64_t epoch) {
    at_.epoch = epoch, at_.batch = 0, judged_ = false;
    totals_.assign(totals_.size(), 0.0);
    shuffle(epoch);
  }

  void shuffle(std::int64_t epoch) {
    if (job_.shuffle)
      order_ = permutation(train_.rows, job_.seed, Purpose::epoch, static_cast<std::uint32_t>(epoch));
    else
      order_.assign(identity_order(train_.rows), identity_order(train_.rows) + train_.rows);
  }

  /// Steps that a report tells of.
  struct Stretch {
    Clock::time_point start = Clock::now();
    std::int64_t rows = 0;
  };

  std::optional<End> run_epoch() {
    Stretch stretch;
    std::optional<End> end;
    while (at_.batch < batches_.count && !end) {
      if (auto diverged = take_steps(stretch)) return diverged;
      if (last_step_ && at_.step >= *last_step_) end = End::max_steps;
      const bool within = at_.batch < batches_.count;
      if (within && is_time()) {
        // Before anything stops training here: what goes on from a checkpoint of this step does not look again.
        if (auto ended = judge(report_of(stretch), end)) return ended;
        stretch = {};
      }
      if (observer_.interrupted()) return End::interrupted;
      if (!end && within)
        if (auto broken = save_if_due()) return broken;
    }
    return judge(report_of(stretch), end);
  }

  std::optional<End> take_steps(Stretch& stretch) {
    const std::int64_t count = steps_at_once();
    stretch.rows += count * rows_of_batch();
    const std::span<const double> all = run_steps(count);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      const std::span<const double> losses = all.subspan(i * totals_.size(), totals_.size());
      count_step(losses);
      for (std::size_t j = 0; j < losses.size(); ++j)
        if (!std::isfinite(losses[j])) return diverge({at_, job_.losses[j], true, losses[j]});
      observer_.on_step(at_, losses);
    }
    return std::nullopt;
  }

  EpochReport report_of(const Stretch& stretch) const {
    const bool whole = at_.batch == batches_.count;
    EpochReport report{at_, job_.epochs, {}, seconds_since(stretch.start), stretch.rows, whole, true};
    const std::int64_t seen = whole ? train_.rows : at_.batch * batches_.size;
    for (std::size_t i = 0; i < totals_.size(); ++i) {
      report.figures.push_back({"train." + job_.losses[i], DenseArray(DType::f64, {})});
      report.figures.back().array.set(0, totals_[i] / static_cast<double>(seen));
    }
    return report;
  }

  std::int64_t rows_of_batch() const { return at_.batch == batches_.count - 1 ? batches_.tail : batches_.size; }

  /// Steps that can be taken together: of whole batches, up to the next look at the figures, no more than --max-steps
  /// leaves.
  std::int64_t steps_at_once() const {
    if (at_.batch == batches_.count - 1) return 1;
    std::int64_t count = std::min(full_.steps_at_once(), batches_.count - 1 - at_.batch);
    if (last_step_) count = std::min(count, *last_step_ - at_.step);
    if (const std::int64_t every = job_.check_every_steps; every > 0) count = std::min(count, every - at_.step % every);
    return std::max<std::int64_t>(count, 1);
  }

  /// Takes the next steps; they count when count_step is told.
  std::span<const double> run_steps(std::int64_t count) {
    bool last = at_.batch == batches_.count - 1;
    scalars_[ScalarSlot::step] = static_cast<double>(at_.step + 1);
    scalars_[ScalarSlot::epoch] = static_cast<double>(at_.epoch);
    return (last && tail_ ? *tail_ : full_).run(runner_, order_.data() + at_.batch * batches_.size, scalars_, count);
  }

  void count_step(std::span<const double> losses) {
    for (std::size_t i = 0; i < losses.size(); ++i) totals_[i] += losses[i] * static_cast<double>(rows_of_batch());
    ++at_.step, ++at_.batch;
  }

  // ---- divergence: a step has written its update by the time its loss is known, and an update may have overflowed
  // before any loss tells. Steps are not slowed by looking for that. A copy of weights that were looked at is kept, and
  // since every step gives the same bits again, the last good ones are found by going on from there, looking after
  // every step. Copies are made so rarely that they cost less than a hundredth of the time; there are two of them.

  std::optional<TrainOutcome::Failure> spoilt_now() const {
    auto spoilt = find_spoilt(weights_);
    if (!spoilt) return std::nullopt;
    Cursor last = at_;  // where the last step was, which is the epoch before where one only begins
    if (last.batch == 0 && last.epoch > 1) --last.epoch;
    return TrainOutcome::Failure{last, spoilt->path, false, spoilt->value};
  }

  /// Weights, and where training stood.
  struct Copy {
    Weights weights;
    Cursor at;
    std::vector<double> totals;  ///< of the epoch, for each loss
  };

  void copy_to(Copy& copy) {
    copy.weights.params = weights_.params, copy.weights.state = weights_.state;
    copy.at = at_, copy.totals = totals_;
  }

  /// At the beginning of an epoch: a copy, where it is time for one. The one before counts as good, since an epoch of
  /// finite losses came after it.
  std::optional<End> keep_good() {
    const auto start = Clock::now();
    if (good_cost_ > 0 && std::chrono::duration<double>(start - good_since_).count() < 100 * good_cost_)
      return std::nullopt;
    if (auto failure = spoilt_now()) return diverge(*failure);
    if (good_cost_ > 0) std::swap(good_, newer_);
    copy_to(newer_);
    if (good_cost_ == 0) good_ = newer_;
    good_since_ = Clock::now();
    good_cost_ = std::max(std::chrono::duration<double>(good_since_ - start).count(), 1e-9);
    return std::nullopt;
  }

  End diverge(TrainOutcome::Failure failure) {
    failure_ = std::move(failure);
    ended_ = Ended::diverged;
    go_to(good_.weights, good_.at);
    if (good_cost_ == 0) return End::diverged;  // they were never good
    shuffle(at_.epoch);
    totals_ = good_.totals, judged_ = false;
    last_finite_.emplace(LastFinite{weights_, at_});
    while (at_.step + 1 < failure_->at.step) {
      repeat_step();
      if (const auto spoilt = find_spoilt(weights_)) {
        spoilt_ = spoilt->path;
        go_to(last_finite_->weights, last_finite_->at);
        break;
      }
      last_finite_->weights.params = weights_.params, last_finite_->weights.state = weights_.state;
      last_finite_->at = at_;
    }
    go_back_to_finite_loss();
    return End::diverged;
  }

  void repeat_step() {
    if (at_.batch == batches_.count) begin_epoch(at_.epoch + 1);
    count_step(run_steps(1));
  }

  void repeat_to(std::int64_t step) {
    go_to(good_.weights, good_.at);
    shuffle(at_.epoch);
    totals_ = good_.totals;
    while (at_.step < step) repeat_step();
  }

  /// Weights are good where the losses over all rows are finite, which a batch's loss does not say. Losses that grow
  /// without end stay infinite, so the last such step is found by going back in longer and longer leaps, and by halves.
  void go_back_to_finite_loss() {
    if (losses_are_finite()) return;
    const std::int64_t first = good_.at.step, last = at_.step;
    std::int64_t bad = last, good = first - 1;
    for (std::int64_t leap = 1; bad > first && good < first; leap *= 2) {
      const std::int64_t there = std::max(first, last - leap);
      repeat_to(there);
      (losses_are_finite() ? good : bad) = there;
    }
    if (good < first) {  // not even the copy: the last finite weights are the best there is
      go_to(last_finite_->weights, last_finite_->at);
      kept_ = Kept::last_without_loss;
      return;
    }
    while (bad - good > 1) {
      const std::int64_t between = good + (bad - good) / 2;
      repeat_to(between);
      (losses_are_finite() ? good : bad) = between;
    }
    repeat_to(good);
    kept_ = Kept::older;
  }

  /// Over all rows of `train`.
  bool losses_are_finite() {
    ColumnFeeder feeder(train_);
    const auto figures = fold_rows(runner_, programs_, EntryKind::evaluate, weights_, feeder, job_.seed);
    return std::ranges::all_of(job_.losses, [&](const std::string& loss) {
      const auto value = number(figures, loss);
      return !value || std::isfinite(*value);
    });
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

  /// Whether figures are to be evaluated after the step that was just done.
  bool is_time() const {
    const bool whole = at_.batch == batches_.count;
    if (whole && at_.epoch == job_.epochs) return true;
    return job_.check_every_steps > 0 ? at_.step % job_.check_every_steps == 0
                                      : whole && at_.epoch % job_.check_every == 0;
  }

  /// Evaluates where it is time, applies the rules and keeps what they say. Where --max-steps ends training, figures
  /// are told even if it was not time, but then no rule sees them: going on from there is as if nobody had looked.
  std::optional<End> judge(EpochReport report, std::optional<End> end) {
    const bool time = is_time();
    if (time || end || stops(report.figures)) {
      if (auto failure = spoilt_now()) return diverge(*failure);  // nobody asks what such weights reach
      evaluate(report.figures);
    }
    report.kept = time || !end;
    observer_.on_epoch(report);
    if (!report.kept) return end;
    judged_ = report.whole;
    patience_.improves(report.figures, at_.epoch);
    if (best_.improves(report.figures, at_.epoch)) {
      best_weights_ = weights_;
      best_state_ = state();
      best_unsaved_ = true;
    }
    if (stops(report.figures))
      end = End::stop_rule, ended_ = Ended::stop_rule;
    else if (patience_.out_of_patience())
      end = End::early_stop, ended_ = Ended::early_stop;
    return end ? end : save_if_due();
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

  TrainState state() const {
    return {at_, judged_, totals_, best_.seen(), patience_.seen(), patience_.waited(), ended_};
  }

  /// Checkpoints are so far apart that writing them takes at most a fiftieth of the time.
  std::optional<End> save_if_due() {
    if (seconds_since(saved_) < std::max(settings_.seconds_between_saves, 50 * save_cost_)) return std::nullopt;
    if (auto failure = spoilt_now()) return diverge(*failure);
    if (save()) return End::interrupted;
    return std::nullopt;
  }

  /// Writes the best weights where there are new ones, then the last: whenever this is cut off, best.safetensors is no
  /// older than what last.safetensors remembers of it, and going on finds the same ones again. True where a file could
  /// not be written.
  bool save() {
    const auto start = Clock::now();
    if (best_unsaved_) problem_ = observer_.save(best_weights_, best_state_, true);
    if (!problem_) problem_ = observer_.save(weights_, state(), false);
    best_unsaved_ = best_unsaved_ && problem_;
    saved_ = Clock::now();
    save_cost_ = settings_.seconds_between_saves > 0 ? seconds_since(start) : 0;
    return problem_.has_value();
  }

  TrainOutcome finish(End end) {
    if (!problem_) save();
    return {end,          at_,   at_.batch == batches_.count, failure_, spoilt_,
            last_finite_, kept_, best_.seen().epoch,          problem_};
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
  StepCall full_;
  std::optional<StepCall> tail_;  ///< where the last batch of an epoch is smaller
  Scalars scalars_;
  std::vector<std::uint32_t> order_;
  Cursor at_;
  std::optional<std::int64_t> last_step_;  ///< that --max-steps leaves
  bool judged_ = false;
  std::vector<double> totals_;  ///< of the epoch, for each loss
  TrainState::Ended ended_ = TrainState::Ended::not_yet;
  Copy good_, newer_;
  Weights best_weights_;
  Record best_, patience_;
  TrainState best_state_;
  bool best_unsaved_ = false;
  std::optional<TrainOutcome::Failure> failure_;
  std::string spoilt_;
  std::optional<LastFinite> last_finite_;
  Kept kept_ = Kept::last;
  Clock::time_point saved_, good_since_;
  double good_cost_ = 0;  ///< seconds; 0: there is no copy yet
  double save_cost_ = 0;  ///< seconds of the last checkpoint
  std::optional<Problem> problem_;
};

}  // namespace

TrainOutcome train(const TrainSettings& settings, Runner& runner, const Programs& programs, Weights& weights,
                   const SplitColumns& train, const SplitColumns* valid, TrainObserver& observer) {
  return Trainer(settings, runner, programs, weights, train, valid, observer).run();
}

}  // namespace nnc
