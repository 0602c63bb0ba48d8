#include "driver/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <string_view>
#include <system_error>

#include "driver/commands.h"
#include "driver/configuration.h"
#include "driver/run_record.h"
#include "driver/stderr.h"
#include "ir/nearest.h"

namespace nnc::driver {

namespace {

constexpr const char* examples =
    "Examples:\n"
    "  nnc new linear                               a program that trains, and its data\n"
    "  nnc train linear/linear.nn --out run         train, leave a run directory\n"
    "  nnc eval run                                 loss and metrics of a run\n"
    "  nnc predict run --input linear/linear.csv    what it says of each row\n"
    "  nnc emit linear/linear.nn --stage opt        the simplified graph, with its gradients\n";

/// Help begins with examples; they are kept in the footer, which CLI11 would print last.
class ExamplesFirst : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    if (mode == CLI::AppFormatMode::Sub) return CLI::Formatter::make_help(app, name, mode);
    return app->get_footer() + "\n" + CLI::Formatter::make_help(app, name, mode);
  }
  std::string make_footer(const CLI::App*) const override { return ""; }
};

/// Commands of the design that this version does not have, so that asking for one gets a plain answer.
constexpr std::array<std::string_view, 2> not_built = {"convert", "lsp"};

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

template <class Names>
bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// A first word that is no command, which CLI11 would call an unexpected argument.
std::optional<std::string> unknown_command(const CLI::App& app, const std::vector<std::string>& words) {
  if (words.size() < 2 || words[1].starts_with('-')) return std::nullopt;
  const std::string& name = words[1];
  std::vector<std::string> names = names_of(app);
  if (contains(names, name)) return std::nullopt;
  if (contains(not_built, name)) return fmt::format("`nnc {}` is not built yet", name);
  if (name.ends_with(".nn"))
    return fmt::format("what is to be done with `{0}`? `nnc train {0}` trains it, `nnc check {0}` looks it over", name);
  if (name == "resume") return "there is no command `resume`; `nnc train --resume RUN` goes on with a run";
  return fmt::format("there is no command `{}`{}", name, or_did_you_mean(name, names));
}

/// An option that does not exist, with the nearest that does.
std::string explain(const CLI::ParseError& error, const CLI::App& app) {
  const CLI::App* command = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) return error.what();
  std::vector<std::string> extras = command->remaining(true);
  if (extras.empty()) extras = app.remaining(true);
  if (extras.empty()) return error.what();
  std::vector<std::string> options;
  for (const CLI::Option* option : command->get_options())
    for (const std::string& name : option->get_lnames()) options.push_back("--" + name);
  std::string given = extras.front().substr(0, extras.front().find('='));
  if (!given.starts_with('-')) return fmt::format("`{}` is one argument too many", given);
  std::string near = or_did_you_mean(given, options);
  if (near.empty() && command->get_name() == "train")
    near = "; how a model learns is said in its program, whose constants are changed for once by `--set NAME=VALUE`";
  return fmt::format("there is no option `{}`{}", given, near);
}

/// `nnc help`, `nnc help train` and `nnc version`, which people type, are `--help`, `train --help` and `--version`.
std::vector<std::string> with_options_for_words(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  if (words.size() > 1 && words[1] == "help") {
    words.erase(words.begin() + 1);
    words.emplace_back("--help");
  } else if (words.size() == 2 && words[1] == "version") {
    words[1] = "--version";
  }
  return words;
}

/// What is configured and not said on the line.
std::vector<Configured> unsaid(std::vector<Configured> configured, const std::vector<std::string>& words) {
  std::erase_if(configured, [&](const Configured& one) {
    const std::string option = "--" + one.option;
    return std::ranges::any_of(
        words, [&](const std::string& word) { return word == option || word.starts_with(option + "="); });
  });
  return configured;
}

/// The words of the line in CLI11's order (the last first), with what is configured.
std::vector<std::string> with_configuration(const CLI::App& app, std::vector<std::string> words,
                                            const std::vector<Configured>& configured) {
  words.erase(words.begin());  // the command itself
  const std::vector<std::string> names = names_of(app);
  const bool is_command = !words.empty() && contains(names, words[0]);
  std::vector<std::string> more;
  for (const Configured& one : configured) {
    const std::string option = "--" + one.option;
    const bool known = app.get_option_no_throw(option) ||
                       (is_command && app.get_subcommand(words[0])->get_option_no_throw(option) != nullptr);
    if (known) more.push_back(option + "=" + one.value);
  }
  words.insert(words.begin() + (is_command ? 1 : 0), more.begin(), more.end());
  std::reverse(words.begin(), words.end());
  return words;
}

/// Where a value was set that the line did not say.
std::string where_from(const std::string& message, const std::vector<Configured>& configured) {
  for (const Configured& one : configured)
    if (message.find("--" + one.option + ":") != std::string::npos && message.find(one.value) != std::string::npos)
      return fmt::format(" (set by {})", one.from);
  return "";
}

Exit usage_error(const Console& console, const std::string& message, const std::string& command) {
  console.error(message);
  console.note(fmt::format("`nnc {}--help` shows what there is", command.empty() ? "" : command + " "));
  return Exit::usage;
}

Exit run_action(const Action& action, const Console& console) {
  try {
    return action(console);
  } catch (const std::bad_alloc&) {
    console.error("there is not enough memory");
    return Exit::wrong;
  } catch (const std::filesystem::filesystem_error& failed) {  // a folder that may not be looked into
    console.error(fmt::format("cannot reach `{}`: {}", failed.path1().string(), failed.code().message()));
    return Exit::usage;
  } catch (const std::system_error& failed) {  // rows that cannot be read back, a thread that cannot begin
    if (std::ferror(stdout) == 0) console.error(failed.what());  // else what was thrown is that; run_command tells
    return Exit::usage;
  } catch (const std::exception& bug) {
    console.error(fmt::format("this is a bug in nnc: {}", bug.what()));
    console.note(fmt::format("please report it with the program and the command line (nnc {})", version));
    return Exit::bug;
  }
}

Exit parse_and_run(int argc, char** argv) {
  Action action;
  std::string color = "auto";
  bool show_version = false;
  CLI::App app("Compiles neural networks written in .nn files and trains them.", "nnc");
  app.footer(examples);
  app.formatter(std::make_shared<ExamplesFirst>());
  app.require_subcommand(0, 1);
  app.fallthrough();
  app.add_flag("--version", show_version, "print the version");
  app.add_option("--color", color, "colour on stderr: auto, always, never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("WHEN");
  for (auto add :
       {add_check, add_train, add_eval, add_predict, add_build, add_bench, add_emit, add_derive, add_report, add_opt,
        add_gradcheck, add_explain, add_fmt, add_test, add_new, add_inspect, add_doctor, add_completion})
    add(app, action);

  Console console = Console::from_environment(color);
  const std::vector<std::string> words = with_options_for_words(argc, argv);
  if (auto message = unknown_command(app, words)) return usage_error(console, *message, "");
  auto set = configuration();
  if (!set) return console.show(set.problem()), Exit::usage;
  const std::vector<Configured> configured = unsaid(std::move(*set), words);
  try {
    app.parse(with_configuration(app, words, configured));
  } catch (const CLI::CallForHelp&) {
    const CLI::App* asked = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
    fmt::print("{}", asked->help(asked == &app ? "" : "nnc"));
    return Exit::done;
  } catch (const CLI::ParseError& error) {
    std::string command = app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name();
    return usage_error(console, explain(error, app) + where_from(error.what(), configured), command);
  }
  console = Console::from_environment(color);
  if (show_version) return fmt::print("nnc {}\n", version), Exit::done;
  if (!action) return to_stderr("{}", app.help()), Exit::usage;
  return run_action(action, console);
}

/// A standard stream that is closed would be the next file that is opened, and messages would end in that. What is
/// written to stdout fails then, as it did.
void open_standard_streams() {
  for (const auto& [stream, how] :
       {std::pair{STDIN_FILENO, O_RDONLY}, {STDOUT_FILENO, O_RDONLY}, {STDERR_FILENO, O_WRONLY}})
    if (::fcntl(stream, F_GETFD) == -1 && ::open("/dev/null", how) != stream) return;
}

}  // namespace

int run_command(int argc, char** argv) {
  open_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is an error of the write, whatever is written
  Exit status = Exit::usage;
  try {
    status = parse_and_run(argc, argv);
  } catch (const std::system_error&) {
    if (std::ferror(stdout) == 0) throw;
  }
  // Results that did not reach their reader are no success, whatever came before.
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return static_cast<int>(status);
  to_stderr("error: cannot write to stdout: {}\n", std::strerror(errno));
  return static_cast<int>(status == Exit::done ? Exit::usage : status);
}

}  // namespace nnc::driver
