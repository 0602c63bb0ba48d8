// nnc fmt: the one layout of .nn text.
#include <fmt/format.h>

#include <iostream>
#include <iterator>

#include "driver/commands.h"
#include "driver/line_diff.h"
#include "driver/options.h"
#include "frontend/format.h"

namespace nnc::driver {

namespace {

struct FmtFlags {
  std::vector<std::string> files;
  bool check = false, diff = false;
};

std::uint32_t read(const std::string& name, Diagnostics& diagnostics) {
  if (name != "-") return read_source(name, diagnostics);
  return diagnostics.add_file({.path = "<stdin>", .text = std::string(std::istreambuf_iterator<char>(std::cin), {})});
}

Exit fmt_file(const std::string& name, const FmtFlags& flags, const Console& console) {
  if (auto problem = name == "-" ? std::nullopt : no_program(name)) return console.show(*problem), exit_of(*problem);
  Diagnostics diagnostics;
  const std::uint32_t file = read(name, diagnostics);
  const auto text = diagnostics.has_errors() ? std::nullopt : format(file, diagnostics);
  console.show(diagnostics);
  if (!text) return exit_of(diagnostics);
  const std::string& before = diagnostics.file(file).text;
  const bool same = *text == before;
  if (flags.check || flags.diff) {
    if (flags.diff) fmt::print("{}", line_diff(before, *text, name));
    if (flags.check && !same) console.note(fmt::format("{} would be laid out anew", name));
    return same ? Exit::done : Exit::wrong;
  }
  if (name != "-" && same) return Exit::done;
  if (auto problem = write_text(name, *text)) return console.show(*problem), exit_of(*problem);
  return Exit::done;
}

Exit fmt_files(const FmtFlags& flags, const Console& console) {
  Exit result = Exit::done;
  for (const std::string& name : flags.files) result = std::max(result, fmt_file(name, flags, console));
  return result;
}

}  // namespace

void add_fmt(CLI::App& app, Action& action) {
  auto flags = std::make_shared<FmtFlags>();
  CLI::App* command = app.add_subcommand(
      "fmt", "Lays programs out in the one style that there is. What has syntax errors is not touched.");
  command->footer(
      "Examples:\n"
      "  nnc fmt linear.nn mlp.nn\n"
      "  nnc fmt --check *.nn       status 1 where something would change\n"
      "  nnc fmt --diff mlp.nn      what would change\n"
      "  nnc fmt - < mlp.nn > copy.nn\n");
  command->add_option("FILE", flags->files, "programs; - is stdin, laid out on stdout")->required();
  command->add_flag("--check", flags->check, "write nothing; status 1 where a file would change");
  command->add_flag("--diff", flags->diff, "write nothing; print what would change");
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return fmt_files(*flags, console); }; });
}

}  // namespace nnc::driver
