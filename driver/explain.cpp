// nnc explain: what a code means, a program that earns it, and how to mend it.
#include <fmt/format.h>

#include "driver/commands.h"
#include "frontend/explanations.h"

namespace nnc::driver {

namespace {

Exit explain_codes(const std::vector<std::string>& names, const Console& console) {
  if (names.empty()) return fmt::print("{}", list_of_codes()), Exit::done;
  Exit result = Exit::done;
  bool first = true;
  for (const std::string& name : names) {
    if (const auto code = code_named(name)) {
      fmt::print("{}{}", first ? "" : "\n", explained(*code));
      first = false;
      continue;
    }
    const Code near = nearest_code(name);
    console.error(fmt::format("there is no code `{}`; the nearest is {}: {}", name, code_text(near), title_of(near)));
    console.note("`nnc explain` lists all");
    result = Exit::usage;
  }
  return result;
}

}  // namespace

void add_explain(CLI::App& app, Action& action) {
  auto codes = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand(
      "explain", "Says what the code of a message means, with a program that earns it and the program mended.");
  command->footer(
      "Examples:\n"
      "  nnc explain E0301\n"
      "  nnc explain              all codes\n");
  command->add_option("CODE", *codes, "the code in brackets, such as E0301");
  command->callback(
      [codes, &action] { action = [codes](const Console& console) { return explain_codes(*codes, console); }; });
}

}  // namespace nnc::driver
