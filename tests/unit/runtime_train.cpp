// The training loop on entries written by hand: z = w·x, half squared error, gradient descent.
#include <cmath>
#include <cstring>
#include <map>

#include "runtime/checkpoint.h"
#include "runtime/metrics.h"
#include "runtime/rule.h"
#include "runtime/train.h"
#include "tests/support/hand_entries.h"
#include "tests/unit/catch.h"

using namespace nnc;
using nnc::test::feed_row;
using nnc::test::HandEntry;

namespace {

constexpr double rate = 0.1;

float& weight(const nnc_call* call) { return *static_cast<float*>(call->params); }
/// The state counts the steps, as an optimizer's would.
float& counter(const nnc_call* call) { return *static_cast<float*>(call->state); }

template <int rows>
void step(const nnc_call* call) {
  double loss = 0, gradient = 0;
  for (int i = 0; i < rows; ++i) {
    double x = *feed_row<float>(call, 0, i), y = *feed_row<float>(call, 1, i), d = weight(call) * x - y;
    loss += d * d / 2, gradient += d * x;
  }
  *static_cast<float*>(call->outputs[0]) = static_cast<float>(loss / rows);
  weight(call) -= static_cast<float>(rate * gradient / rows);
  counter(call) += 1;
}

template <int rows>
void evaluate(const nnc_call* call) {
  for (int i = 0; i < rows; ++i) {
    double d = weight(call) * *feed_row<float>(call, 0, i) - *feed_row<float>(call, 1, i);
    *static_cast<double*>(call->carry) += d * d / 2;
  }
}

void finish(const nnc_call* call) {
  *static_cast<float*>(call->outputs[0]) = static_cast<float>(*static_cast<double*>(call->carry) / call->scalars[4]);
}

/// Entries by (kind, rows), made when asked for.
class HandModel {
 public:
  Programs programs() {
    Programs programs;
    programs.entry = [this](EntryKind kind, int, std::int64_t rows) { return Entry{entry(kind, rows), 1}; };
    programs.evaluate_passes = 1;
    return programs;
  }
  const nnc_entry* entry(EntryKind kind, std::int64_t rows) {
    auto& made = entries_[{kind, rows}];
    if (!made) made = make(kind, rows);
    return made->entry();
  }

 private:
  static nnc_function function(EntryKind kind, std::int64_t rows) {
    bool stepping = kind == EntryKind::step;
    switch (rows) {
      case 1:
        return stepping ? step<1> : evaluate<1>;
      case 2:
        return stepping ? step<2> : evaluate<2>;
      case 3:
        return stepping ? step<3> : evaluate<3>;
      case 7:
        return stepping ? step<7> : evaluate<7>;
    }
    FAIL("no entry for " << rows << " rows");
    return nullptr;
  }
  static std::unique_ptr<HandEntry> make(EntryKind kind, std::int64_t rows) {
    bool finishing = kind == EntryKind::evaluate_finish;
    auto made = std::make_unique<HandEntry>("hand", rows, finishing ? finish : function(kind, rows));
    made->param("w", {}).state("sgd.t/w", {});
    if (kind != EntryKind::step) made->carry("sum");
    if (!finishing) made->feed("x", NNC_F32, {rows}).feed("y", NNC_F32, {rows});
    if (kind != EntryKind::evaluate) made->output("loss", NNC_F32, {});
    return made;
  }
  std::map<std::pair<EntryKind, std::int64_t>, std::unique_ptr<HandEntry>> entries_;
};

SplitColumns line(std::string name, float slope) {
  SplitColumns split{std::move(name), 7, {{"x", DenseArray(DType::f32, {7})}, {"y", DenseArray(DType::f32, {7})}}};
  for (int i = 0; i < 7; ++i) {
    float x = static_cast<float>(i - 3) / 4;
    split.columns[0].array.set(i, x);
    split.columns[1].array.set(i, slope * x);
  }
  return split;
}

struct Witness : TrainObserver {
  std::vector<double> losses;
  std::vector<EpochReport> epochs;
  std::vector<std::pair<Cursor, bool>> saves;
  std::optional<std::pair<TrainState, Weights>> last, best;
  double best_weight = 0;
  std::int64_t stop_after = -1;
  void on_step(const Cursor&, std::span<const double> step) override { losses.push_back(step[0]); }
  void on_epoch(const EpochReport& report) override { epochs.push_back(report); }
  std::optional<Problem> save(const Weights& weights, const TrainState& state, bool is_best) override {
    saves.emplace_back(state.at, is_best);
    float w = 0;
    std::memcpy(&w, weights.params.data(), sizeof w);
    if (is_best) best_weight = w;
    (is_best ? best : last).emplace(state, weights);
    return std::nullopt;
  }
  bool interrupted() override { return stop_after >= 0 && static_cast<std::int64_t>(losses.size()) >= stop_after; }
};

struct Run {
  HandModel model;
  Programs programs = model.programs();
  Runner runner{1};
  Weights weights{*model.entry(EntryKind::step, 3)};
  Witness witness;
  TrainSettings settings;
  SplitColumns columns = line("train", 2);

  Run() {
    settings.job.batch_size = 3;
    settings.job.epochs = 4;
    settings.job.shuffle = false;
    settings.seconds_between_saves = 1e9;
  }
  TrainOutcome go(const SplitColumns* valid = nullptr) {
    return train(settings, runner, programs, weights, columns, valid, witness);
  }
  float weight() const {
    float w = 0;
    std::memcpy(&w, weights.params.data(), sizeof w);
    return w;
  }
};

/// FIGURE < BOUND
Rule below(const std::string& figure, double bound) {
  return {Rule::Kind::less, 0, {}, {{Rule::Kind::figure, 0, figure, {}}, {Rule::Kind::number, bound, {}, {}}}};
}

double figure(const EpochReport& report, const std::string& name) {
  for (const NamedArray& named : report.figures)
    if (named.name == name) return named.array.at(0);
  FAIL("no figure " << name);
  return 0;
}

}  // namespace

TEST_CASE("an epoch has whole batches and a smaller last one; train.loss is the mean over rows") {
  Run run;
  TrainOutcome outcome = run.go();
  CHECK(outcome.end == TrainOutcome::End::epochs_done);
  CHECK(outcome.at.step == 12);
  REQUIRE(run.witness.losses.size() == 12);
  REQUIRE(run.witness.epochs.size() == 4);
  double mean = (3 * run.witness.losses[0] + 3 * run.witness.losses[1] + 1 * run.witness.losses[2]) / 7;
  CHECK(figure(run.witness.epochs[0], "train.loss") == mean);
  CHECK(run.witness.epochs[0].figures.size() == 1);  // nothing to evaluate on, no metrics
  CHECK(run.witness.saves.front().first.step == 0);
  CHECK(run.witness.saves.back().first.step == 12);
}

TEST_CASE("a full batch is one step an epoch") {
  Run run;
  run.settings.job.batch_size = 0;
  CHECK(run.go().at.step == 4);
}

TEST_CASE("shuffled epochs visit every row once, in an order that the seed gives") {
  Run a, b, c;
  for (Run* run : {&a, &b, &c}) run->settings.job.shuffle = true;
  c.settings.job.seed = 1;
  a.go(), b.go(), c.go();
  CHECK(a.witness.losses == b.witness.losses);
  CHECK(a.witness.losses != c.witness.losses);
}

TEST_CASE("validation runs every check_every epochs and after the last") {
  Run run;
  run.settings.job.check_every = 3;
  SplitColumns valid = line("valid", 2);
  run.go(&valid);
  std::vector<std::size_t> figures;
  for (const EpochReport& report : run.witness.epochs) figures.push_back(report.figures.size());
  CHECK(figures == std::vector<std::size_t>{1, 1, 2, 2});
  double d = run.weight() - 2.0, squares = 0;
  for (int i = 0; i < 7; ++i) squares += d * d * (i - 3) * (i - 3) / 16 / 2;
  CHECK(std::abs(figure(run.witness.epochs[3], "valid.loss") - squares / 7) < 1e-7);
}

TEST_CASE("figures are evaluated every so many steps, within epochs too, and after the last step") {
  Run run;
  run.settings.job.check_every_steps = 2;  // of three an epoch
  SplitColumns valid = line("valid", 2);
  SECTION("to the end") {
    run.go(&valid);
    std::vector<std::int64_t> looked, steps;
    for (const EpochReport& report : run.witness.epochs) {
      steps.push_back(report.at.step);
      if (report.figures.size() == 2) looked.push_back(report.at.step);
      CHECK(report.whole == (report.at.step % 3 == 0));
    }
    CHECK(looked == std::vector<std::int64_t>{2, 4, 6, 8, 10, 12});
    CHECK(steps == std::vector<std::int64_t>{2, 3, 4, 6, 8, 9, 10, 12});
  }
  SECTION("up to a figure") {
    run.settings.job.check_every_steps = 1;
    run.settings.job.stop = below("valid.loss", 0.3);
    const TrainOutcome outcome = run.go(&valid);
    CHECK(outcome.end == TrainOutcome::End::stop_rule);
    const auto& told = run.witness.epochs;
    REQUIRE(told.size() >= 2);
    CHECK(outcome.at.step == told.back().at.step);
    CHECK(figure(told.back(), "valid.loss") < 0.3);
    CHECK(figure(told[told.size() - 2], "valid.loss") >= 0.3);
    CHECK(told.size() == static_cast<std::size_t>(outcome.at.step));
  }
}

TEST_CASE("the rules stop training and keep the best weights") {
  SECTION("stop") {
    Run run;
    run.settings.job.stop = below("train.loss", 1.0);
    CHECK(run.go().end == TrainOutcome::End::stop_rule);
    CHECK(run.witness.epochs.size() == 1);
  }
  SECTION("early_stop waits for `patience` evaluations without a better one") {
    Run run;
    run.settings.job.epochs = 50;
    run.settings.job.early_stop = Watch{"valid.loss", false, 3};
    SplitColumns valid = line("valid", 0);  // gets worse with every epoch
    CHECK(run.go(&valid).end == TrainOutcome::End::early_stop);
    CHECK(run.witness.epochs.size() == 4);
  }
  SECTION("best") {
    Run run;
    run.settings.job.best = Watch{"valid.loss", false, 0};
    SplitColumns valid = line("valid", 0);
    TrainOutcome outcome = run.go(&valid);
    CHECK(outcome.best_epoch == 1);
    CHECK(run.witness.best_weight < run.weight());
  }
  SECTION("--max-steps") {
    Run run;
    run.settings.max_steps = 5;
    TrainOutcome outcome = run.go();
    CHECK(outcome.end == TrainOutcome::End::max_steps);
    CHECK(outcome.at.step == 5);
    CHECK(outcome.at.batch == 2);
  }
  SECTION("a signal") {
    Run run;
    run.witness.stop_after = 4;
    CHECK(run.go().end == TrainOutcome::End::interrupted);
    CHECK(run.witness.saves.back().first.step == 4);
  }
}

TEST_CASE("going on is as if training had not been stopped, wherever that was, twice too") {
  const SplitColumns valid = line("valid", 0.5F);
  const std::int64_t every_steps = GENERATE(0, 1, 2, 5);
  const auto settings = [&](Run& run) {
    run.settings.job.shuffle = true;
    run.settings.job.epochs = 9;
    run.settings.job.check_every = 2;
    run.settings.job.check_every_steps = every_steps;
    run.settings.job.best = Watch{"valid.loss", false, 0};
    run.settings.job.early_stop = Watch{"valid.loss", false, 3};
    run.settings.seconds_between_saves = 0;
  };
  Run whole;
  settings(whole);
  const TrainOutcome want = whole.go(&valid);
  REQUIRE(want.end == TrainOutcome::End::early_stop);
  for (std::int64_t stop = 1; stop <= want.at.step; ++stop) {
    for (const bool by_limit : {false, true}) {
      INFO(stop << (by_limit ? " steps at most" : " steps, then a signal"));
      Run first;
      settings(first);
      if (by_limit)
        first.settings.max_steps = stop;
      else
        first.witness.stop_after = stop;
      first.go(&valid);
      TrainState at = first.witness.last->first;
      Weights kept = first.witness.last->second;
      std::optional<Weights> best;
      if (first.witness.best) best = first.witness.best->second;
      std::size_t told = 0;
      for (const EpochReport& report : first.witness.epochs) told += report.kept;
      for (std::int64_t more : {std::int64_t{1}, std::int64_t{1000}}) {  // one step more, then all others
        Run next;
        settings(next);
        next.settings.from = &at;
        next.settings.best = best ? &*best : nullptr;
        std::memcpy(next.weights.params.data(), kept.params.data(), kept.params.size());
        std::memcpy(next.weights.state.data(), kept.state.data(), kept.state.size());
        next.witness.stop_after = more;
        const TrainOutcome outcome = next.go(&valid);
        at = next.witness.last->first, kept = next.witness.last->second;
        if (next.witness.best) best = next.witness.best->second;
        told += next.witness.epochs.size();
        if (more == 1) continue;
        CHECK(outcome.end == want.end);
        CHECK(outcome.at.step == want.at.step);
        CHECK(outcome.best_epoch == want.best_epoch);
      }
      CHECK(told == whole.witness.epochs.size());
      CHECK(std::memcmp(kept.params.data(), whole.weights.params.data(), kept.params.size()) == 0);
      CHECK(std::memcmp(kept.state.data(), whole.weights.state.data(), kept.state.size()) == 0);
      const TrainState& end = whole.witness.last->first;
      CHECK(at.loss_totals == end.loss_totals);
      CHECK(at.best.value == end.best.value);
      CHECK(at.waited == end.waited);
      REQUIRE(best);
      CHECK(std::memcmp(best->params.data(), whole.witness.best->second.params.data(), sizeof(float)) == 0);
    }
  }
}

TEST_CASE("schedules see the plan that a run set out with; more epochs do not change it") {
  Run first;
  first.go();
  Run next;
  next.settings.job.epochs = 6;
  next.settings.planned_epochs = 4;
  next.settings.from = &first.witness.last->first;
  std::memcpy(next.weights.params.data(), first.weights.params.data(), sizeof(float));
  const TrainOutcome outcome = next.go();
  CHECK(outcome.end == TrainOutcome::End::epochs_done);
  CHECK(next.witness.losses.size() == 6);
  CHECK(next.witness.epochs.front().at.epoch == 5);
}

namespace {

int whole_batches = 0;

/// The sixth whole batch of a run makes NaN of everything, as an update that diverges does.
void step_that_fails(const nnc_call* call) {
  if (++whole_batches != 6) return step<3>(call);
  weight(call) = NAN, counter(call) = NAN;
  *static_cast<float*>(call->outputs[0]) = NAN;
}

}  // namespace

TEST_CASE("a loss that is not finite ends training with the weights from before that step") {
  Run good, bad;
  good.settings.max_steps = 7;
  good.go();
  HandEntry failing("step", 3, step_that_fails);
  failing.param("w", {})
      .state("sgd.t/w", {})
      .feed("x", NNC_F32, {3})
      .feed("y", NNC_F32, {3})
      .output("loss", NNC_F32, {});
  whole_batches = 0;
  bad.programs.entry = [plain = bad.programs.entry, &failing](EntryKind kind, int pass, std::int64_t rows) {
    return kind == EntryKind::step && rows == 3 ? Entry{failing.entry(), 1} : plain(kind, pass, rows);
  };
  TrainOutcome outcome = bad.go();
  // Two whole batches and a smaller one make an epoch: the sixth whole batch is step 8, the second of epoch 3.
  CHECK(outcome.end == TrainOutcome::End::diverged);
  REQUIRE(outcome.failure);
  CHECK(outcome.failure->is_loss);
  CHECK(outcome.failure->what == "loss");
  CHECK(std::isnan(outcome.failure->value));
  CHECK(outcome.failure->at.step == 8);
  CHECK(outcome.at.epoch == 3);
  CHECK(outcome.at.step == 7);
  CHECK(bad.witness.saves.back().first.step == 7);
  CHECK(bad.weight() == good.weight());
  CHECK(std::memcmp(bad.weights.state.data(), good.weights.state.data(), sizeof(float)) == 0);
}

namespace {

constexpr int spoils_at = 5;  ///< the fifth step makes the weight infinite, and its loss still is a number

template <int rows>
void step_that_overflows(const nnc_call* call) {
  const bool spoilt = std::isinf(weight(call));
  step<rows>(call);
  if (call->step == spoils_at) weight(call) = INFINITY;
  if (spoilt && call->step == spoils_at + 1)
    *static_cast<float*>(call->outputs[0]) = 0.5f;  // a loss that does not tell
}

/// Entries whose steps overflow.
Programs overflowing(Programs programs, HandEntry& whole, HandEntry& tail) {
  for (HandEntry* entry : {&whole, &tail})
    entry->param("w", {})
        .state("sgd.t/w", {})
        .feed("x", NNC_F32, {entry->entry()->rows})
        .feed("y", NNC_F32, {entry->entry()->rows})
        .output("loss", NNC_F32, {});
  programs.entry = [plain = programs.entry, &whole, &tail](EntryKind kind, int pass, std::int64_t rows) {
    if (kind != EntryKind::step) return plain(kind, pass, rows);
    return Entry{rows == 3 ? whole.entry() : tail.entry(), 1};
  };
  return programs;
}

}  // namespace

TEST_CASE("an update that overflows without a word of the loss is found, and the weights from before it are kept") {
  for (const std::int64_t epochs : {2, 4}) {  // the end of training tells, or a later loss
    INFO(epochs << " epochs");
    Run good, bad;
    good.settings.max_steps = spoils_at - 1;
    good.go();
    bad.settings.job.epochs = epochs;
    HandEntry own_whole("step", 3, step_that_overflows<3>), own_tail("step", 1, step_that_overflows<1>);
    bad.programs = overflowing(bad.programs, own_whole, own_tail);
    const TrainOutcome outcome = bad.go();
    CHECK(outcome.end == TrainOutcome::End::diverged);
    CHECK(outcome.at.step == spoils_at - 1);
    CHECK(outcome.at.epoch == 2);
    CHECK(outcome.spoilt == "w");
    CHECK(bad.weight() == good.weight());
    CHECK(bad.witness.saves.back().first.step == spoils_at - 1);
  }
}

TEST_CASE("weights that are not finite before the first step are not trained") {
  Run run;
  const float start = NAN;
  std::memcpy(run.weights.params.data(), &start, sizeof start);
  const TrainOutcome outcome = run.go();
  CHECK(outcome.end == TrainOutcome::End::diverged);
  REQUIRE(outcome.failure);
  CHECK(outcome.failure->at.step == 0);
  CHECK(outcome.failure->what == "w");
  CHECK(run.witness.losses.empty());
}

TEST_CASE("a condition on figures holds only where what is missing cannot change it") {
  using enum Rule::Kind;
  const auto of = [](const std::string& name) -> std::optional<double> {
    const std::map<std::string, double> known{{"train.loss", 0.5}, {"epoch", 4}, {"bad", NAN}};
    const auto at = known.find(name);
    return at == known.end() ? std::nullopt : std::optional(at->second);
  };
  const auto both = [](Rule::Kind kind, Rule a, Rule b) { return Rule{kind, 0, {}, {std::move(a), std::move(b)}}; };
  const Rule low = below("train.loss", 1), high = below("train.loss", 0.1), open = below("valid.loss", 1);
  CHECK(holds(low, of) == true);
  CHECK(holds(high, of) == false);
  CHECK_FALSE(holds(open, of).has_value());
  CHECK(holds(both(logical_or, open, low), of) == true);
  CHECK(holds(both(logical_and, open, high), of) == false);
  CHECK_FALSE(holds(both(logical_and, open, low), of).has_value());
  CHECK_FALSE(holds(Rule{logical_not, 0, {}, {open}}, of).has_value());
  CHECK(holds(Rule{logical_not, 0, {}, {high}}, of) == true);
  const Rule loss{Rule::Kind::figure, 0, "train.loss", {}}, epoch{Rule::Kind::figure, 0, "epoch", {}},
      two{number, 2, {}, {}};
  CHECK(holds(both(equal, both(multiply, loss, two), Rule{number, 1, {}, {}}), of) == true);
  CHECK(holds(both(greater_equal, both(power, two, two), epoch), of) == true);
  CHECK(holds(both(less, Rule{negate, 0, {}, {loss}}, both(subtract, loss, both(divide, epoch, two))), of) == false);
  const Rule bad{Rule::Kind::figure, 0, "bad", {}};
  CHECK(holds(both(less_equal, bad, bad), of) == false);
  CHECK(holds(both(not_equal, bad, bad), of) == true);
}

TEST_CASE("a checkpoint comes back into fresh weights, and --init takes parameters alone") {
  Run run;
  run.go();
  TensorFile file = checkpoint_of(
      run.weights,
      {{{4, 12, 3}, true, {0.1, 1e300}, {1.0 / 3, 2}, {-INFINITY, 4}, 3, TrainState::Ended::stop_rule}, 9, "hash", 77});
  CHECK(file.metadata.at("step") == "12");
  const auto record = record_of(file, "f", "hash");
  REQUIRE(record);
  CHECK(record->seed == 9);
  CHECK(record->log_bytes == 77);
  const TrainState& state = record->state;
  CHECK(state.at.epoch == 4);
  CHECK(state.at.step == 12);
  CHECK(state.at.batch == 3);
  CHECK(state.judged);
  CHECK(state.loss_totals == std::vector<double>{0.1, 1e300});
  CHECK(state.best.value == 1.0 / 3);
  CHECK(state.best.epoch == 2);
  CHECK(state.early_stop.value == -INFINITY);
  CHECK(state.waited == 3);
  CHECK(state.ended == TrainState::Ended::stop_rule);
  CHECK(record_of(file, "f", "other").problem().message == "these are weights of another program");
  CHECK(record_of({}, "f", "hash").problem().message == "this is not the checkpoint of a run");
  for (const auto& [key, text] : file.metadata) {
    if (key == "random") continue;
    TensorFile spoilt = file;
    spoilt.metadata[key] = text + "x";
    CHECK_FALSE(record_of(spoilt, "f", "hash"));
    spoilt.metadata.erase(key);
    CHECK_FALSE(record_of(spoilt, "f", "hash"));
  }
  REQUIRE(file.find("w"));
  REQUIRE(file.find("state/sgd.t/w"));
  Weights fresh(*run.model.entry(EntryKind::step, 3));
  CHECK_FALSE(restore(file, "f", fresh));
  CHECK(std::memcmp(fresh.params.data(), run.weights.params.data(), fresh.params.size()) == 0);
  CHECK(std::memcmp(fresh.state.data(), run.weights.state.data(), fresh.state.size()) == 0);

  Weights start(*run.model.entry(EntryKind::step, 3));
  std::vector<std::string> notes;
  file.tensors[0].array = DenseArray(DType::f64, {});
  file.tensors[0].array.set(0, 0.5);
  file.tensors.push_back({"other", DenseArray(DType::f32, {1})});
  CHECK_FALSE(initialise(file, "f", start, notes));
  float w = 0;
  std::memcpy(&w, start.params.data(), 4);
  CHECK(w == 0.5f);
  CHECK(notes == std::vector<std::string>{"`other` of f is no parameter of the program"});
  file.tensors[0].array = DenseArray(DType::f32, {2});
  CHECK(initialise(file, "f", start, notes)->message == "`w` has another shape than the program says");
  file.tensors[0].name = "v";
  CHECK(initialise(file, "f", start, notes)->message == "no tensor of the file has the name of a parameter");
  CHECK(restore(file, "f", start)->message == "the file has no `w`, which the program needs");
}

TEST_CASE("lines of metrics.jsonl have the shortest numbers that read back") {
  DenseArray narrow(DType::f32, {}), matrix(DType::i32, {2, 2}), wide(DType::f64, {});
  narrow.set(0, 0.1f), wide.set(0, 0.1), matrix.set(1, 3);
  EpochReport report{{3, 12, 4}, 5, {{"train.loss", wide}, {"valid.loss", narrow}, {"valid.confusion", matrix}}, 0, 0};
  CHECK(
      epoch_line(report) ==
      R"({"schema": "nnc.epoch.1", "epoch": 3, "step": 12, "train.loss": 0.1, "valid.loss": 0.1, "valid.confusion": [[0, 3], [0, 0]]})");
  const std::vector<std::string> names{"loss(Gen)", "loss(Disc)"};
  const std::vector<double> losses{1.0 / 3, NAN};
  CHECK(step_line({1, 4, 4}, names, losses) ==
        R"j({"schema": "nnc.step.1", "epoch": 1, "step": 4, "loss(Gen)": 0.3333333333333333, "loss(Disc)": null})j");
  CHECK(number_text(NAN, DType::f32) == "null");
}
