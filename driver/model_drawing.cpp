#include "driver/model_drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "passes/derive/markup.h"

namespace nnc::driver {

namespace {

// ---- what repeats

bool alike(const OutlineStep& a, const OutlineStep& b) {
  return a.text == b.text && a.type == b.type && a.parameters == b.parameters && a.line == b.line &&
         a.from.size() == b.from.size();
}

/// Steps first .. first + period are done again right behind: each is alike, and reads what its like reads, or from in
/// front of its part.
bool repeats_at(const Outline& outline, std::size_t first, std::size_t period) {
  if (first + 2 * period > outline.size()) return false;
  bool chained = false;
  for (std::size_t i = first; i < first + period; ++i) {
    const OutlineStep &one = outline[i], &other = outline[i + period];
    if (!alike(one, other)) return false;
    for (std::size_t k = 0; k < one.from.size(); ++k) {
      const bool outside = one.from[k] < first;
      if (!outside && other.from[k] != one.from[k] + period) return false;
      if (outside && other.from[k] >= first + period) return false;
      chained = chained || other.from[k] >= first;
    }
  }
  return chained;
}

// ---- layers and their order

constexpr double gap_beside = 18, gap_below = 26, margin = 10, lane = 10;

struct Cell {
  std::size_t step = SIZE_MAX;  ///< none: a line passes here
  std::vector<std::size_t> above{}, below{};
  double width = lane, height = 0, x = 0, y = 0;  ///< the middle, the top
};

std::string parameters_shown(const OutlineStep& step) {
  std::string text;
  for (const auto& [name, type] : step.parameters)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, shape_shown(type));
  constexpr std::size_t longest = 34;
  return text.size() > longest ? fmt::format("{} parameters", step.parameters.size()) : text;
}

/// The lines of a box: what it is, what comes out, what it learns.
std::vector<std::string> lines_of(const DrawnStep& drawn) {
  const OutlineStep& step = drawn.step;
  std::vector<std::string> lines{step.text};
  if (drawn.times > 1) lines[0] += fmt::format("  ×{}", drawn.times);
  const bool named = step.kind == OutlineStep::Kind::applied && !step.name.empty();
  lines.push_back((named ? step.name + ": " : "") + shape_shown(step.type));
  if (!step.parameters.empty()) lines.push_back(parameters_shown(step));
  return lines;
}

double width_of_text(const std::string& text, double of_letter) {
  const auto letters = std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
  return of_letter * static_cast<double>(letters);
}

class Layout {
 public:
  explicit Layout(const std::vector<DrawnStep>& steps) : steps_(steps) {
    make_cells(find_layers());
    order_rows();
    place();
  }

  const std::vector<Cell>& cells() const { return cells_; }
  double width() const { return width_; }
  double height() const { return height_; }

 private:
  /// As far down as what it reads demands; what reads nothing stands right above what reads it.
  std::vector<std::size_t> find_layers() const {
    std::vector<std::size_t> layer(steps_.size(), 0);
    for (std::size_t i = 0; i < steps_.size(); ++i)
      for (std::size_t from : steps_[i].step.from) layer[i] = std::max(layer[i], layer[from] + 1);
    for (std::size_t i = steps_.size(); i-- > 0;) {
      if (!steps_[i].step.from.empty()) continue;
      std::size_t first = SIZE_MAX;
      for (std::size_t k = i + 1; k < steps_.size(); ++k)
        if (std::ranges::count(steps_[k].step.from, i)) first = std::min(first, layer[k]);
      if (first != SIZE_MAX && first > 0) layer[i] = first - 1;
    }
    return layer;
  }

  void make_cells(const std::vector<std::size_t>& layer) {
    rows_.resize(steps_.empty() ? 0 : *std::ranges::max_element(layer) + 1);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const std::vector<std::string> lines = lines_of(steps_[i]);
      Cell cell{.step = i};
      for (std::size_t k = 0; k < lines.size(); ++k)
        cell.width = std::max(cell.width, 24 + width_of_text(lines[k], k == 0 ? 8.3 : 6.9));
      cell.height = 10 + 17 * static_cast<double>(lines.size());
      rows_[layer[i]].push_back(i);
      cells_.push_back(std::move(cell));
    }
    for (std::size_t i = 0; i < steps_.size(); ++i)
      for (std::size_t from : steps_[i].step.from) {
        std::size_t above = from;
        for (std::size_t row = layer[from] + 1; row < layer[i]; ++row) {
          cells_.push_back({});
          rows_[row].push_back(cells_.size() - 1);
          join(above, cells_.size() - 1);
          above = cells_.size() - 1;
        }
        join(above, i);
      }
  }

  void join(std::size_t above, std::size_t below) {
    cells_[above].below.push_back(below);
    cells_[below].above.push_back(above);
  }

  /// Each row by the middle of what it is joined with, downwards and upwards in turn.
  void order_rows() {
    std::vector<double> rank(cells_.size());
    const auto number = [&](const std::vector<std::size_t>& row) {
      for (std::size_t i = 0; i < row.size(); ++i)
        rank[row[i]] = static_cast<double>(i) - static_cast<double>(row.size() - 1) / 2;
    };
    for (const auto& row : rows_) number(row);
    constexpr int sweeps = 8;
    for (int sweep = 0; sweep < sweeps; ++sweep)
      for (std::size_t k = 0; k < rows_.size(); ++k) {
        auto& row = rows_[sweep % 2 == 0 ? k : rows_.size() - 1 - k];
        std::vector<double> wanted(cells_.size());
        for (std::size_t cell : row)
          wanted[cell] = middle(sweep % 2 == 0 ? cells_[cell].above : cells_[cell].below, rank, rank[cell]);
        std::ranges::stable_sort(row, [&](std::size_t a, std::size_t b) { return wanted[a] < wanted[b]; });
        number(row);
      }
  }

  static double middle(const std::vector<std::size_t>& cells, const std::vector<double>& of, double otherwise) {
    if (cells.empty()) return otherwise;
    double sum = 0;
    for (std::size_t cell : cells) sum += of[cell];
    return sum / static_cast<double>(cells.size());
  }

  /// Cells move towards what they are joined with and keep their order and distance.
  void place() {
    std::vector<double> x(cells_.size(), 0);
    constexpr int sweeps = 24;
    for (int sweep = 0; sweep < sweeps; ++sweep)
      for (std::size_t k = 0; k < rows_.size(); ++k) {
        const bool down = sweep % 2 == 0;
        const auto& row = rows_[down ? k : rows_.size() - 1 - k];
        std::vector<double> wanted;
        for (std::size_t cell : row)
          wanted.push_back(middle(down ? cells_[cell].above : cells_[cell].below, x, x[cell]));
        spread(row, wanted, x);
      }
    straighten(x);
    double left = INFINITY, right = -INFINITY, y = margin;
    for (const auto& row : rows_) {
      double tallest = 0;
      for (std::size_t cell : row) {
        cells_[cell].x = x[cell];
        left = std::min(left, x[cell] - cells_[cell].width / 2),
        right = std::max(right, x[cell] + cells_[cell].width / 2);
        tallest = std::max(tallest, cells_[cell].height);
      }
      for (std::size_t cell : row) {
        cells_[cell].y = cells_[cell].step == SIZE_MAX ? y : y + tallest - cells_[cell].height;
        if (cells_[cell].step == SIZE_MAX) cells_[cell].height = tallest;
      }
      y += tallest + gap_below;
    }
    for (Cell& cell : cells_) cell.x += margin - left;
    width_ = right - left + 2 * margin, height_ = y - gap_below + margin;
  }

  /// A line that passes several rows goes straight down where one of its places is free in all of them.
  void straighten(std::vector<double>& x) const {
    std::vector<std::size_t> left(cells_.size(), SIZE_MAX), right(cells_.size(), SIZE_MAX);  // neighbours
    for (const auto& row : rows_)
      for (std::size_t i = 1; i < row.size(); ++i) left[row[i]] = row[i - 1], right[row[i - 1]] = row[i];
    const auto room = [&](std::size_t other) { return gap_beside + (cells_[other].width + lane) / 2; };
    const auto is_lane = [&](std::size_t cell) { return cells_[cell].step == SIZE_MAX; };
    for (std::size_t first = 0; first < cells_.size(); ++first) {
      if (!is_lane(first) || is_lane(cells_[first].above.front())) continue;
      std::vector<std::size_t> line{first};
      while (is_lane(cells_[line.back()].below.front())) line.push_back(cells_[line.back()].below.front());
      double low = -INFINITY, high = INFINITY, mean = 0;
      for (std::size_t cell : line) {
        if (left[cell] != SIZE_MAX) low = std::max(low, x[left[cell]] + room(left[cell]));
        if (right[cell] != SIZE_MAX) high = std::min(high, x[right[cell]] - room(right[cell]));
        mean += x[cell] / static_cast<double>(line.size());
      }
      if (low > high) continue;
      for (std::size_t cell : line) x[cell] = std::clamp(mean, low, high);
    }
  }

  /// No nearer than cells are wide; the row as a whole no further from what is wanted than it must.
  void spread(const std::vector<std::size_t>& row, const std::vector<double>& wanted, std::vector<double>& x) const {
    double off = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
      x[row[i]] = wanted[i];
      if (i > 0)
        x[row[i]] =
            std::max(wanted[i], x[row[i - 1]] + gap_beside + (cells_[row[i - 1]].width + cells_[row[i]].width) / 2);
      off += x[row[i]] - wanted[i];
    }
    for (std::size_t cell : row) x[cell] -= off / static_cast<double>(row.size());
  }

  const std::vector<DrawnStep>& steps_;
  std::vector<Cell> cells_;
  std::vector<std::vector<std::size_t>> rows_;
  double width_ = 0, height_ = 0;
};

// ---- the picture

std::string box_svg(const DrawnStep& drawn, const Cell& cell) {
  const OutlineStep& step = drawn.step;
  const char* kind = step.kind == OutlineStep::Kind::column ? "box column"
                     : step.parameters.empty()              ? "box"
                                                            : "box learns";
  std::string said = step.within.empty() ? step.text : step.text + " in " + step.within;
  if (drawn.times > 1) said += fmt::format(", {} times", drawn.times);
  const std::string link = step.line > 0 ? fmt::format("<a href=\"#L{}\">", step.line) : "<g>";
  std::string svg = fmt::format(
      "{}<title>{}</title><rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"7\"/>",
      link, markup_escaped(said), kind, cell.x - cell.width / 2, cell.y, cell.width, cell.height);
  const std::vector<std::string> lines = lines_of(drawn);
  for (std::size_t i = 0; i < lines.size(); ++i)
    svg += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", i == 0 ? "what" : "shape", cell.x,
                       cell.y + 19 + 17 * static_cast<double>(i), markup_escaped(lines[i]));
  return svg + (step.line > 0 ? "</a>\n" : "</g>\n");
}

/// From a box down to the next, along the cells that its line passes. Where several arrive at a box they share its top.
std::string line_svg(const std::vector<Cell>& cells, std::size_t from, std::size_t first) {
  std::string path = fmt::format("M{:.1f} {:.1f}", cells[from].x, cells[from].y + cells[from].height);
  double x = cells[from].x, y = cells[from].y + cells[from].height;
  for (std::size_t at = first;;) {
    const Cell& cell = cells[at];
    double to = cell.x;
    if (cell.step != SIZE_MAX && cell.above.size() > 1) {
      std::vector<std::size_t> arriving = cell.above;
      std::ranges::sort(arriving, {}, [&](std::size_t above) { return cells[above].x; });
      const std::size_t before = at == first ? from : SIZE_MAX;
      const auto own = std::ranges::find_if(
          arriving, [&](std::size_t above) { return before != SIZE_MAX ? above == before : cells[above].x == x; });
      const double share = cell.width * 0.5 / static_cast<double>(arriving.size());
      to += share * (static_cast<double>(own - arriving.begin()) - static_cast<double>(arriving.size() - 1) / 2);
    }
    const double half = (y + cell.y) / 2;
    path += fmt::format("C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}", x, half, to, half, to, cell.y);
    if (cell.step != SIZE_MAX)
      return fmt::format("<path class=\"flow\" d=\"{}\"/><path class=\"tip\" d=\"M{:.1f} {:.1f}l-4 -7h8z\"/>", path, to,
                         cell.y);
    path += fmt::format("V{:.1f}", cell.y + cell.height);
    x = to, y = cell.y + cell.height;
    at = cell.below.front();
  }
}

}  // namespace

std::string shape_shown(const Type& type) {
  std::string text;
  for (const Extent& extent : type.shape) {
    std::string length = std::to_string(extent.count);
    if (extent.batched) length = extent.count == 1 ? "n" : length + " n";
    text += (text.empty() ? "" : " × ") + length;
  }
  if (text.empty()) text = "a number";
  return type.dtype == DType::f32 ? text : fmt::format("{}, {}", text, name_of(type.dtype));
}

std::vector<DrawnStep> repeats_once(const Outline& outline) {
  constexpr std::size_t shown_well = 16, worth_it = 3;
  std::vector<DrawnStep> drawn;
  std::vector<std::size_t> place(outline.size());
  for (std::size_t first = 0; first < outline.size();) {
    std::size_t period = 1, times = 1;
    for (std::size_t p = 1; outline.size() > shown_well && p <= (outline.size() - first) / worth_it; ++p) {
      std::size_t count = 1;
      while (repeats_at(outline, first + (count - 1) * p, p)) ++count;
      if (count >= worth_it && count * p > times * period) period = p, times = count;
    }
    for (std::size_t i = 0; i < period; ++i) {
      DrawnStep one{outline[first + i], static_cast<std::int64_t>(times)};
      for (std::size_t& from : one.step.from) from = place[from];
      for (std::size_t k = 0; k < times; ++k) place[first + i + k * period] = drawn.size();
      drawn.push_back(std::move(one));
    }
    first += period * times;
  }
  return drawn;
}

std::string model_svg(const Outline& outline) {
  if (outline.empty()) return "";
  const std::vector<DrawnStep> steps = repeats_once(outline);
  const Layout layout(steps);
  std::string said;
  for (const DrawnStep& drawn : steps) said += (said.empty() ? "" : ", ") + lines_of(drawn)[0];
  std::string svg = fmt::format(
      "<svg class=\"model\" viewBox=\"0 0 {0:.0f} {1:.0f}\" style=\"width:{0:.0f}px\" aria-labelledby=\"model-title\" "
      "role=\"group\">"
      "<title id=\"model-title\">From the columns to the loss: {2}</title>\n",
      layout.width(), layout.height(), markup_escaped(said));
  const std::vector<Cell>& cells = layout.cells();
  for (std::size_t from = 0; from < steps.size(); ++from)
    for (std::size_t first : cells[from].below) svg += line_svg(cells, from, first);
  svg += "\n";
  for (const Cell& cell : cells)
    if (cell.step != SIZE_MAX) svg += box_svg(steps[cell.step], cell);
  return svg + "</svg>\n";
}

}  // namespace nnc::driver
