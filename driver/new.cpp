// nnc new: a program that trains, with its data, to be changed into one's own. The templates are files of the project
// (driver/templates), carried as text.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "driver/commands.h"
#include "driver/templates.h"
#include "ir/nearest.h"
#include "runtime/file.h"

namespace nnc::driver {

namespace {

/// What a template's first comment says before its first stop.
std::string about(std::string_view text) {
  const std::string line(text.substr(2, text.find('\n') - 2));
  return line.substr(0, std::min(line.find_first_of(".:?"), line.size()));
}

std::vector<std::string> template_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : embedded_templates())
    if (file.name.ends_with(".nn")) names.emplace_back(file.name.substr(0, file.name.size() - 3));
  return names;
}

Exit list_templates() {
  for (const EmbeddedFile& file : embedded_templates())
    if (file.name.ends_with(".nn"))
      fmt::print("  {:<9} {}\n", file.name.substr(0, file.name.size() - 3), about(file.text));
  return Exit::done;
}

Exit make(const std::string& name, std::string folder, const Console& console) {
  const std::vector<std::string> names = template_names();
  if (std::ranges::find(names, name) == names.end()) {
    console.error(fmt::format("there is no template `{}`; there are {}{}", name, fmt::join(names, ", "),
                              or_did_you_mean(name, names)));
    return Exit::usage;
  }
  if (folder.empty()) folder = name;
  if (auto problem = make_folder(folder)) return console.show(*problem), exit_of(*problem);
  std::vector<const EmbeddedFile*> files;
  for (const EmbeddedFile& file : embedded_templates())
    if (file.name.substr(0, file.name.rfind('.')) == name) files.push_back(&file);
  for (const EmbeddedFile* file : files) {
    const std::string path = (std::filesystem::path(folder) / file->name).string();
    if (std::filesystem::exists(path)) return console.error(fmt::format("`{}` is there already", path)), Exit::usage;
  }
  for (const EmbeddedFile* file : files) {
    const std::string path = (std::filesystem::path(folder) / file->name).string();
    if (auto problem = write_file_atomically(path, file->text)) return console.show(*problem), exit_of(*problem);
    console.note("wrote " + path);
  }
  console.note(fmt::format("next: nnc train {}", (std::filesystem::path(folder) / (name + ".nn")).string()));
  return Exit::done;
}

}  // namespace

void add_new(CLI::App& app, Action& action) {
  struct NewFlags {
    std::string name, folder;
  };
  auto flags = std::make_shared<NewFlags>();
  CLI::App* command = app.add_subcommand(
      "new", "Makes a folder with a program that trains, and its data; without a name, lists what there is.");
  command->footer(
      "Examples:\n"
      "  nnc new linear           linear/linear.nn and linear/linear.csv\n"
      "  nnc new mlp fruits       in the folder fruits\n"
      "  nnc new                  what there is\n");
  command->add_option("NAME", flags->name, "the template");
  command->add_option("DIR", flags->folder, "where (default: a folder of its name)");
  command->callback([flags, &action] {
    action = [flags](const Console& console) {
      return flags->name.empty() ? list_templates() : make(flags->name, flags->folder, console);
    };
  });
}

}  // namespace nnc::driver
