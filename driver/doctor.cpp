// nnc doctor: what this machine is for nnc, what is set, and whether compiled code computes here what it should.
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "driver/commands.h"
#include "driver/configuration.h"
#include "driver/options.h"
#include "driver/run_record.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "runtime/programs.h"

namespace nnc::driver {

namespace {

std::string instruction_sets(const Target& target) {
  std::string text;
  for (const auto& [feature, name] : {std::pair{"avx2", "AVX2"}, {"fma", "FMA"}, {"avx512f", "AVX-512"}})
    if (("," + target.features + ",").find(fmt::format(",+{},", feature)) != std::string::npos)
      text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
  return text;
}

constexpr const char* trial =
    "%x = input \"x\" : f32[batch, 24]\n"
    "result \"y\" = exp(%x) / (1 + logistic(%x))\n"
    "result \"z\" = sum(%x, 1)\n";

/// A small program, as native code and by the reference evaluator: true where all bits are equal.
bool computes_rightly(const Compilation& compilation) {
  constexpr std::int64_t rows = 7, width = 24;
  const Graph graph = optimise(std::get<Graph>(parse_graph(trial)));
  LowerOptions options;
  options.machine = compilation.host.machine;
  options.threads = compilation.threads;
  options.rows = rows;
  const auto code = compile(lower(graph, "doctor", options), {compilation.host.target, compilation.level});
  DenseArray x(DType::f32, {rows, width});
  Environment environment;
  environment.batch = rows;
  environment.inputs["x"] = Tensor::zeros(DType::f32, {rows, width});
  for (std::int64_t i = 0; i < x.count(); ++i) {
    x.set(i, std::sin(static_cast<double>(i)));
    environment.inputs["x"].set(i, x.at(i));
  }
  const nnc_entry& entry = code->entry();
  nnc_feed feed{x.bytes.data(), static_cast<std::int64_t>(x.row_bytes()), identity_order(rows)};
  std::vector<DenseArray> results;
  std::vector<void*> pointers(entry.output_count);
  results.reserve(entry.output_count);
  for (const nnc_slot& slot : outputs_of(entry)) {
    results.emplace_back(dtype_of(slot), std::vector<std::int64_t>(slot.dims, slot.dims + slot.rank));
    pointers[slot.offset] = results.back().bytes.data();
  }
  Scalars scalars;
  nnc_call call{};
  call.feeds = &feed, call.outputs = pointers.data(), call.scalars = scalars.values;
  Runner runner(compilation.threads);
  runner.run({&entry, compilation.threads}, call);
  const auto expected = evaluate(graph, environment);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Tensor& want = expected.at(outputs_of(entry)[i].name);
    if (std::memcmp(results[i].bytes.data(), want.data.data(), want.data.size()) != 0) return false;
  }
  return true;
}

std::string memory_text() {
  const double bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  return fmt::format("{:.1f} GiB", bytes / (1 << 30));
}

void show(const std::string& what, const std::string& is) { fmt::print("{:<14} {}\n", what, is); }

Exit doctor(const CompileFlags& flags, const Console& console) {
  show("nnc", version);
  auto set = configuration();
  if (!set) return console.show(set.problem()), exit_of(set.problem());
  const std::string file = configuration_file();
  show("nnc.toml", file.empty() ? "none" : file);
  for (const Configured& one : *set) show("set", fmt::format("{} = {} ({})", one.option, one.value, one.from));
  show("memory", memory_text());
  auto compilation = flags.compilation(console, true);
  if (!compilation) return Exit::wrong;
  const Host& host = compilation->host;
  show("processor", host.target.cpu);
  const std::string sets = instruction_sets(host.target);
  show("instructions", !has_fma(host.target) ? "no FMA: it is computed from other instructions, so everything is slow"
                       : sets.empty()        ? "as of that processor"
                                             : sets);
  show("schedules", host.machine.name);
  show("threads", fmt::format("{} (of {})", compilation->threads, available_threads()));
  std::error_code failed;
  const auto folder = std::filesystem::current_path(failed);
  const bool writable = ::access(folder.c_str(), W_OK) == 0;
  show("runs go to",
       (folder / "runs").string() + (writable ? "" : ": this folder cannot be written, name another by --out"));
  const bool right = computes_rightly(*compilation);
  show("native code", right ? "computes the evaluator's bits" : "computes other bits than the evaluator");
  if (right) return Exit::done;
  console.error("compiled code is wrong on this machine; please report this with what stands above");
  return Exit::bug;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  auto flags = std::make_shared<CompileFlags>();
  CLI::App* command = app.add_subcommand(
      "doctor", "Says what nnc finds on this machine and what is set, and tries whether compiled code is right here.");
  command->footer(
      "Examples:\n"
      "  nnc doctor\n"
      "  nnc doctor --cpu x86-64-v3 --threads 2\n");
  flags->add_to(*command);
  command->callback([flags, &action] { action = [flags](const Console& console) { return doctor(*flags, console); }; });
}

}  // namespace nnc::driver
