// nnc eval: loss and metrics of a trained model over whole splits.
#include <fmt/format.h>

#include <algorithm>

#include "driver/commands.h"
#include "driver/figures.h"
#include "driver/trained.h"
#include "runtime/names.h"

namespace nnc::driver {

namespace {

struct EvalFlags {
  TrainedFlags trained;
  std::string split;
  bool json = false;
};

Exit evaluate_splits(Trained& trained, const EvalFlags& flags, const Console& console) {
  OpenOptions open;
  if (!flags.split.empty()) open.splits = {flags.split};
  if (trained.classes) open.classes = &*trained.classes;
  open.fold = trained.fold;
  open.storage = flags.trained.storage.storage();
  auto data = RawData::open(trained.data, open);
  if (!data) return console.show(data.problem()), exit_of(data.problem());
  if (auto problem = data->check(trained.session->input_checks())) return console.show(*problem), exit_of(*problem);
  for (const std::string& split : data->splits()) {
    if (!flags.split.empty() && split != flags.split) continue;  // read for its classes only
    auto columns = data->feed(split, EntryKind::feed, *trained.runner, trained.programs, *trained.weights,
                              trained.session->column_checks(), trained.session->inputs_of_columns());
    if (!columns) return console.show(columns.problem()), exit_of(columns.problem());
    SplitFigures figures = figures_of(*trained.runner, trained.programs, *trained.weights, *columns, trained.seed);
    fmt::print("{}\n", flags.json ? json_of(figures) : text_of(figures));
  }
  return Exit::done;
}

Exit eval(const EvalFlags& flags, const Console& console) {
  Exit status = Exit::done;
  auto trained = Trained::open(flags.trained, console, status);
  if (!trained) return status;
  std::vector<std::string> splits;
  for (const Split& split : trained->data.splits) splits.push_back(split.name);
  if (trained->fold && std::find(splits.begin(), splits.end(), "valid") == splits.end()) splits.push_back("valid");
  if (!flags.split.empty() && std::find(splits.begin(), splits.end(), flags.split) == splits.end()) {
    std::string near = closest_name(flags.split, splits);
    console.error(fmt::format("there is no split `{}`; there {} {}{}", flags.split, splits.size() == 1 ? "is" : "are",
                              fmt::join(splits, ", "), near.empty() ? "" : fmt::format("; did you mean `{}`?", near)));
    return Exit::usage;
  }
  if (auto problem = trained->load()) return console.show(*problem), exit_of(*problem);
  return evaluate_splits(*trained, flags, console);
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command =
      app.add_subcommand("eval", "Prints the loss and the metrics of a trained model over whole splits.");
  command->footer(
      "Examples:\n"
      "  nnc eval runs/Mlp-1\n"
      "  nnc eval runs/Mlp-1 --split valid --json\n"
      "  nnc eval mlp.nn --weights runs/Mlp-1/last.safetensors\n");
  flags->trained.add_to(*command);
  command->add_option("--split", flags->split, "only this one (default: all)")->type_name("NAME");
  command->add_flag("--json", flags->json, "one JSON object a line");
  command->callback([flags, &action] { action = [flags](const Console& console) { return eval(*flags, console); }; });
}

}  // namespace nnc::driver
