// nnc bench: how long a step takes, and what share of what this machine can do that is. The machine's limits are
// measured in the same run, between the timings. Columns hold random numbers, so no data are read.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "codegen/tables.h"
#include "driver/commands.h"
#include "driver/options.h"
#include "driver/trained.h"
#include "driver/units.h"
#include "driver/workload.h"
#include "passes/pipeline.h"
#include "runtime/measure.h"

namespace nnc::driver {

namespace {

struct BenchFlags {
  std::string file, model, mode = "train";
  std::int64_t rows = 0;
  double seconds = 1;
  bool per_kernel = false, json = false;
  ProgramOptions program;
  CompileFlags compile;
};

// Calls go in runs, and between any two of these the machine's peak is looked at.
constexpr double seconds_of_run = 3e-4, seconds_of_peak = 2e-4;
constexpr std::size_t least_runs = 5;
constexpr std::size_t runs_of_start = 16;      ///< before the initial weights come back: none should go to infinity
constexpr std::int64_t rows_unless_told = 32;  // for a program that trains on the full batch: its data are not read

double middle(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Seconds a call, and FLOP/s of all threads in the same moments, however the clock goes.
struct Timing {
  double best = 0, median = 0;  ///< of all runs
  Moment undisturbed;
};

/// What bounds a kernel: its multiplications and additions at the machine's peak, or its bytes at the speed of memory.
struct Limits {
  double flops = 0, bytes = 0;  ///< a second
  double seconds(const nnc_kernel& kernel) const { return std::max(compute(kernel), memory(kernel)); }
  double compute(const nnc_kernel& kernel) const { return static_cast<double>(kernel.flops) / flops; }
  double memory(const nnc_kernel& kernel) const { return static_cast<double>(kernel.bytes) / bytes; }
};

/// Calls in a run: the seconds of one.
double time_run(Runner& runner, int threads, Workload& work) {
  std::int64_t calls = 0;
  const double begin = seconds_now();
  double now = begin;
  do {
    work.run(runner, threads);
    calls += work.times();
    now = seconds_now();
  } while (now - begin < seconds_of_run);
  return (now - begin) / static_cast<double>(calls);
}

/// Runs, each beside the machine's peak, as long as the budget lasts.
Timing time_calls(Runner& runner, int threads, Workload& work, int vector_bytes, DType dtype, double budget) {
  const double end = seconds_now() + budget;
  std::vector<double> times;
  std::vector<Moment> moments;
  const auto peak = [&] { return fma_peak(runner.team(), vector_bytes, dtype, seconds_of_peak); };
  double before = 0;
  do {
    if (times.size() % runs_of_start == 0) work.restart(), work.run(runner, threads), before = peak();
    times.push_back(time_run(runner, threads, work));
    const double after = peak();
    moments.push_back({times.back(), std::max(before, after)});
    before = after;
  } while (times.size() < least_runs || seconds_now() < end);
  return {std::ranges::min(times), middle(times), undisturbed(moments)};
}

struct Measured {
  std::string entry, cpu, dtype;
  std::int64_t rows = 0;
  int threads = 1;
  Timing timing;
  Limits limits;
  double lower_seconds = 0, compile_seconds = 0;
  std::vector<nnc_kernel> kernels;
  std::vector<Timing> kernel_timings;

  double flops() const {
    double sum = 0;
    for (const nnc_kernel& kernel : kernels) sum += static_cast<double>(kernel.flops);
    return sum;
  }
  double bytes() const {
    double sum = 0;
    for (const nnc_kernel& kernel : kernels) sum += static_cast<double>(kernel.bytes);
    return sum;
  }
  double flops_per_second() const { return flops() / timing.undisturbed.seconds; }
  double share_of_peak() const { return flops_per_second() / limits.flops; }
  /// Of the sum of what bounds its kernels, one after the other.
  double share_of_bound() const {
    double sum = 0;
    for (const nnc_kernel& kernel : kernels) sum += limits.seconds(kernel);
    return sum / timing.undisturbed.seconds;
  }
  /// Of a kernel alone: the peak is that of its own moments.
  double share_of_bound(std::size_t kernel) const {
    return limits_of(kernel).seconds(kernels[kernel]) / kernel_timings[kernel].undisturbed.seconds;
  }
  Limits limits_of(std::size_t kernel) const { return {kernel_timings[kernel].undisturbed.peak, limits.bytes}; }
  bool computes(std::size_t kernel) const {
    const Limits own = limits_of(kernel);
    return own.compute(kernels[kernel]) >= own.memory(kernels[kernel]);
  }
};

std::string json_of(const Measured& m) {
  std::string kernels;
  for (std::size_t i = 0; i < m.kernel_timings.size(); ++i)
    kernels +=
        fmt::format(R"({}{{"name": "{}", "line": {}, "ns": {:.1f}, "flops": {}, "bytes": {}, "bound": "{}", )"
                    R"("share_of_bound": {:.4f}}})",
                    i == 0 ? "" : ", ", m.kernels[i].name, m.kernels[i].line, 1e9 * m.kernel_timings[i].best,
                    m.kernels[i].flops, m.kernels[i].bytes, m.computes(i) ? "compute" : "memory", m.share_of_bound(i));
  return fmt::format(
      R"({{"schema": "nnc.bench.1", "entry": "{}", "batch": {}, "dtype": "{}", "threads": {}, "cpu": "{}", "ns": {:.1f}, )"
      R"("ns_median": {:.1f}, "ns_undisturbed": {:.1f}, "flops": {:.0f}, "bytes": {:.0f}, "peak_gflops": {:.2f}, "memory_gbytes": {:.2f}, )"
      R"("share_of_peak": {:.4f}, "share_of_bound": {:.4f}, "lower_ms": {:.2f}, "compile_ms": {:.2f}, "kernels": [{}]}})"
      "\n",
      m.entry, m.rows, m.dtype, m.threads, m.cpu, 1e9 * m.timing.best, 1e9 * m.timing.median,
      1e9 * m.timing.undisturbed.seconds, m.flops(), m.bytes(), m.limits.flops / 1e9, m.limits.bytes / 1e9,
      m.share_of_peak(), m.share_of_bound(), 1e3 * m.lower_seconds, 1e3 * m.compile_seconds, kernels);
}

std::string text_of(const Measured& m) {
  const double best = m.timing.best;
  std::string text = fmt::format(
      "{}: {} rows, {}, {}, {}\n"
      "  {} a call, {} a row; the median call {}\n"
      "  contractions of {} at {}: {:.1f}% of what this machine can in the same moments, {}; {:.1f}% of what the "
      "kernels' bounds allow\n"
      "  memory of its size is copied at {}; passes and lowering {}, code generation {}\n",
      m.entry, m.rows, m.dtype, m.threads == 1 ? "1 thread" : fmt::format("{} threads", m.threads), m.cpu,
      duration_text(best), duration_text(best / static_cast<double>(m.rows)), duration_text(m.timing.median),
      amount_text(m.flops(), "FLOP"), amount_text(m.flops_per_second(), "FLOP/s"), 100 * m.share_of_peak(),
      amount_text(m.limits.flops, "FLOP/s"), 100 * m.share_of_bound(), amount_text(m.limits.bytes, "B/s"),
      duration_text(m.lower_seconds), duration_text(m.compile_seconds));
  if (m.kernel_timings.empty()) return text;
  text += "\n      time contraction       bytes  of its bound   line  kernel\n";
  for (std::size_t i = 0; i < m.kernels.size(); ++i) {
    const nnc_kernel& kernel = m.kernels[i];
    text += fmt::format("{:>10} {:>11} {:>11} {:>5.1f}% {:<7} {:>5}  {}\n", duration_text(m.kernel_timings[i].best),
                        amount_text(static_cast<double>(kernel.flops), "FLOP"), bytes_text(kernel.bytes),
                        100 * m.share_of_bound(i), m.computes(i) ? "compute" : "memory", kernel.line, kernel.name);
  }
  return text;
}

/// As training does: no more threads than the program is cut up for.
int threads_for(const Program& program, const Compilation& compilation) {
  return std::min(threads_of(program), compilation.threads);
}

/// Each kernel as a program of its own over the same buffers, timed alone, in a loop all its steps: its data may lie
/// nearer than in the step.
void time_kernels(const Program& program, const Compilation& compilation, Session& session, Runner& runner, DType dtype,
                  double budget, Measured& measured) {
  for (std::size_t kernel = 0; kernel < program.kernels.size(); ++kernel) {
    const auto code = compile(alone(program, kernel), {compilation.host.target, compilation.level});
    Workload work(code->entry(), session);
    measured.kernel_timings.push_back(time_calls(runner, measured.threads, work, compilation.host.machine.vector_bytes,
                                                 dtype, budget / static_cast<double>(program.kernels.size())));
  }
}

Exit bench_block(const Elaborated& block, const BenchFlags& flags, const Compilation& compilation,
                 const Console& console) {
  const bool training = flags.mode == "train";
  if (!training && block.predict.outputs.empty())
    return console.error(fmt::format("`{}` has nothing that predict runs", block.train.name)), Exit::wrong;
  const EntryKind kind = training ? EntryKind::step : EntryKind::predict;
  Measured measured;
  measured.entry = training ? "step" : "predict";
  measured.cpu = compilation.host.target.cpu;
  const bool doubles = !block.variables.empty() && block.variables.front().type.dtype == DType::f64;
  measured.dtype = name_of(doubles ? DType::f64 : DType::f32);
  measured.rows = block.train.batch_size > 0 ? block.train.batch_size : rows_unless_told;
  if (flags.rows > 0) measured.rows = flags.rows;
  const double begin = seconds_now();
  Session session(block, compilation, measured.rows);
  const Program program = session.lower_graph(optimise(training ? block.step : block.predict), kind, measured.rows);
  const double lowered = seconds_now();
  measured.threads = threads_for(program, compilation);
  const auto code = compile(program, {compilation.host.target, compilation.level});
  measured.lower_seconds = lowered - begin;
  measured.compile_seconds = seconds_now() - lowered;
  measured.kernels.assign(code->entry().kernels, code->entry().kernels + code->entry().kernel_count);

  Workload work(code->entry(), session);
  Runner runner(measured.threads);
  const std::size_t touched = code->entry().params_bytes + code->entry().state_bytes + code->entry().arena_bytes;
  const DType dtype = doubles ? DType::f64 : DType::f32;
  measured.limits.bytes = copy_bandwidth(runner.team(), touched);
  measured.timing =
      time_calls(runner, measured.threads, work, compilation.host.machine.vector_bytes, dtype, flags.seconds);
  measured.limits.flops = measured.timing.undisturbed.peak;
  if (flags.per_kernel) time_kernels(program, compilation, session, runner, dtype, flags.seconds, measured);
  const std::string text = flags.json ? json_of(measured) : text_of(measured);
  if (auto problem = write_text("-", text)) return console.show(*problem), exit_of(*problem);
  return Exit::done;
}

Exit bench(const BenchFlags& flags, const Console& console) {
  auto options = flags.program.elaborate_options(console, flags.model);
  auto compilation = flags.compile.compilation(console, true);
  if (!options || !compilation) return Exit::usage;
  Exit status = Exit::done;
  const std::vector<Elaborated> blocks = read_program_or_run(flags.file, *options, flags.program, console, status);
  if (status != Exit::done) return status;
  if (blocks.empty()) return console.error(fmt::format("{} has no train block", flags.file)), Exit::wrong;
  for (const Elaborated& block : blocks) status = std::max(status, bench_block(block, flags, *compilation, console));
  return status;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand(
      "bench",
      "Times a training step (or what predict runs) on random columns, and says what share of this machine's own "
      "limits "
      "that is: fused multiply-adds and copies, measured in the same run. Leave the machine alone meanwhile.");
  command->footer(
      "Examples:\n"
      "  nnc bench mlp.nn --threads 1\n"
      "  nnc bench mlp.nn --threads 1 --per-kernel\n"
      "  nnc bench mlp.nn --mode infer --rows 1 --json\n");
  command->add_option("FILE", flags->file, "the program")->required();
  command->add_option("MODEL", flags->model, "the train block (its `as` name or its model); default: each");
  command->add_option("--mode", flags->mode, "the training step, or what `predict` runs")
      ->check(CLI::IsMember({"train", "infer"}))
      ->type_name("train|infer");
  command->add_option("--rows", flags->rows, "rows of a batch (default: the program's batch_size)")
      ->check(whole_from_one())
      ->type_name("N");
  command->add_option("--seconds", flags->seconds, "how long to measure (default: 1; with --per-kernel twice that)")
      ->check(CLI::PositiveNumber)
      ->type_name("S");
  command->add_flag("--per-kernel", flags->per_kernel, "each kernel alone, with what bounds it");
  command->add_flag("--json", flags->json, "one JSON object a line");
  flags->program.add_to(*command);
  flags->compile.add_to(*command);
  command->callback([flags, &action] { action = [flags](const Console& console) { return bench(*flags, console); }; });
}

}  // namespace nnc::driver
