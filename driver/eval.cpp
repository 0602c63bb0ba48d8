// nnc eval: loss and metrics of a trained model over whole splits.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <regex>

#include "driver/commands.h"
#include "driver/figures.h"
#include "driver/trained.h"
#include "ir/nearest.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

struct EvalFlags {
  TrainedFlags trained;
  std::string split;
  std::vector<std::string> fail_if;
  bool json = false;
};

/// A condition on a figure, under which the command fails: `acc < 0.97`.
struct Threshold {
  std::string text, figure, comparison;
  double bound = 0;

  /// What is not a number is never good enough.
  bool is_met_by(double value) const {
    if (std::isnan(value)) return true;
    if (comparison == "<") return value < bound;
    if (comparison == "<=") return value <= bound;
    return comparison == ">" ? value > bound : value >= bound;
  }
};

std::optional<Threshold> threshold_of(const std::string& text) {
  static const std::regex form(R"(\s*(\S+?)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*)");
  std::smatch parts;
  if (!std::regex_match(text, parts, form)) return std::nullopt;
  Threshold threshold{text, parts[1], parts[2], 0};
  const std::string number = parts[3];
  const auto [end, fault] = std::from_chars(number.data(), number.data() + number.size(), threshold.bound);
  if (fault != std::errc() || end != number.data() + number.size()) return std::nullopt;
  return threshold;
}

CLI::Validator threshold_form() {
  return CLI::Validator(
      [](std::string& text) {
        return threshold_of(text) ? std::string()
                                  : fmt::format("expected a condition such as `acc < 0.97`, found `{}`", text);
      },
      "");
}

/// Says which conditions hold, of all splits that were evaluated.
Exit judge(const std::vector<SplitFigures>& all, const EvalFlags& flags, const Console& console) {
  Exit status = Exit::done;
  for (const std::string& text : flags.fail_if) {
    const Threshold threshold = *threshold_of(text);
    bool known = false;
    std::vector<std::string> names;
    for (const SplitFigures& split : all)
      for (const NamedArray& figure : split.figures) {
        if (figure.array.count() != 1) continue;
        names.push_back(figure.name);
        if (figure.name != threshold.figure) continue;
        known = true;
        if (!threshold.is_met_by(figure.array.at(0))) continue;
        console.error(fmt::format("{}: {} is {}, and --fail-if has `{}`", split.split, figure.name,
                                  shown_text(figure.array), text));
        status = std::max(status, Exit::wrong);
      }
    if (known) continue;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    console.error(fmt::format("--fail-if: there is no figure `{}`; there {} {}{}", threshold.figure,
                              names.size() == 1 ? "is" : "are", fmt::join(names, ", "),
                              or_did_you_mean(threshold.figure, names)));
    status = Exit::usage;
  }
  return status;
}

Exit evaluate_splits(Trained& trained, const EvalFlags& flags, const Console& console) {
  OpenOptions open;
  if (!flags.split.empty()) open.splits = {flags.split};
  if (trained.classes) open.classes = &*trained.classes;
  open.fold = trained.fold;
  open.storage = flags.trained.storage.storage();
  auto data = RawData::open(trained.data, open);
  if (!data) return console.show(data.problem()), exit_of(data.problem());
  trained.compare_rows(*data, console);
  tell_unknown(*data, console);
  if (auto problem = data->check(trained.session->input_checks())) return console.show(*problem), exit_of(*problem);
  std::vector<SplitFigures> all;
  for (const std::string& split : data->splits()) {
    if (!flags.split.empty() && split != flags.split) continue;  // read for its classes only
    auto columns = data->feed(split, EntryKind::feed, *trained.runner, trained.programs, *trained.weights,
                              trained.session->column_checks(), trained.session->inputs_of_columns());
    if (!columns) return console.show(columns.problem()), exit_of(columns.problem());
    trained.compare_columns(*columns, console);
    all.push_back(figures_of(*trained.runner, trained.programs, *trained.weights, *columns, trained.seed));
  }
  print_figures(all, flags.json, console, owner_members(trained.block.train.name, trained.fold));
  return judge(all, flags, console);
}

Exit eval(const EvalFlags& flags, const Console& console) {
  Exit status = Exit::done;
  auto trained = Trained::open(flags.trained, console, status);
  if (!trained) return status;
  std::vector<std::string> splits;
  for (const Split& split : trained->data.splits) splits.push_back(split.name);
  if (trained->fold && std::find(splits.begin(), splits.end(), "valid") == splits.end()) splits.push_back("valid");
  if (!flags.split.empty() && std::find(splits.begin(), splits.end(), flags.split) == splits.end()) {
    console.error(fmt::format("there is no split `{}`; there {} {}{}", flags.split, splits.size() == 1 ? "is" : "are",
                              fmt::join(splits, ", "), or_did_you_mean(flags.split, splits)));
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
      "  nnc eval runs/Mlp-1 --split valid --fail-if 'acc < 0.5'\n"
      "  nnc eval mlp.nn --weights runs/Mlp-1/last.safetensors\n");
  flags->trained.add_to(*command);
  command->add_option("--split", flags->split, "only this one (default: all)")->type_name("NAME");
  command
      ->add_option("--fail-if", flags->fail_if,
                   "end with status 1 where this holds in a split: a figure, < <= > or >=, and a number; may be given "
                   "again")
      ->check(threshold_form())
      ->type_name("CONDITION");
  command->add_flag("--json", flags->json, "one JSON object a line");
  command->callback([flags, &action] { action = [flags](const Console& console) { return eval(*flags, console); }; });
}

}  // namespace nnc::driver
