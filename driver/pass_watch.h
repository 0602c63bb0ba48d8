// What a command shows of the passes while they run, on stderr: spelled and behaving as in LLVM's `opt`.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "passes/pipeline.h"

namespace nnc::driver {

struct PassFlags {
  std::vector<std::string> print_after, disabled_laws;
  bool print_after_all = false, print_changed = false, verify_each = false, time_passes = false;

  void add_to(CLI::App& app);
};

class PassWatch {
 public:
  explicit PassWatch(const PassFlags& flags) : flags_(flags) {}

  /// Options for one run of the pipeline over `start`; they refer to this watch.
  PipelineOptions options(const Graph& start);
  /// Runs what is not a pass of the pipeline (lowering, code generation) as a row of the times.
  template <class Step>
  auto timed(const std::string& name, Step&& step) {
    const double begin = now();
    auto result = step();
    note_time(name, now() - begin);
    return result;
  }
  /// The table of times, where it was asked for; longest first.
  void report() const;

 private:
  static double now();
  void note_time(const std::string& name, double seconds) { times_.emplace_back(name, seconds); }
  void show_after(std::string_view pass, const Graph& graph);

  PassFlags flags_;
  std::optional<Graph> before_;
  std::vector<std::pair<std::string, double>> times_;
};

}  // namespace nnc::driver
