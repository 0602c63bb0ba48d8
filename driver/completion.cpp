// nnc completion: scripts by which shells complete commands and options, and the man page; all made from the tables
// that the command line itself is read by.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "driver/commands.h"
#include "driver/run_record.h"

namespace nnc::driver {

namespace {

struct OptionWords {
  std::vector<std::string> names;  ///< "--epochs", "-o"
  std::string value;               ///< what stands for its value in help; empty for a flag
  std::string text;
  std::vector<std::string> choices;  ///< where its value is one of a few
};
struct CommandWords {
  std::string name, text;
  std::vector<OptionWords> options;
  std::vector<std::string> arguments;  ///< "FILE"
  std::string examples;
};

std::vector<std::string> cut(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0, end; begin <= text.size(); begin = end + 1) {
    end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
  }
  return parts;
}

/// CLI11 writes what it checks behind the name of a type: "WHEN:{auto,always,never}", "N:INT in [1 - 1024]".
void set_value(OptionWords& words, const std::string& type) {
  const std::size_t colon = std::min(type.find(':'), type.size());
  words.value = type.substr(0, colon);
  const std::string checked = type.substr(std::min(colon + 1, type.size()));
  if (checked.starts_with('{') && checked.ends_with('}'))
    words.choices = cut(checked.substr(1, checked.size() - 2), ',');
}

CommandWords words_of(const CLI::App& app) {
  CommandWords command{app.get_name(), app.get_description(), {}, {}, app.get_footer()};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      command.arguments.push_back(option->get_name(true));
      continue;
    }
    OptionWords words;
    for (const std::string& name : option->get_snames()) words.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) words.names.push_back("--" + name);
    if (option->get_type_size() != 0) set_value(words, option->get_type_name());
    words.text = option->get_description();
    if (!words.names.empty()) command.options.push_back(std::move(words));
  }
  return command;
}

std::vector<CommandWords> commands_of(const CLI::App& app) {
  std::vector<CommandWords> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(words_of(*command));
  return commands;
}

std::string joined_names(const CommandWords& command) {
  std::vector<std::string> names;
  for (const OptionWords& option : command.options) names.insert(names.end(), option.names.begin(), option.names.end());
  return fmt::format("{}", fmt::join(names, " "));
}

std::string bash_script(const CommandWords& all, const std::vector<CommandWords>& commands) {
  std::vector<std::string> names;
  std::string cases, choices;
  for (const CommandWords& command : commands) {
    names.push_back(command.name);
    cases += fmt::format("    {}) words={} ;;\n", command.name, shell_word(joined_names(command)));
    for (const OptionWords& option : command.options)
      if (!option.choices.empty())
        choices += fmt::format("    {}:{}) words={}; free=1 ;;\n", command.name, option.names.back(),
                               shell_word(fmt::format("{}", fmt::join(option.choices, " "))));
  }
  return fmt::format(R"(# bash completion for nnc: nnc completion bash > /usr/share/bash-completion/completions/nnc
_nnc() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command='' words='' free='' i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    [[ ${{COMP_WORDS[i]}} == -* ]] || {{ command=${{COMP_WORDS[i]}}; break; }}
  done
  if [[ -z $command ]]; then
    COMPREPLY=($(compgen -W {} -- "$word"))
    return
  fi
  case $command in
{}  esac
  case $command:$before in
{}  esac
  if [[ $word == -* || -n $free ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _nnc nnc
)",
                     shell_word(fmt::format("{} {}", fmt::join(names, " "), joined_names(all))), cases, choices);
}

/// A description as zsh's _arguments takes it between brackets.
std::string zsh_text(const std::string& text) {
  std::string result;
  for (const char c : text) result += (c == '[' || c == ']' || c == ':' ? "\\" : "") + std::string(1, c);
  return result;
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  std::string list, cases;
  for (const CommandWords& command : commands) {
    list += fmt::format("    {}\n", shell_word(command.name + ":" + zsh_text(command.text)));
    cases += fmt::format("    {}) _arguments", command.name);
    for (const OptionWords& option : command.options)
      for (const std::string& name : option.names) {
        std::string spec = fmt::format("{}[{}]", name, zsh_text(option.text));
        if (!option.choices.empty())
          spec += fmt::format(":value:({})", fmt::join(option.choices, " "));
        else if (!option.value.empty())
          spec += fmt::format(":{}:_files", zsh_text(option.value));
        cases += " \\\n      " + shell_word(spec);
      }
    cases += " \\\n      '*:file:_files' ;;\n";
  }
  return fmt::format(R"(#compdef nnc
# zsh completion for nnc: nnc completion zsh > "${{fpath[1]}}/_nnc"
_nnc() {{
  local -a commands=(
{}  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT -= 1))
  case $command in
{}  esac
}}
_nnc "$@"
)",
                     list, cases);
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string text = "# fish completion for nnc: nnc completion fish > ~/.config/fish/completions/nnc.fish\n";
  for (const CommandWords& command : commands) {
    text += fmt::format("complete -c nnc -n __fish_use_subcommand -f -a {} -d {}\n", command.name,
                        shell_word(command.text));
    for (const OptionWords& option : command.options) {
      text += fmt::format("complete -c nnc -n '__fish_seen_subcommand_from {}'", command.name);
      for (const std::string& name : option.names)
        text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!option.choices.empty())
        text += fmt::format(" -x -a {}", shell_word(fmt::format("{}", fmt::join(option.choices, " "))));
      else if (!option.value.empty())
        text += " -r";
      text += " -d " + shell_word(option.text) + "\n";
    }
  }
  return text;
}

/// Text in roff: a backslash and a hyphen are written out, and no line begins with a dot.
std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if ((c == '.' || c == '\'') && (result.empty() || result.back() == '\n')) result += "\\&";
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else
      result += c;
  }
  return result;
}

std::string man_options(const std::vector<OptionWords>& options) {
  std::string text;
  for (const OptionWords& option : options)
    text += fmt::format(".TP\n\\fB{}\\fR{}\n{}\n", roff(fmt::format("{}", fmt::join(option.names, ", "))),
                        option.value.empty() ? "" : " \\fI" + roff(option.value) + "\\fR", roff(option.text));
  return text;
}

std::string man_page(const CommandWords& all, const std::vector<CommandWords>& commands) {
  std::string text = fmt::format(".TH NNC 1 \"\" \"nnc {}\"\n.SH NAME\nnnc \\- {}\n", version, roff(all.text));
  text += ".SH SYNOPSIS\n.B nnc\n\\fICOMMAND\\fR [\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n";
  text += ".SH EXAMPLES\n.nf\n" + roff(all.examples.substr(all.examples.find('\n') + 1)) + ".fi\n";
  text += ".SH OPTIONS\n" + man_options(all.options) + ".SH COMMANDS\n";
  for (const CommandWords& command : commands) {
    text += fmt::format(".SS nnc {}", roff(command.name));
    for (const std::string& argument : command.arguments) text += " " + roff(argument);
    text += "\n" + roff(command.text) + "\n.PP\n.nf\n" +
            roff(command.examples.substr(command.examples.find('\n') + 1)) + ".fi\n" + man_options(command.options);
  }
  text += ".SH EXIT STATUS\n";
  for (const auto& [status, meaning] : {std::pair{"0", "done"},
                                        {"1", "an error in the program or the data, a failed test or threshold"},
                                        {"2", "usage, or a file that cannot be read or written"},
                                        {"3", "training diverged"},
                                        {"101", "a bug in nnc"},
                                        {"128+n", "ended by signal n; a training has saved where it stood"}})
    text += fmt::format(".TP\n.B {}\n{}\n", status, meaning);
  text += ".SH FILES\n.TP\n.B nnc.toml\nIn the current folder or the nearest above it: ";
  text += "threads, cpu, codegen\\-level, color and save\\-every, as in \\fBthreads = 4\\fR.\n";
  text += ".SH ENVIRONMENT\n.TP\n.B NNC_THREADS NNC_CPU NNC_CODEGEN_LEVEL NNC_COLOR NNC_SAVE_EVERY\n";
  text += "The same; an option beats a variable, which beats nnc.toml.\n";
  text += ".TP\n.B NO_COLOR CLICOLOR_FORCE CLICOLOR CI TERM\nWhether stderr is coloured and moves.\n";
  return text;
}

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "completion", "Prints a script by which a shell completes nnc's commands and options, or the man page.");
  command->footer(
      "Examples:\n"
      "  nnc completion bash > nnc.bash\n"
      "  nnc completion zsh > _nnc\n"
      "  nnc completion man > nnc.1\n");
  command->add_option("SHELL", *shell, "bash, zsh, fish; or man")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish", "man"}));
  command->callback([shell, &action, &app] {
    action = [shell, &app](const Console&) {
      const std::vector<CommandWords> commands = commands_of(app);
      const std::string text = *shell == "bash"   ? bash_script(words_of(app), commands)
                               : *shell == "zsh"  ? zsh_script(commands)
                               : *shell == "fish" ? fish_script(commands)
                                                  : man_page(words_of(app), commands);
      write_text("-", text);
      return Exit::done;
    };
  });
}

}  // namespace nnc::driver
