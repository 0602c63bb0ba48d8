// nnc opt: runs passes on a printed graph, for tests and for study.
#include <fmt/format.h>

#include <iostream>
#include <iterator>
#include <variant>

#include "driver/commands.h"
#include "driver/kept_files.h"
#include "driver/options.h"
#include "driver/pass_watch.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "runtime/file.h"

namespace nnc::driver {

namespace {

struct OptFlags {
  std::string graph, output = "-";
  std::vector<std::string> passes;
  PassFlags shown;
};

Result<std::string> read_text(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  auto bytes = read_file(path);
  if (!bytes) return bytes.problem();
  return std::string(bytes->begin(), bytes->end());
}

Exit opt(const OptFlags& flags, const Console& console) {
  if (auto problem = replaces(flags.output, "-o", {{flags.graph, "the graph that is read"}}))
    return console.show(*problem), exit_of(*problem);
  auto text = read_text(flags.graph);
  if (!text) return console.show(text.problem()), exit_of(text.problem());
  auto parsed = parse_graph(*text);
  if (const TextError* error = std::get_if<TextError>(&parsed)) {
    console.show(Problem{.kind = Problem::Kind::data,
                         .message = error->message,
                         .place = {flags.graph, error->line, error->column},
                         .expected = {},
                         .found = {},
                         .notes = {}});
    return Exit::wrong;
  }
  const Graph& start = std::get<Graph>(parsed);
  PassWatch watch(flags.shown);
  auto result = run_passes(start, flags.passes, watch.options(start));
  if (const std::string* error = std::get_if<std::string>(&result)) return console.error(*error), Exit::usage;
  watch.report();
  if (auto problem = write_text(flags.output, print(std::get<Graph>(result))))
    return console.show(*problem), exit_of(*problem);
  return Exit::done;
}

}  // namespace

void add_opt(CLI::App& app, Action& action) {
  auto flags = std::make_shared<OptFlags>();
  CLI::App* command = app.add_subcommand(
      "opt", "Runs passes on a printed graph and prints what they make of it; without --passes, prints it back.");
  command->footer(
      "Examples:\n"
      "  nnc opt step.ng --passes differentiate,simplify\n"
      "  nnc emit linear.nn --stage graph | nnc opt - --passes stabilise\n");
  command->add_option("GRAPH", flags->graph, "a graph as `nnc emit` prints it, or - for stdin")->required();
  command->add_option("--passes", flags->passes, "passes in the order in which to run them")
      ->delimiter(',')
      ->type_name("A,B");
  command->add_option("-o,--output", flags->output, "where to write (default: stdout)")->type_name("FILE");
  flags->shown.add_to(*command);
  command->callback([flags, &action] { action = [flags](const Console& console) { return opt(*flags, console); }; });
}

}  // namespace nnc::driver
