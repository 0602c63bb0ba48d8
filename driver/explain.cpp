// nnc explain: what the code of a message means, with a program that earns it; and what a name means: of the library,
// of the language, a setting, a command, a pass, a law, an op of graphs.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <regex>

#include "driver/commands.h"
#include "frontend/explanations.h"
#include "frontend/words.h"
#include "ir/nearest.h"
#include "ir/op.h"
#include "passes/laws.h"
#include "passes/pipeline.h"

namespace nnc::driver {

namespace {

/// One meaning of a name.
struct Meaning {
  std::string name, kind, text;
};

std::string kind_of_word(WordKind kind) {
  switch (kind) {
    case WordKind::function:
      return "of the language";
    case WordKind::train_setting:
      return "of train blocks";
    case WordKind::data_word:
      return "of data blocks";
    case WordKind::word:
      return "words";
  }
  return "";
}

/// "layers.nn": layers of the library.
std::string kind_of_file(std::string_view file) {
  return fmt::format("of the library: {}", file.substr(0, file.find('.')));
}

std::string kind_of_op(OpClass cls) {
  switch (cls) {
    case OpClass::leaf:
      return "a value from outside";
    case OpClass::generate:
      return "made from indices and streams";
    case OpClass::elementwise:
      return "each element by itself";
    case OpClass::reduce:
      return "a reduction along axes";
    case OpClass::view:
      return "the same elements seen otherwise";
    case OpClass::contract:
      return "sums of products";
    case OpClass::index:
      return "rows by their numbers";
    case OpClass::control:
      return "for the compiler";
    case OpClass::loop:
      return "a loop";
    case OpClass::formula:
      return "a formula in other ops";
  }
  return "";
}

/// All there is but the codes, kind by kind.
std::vector<Meaning> meanings(const CLI::App& app) {
  std::vector<Meaning> all;
  for (const LibraryEntry& entry : library_entries())
    all.push_back({entry.name, kind_of_file(entry.file), entry.signature + "\n" + entry.doc});
  for (const WordKind kind : {WordKind::function, WordKind::train_setting, WordKind::data_word, WordKind::word})
    for (const Word& word : words_of(kind)) {
      const std::size_t colon = word.text.find(": ");
      all.push_back({std::string(word.name), kind_of_word(kind),
                     fmt::format("{}\n{}", word.text.substr(0, colon), word.text.substr(colon + 2))});
    }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    all.push_back(
        {command->get_name(), "commands",
         fmt::format("nnc {0}\n{1} `nnc {0} --help` says how.", command->get_name(), command->get_description())});
  for (const PassStep& pass : defining_passes())
    all.push_back({std::string(pass.name), "passes",
                   fmt::format("{0}\n{1}: `nnc emit FILE --stage opt --print-after={0}`", pass.name, pass.reason)});
  for (const auto laws : {stabilise_laws(), simplify_laws()})
    for (const Law& law : laws)
      all.push_back(
          {std::string(law.name), "laws of stabilise and simplify", fmt::format("{}\n{}", law.name, law.identity)});
  for (const Op each : all_ops()) {
    const OpDef& op = definition(each);
    all.push_back(
        {std::string(op.name), "ops of graphs",
         fmt::format("{}\n{}; {}. `nnc emit` prints graphs, docs/architecture.md says what they are.", op.name,
                     kind_of_op(op.cls), op.gradient ? "it has a derivative" : "it has no derivative")});
  }
  return all;
}

/// Lines of at most so many columns, each behind a margin.
std::string in_lines(std::string_view text, std::string_view margin) {
  constexpr std::size_t most = 100;
  std::string lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (line.size() > most) {
      const std::size_t blank = line.rfind(' ', most);
      const std::size_t cut = blank == std::string_view::npos || blank == 0 ? most : blank;
      lines += fmt::format("{}{}\n", margin, line.substr(0, cut));
      line.remove_prefix(std::min(cut + 1, line.size()));
    }
    lines += fmt::format("{}{}\n", margin, line);
  }
  return lines;
}

/// Those of the library that have an argument or a setting of this name.
std::vector<const LibraryEntry*> with_argument(const std::vector<LibraryEntry>& library, const std::string& name) {
  const std::regex written(fmt::format("[(,]\\s*{}\\s*:", name));
  std::vector<const LibraryEntry*> found;
  for (const LibraryEntry& entry : library)
    if (std::regex_search(entry.signature, written)) found.push_back(&entry);
  return found;
}

/// What has it, line by line. Whether there is any.
bool explain_argument(const std::string& name, const char*& between) {
  constexpr std::size_t most = 12;
  if (name.empty() || !std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '_'; }))
    return false;
  const std::vector<LibraryEntry> library = library_entries();
  const std::vector<const LibraryEntry*> found = with_argument(library, name);
  if (found.empty()) return false;
  fmt::print("{}{}  (an argument of these)\n", std::exchange(between, "\n"), name);
  for (std::size_t i = 0; i < std::min(found.size(), most); ++i)
    fmt::print("{}", in_lines(fmt::format("{}\n  {}", found[i]->signature, found[i]->doc), "  "));
  if (found.size() > most) fmt::print("  and {} more: `nnc explain NAME` says what each does\n", found.size() - most);
  return true;
}

Exit list_all(const std::vector<Meaning>& all) {
  std::string text = list_of_codes();
  std::string kind;
  std::vector<std::string> names;
  const auto close = [&] {
    if (!names.empty()) text += fmt::format("\n{}\n{}", kind, in_lines(fmt::format("{}", fmt::join(names, " ")), "  "));
    names.clear();
  };
  for (const Meaning& meaning : all) {
    if (meaning.kind != kind) close();
    kind = meaning.kind;
    if (names.empty() || names.back() != meaning.name) names.push_back(meaning.name);
  }
  close();
  return fmt::print("{}", text), Exit::done;
}

/// "adam(lr)", "`adam`": what is copied from a program or a message.
std::string bare(std::string name) {
  std::erase(name, '`');
  return name.substr(0, name.find('('));
}

Exit explain_names(const std::vector<std::string>& names, const CLI::App& app, const Console& console) {
  const std::vector<Meaning> all = meanings(app);
  Exit result = Exit::done;
  const char* between = "";
  for (const std::string& given : names) {
    const std::string name = bare(given);
    if (const auto code = code_named(name)) {
      fmt::print("{}{}", std::exchange(between, "\n"), explained(*code));
      continue;
    }
    bool known = false;
    for (const Meaning& meaning : all) {
      if (meaning.name != name) continue;
      known = true;
      const std::size_t head = meaning.text.find('\n');
      fmt::print("{}{}  ({})\n{}", std::exchange(between, "\n"), meaning.text.substr(0, head), meaning.kind,
                 in_lines(meaning.text.substr(head + 1), "  "));
    }
    if (known || explain_argument(name, between)) continue;
    std::vector<std::string> candidates;
    for (const Meaning& meaning : all) candidates.push_back(meaning.name);
    const bool is_number = name.find_first_of("0123456789") != std::string::npos && name.size() <= 6;
    const std::string meant = or_did_you_mean(name, candidates);
    if (meant.empty() && is_number) {
      const Code code = nearest_code(name);
      console.error(fmt::format("there is no code `{}`; the nearest is {}: {}", name, code_text(code), title_of(code)));
    } else {
      console.error(fmt::format("nothing is called `{}`{}", name, meant));
    }
    console.note("`nnc explain --list` shows all that can be explained");
    result = Exit::usage;
  }
  return result;
}

}  // namespace

void add_explain(CLI::App& app, Action& action) {
  struct ExplainFlags {
    std::vector<std::string> names;
    bool list = false;
  };
  auto flags = std::make_shared<ExplainFlags>();
  CLI::App* command =
      app.add_subcommand("explain",
                         "Says what the code of a message means, with a program that earns it and the program mended; "
                         "or what a name means: "
                         "a layer, a function, an optimizer, a setting, a command, a pass, a law, an op.");
  command->footer(
      "Examples:\n"
      "  nnc explain E0301\n"
      "  nnc explain softmax_cross_entropy early_stop\n"
      "  nnc explain              all codes\n"
      "  nnc explain --list       all codes and all names\n");
  command->add_option("NAME", flags->names, "the code in brackets, such as E0301, or a name, such as Dense");
  command->add_flag("--list", flags->list, "everything that can be explained");
  command->callback([flags, &app, &action] {
    action = [flags, &app](const Console& console) {
      if (flags->list) return list_all(meanings(app));
      if (flags->names.empty()) return fmt::print("{}", list_of_codes()), Exit::done;
      return explain_names(flags->names, app, console);
    };
  });
}

}  // namespace nnc::driver
