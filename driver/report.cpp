// nnc report: the page of a run again, or several runs on one page.
#include "driver/report.h"

#include <fmt/format.h>

#include <filesystem>

#include "driver/commands.h"
#include "driver/kept_files.h"
#include "driver/trained.h"
#include "runtime/run_directory.h"

namespace nnc::driver {

namespace {

struct ReportFlags {
  std::vector<std::string> runs;
  std::optional<std::string> output, data;
  CompileFlags compile;
};

/// Rows, figures and answers of a run that can be evaluated.
std::optional<Exit> add_model(RunReport& report, const ReportFlags& flags, const Console& console) {
  TrainedFlags open_flags;
  open_flags.source = report.folder;
  open_flags.data = flags.data;
  open_flags.compile = flags.compile;
  Exit status = Exit::done;
  auto trained = Trained::open(open_flags, console, status);
  if (!trained) return status;
  const auto fail = [&](const Problem& problem) { return console.show(problem), exit_of(problem); };
  if (auto problem = trained->load()) return fail(*problem);
  OpenOptions open;
  if (trained->classes) open.classes = &*trained->classes;
  open.fold = trained->fold;
  auto data = RawData::open(trained->data, open);
  if (!data) return fail(data.problem());
  if (auto problem = data->check(trained->session->input_checks())) return fail(*problem);
  std::vector<SplitColumns> splits;
  for (const std::string& name : data->splits()) {
    auto columns = data->feed(name, EntryKind::feed, *trained->runner, trained->programs, *trained->weights,
                              trained->session->column_checks(), trained->session->inputs_of_columns());
    if (!columns) return fail(columns.problem());
    splits.push_back(std::move(*columns));
    report.figures.push_back(
        figures_of(*trained->runner, trained->programs, *trained->weights, splits.back(), trained->seed));
  }
  std::vector<const SplitColumns*> shown;
  for (const SplitColumns& split : splits) shown.push_back(&split);
  add_answers(report, trained->block, *trained->session, trained->compilation, *trained->runner, *trained->weights,
              shown, trained->classes.value_or(ClassNames{}));
  return std::nullopt;
}

Exit report_runs(const ReportFlags& flags, const Console& console) {
  std::vector<RunReport> runs;
  for (std::string folder : flags.runs) {
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    if (const int parts = parts_of(folder); parts > 0) return console.show(no_single_run(folder, parts)), Exit::usage;
    if (!is_run(folder)) return console.show(no_run(folder)), Exit::usage;
    if (flags.output)
      if (auto problem = replaces(*flags.output, "-o", kept_files(folder)))
        return console.show(*problem), exit_of(*problem);
    auto report = read_report(folder);
    if (!report) return console.show(report.problem()), exit_of(report.problem());
    runs.push_back(std::move(*report));
  }
  const bool alone = runs.size() == 1;
  if (alone)
    if (const auto failed = add_model(runs[0], flags, console)) return *failed;
  const std::string output = flags.output.value_or(alone ? runs[0].folder + "/report.html" : "report.html");
  if (auto problem = write_text(output, page_of(runs))) return console.show(*problem), exit_of(*problem);
  if (output != "-") console.note(fmt::format("wrote {}", output));
  return Exit::done;
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* command = app.add_subcommand(
      "report", "Makes the page of a run again (RUN/report.html), or one page of several runs with their differences.");
  command->footer(
      "Examples:\n"
      "  nnc report runs/Mlp-1\n"
      "  nnc report runs/Mlp-1 runs/Linear-1 -o compared.html\n");
  command->add_option("RUN", flags->runs, "run directories")->required();
  command->add_option("-o,--output", flags->output, "where to write (several runs: report.html here)")
      ->type_name("FILE");
  command->add_option("--data", flags->data, "where the data are now")->type_name("DIR");
  flags->compile.add_to(*command);
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return report_runs(*flags, console); }; });
}

}  // namespace nnc::driver
