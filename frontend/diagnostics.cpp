// The list of diagnostics, and where a byte of a file is.
#include "frontend/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "ir/nearest.h"

namespace nnc {
namespace {

struct Row {
  int number;
  Severity severity;
  std::string_view title;
};
constexpr Severity error = Severity::error, warning = Severity::warning;
constexpr Row rows[] = {
#define NNC_DIAGNOSTIC(number, name, severity, title) {number, severity, title},
#include "frontend/diagnostics.def"
#undef NNC_DIAGNOSTIC
};
constexpr bool numbers_ascend() {
  for (std::size_t i = 1; i < std::size(rows); ++i)
    if (rows[i - 1].number >= rows[i].number) return false;
  return true;
}
static_assert(numbers_ascend(), "diagnostics.def is sorted by number, and no number stands twice");

const Row& row(Code code) { return rows[static_cast<std::size_t>(code)]; }

constexpr std::uint32_t block = 4096;

bool begins_point(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

}  // namespace

std::string code_text(Code code) {
  return fmt::format("{}{:04}", row(code).severity == Severity::error ? 'E' : 'W', row(code).number);
}
Severity severity_of(Code code) { return row(code).severity; }
std::string_view title_of(Code code) { return row(code).title; }

Span join(Span a, Span b) { return {a.file, std::min(a.begin, b.begin), std::max(a.end, b.end)}; }

std::string backquoted(std::string_view name) {
  constexpr std::size_t longest = 80;
  if (name.size() <= longest) return fmt::format("`{}`", name);
  std::size_t end = longest;
  while (end > 0 && !begins_point(name[end])) --end;
  return fmt::format("`{}...`", name.substr(0, end));
}

std::uint32_t Diagnostics::add_file(SourceFile file) {
  Index index;
  index.line_starts.push_back(0);
  std::uint32_t points = 0;
  for (std::size_t i = 0; i < file.text.size(); ++i) {
    if (i % block == 0) index.points_before.push_back(points);
    points += begins_point(file.text[i]);
    if (file.text[i] == '\n') index.line_starts.push_back(static_cast<std::uint32_t>(i + 1));
  }
  index.points_before.push_back(points);
  files_.push_back(std::move(file));
  indices_.push_back(std::move(index));
  return static_cast<std::uint32_t>(files_.size() - 1);
}

void Diagnostics::report(Diagnostic diagnostic) {
  const bool is_error = severity_of(diagnostic.code) == Severity::error;
  const Span at = diagnostic.primary;
  // An error of a body that is used twice is seen twice; a warning may name several things of one place.
  if (!said_.emplace(diagnostic.code, at.file, at.begin, at.end, is_error ? "" : diagnostic.message).second) return;
  errors_ += is_error;
  diagnostics_.push_back(std::move(diagnostic));
}

std::vector<Diagnostic> Diagnostics::capture(const std::function<void()>& work) {
  std::vector<Diagnostic> reported = std::exchange(diagnostics_, {});
  auto said = std::exchange(said_, {});
  const std::size_t errors = errors_;
  work();
  std::swap(reported, diagnostics_);
  said_ = std::move(said);
  errors_ = errors;
  return reported;
}

std::uint32_t Diagnostics::points_before(std::uint32_t file, std::uint32_t offset) const {
  const std::string& text = files_[file].text;
  std::uint32_t points = indices_[file].points_before[offset / block];
  for (std::uint32_t i = offset / block * block; i < offset; ++i) points += begins_point(text[i]);
  return points;
}

std::pair<std::uint32_t, std::uint32_t> Diagnostics::position(std::uint32_t file, std::uint32_t offset) const {
  const auto& starts = indices_[file].line_starts;
  offset = std::min(offset, static_cast<std::uint32_t>(files_[file].text.size()));
  const auto after = std::upper_bound(starts.begin(), starts.end(), offset);
  const auto line = static_cast<std::uint32_t>(after - starts.begin());
  return {line, points_before(file, offset) - points_before(file, *(after - 1)) + 1};
}

std::pair<std::uint32_t, std::uint32_t> Diagnostics::line_bounds(std::uint32_t file, std::uint32_t line) const {
  const auto& starts = indices_[file].line_starts;
  const std::string& text = files_[file].text;
  const std::uint32_t begin = starts[line - 1];
  auto end = line < starts.size() ? starts[line] - 1 : static_cast<std::uint32_t>(text.size());
  if (end > begin && text[end - 1] == '\r') --end;
  return {begin, end};
}

std::string_view Diagnostics::text(Span span) const {
  return std::string_view(files_[span.file].text).substr(span.begin, span.end - span.begin);
}

namespace {

/// "did you mean `nets/mlp.nn`?" where a file beside it is called nearly so.
std::string did_you_mean_beside(const std::string& path) {
  const auto near = nearest_path(path);
  return near ? fmt::format("did you mean {}?", backquoted(*near)) : "";
}

}  // namespace

std::uint32_t read_source(const std::string& path, Diagnostics& diagnostics, std::optional<Span> asked_for) {
  constexpr std::uintmax_t largest = 1u << 30;
  std::string reason;
  std::error_code failed;
  std::ifstream stream;
  // Looked at before it is opened: opening a pipe waits for somebody who writes into it, and a device may never end.
  const std::filesystem::file_status status = std::filesystem::status(path, failed);
  if (std::filesystem::is_directory(status)) {
    reason = "it is a folder";
  } else if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    reason = "it is not a regular file";
  } else if (stream.open(path, std::ios::binary); !stream) {
    reason = std::strerror(errno);
  } else if (std::filesystem::file_size(path, failed) > largest) {
    reason = "it is larger than a GiB";
  } else {
    std::ostringstream text;
    text << stream.rdbuf();
    if (!stream.bad()) return diagnostics.add_file({.path = path, .text = std::move(text).str()});
    reason = "reading failed";
  }
  const std::uint32_t file = diagnostics.add_file({.path = path, .text = ""});
  diagnostics.report({.code = Code::file_unreadable,
                      .message = fmt::format("cannot read {}: {}", backquoted(path), reason),
                      .primary = asked_for.value_or(Span{file, 0, 0}),
                      .help = std::filesystem::exists(status) ? "" : did_you_mean_beside(path)});
  return file;
}

}  // namespace nnc
