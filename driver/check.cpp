// nnc check: everything that can be said about a program without its data.
#include <fmt/format.h>

#include <algorithm>

#include "driver/commands.h"
#include "driver/options.h"

namespace nnc::driver {

namespace {

struct CheckFlags {
  std::vector<std::string> files;
  ProgramOptions program;
};

Exit check(const CheckFlags& flags, const Console& console) {
  auto options = flags.program.elaborate_options(console, "");
  if (!options) return Exit::usage;
  Exit result = Exit::done;
  for (const std::string& file : flags.files) {
    Exit status = Exit::done;
    read_program(file, *options, console, status);
    result = std::max(result, status);
  }
  return result;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  auto flags = std::make_shared<CheckFlags>();
  CLI::App* command =
      app.add_subcommand("check", "Parses programs and checks names, types and shapes. No data is read.");
  command->footer(
      "Examples:\n"
      "  nnc check linear.nn mlp.nn\n"
      "  nnc check mlp.nn --set hidden=64\n");
  command->add_option("FILE", flags->files, "programs")->required();
  flags->program.add_to(*command);
  command->callback([flags, &action] { action = [flags](const Console& console) { return check(*flags, console); }; });
}

}  // namespace nnc::driver
