// nnc derive: the gradients of a program as mathematics, with the laws and rules that led to them.
#include <fmt/format.h>

#include "driver/commands.h"
#include "driver/kept_files.h"
#include "driver/options.h"
#include "driver/trained.h"
#include "passes/derive/derivation.h"

namespace nnc::driver {

namespace {

struct DeriveFlags {
  std::string file, model, parameter, steps = "key", format = "text", output = "-";
  bool check = false;
  std::vector<std::string> disabled_laws;
  ProgramOptions program;
};

DerivationFormat format_named(const std::string& name) {
  if (name == "latex") return DerivationFormat::latex;
  return name == "html" ? DerivationFormat::html : DerivationFormat::text;
}

/// Says what was compared, on stderr; one line for each that does not hold.
bool show_check(const Derivation& derivation, const Console& console) {
  const DerivationReport report = check(derivation);
  const auto good = report.checked - static_cast<std::int64_t>(report.failures.size());
  console.note(
      fmt::format("{} of {} lines hold in f64, worst relative difference {:.1e}", good, report.checked, report.worst));
  for (const std::string& line : report.on_kinks)
    console.note(fmt::format("not compared, since a kink lies at each point that was drawn: {}", line));
  for (const DerivationFailure& failure : report.failures) {
    const std::string reasons = failure.reasons.empty() ? "" : fmt::format("by {}: ", fmt::join(failure.reasons, ", "));
    const std::string why = failure.unreadable.empty() ? fmt::format("the left side is {:.9g}, the right side {:.9g}",
                                                                     failure.left, failure.right)
                                                       : failure.unreadable;
    console.error(fmt::format("{}{}: {}", reasons, failure.line, why));
  }
  return report.failures.empty();
}

Exit no_such_parameter(const Graph& step, const DeriveFlags& flags, const Console& console) {
  std::string known;
  for (const Node& node : step.nodes)
    if (node.op == Op::param)
      known += (known.empty() ? "" : ", ") + std::string("`") + std::get<Named>(node.attributes).name + "`";
  console.error(flags.parameter.empty() ? "the step asks for no gradient by a parameter"
                                        : fmt::format("no gradient is taken by a parameter `{}`", flags.parameter));
  if (!known.empty()) console.note(fmt::format("the parameters are {}", known));
  return Exit::usage;
}

Exit derive_file(const DeriveFlags& flags, const Console& console) {
  if (auto problem = replaces(flags.output, "-o", kept_files(flags.file)))
    return console.show(*problem), exit_of(*problem);
  auto options = flags.program.elaborate_options(console, flags.model);
  if (!options) return Exit::usage;
  Exit status = Exit::done;
  const std::vector<Elaborated> blocks = read_program_or_run(flags.file, *options, flags.program, console, status);
  if (status != Exit::done) return status;
  if (blocks.empty()) return console.error(fmt::format("`{}` has no train block", flags.file)), Exit::wrong;
  if (blocks.size() > 1) {
    console.error(fmt::format("the file has several train blocks: say which one, as in `nnc derive {} {}`", flags.file,
                              blocks[0].train.name));
    return Exit::usage;
  }
  DeriveOptions how{.parameter = flags.parameter, .every_law = flags.steps == "all"};
  how.disabled_laws = flags.disabled_laws;
  Derivation derivation = derive(blocks[0].step, how);
  if (derivation.parts.empty()) return no_such_parameter(blocks[0].step, flags, console);
  derivation.title = fmt::format("{}: the gradients of its loss; n is the number of rows", blocks[0].train.name);
  if (auto problem = write_text(flags.output, print(derivation, format_named(flags.format))))
    return console.show(*problem), exit_of(*problem);
  if (flags.check && !show_check(derivation, console)) return Exit::wrong;
  return Exit::done;
}

}  // namespace

void add_derive(CLI::App& app, Action& action) {
  auto flags = std::make_shared<DeriveFlags>();
  CLI::App* command = app.add_subcommand(
      "derive",
      "Prints each gradient as mathematics: from the loss to the parameters, line by line, with the laws and rules of "
      "differentiation that were used.");
  command->footer(
      "Examples:\n"
      "  nnc derive linear.nn\n"
      "  nnc derive mlp.nn --param Dense1.W --steps all\n"
      "  nnc derive mlp.nn --format html -o mlp.html\n"
      "  nnc derive mlp.nn --check > mlp.txt\n");
  command->add_option("FILE", flags->file, "the program")->required();
  command->add_option("MODEL", flags->model, "the train block (its `as` name or its model)");
  command->add_option("--param", flags->parameter, "one parameter by its path (default: all)")->type_name("PATH");
  command->add_option("--steps", flags->steps, "key: a line for what counts; all: also each use of a law")
      ->check(CLI::IsMember({"key", "all"}))
      ->type_name("key|all");
  command->add_option("--format", flags->format, "how it is written (default: text)")
      ->check(CLI::IsMember({"text", "latex", "html"}))
      ->type_name("text|latex|html");
  command->add_flag("--check", flags->check, "compute both sides of each line at random points and compare them");
  command->add_option("--disable-law", flags->disabled_laws, "laws that stabilise and simplify may not use")
      ->delimiter(',')
      ->check(law_name())
      ->type_name("LAW");
  command->add_option("-o,--output", flags->output, "where to write (default: stdout)")->type_name("FILE");
  flags->program.add_to(*command);
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return derive_file(*flags, console); }; });
}

}  // namespace nnc::driver
