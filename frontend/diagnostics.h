// Errors and warnings as values: a stable code, one line in the user's words, spans with labels, notes and help. Each
// is declared once (diagnostics.def) and rendered in rustc's layout by `render`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace nnc {

/// A source text that diagnostics point into. Files are numbered in the order in which they are added.
struct SourceFile {
  std::string path;
  std::string text;
  bool library = false;  ///< part of the standard library: its frames are notes, never the primary place
};

/// A range of bytes of a file.
struct Span {
  std::uint32_t file = 0;
  std::uint32_t begin = 0, end = 0;
};

enum class Code : std::uint16_t {
#define NNC_DIAGNOSTIC(number, name, severity, title) name,
#include "frontend/diagnostics.def"
#undef NNC_DIAGNOSTIC
};

enum class Severity : std::uint8_t { error, warning };

struct Label {
  Span span{};
  std::string text{};
};

struct Diagnostic {
  Code code{};
  std::string message{};  ///< one line, in the user's words: "shapes do not match in `+`"
  Span primary{};
  std::string primary_label{};       ///< beside the carets; may be empty
  std::vector<Label> labels{};       ///< further underlined places
  std::vector<std::string> notes{};  ///< lines after `= `: "left:  x: f32[batch, 256] ..."
  std::string help{};                ///< how to mend it, or empty
};

class Diagnostics {
 public:
  /// Of a file that is wrong in more places, this many are shown.
  static constexpr std::size_t most_shown = 200;

  std::uint32_t add_file(SourceFile file);
  const SourceFile& file(std::uint32_t id) const { return files_[id]; }
  std::uint32_t file_count() const { return static_cast<std::uint32_t>(files_.size()); }
  /// What was said of a place already is not said again: an error with the code and the place of an earlier one, a
  /// warning that also has its message, is dropped.
  void report(Diagnostic diagnostic);
  /// What is reported while this runs, instead of reporting it.
  std::vector<Diagnostic> capture(const std::function<void()>& work);
  bool has_errors() const { return errors_ > 0; }
  std::size_t error_count() const { return errors_; }
  /// So much is wrong that nobody reads what would mend the next mistake: looking for it is left out.
  bool beyond_help() const { return errors_ >= 2 * most_shown; }
  const std::vector<Diagnostic>& all() const { return diagnostics_; }
  /// All diagnostics as text, in order of place; `color` adds terminal colours. From a file that is wrong in hundreds
  /// of places the first `most_shown` are shown and the rest counted.
  std::string render(bool color) const;
  /// Line and column (from 1, columns in code points) of a byte.
  std::pair<std::uint32_t, std::uint32_t> position(std::uint32_t file, std::uint32_t offset) const;
  /// The text that a span covers.
  std::string_view text(Span span) const;
  /// First byte of a line (from 1) and one past its last, without the line break.
  std::pair<std::uint32_t, std::uint32_t> line_bounds(std::uint32_t file, std::uint32_t line) const;

 private:
  /// Places in a file are found by bisection, also in a line of megabytes.
  struct Index {
    std::vector<std::uint32_t> line_starts;    ///< first byte of each line
    std::vector<std::uint32_t> points_before;  ///< code points before each block of 4096 bytes
  };
  std::uint32_t points_before(std::uint32_t file, std::uint32_t offset) const;

  std::vector<SourceFile> files_;
  std::vector<Index> indices_;
  std::vector<Diagnostic> diagnostics_;
  std::set<std::tuple<Code, std::uint32_t, std::uint32_t, std::uint32_t, std::string>> said_;
  std::size_t errors_ = 0;
};

/// Reads a file and adds it. What cannot be read is an error (E0006) that stands where the file was asked for, or else
/// in an empty file of that name.
std::uint32_t read_source(const std::string& path, Diagnostics& diagnostics, std::optional<Span> asked_for = {});

/// From the beginning of `a` to the end of `b`, both in one file.
Span join(Span a, Span b);

/// A name as messages quote it: `name`, cut where it is longer than a line.
std::string backquoted(std::string_view name);

/// "E0301" and the like, "W0207" for warnings; the number's hundreds say the phase: 00 lexer, 01 parser, 02 names,
/// 03 shapes and types, 04 layers and state, 05 training, 06 data.
std::string code_text(Code code);
Severity severity_of(Code code);
/// What a code is about in general.
std::string_view title_of(Code code);

}  // namespace nnc
