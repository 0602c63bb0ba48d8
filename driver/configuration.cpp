#include "driver/configuration.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

#include "driver/console.h"
#include "ir/nearest.h"
#include "runtime/file.h"

namespace nnc::driver {

namespace fs = std::filesystem;

namespace {

constexpr std::array<const char*, 6> settings{"threads", "cpu", "codegen-level", "color", "save-every", "stream-over"};

/// NNC_CODEGEN_LEVEL for codegen-level.
std::string variable_of(const std::string& setting) {
  std::string name = "NNC_";
  for (const char c : setting) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  text.erase(0, text.find_first_not_of(" \t"));
  return text;
}

Problem wrong(const std::string& path, std::uint32_t line, std::string message, std::vector<std::string> notes = {}) {
  return {.kind = Problem::Kind::io,
          .message = std::move(message),
          .place = {path, line, 0},
          .expected = {},
          .found = {},
          .notes = std::move(notes)};
}

/// Lines `key = value`, of which TOML has many more; comments, empty lines.
Result<std::vector<Configured>> read_settings(const std::string& path) {
  auto text = read_file(path);
  if (!text) return text.problem();
  std::vector<Configured> found;
  std::uint32_t number = 0;
  for (auto at = text->begin(); at != text->end();) {
    const auto end = std::find(at, text->end(), '\n');
    std::string line(at, end);
    at = end == text->end() ? end : end + 1;
    ++number;
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) return wrong(path, number, "a line of nnc.toml is `name = value`");
    const std::string name = trimmed(line.substr(0, equals));
    std::string value = trimmed(line.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    if (std::ranges::find(settings, name) == settings.end()) {
      const std::vector<std::string> names(settings.begin(), settings.end());
      return wrong(path, number, fmt::format("nnc.toml cannot set `{}`{}", name, or_did_you_mean(name, names)),
                   {fmt::format("note: it sets {}; what is learnt and how is said by the program and --set",
                                fmt::join(settings, ", "))});
    }
    found.push_back({name, value, fmt::format("{}:{}", path, number)});
  }
  return found;
}

}  // namespace

std::string configuration_file() {
  std::error_code failed;
  for (fs::path folder = fs::current_path(failed); !failed; folder = folder.parent_path()) {
    if (fs::exists(folder / "nnc.toml", failed)) return (folder / "nnc.toml").string();
    if (folder == folder.parent_path()) break;
  }
  return "";
}

Result<std::vector<Configured>> configuration() {
  std::vector<Configured> found;
  const std::string path = configuration_file();
  if (!path.empty()) {
    auto in_file = read_settings(fs::proximate(path).string());
    if (!in_file) return in_file.problem();
    found = std::move(*in_file);
  }
  for (const std::string setting : settings) {
    const std::string variable = variable_of(setting);
    const std::string_view value = environment_variable(variable.c_str());
    if (value.empty()) continue;
    std::erase_if(found, [&](const Configured& other) { return other.option == setting; });
    found.push_back({setting, std::string(value), variable});
  }
  return found;
}

}  // namespace nnc::driver
