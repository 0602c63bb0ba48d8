#include "driver/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "codegen/tables.h"
#include "driver/units.h"
#include "driver/workload.h"
#include "runtime/measure.h"

namespace nnc::driver {

namespace {

using Json = nlohmann::ordered_json;

/// Kernels in the order in which a call of the entry begins them: those of a loop in each of its steps.
std::vector<std::size_t> order_of(const Program& program) {
  std::vector<std::size_t> order;
  walk(
      program, [&](std::size_t kernel) { order.push_back(kernel); },
      [&](std::uint32_t loop, const std::function<void()>& step) {
        for (std::int64_t i = 0; i < program.loops[loop].steps; ++i) step();
      });
  return order;
}

/// The times at which one call of a watched entry began its kernels.
struct Stopwatch {
  std::vector<double> seen;
  static void see(void* watch) { static_cast<Stopwatch*>(watch)->seen.push_back(seconds_now()); }
};

/// The shortest time of each kernel over the calls that the budget has time for.
std::int64_t time_kernels(const Program& program, Workload& work, StepProfile& profile) {
  constexpr double budget = 0.02;
  constexpr std::int64_t least = 3;
  const std::vector<std::size_t> order = order_of(program);
  Stopwatch watch;
  watch.seen.reserve(order.size() + 1);
  std::vector<double> shortest(program.kernels.size(), INFINITY);
  std::int64_t calls = 0;
  for (const double end = seconds_now() + budget; calls <= least || seconds_now() < end; ++calls) {
    watch.seen.clear();
    work.restart();
    work.run_watched(Stopwatch::see, &watch);
    std::vector<double> sum(program.kernels.size(), 0);
    for (std::size_t i = 0; i < order.size(); ++i) sum[order[i]] += watch.seen[i + 1] - watch.seen[i];
    if (calls > 0)  // the first one finds its memory
      for (std::size_t i = 0; i < sum.size(); ++i) shortest[i] = std::min(shortest[i], sum[i]);
  }
  for (std::size_t i = 0; i < shortest.size(); ++i) profile.kernels[i].nanoseconds = 1e9 * shortest[i];
  return calls - 1;
}

/// A step of one kernel, as training runs it: call after call.
std::int64_t time_repeated(Workload& work, StepProfile& profile) {
  constexpr double budget = 0.005;
  Runner runner(1);
  work.run(runner, 1);
  double shortest = INFINITY;
  std::int64_t calls = 0;
  for (const double end = seconds_now() + budget; calls < 3 || seconds_now() < end; ++calls) {
    work.restart();
    const double begin = seconds_now();
    work.run(runner, 1);
    shortest = std::min(shortest, seconds_now() - begin);
  }
  profile.kernels[0].nanoseconds = 1e9 * shortest / static_cast<double>(work.times());
  return calls * work.times();
}

}  // namespace

StepProfile profile_step(Session& session, const Compilation& compilation, std::int64_t rows) {
  constexpr std::uint32_t most_kernels = 200;
  const nnc_entry& step = *session.entry(EntryKind::step, 0, rows).code;
  StepProfile profile{.rows = rows, .cpu = compilation.host.target.cpu, .kernels = {}};
  profile.params_bytes = step.params_bytes, profile.state_bytes = step.state_bytes;
  profile.arena_bytes = step.arena_bytes;
  const Program program = session.step_program(rows);
  for (std::uint32_t i = 0; i < step.kernel_count; ++i)
    profile.kernels.push_back({step.kernels[i].name, step.kernels[i].line, arithmetic_flops(program, i),
                               step.kernels[i].flops, step.kernels[i].bytes});
  if (step.kernel_count == 0 || step.kernel_count > most_kernels) return profile;
  if (step.repeat) {
    Workload work(step, session);
    profile.steps = time_repeated(work, profile);
    return profile;
  }
  const auto code = compile(program, {compilation.host.target, compilation.level, true});
  Workload work(code->entry(), session);
  profile.steps = time_kernels(program, work, profile);
  return profile;
}

std::string json_of(const StepProfile& profile, int indent) {
  Json json;
  json["schema"] = "nnc.profile.1";
  json["rows"] = profile.rows;
  json["steps"] = profile.steps;
  json["cpu"] = profile.cpu;
  json["params_bytes"] = profile.params_bytes;
  json["state_bytes"] = profile.state_bytes;
  json["arena_bytes"] = profile.arena_bytes;
  json["kernels"] = Json::array();
  for (const KernelWork& kernel : profile.kernels) {
    Json one;
    one["name"] = kernel.name;
    one["line"] = kernel.line;
    one["ns"] = std::round(10 * kernel.nanoseconds) / 10;
    one["flops"] = kernel.flops;
    one["contraction_flops"] = kernel.contracted;
    one["bytes"] = kernel.bytes;
    json["kernels"].push_back(std::move(one));
  }
  return json.dump(indent);
}

std::string text_of(const StepProfile& profile) {
  if (profile.steps == 0) return "a step has too many kernels to be timed one by one\n";
  double all = 0;
  for (const KernelWork& kernel : profile.kernels) all += kernel.nanoseconds;
  std::string text = fmt::format(
      "a step of {} rows on one thread takes {}, by kernels:\n"
      "      time  share        work       bytes   line  kernel\n",
      profile.rows, duration_text(1e-9 * all));
  std::vector<KernelWork> kernels = profile.kernels;
  std::ranges::stable_sort(kernels, std::greater<>(), &KernelWork::nanoseconds);
  for (const KernelWork& kernel : kernels)
    text += fmt::format("{:>10} {:>5.1f}% {:>11} {:>11} {:>6}  {}\n", duration_text(1e-9 * kernel.nanoseconds),
                        100 * kernel.nanoseconds / all, amount_text(static_cast<double>(kernel.flops), "FLOP"),
                        bytes_text(kernel.bytes), kernel.line, kernel.name);
  return text;
}

std::optional<StepProfile> profile_of(const Json& json) {
  if (!json.is_object() || json.value("schema", "") != "nnc.profile.1" || !json.contains("kernels"))
    return std::nullopt;
  StepProfile profile{.rows = json.value("rows", std::int64_t{0}),
                      .steps = json.value("steps", std::int64_t{0}),
                      .cpu = json.value("cpu", ""),
                      .kernels = {}};
  profile.params_bytes = json.value("params_bytes", std::uint64_t{0});
  profile.state_bytes = json.value("state_bytes", std::uint64_t{0});
  profile.arena_bytes = json.value("arena_bytes", std::uint64_t{0});
  for (const Json& kernel : json["kernels"])
    profile.kernels.push_back({kernel.value("name", ""), kernel.value("line", 0U),
                               kernel.value("flops", std::uint64_t{0}),
                               kernel.value("contraction_flops", kernel.value("flops", std::uint64_t{0})),
                               kernel.value("bytes", std::uint64_t{0}), kernel.value("ns", 0.0)});
  return profile;
}

}  // namespace nnc::driver
