#include "driver/console.h"
#include "driver/stderr.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>

namespace nnc::driver {

std::string_view environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

namespace {

bool is_set(const char* name) { return !environment_variable(name).empty(); }
bool is_set_and_not_zero(const char* name) { return is_set(name) && environment_variable(name) != "0"; }

bool wants_color(const std::string& option, bool terminal) {
  if (option == "always") return true;
  if (option == "never") return false;
  if (is_set("NO_COLOR")) return false;
  if (is_set_and_not_zero("CLICOLOR_FORCE")) return true;
  if (is_set("CLICOLOR") && !is_set_and_not_zero("CLICOLOR")) return false;
  return terminal;
}

constexpr const char* red = "\033[1;31m";
constexpr const char* yellow = "\033[1;33m";
constexpr const char* plain = "\033[0m";

void say(const Console& console, const char* color, const char* kind, const std::string& message) {
  if (console.color)
    to_stderr("{}{}{}: {}\n", color, kind, plain, message);
  else
    to_stderr("{}: {}\n", kind, message);
}

}  // namespace

Console Console::from_environment(const std::string& color_option) {
  Console console;
  bool terminal = ::isatty(STDERR_FILENO) == 1;
  console.color = wants_color(color_option, terminal);
  console.table = ::isatty(STDOUT_FILENO) == 1;
  console.live = terminal && !is_set("CI") && is_set("TERM") && environment_variable("TERM") != "dumb";
  return console;
}

std::size_t Console::width() const {
  constexpr std::size_t usual = 80, least = 20;
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? std::max<std::size_t>(size.ws_col, least) : usual;
}

void Console::error(const std::string& message) const { say(*this, red, "error", message); }
void Console::warning(const std::string& message) const { say(*this, yellow, "warning", message); }
void Console::note(const std::string& message) const { to_stderr("{}\n", message); }

void Console::show(const Problem& problem) const {
  std::string text = problem.render();
  constexpr std::string_view head = "error";
  if (color && text.starts_with(head)) text = fmt::format("{}{}{}{}", red, head, plain, text.substr(head.size()));
  to_stderr("{}", text);
}

void Console::show(const Diagnostics& diagnostics) const {
  if (diagnostics.all().empty()) return;
  to_stderr("{}", diagnostics.render(color));
  std::set<std::string> codes;
  for (const Diagnostic& diagnostic : diagnostics.all()) codes.insert(code_text(diagnostic.code));
  to_stderr(
      "`nnc explain {}` says more{}\n", *codes.begin(),
      codes.size() > 1 ? fmt::format("; also about {}", fmt::join(std::next(codes.begin()), codes.end(), ", ")) : "");
}

Exit exit_of(const Problem& problem) {
  switch (problem.kind) {
    case Problem::Kind::data:
      return Exit::wrong;
    case Problem::Kind::io:
      return Exit::usage;
    case Problem::Kind::diverged:
      return Exit::diverged;
  }
  return Exit::bug;
}

std::string shell_word(const std::string& text) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("_-./+=:,", c); };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

namespace {

/// The file that is being written, for when a signal ends the process: what can be done then knows no strings.
std::array<char, 4096> unfinished{};

void remove_unfinished(int signal) {
  if (unfinished[0] != '\0') ::unlink(unfinished.data());
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void note_unfinished(const std::string& path) {
  unfinished[0] = '\0';
  if (path.empty() || path.size() >= unfinished.size()) return;
  std::copy(path.begin() + 1, path.end(), unfinished.begin() + 1);
  unfinished[path.size()] = '\0';
  unfinished[0] = path[0];
}

}  // namespace

TextOutput::TextOutput(const std::string& path) {
  if (path == "-") return;
  file_.emplace(path);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const auto before = std::signal(signal, remove_unfinished);
    if (before == SIG_IGN) std::signal(signal, SIG_IGN);
  }
}

TextOutput::~TextOutput() { note_unfinished(""); }

std::optional<Problem> TextOutput::write(std::string_view text) {
  if (file_) {
    auto problem = file_->write(text);
    note_unfinished(file_->temporary());
    return problem;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return std::nullopt;
}

std::optional<Problem> TextOutput::end() {
  if (!file_) return std::nullopt;
  auto problem = file_->commit();
  note_unfinished("");
  return problem;
}

std::optional<Problem> write_text(const std::string& path, const std::string& text) {
  TextOutput output(path);
  if (auto problem = output.write(text)) return problem;
  return output.end();
}

}  // namespace nnc::driver
