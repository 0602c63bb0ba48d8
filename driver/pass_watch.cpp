#include "driver/pass_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "driver/options.h"
#include "driver/stderr.h"
#include "ir/text.h"

namespace nnc::driver {

void PassFlags::add_to(CLI::App& app) {
  std::vector<std::string> names;
  for (const PassStep& step : defining_passes()) names.emplace_back(step.name);
  app.add_option("--print-after", print_after, "print the graph after these passes, on stderr")
      ->delimiter(',')
      ->check(CLI::IsMember(names))
      ->type_name("PASS");
  app.add_flag("--print-after-all", print_after_all, "print the graph after every pass, on stderr");
  app.add_flag("--print-changed", print_changed, "print the graph after every pass that changes it, on stderr");
  app.add_flag("--verify-each", verify_each, "check the graph after every pass");
  app.add_flag("--time-passes", time_passes, "say how long each pass took, on stderr");
  app.add_option("--disable-law", disabled_laws, "laws that stabilise and simplify may not use")
      ->delimiter(',')
      ->check(law_name())
      ->type_name("LAW");
}

PipelineOptions PassWatch::options(const Graph& start) {
  PipelineOptions options;
  options.simplify.disabled_laws = flags_.disabled_laws;
  options.verify_each = flags_.verify_each;
  if (flags_.print_changed) {
    to_stderr("# *** IR Dump At Start ***\n{}", print(start));
    before_ = start;
  }
  options.after = [this](std::string_view pass, const Graph& graph) { show_after(pass, graph); };
  options.timed = [this](std::string_view pass, double seconds) { note_time(std::string(pass), seconds); };
  return options;
}

void PassWatch::show_after(std::string_view pass, const Graph& graph) {
  if (flags_.print_changed) {
    if (same_graph(*before_, graph)) {
      to_stderr("# *** IR Dump After {} on {} omitted because no change ***\n", pass, graph.name);
    } else {
      to_stderr("# *** IR Dump After {} on {} ***\n{}", pass, graph.name, print(graph));
    }
    before_ = graph;
  } else if (flags_.print_after_all || std::ranges::find(flags_.print_after, pass) != flags_.print_after.end()) {
    to_stderr("# *** IR Dump After {} on {} ***\n{}", pass, graph.name, print(graph));
  }
}

double PassWatch::now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void PassWatch::report() const {
  if (!flags_.time_passes) return;
  auto longest = times_;
  std::ranges::stable_sort(longest, std::ranges::greater{}, &std::pair<std::string, double>::second);
  double total = 0;
  for (const auto& [name, seconds] : times_) total += seconds;
  const std::string rule = "===" + std::string(73, '-') + "===\n";
  to_stderr("{}{:^79}\n{}  Total Execution Time: {:.4f} seconds\n\n   ---Wall Time---  --- Name ---\n", rule,
            "Pass execution timing report", rule, total);
  const auto row = [&](double seconds, std::string_view name) {
    to_stderr("   {:.4f} ({:5.1f}%)  {}\n", seconds, total > 0 ? 100 * seconds / total : 0, name);
  };
  for (const auto& [name, seconds] : longest) row(seconds, name);
  row(total, "Total");
}

}  // namespace nnc::driver
