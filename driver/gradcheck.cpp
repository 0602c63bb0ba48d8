// nnc gradcheck: gradients against finite differences, in f64.
#include "passes/gradcheck.h"

#include <fmt/format.h>

#include "driver/commands.h"
#include "driver/options.h"
#include "driver/trained.h"
#include "ir/op.h"

namespace nnc::driver {

namespace {

struct GradcheckFlags {
  std::string file, model;
  bool ops = false;
  std::uint64_t seed = 1;
  ProgramOptions program;
};

/// One line for what was checked, one for each gradient that is wrong. Those of a step are looked at after every pass.
bool show(const std::string& what, const GradcheckReport& report) {
  bool good = report.failures.empty();
  fmt::print("{}: {} of {} gradients agree, worst relative error {:.1e}\n", what,
             report.checked - static_cast<std::int64_t>(report.failures.size()), report.checked, report.worst);
  for (const GradcheckFailure& failure : report.failures) fmt::print("  {}\n", to_string(failure));
  return good;
}

Exit check_ops(const GradcheckOptions& options) {
  bool good = true;
  for (Op op : all_ops()) {
    std::string name(definition(op).name), reason = exempt_from_gradcheck(op);
    if (reason.empty())
      good = show(name, gradcheck_op(op, options)) && good;
    else
      fmt::print("{}: not checked: {}\n", name, reason);
  }
  return good ? Exit::done : Exit::wrong;
}

Exit gradcheck(const GradcheckFlags& flags, const Console& console) {
  GradcheckOptions check;
  check.seed = flags.seed;
  if (flags.ops) return check_ops(check);
  if (flags.file.empty()) return console.error("say which program, or --ops for every op"), Exit::usage;
  auto options = flags.program.elaborate_options(console, flags.model);
  if (!options) return Exit::usage;
  Exit status = Exit::done;
  std::vector<Elaborated> blocks = read_program_or_run(flags.file, *options, flags.program, console, status);
  if (status != Exit::done) return status;
  if (blocks.empty()) return console.error(fmt::format("`{}` has no train block", flags.file)), Exit::wrong;
  bool good = true;
  for (const Elaborated& block : blocks) good = show(block.train.name, gradcheck_step(block.step, check)) && good;
  return good ? Exit::done : Exit::wrong;
}

}  // namespace

void add_gradcheck(CLI::App& app, Action& action) {
  auto flags = std::make_shared<GradcheckFlags>();
  CLI::App* command =
      app.add_subcommand("gradcheck",
                         "Compares the gradients that are derived with finite differences, in f64: of a program's "
                         "training step by its parameters, after each pass that they go through, or of every op by its "
                         "operands.");
  command->footer(
      "Examples:\n"
      "  nnc gradcheck mlp.nn\n"
      "  nnc gradcheck --ops\n");
  command->add_option("FILE", flags->file, "the program");
  command->add_option("MODEL", flags->model, "one train block (default: all)");
  command->add_flag("--ops", flags->ops, "every op of the compiler instead of a program");
  command->add_option("--seed", flags->seed, "of the points where gradients are compared")
      ->check(whole_of_64_bits())
      ->type_name("N");
  flags->program.add_to(*command);
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return gradcheck(*flags, console); }; });
}

}  // namespace nnc::driver
