// Diagnostics as text, in rustc's layout:
//
//     error[E0301]: shapes do not match in `+`
//       --> bad.nn:3:12
//        |
//      3 |   return x + (x |> Dense(128) |> relu)
//        |          - ^ ------------------------ f32[batch, 128]
//        |          |
//        |          f32[batch, 256]
//        = help:  write `Dense(D)` to keep the input width
//
// A line of source is shown as it is, but for tabs (four blanks) and characters that a terminal would obey; of a line
// that is longer than a screen a window around the place is shown. Columns are counted as a terminal shows them.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "frontend/diagnostics.h"

namespace nnc {
namespace {

// ---- colours -----------------------------------------------------------------------------------------------------

struct Palette {
  std::string_view error, warning, gutter, bold, off;
};
constexpr Palette plain{"", "", "", "", ""};
constexpr Palette coloured{"\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"};

std::string paint(std::string_view colour, std::string_view text, const Palette& palette) {
  return fmt::format("{}{}{}", colour, text, text.empty() || colour.empty() ? std::string_view{} : palette.off);
}

// ---- a line of source as a terminal shows it -----------------------------------------------------------------------

struct Point {
  char32_t code = 0;
  std::size_t bytes = 1;
};

/// The code point at `at`; a byte that is not UTF-8 is U+FFFD.
Point decode(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t bytes = lead < 0x80                   ? 1
                            : lead >= 0xC2 && lead < 0xE0 ? 2
                            : lead >= 0xE0 && lead < 0xF0 ? 3
                            : lead >= 0xF0 && lead < 0xF5 ? 4
                                                          : 0;
  if (bytes == 1) return {lead, 1};
  if (bytes == 0 || at + bytes > text.size()) return {0xFFFD, 1};
  char32_t code = lead & (0xFFu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0) != 0x80) return {0xFFFD, 1};
    code = (code << 6) | (next & 0x3F);
  }
  return {code, bytes};
}

int width_of(char32_t code) {
  const auto within = [code](char32_t low, char32_t high) { return low <= code && code <= high; };
  if (within(0x300, 0x36F) || within(0x200B, 0x200F) || within(0xFE00, 0xFE0F)) return 0;
  const bool wide = within(0x1100, 0x115F) || within(0x2E80, 0xA4CF) || within(0xAC00, 0xD7A3) ||
                    within(0xF900, 0xFAFF) || within(0xFE30, 0xFE6F) || within(0xFF00, 0xFF60) ||
                    within(0xFFE0, 0xFFE6) || within(0x1F300, 0x1F64F) || within(0x1F900, 0x1F9FF) ||
                    within(0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

bool obeyed_by_terminals(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

/// A shown line: its text, and for every byte of the source line in the window the column where it is shown.
struct ShownLine {
  std::string text;
  std::uint32_t window_begin = 0;  ///< first byte of the file that is shown
  std::vector<int> columns;        ///< of each shown byte, and one past the last
  int column(std::uint32_t offset) const {
    if (offset <= window_begin) return columns.front();
    return columns[std::min<std::size_t>(offset - window_begin, columns.size() - 1)];
  }
};

ShownLine show_line(const Diagnostics& diagnostics, std::uint32_t file, std::uint32_t line, std::uint32_t focus) {
  constexpr std::uint32_t longest = 240, before = 60;
  const auto [line_begin, line_end] = diagnostics.line_bounds(file, line);
  const std::string_view text = diagnostics.file(file).text;
  const auto continues = [&](std::uint32_t at) { return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; };
  std::uint32_t begin = line_begin, end = line_end;
  if (line_end - line_begin > longest) {
    begin = focus > line_begin + before ? focus - before : line_begin;
    while (begin > line_begin && continues(begin)) --begin;
    end = std::min(line_end, begin + longest);
    while (end < line_end && continues(end)) ++end;
  }
  ShownLine shown{.text = begin > line_begin ? "..." : "", .window_begin = begin, .columns = {}};
  int column = static_cast<int>(shown.text.size());
  for (std::uint32_t at = begin; at < end;) {
    const Point point = decode(text.substr(0, end), at);
    shown.columns.insert(shown.columns.end(), point.bytes, column);
    if (point.code == '\t') {
      shown.text += "    ";
      column += 4;
    } else if (obeyed_by_terminals(point.code) || point.code == 0xFFFD) {
      shown.text += "\xEF\xBF\xBD";
      column += 1;
    } else {
      shown.text += text.substr(at, point.bytes);
      column += width_of(point.code);
    }
    at += static_cast<std::uint32_t>(point.bytes);
  }
  shown.columns.push_back(column);
  if (end < line_end) shown.text += "...";
  return shown;
}

// ---- what stands under a line ------------------------------------------------------------------------------------

/// A place to underline, in shown columns.
struct Mark {
  int begin = 0, end = 0;
  bool primary = false;
  std::string text;
};

/// A row of characters, each with a colour.
class Canvas {
 public:
  void put(int column, std::string_view text, std::string_view colour) {
    const auto needed = static_cast<std::size_t>(column) + text.size();
    if (cells_.size() < needed) cells_.resize(needed);
    for (std::size_t i = 0; i < text.size(); ++i) cells_[static_cast<std::size_t>(column) + i] = {text[i], colour};
  }
  std::string str(const Palette& palette) const {
    std::string result;
    std::string_view current;
    for (const Cell& cell : cells_) {
      if (cell.colour != current) {
        if (!current.empty()) result += palette.off;
        result += cell.colour;
        current = cell.colour;
      }
      result += cell.byte;
    }
    if (!current.empty()) result += palette.off;
    return result;
  }

 private:
  struct Cell {
    char byte = ' ';
    std::string_view colour{};
  };
  std::vector<Cell> cells_;
};

/// The rows below a line of source: the underlines, with the last label beside its own, then the other labels hanging
/// below the beginnings of theirs, the rightmost first.
std::vector<std::string> rows_below(std::vector<Mark> marks, std::string_view primary_colour, const Palette& palette) {
  const auto colour = [&](const Mark& mark) { return mark.primary ? primary_colour : palette.gutter; };
  std::stable_sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.begin < b.begin; });
  Canvas underline;
  for (const bool primary : {false, true})
    for (const Mark& mark : marks)
      if (mark.primary == primary)
        underline.put(mark.begin, std::string(static_cast<std::size_t>(mark.end - mark.begin), primary ? '^' : '-'),
                      colour(mark));
  const int right =
      std::accumulate(marks.begin(), marks.end(), 0, [](int a, const Mark& m) { return std::max(a, m.end); });
  const Mark& last = marks.back();
  const bool beside = last.end == right;
  if (beside && !last.text.empty()) underline.put(last.end + 1, last.text, colour(last));
  std::vector<std::string> rows{underline.str(palette)};

  std::vector<Mark> hanging;
  for (const Mark& mark : marks)
    if (!mark.text.empty() && !(beside && &mark == &last)) hanging.push_back(mark);
  const auto connectors = [&](std::size_t count) {
    Canvas row;
    for (std::size_t i = 0; i < count; ++i) row.put(hanging[i].begin, "|", colour(hanging[i]));
    return row;
  };
  if (!hanging.empty()) rows.push_back(connectors(hanging.size()).str(palette));
  for (std::size_t i = hanging.size(); i-- > 0;) {
    Canvas row = connectors(i);
    row.put(hanging[i].begin, hanging[i].text, colour(hanging[i]));
    rows.push_back(row.str(palette));
  }
  return rows;
}

// ---- a diagnostic ------------------------------------------------------------------------------------------------

struct Place {
  Span span;
  bool primary = false;
  std::string text;
};

class Renderer {
 public:
  Renderer(const Diagnostics& diagnostics, const Palette& palette) : diagnostics_(diagnostics), palette_(palette) {}

  std::string render(const Diagnostic& diagnostic) {
    const bool is_error = severity_of(diagnostic.code) == Severity::error;
    primary_colour_ = is_error ? palette_.error : palette_.warning;
    const auto by_line = places_by_line(diagnostic);
    gutter_ = 1;
    for (const auto& [file, lines] : by_line)
      gutter_ = std::max(gutter_, fmt::formatted_size("{}", lines.rbegin()->first));

    std::string out =
        fmt::format("{}{}\n",
                    paint(primary_colour_,
                          fmt::format("{}[{}]", is_error ? "error" : "warning", code_text(diagnostic.code)), palette_),
                    paint(palette_.bold, ": " + diagnostic.message, palette_));
    const std::uint32_t home = diagnostic.primary.file;
    out += snippet(home, "-->", diagnostic.primary, by_line.at(home));
    for (const auto& [file, lines] : by_line)
      if (file != home) out += snippet(file, ":::", lines.begin()->second.front().span, lines);
    for (const std::string& note : diagnostic.notes) out += remark(note);
    if (!diagnostic.help.empty()) out += remark(paint(palette_.bold, "help", palette_) + ":  " + diagnostic.help);
    return out;
  }

 private:
  using Lines = std::map<std::uint32_t, std::vector<Place>>;

  std::map<std::uint32_t, Lines> places_by_line(const Diagnostic& diagnostic) const {
    std::map<std::uint32_t, Lines> result;
    const auto add = [&](Span span, bool primary, const std::string& text) {
      result[span.file][diagnostics_.position(span.file, span.begin).first].push_back({span, primary, text});
    };
    add(diagnostic.primary, true, diagnostic.primary_label);
    for (const Label& label : diagnostic.labels) add(label.span, false, label.text);
    return result;
  }

  std::string snippet(std::uint32_t file, std::string_view arrow, Span at, const Lines& lines) const {
    const SourceFile& source = diagnostics_.file(file);
    const auto [line, column] = diagnostics_.position(file, at.begin);
    const std::string head = std::string(gutter_ + 1, ' ') + paint(palette_.gutter, arrow, palette_) + " ";
    if (source.text.empty()) return fmt::format("{}{}\n", head, source.path);
    std::string out = fmt::format("{}{}:{}:{}\n", head, source.path, line, column);
    out += bar("", "");
    std::uint32_t previous = 0;
    for (const auto& [number, places] : lines) {
      if (previous != 0 && number > previous + 1) out += " " + paint(palette_.gutter, "...", palette_) + "\n";
      out += source_line(file, number, places);
      previous = number;
    }
    return out;
  }

  std::string source_line(std::uint32_t file, std::uint32_t number, const std::vector<Place>& places) const {
    const auto primary = std::find_if(places.begin(), places.end(), [](const Place& place) { return place.primary; });
    const Place& focus = primary != places.end() ? *primary : places.front();
    const ShownLine shown = show_line(diagnostics_, file, number, focus.span.begin);
    std::string out = bar(fmt::format("{}", number), shown.text);
    std::vector<Mark> marks;
    for (const Place& place : places) {
      const int begin = shown.column(place.span.begin);
      marks.push_back({begin, std::max(begin + 1, shown.column(place.span.end)), place.primary, place.text});
    }
    for (const std::string& row : rows_below(std::move(marks), primary_colour_, palette_)) out += bar("", row);
    return out;
  }

  std::string bar(std::string_view number, std::string_view text) const {
    const std::string left = fmt::format(" {:>{}} |", number, gutter_);
    return paint(palette_.gutter, left, palette_) + (text.empty() ? "" : " ") + std::string(text) + "\n";
  }
  std::string remark(std::string_view text) const {
    return std::string(gutter_ + 2, ' ') + paint(palette_.gutter, "=", palette_) + " " + std::string(text) + "\n";
  }

  const Diagnostics& diagnostics_;
  const Palette& palette_;
  std::string_view primary_colour_;
  std::size_t gutter_ = 1;
};

}  // namespace

std::string Diagnostics::render(bool color) const {
  constexpr std::size_t most = most_shown;
  std::vector<const Diagnostic*> in_order;
  for (const Diagnostic& diagnostic : diagnostics_) in_order.push_back(&diagnostic);
  std::stable_sort(in_order.begin(), in_order.end(), [](const Diagnostic* a, const Diagnostic* b) {
    return std::pair(a->primary.file, a->primary.begin) < std::pair(b->primary.file, b->primary.begin);
  });
  Renderer renderer(*this, color ? coloured : plain);
  std::string out;
  for (std::size_t i = 0; i < std::min(most, in_order.size()); ++i) {
    if (i > 0) out += "\n";
    out += renderer.render(*in_order[i]);
  }
  if (in_order.size() > most) out += fmt::format("\n... and {} more\n", in_order.size() - most);
  return out;
}

}  // namespace nnc
