// How the command speaks: results on stdout; diagnostics and progress on stderr, in colour where a person looks on. The
// only place that reads the environment.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "driver/command.h"
#include "frontend/diagnostics.h"
#include "runtime/file.h"
#include "runtime/result.h"

namespace nnc::driver {

inline constexpr int most_threads = 1024;

struct Console {
  bool color = false;  ///< on stderr
  bool live = false;   ///< stderr is a terminal that can show a moving line, and nobody's CI
  bool table = false;  ///< stdout is a terminal: what is for eyes alone may be laid out for them

  /// --color always|never|auto, then NO_COLOR, CLICOLOR_FORCE, CLICOLOR, then whether stderr is a terminal.
  static Console from_environment(const std::string& color_option);

  /// Characters in a line of the terminal on stderr, asked for anew: it may be made wider.
  std::size_t width() const;

  void error(const std::string& message) const;
  void warning(const std::string& message) const;
  void note(const std::string& message) const;
  void show(const Problem& problem) const;
  void show(const Diagnostics& diagnostics) const;
};

/// A variable of the environment; empty where it is not set.
std::string_view environment_variable(const char* name);

Exit exit_of(const Problem& problem);

/// A text as one word of a shell's command line, in quotes where it needs them.
std::string shell_word(const std::string& text);

/// What is written as it comes: to stdout where `path` is "-", and whether that succeeded is asked once, when the
/// command ends; else to a file, which is there once it is whole, and of which nothing is left where a signal ends the
/// command before.
class TextOutput {
 public:
  explicit TextOutput(const std::string& path);
  ~TextOutput();
  TextOutput(const TextOutput&) = delete;
  TextOutput& operator=(const TextOutput&) = delete;
  std::optional<Problem> write(std::string_view text);
  std::optional<Problem> end();

 private:
  std::optional<AtomicFile> file_;
};
/// The same of all of it.
std::optional<Problem> write_text(const std::string& path, const std::string& text);

}  // namespace nnc::driver
