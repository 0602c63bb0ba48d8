#include "driver/report_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "passes/derive/markup.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

/// A picture whose axes go from `low` to `high`, drawn about as large as a phone shows it, so that its text is read
/// there.
struct Frame {
  double low[2] = {0, 0}, high[2] = {1, 1};
  bool log = false;
  static constexpr double left = 46, right = 352, top = 18, bottom = 186;

  double x(double value) const { return left + (right - left) * (value - low[0]) / (high[0] - low[0]); }
  double y(double value) const {
    const double place =
        log ? std::log10(value / low[1]) / std::log10(high[1] / low[1]) : (value - low[1]) / (high[1] - low[1]);
    return bottom - (bottom - top) * place;
  }
};

/// Round numbers over a range, about five.
std::vector<double> ticks(double low, double high) {
  const double rough = (high - low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (double factor : {5, 2, 1})
    if (factor * power >= rough) step = factor * power;
  std::vector<double> all;
  for (double at = std::ceil(low / step) * step; at <= high + step * 1e-9; at += step)
    all.push_back(std::abs(at) < step * 1e-9 ? 0 : at);
  return all;
}

/// Powers of ten; with 2 and 5 of each where there are few; where a range holds not two of these, round numbers.
std::vector<double> decades(double low, double high) {
  constexpr std::size_t few = 3;
  std::vector<double> all;
  const double step = std::max(1.0, std::ceil(std::log10(high / low) / 6));
  for (double power = std::ceil(std::log10(low) - 1e-9); power <= std::log10(high) + 1e-9; power += step)
    all.push_back(std::pow(10, power));
  if (all.size() >= few) return all;
  all.clear();
  for (double power = std::floor(std::log10(low)); power <= std::log10(high); ++power)
    for (double factor : {1, 2, 5})
      if (const double at = factor * std::pow(10, power); at >= low * (1 - 1e-9) && at <= high * (1 + 1e-9))
        all.push_back(at);
  return all.size() >= few ? all : ticks(low, high);
}

/// Grid and numbers. A number that another is too near to is left out.
std::string axes_svg(const Frame& frame, const std::string& below, const std::string& beside) {
  std::string svg;
  double taken = -INFINITY;
  for (double at : ticks(frame.low[0], frame.high[0])) {
    const std::string number = fmt::format("{:.4g}", at);
    const double half = 3.6 * static_cast<double>(number.size());
    const double x = std::min(frame.x(at), Frame::right + 6 - half);
    if (x - half < taken + 6) continue;
    taken = x + half;
    svg += fmt::format("<text x=\"{:.1f}\" y=\"202\" text-anchor=\"middle\">{}</text>", x, number);
  }
  for (double at : frame.log ? decades(frame.low[1], frame.high[1]) : ticks(frame.low[1], frame.high[1]))
    svg += fmt::format(
        "<path class=\"axis\" d=\"M{:.0f} {:.1f}H{:.0f}\"/><text x=\"40\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{:.4g}</text>",
        Frame::left, frame.y(at), Frame::right, frame.y(at) + 4, at);
  svg += fmt::format("<text x=\"352\" y=\"219\" text-anchor=\"end\">{}</text>", markup_escaped(below));
  if (!beside.empty()) svg += fmt::format("<text x=\"0\" y=\"10\">{}</text>", markup_escaped(beside));
  return svg;
}

std::string figure_of(const std::string& caption, const std::string& content, const std::string& label) {
  return fmt::format(
      "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 360 224\" role=\"img\" "
      "aria-label=\"{}\">{}</svg></figure>\n",
      caption, markup_escaped(label), content);
}

struct Line {
  std::string name;
  std::string colour;
  bool thin = false;
  const std::vector<std::pair<double, double>>* points;
};

/// At most about 500 points of a line: of each stretch the least and the greatest.
std::string path_of(const Frame& frame, const std::vector<std::pair<double, double>>& points) {
  constexpr std::size_t stretches = 250;
  std::vector<std::pair<double, double>> shown;
  const std::size_t stretch = std::max<std::size_t>(1, points.size() / stretches);
  for (std::size_t first = 0; first < points.size(); first += stretch) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>(std::min(points.size(), first + stretch));
    auto [least, greatest] = std::minmax_element(begin, end, [](auto& a, auto& b) { return a.second < b.second; });
    if (least > greatest) std::swap(least, greatest);
    shown.push_back(*least);
    if (greatest != least) shown.push_back(*greatest);
  }
  std::string path;
  for (const auto& [at, value] : shown) {
    if (!std::isfinite(value) || (frame.log && value <= 0)) continue;
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", frame.x(at), frame.y(value));
  }
  return path;
}

/// One picture of lines; empty where they have no two points, or, on a log scale, none above 0. `mark`: an epoch, or 0.
std::string lines_svg(const std::vector<Line>& lines, bool log, double mark) {
  Frame frame{.low = {INFINITY, INFINITY}, .high = {-INFINITY, -INFINITY}, .log = log};
  for (const Line& line : lines)
    for (const auto& [at, value] : *line.points) {
      if (!std::isfinite(value) || (log && value <= 0)) continue;
      frame.low[0] = std::min(frame.low[0], at), frame.high[0] = std::max(frame.high[0], at);
      frame.low[1] = std::min(frame.low[1], value), frame.high[1] = std::max(frame.high[1], value);
    }
  if (!(frame.high[0] > frame.low[0])) return "";
  if (!(frame.high[1] > frame.low[1])) frame.low[1] -= log ? frame.low[1] / 2 : 0.5, frame.high[1] *= log ? 2 : 1;
  if (!(frame.high[1] > frame.low[1])) frame.high[1] = frame.low[1] + 1;
  std::string svg = axes_svg(frame, "epoch", "");
  if (mark > frame.low[0] && mark < frame.high[0])
    svg += fmt::format("<path class=\"mark\" d=\"M{:.1f} {:.0f}V{:.0f}\"/>", frame.x(mark), Frame::top, Frame::bottom);
  for (const Line& line : lines)
    svg += fmt::format("<path class=\"line\" d=\"{}\" stroke=\"{}\"{}/>", path_of(frame, *line.points), line.colour,
                       line.thin ? " opacity=\".5\"" : "");
  return svg;
}

/// "loss" of "train.loss".
std::string kind_of_figure(const std::string& name) { return name.substr(name.find('.') + 1); }

/// Splits have their colours, so that valid looks alike in all pictures; where there are several runs, runs have.
Line line_of(const std::vector<RunReport>& runs, std::size_t run, const ReportCurve& curve) {
  const std::string split = curve.name.substr(0, curve.name.find('.'));
  if (runs.size() > 1) return {runs[run].folder + " " + curve.name, colour(run), split == "train", &curve.points};
  return {curve.name, colour(split == "train" ? 0 : split == "valid" ? 1 : 2), false, &curve.points};
}

std::string caption_of(const std::string& kind, const std::vector<Line>& lines, double mark) {
  std::string html = "<b>" + markup_escaped(kind) + "</b><span class=\"key\">";
  for (const Line& line : lines)
    html += fmt::format("<span{} style=\"--k:{}\">{}</span>", line.thin ? " class=\"thin\"" : "", line.colour,
                        markup_escaped(line.name));
  if (mark > 0) html += fmt::format("<i>best epoch {:.0f}</i>", mark);
  return html + "</span>";
}

Frame frame_of(const AnswerField& field) {
  Frame frame;
  for (int axis : {0, 1}) frame.low[axis] = field.low[axis], frame.high[axis] = field.high[axis];
  if (field.height > 1) return frame;
  frame.low[1] = INFINITY, frame.high[1] = -INFINITY;
  for (double y : field.answers) frame.low[1] = std::min(frame.low[1], y), frame.high[1] = std::max(frame.high[1], y);
  for (const AnswerField::Point& point : field.points)
    frame.low[1] = std::min(frame.low[1], point.y), frame.high[1] = std::max(frame.high[1], point.y);
  const double margin = frame.high[1] > frame.low[1] ? 0.04 * (frame.high[1] - frame.low[1]) : 1;
  frame.low[1] -= margin, frame.high[1] += margin;
  return frame;
}

/// Runs of one class along each row of the grid are one rectangle.
std::string regions_svg(const AnswerField& field) {
  std::string svg = "<g shape-rendering=\"crispEdges\" opacity=\".25\">";
  const double step_x = (Frame::right - Frame::left) / static_cast<double>(field.width);
  const double step_y = (Frame::bottom - Frame::top) / static_cast<double>(field.height);
  for (std::int64_t row = 0; row < field.height; ++row)
    for (std::int64_t first = 0; first < field.width;) {
      const auto answer = [&](std::int64_t column) {
        return field.answers[static_cast<std::size_t>(row * field.width + column)];
      };
      std::int64_t end = first + 1;
      while (end < field.width && answer(end) == answer(first)) ++end;
      svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>",
                         Frame::left + step_x * static_cast<double>(first),
                         Frame::bottom - step_y * static_cast<double>(row + 1),
                         step_x * static_cast<double>(end - first) + 0.3, step_y + 0.3,
                         colour(static_cast<std::size_t>(answer(first))));
      first = end;
    }
  return svg + "</g>";
}

std::string fit_svg(const AnswerField& field, const Frame& frame) {
  std::vector<std::pair<double, double>> line;
  for (std::int64_t i = 0; i < field.width; ++i)
    line.emplace_back(
        field.low[0] + (field.high[0] - field.low[0]) * static_cast<double>(i) / static_cast<double>(field.width - 1),
        field.answers[static_cast<std::size_t>(i)]);
  return fmt::format("<path class=\"line\" d=\"{}\" stroke=\"{}\"/>", path_of(frame, line), colour(1));
}

/// The squares of an image row by row; those of one shade that follow one another are one line.
template <class Shade>
std::string runs_of(std::int64_t side, int level, const Shade& shade) {
  std::string path;
  for (std::int64_t first = 0; first < side * side;) {
    std::int64_t end = first + 1;
    while (end % side != 0 && shade(end) == shade(first)) ++end;
    if (shade(first) == level) path += fmt::format("M{} {}.5h{}", first % side, first / side, end - first);
    first = end;
  }
  return path;
}

}  // namespace

std::string colour(std::size_t i) { return fmt::format("var(--c{})", i % 8); }

std::string key_of(const std::vector<std::string>& names) {
  std::string html = "<span class=\"key\">";
  for (std::size_t i = 0; i < names.size(); ++i)
    html += fmt::format("<span style=\"--k:{}\">{}</span>", colour(i), markup_escaped(names[i]));
  return html + "</span>";
}

namespace {

/// Figures that were told once, as they stand in metrics.jsonl.
std::string single_values(const std::vector<RunReport>& runs, const std::string& kind) {
  std::string html;
  for (const RunReport& run : runs)
    for (const ReportCurve& curve : run.curves)
      if (kind_of_figure(curve.name) == kind && curve.points.size() == 1)
        html +=
            fmt::format("<tr><td>{}{}</td><td>{}</td></tr>\n", runs.size() > 1 ? markup_escaped(run.folder) + " " : "",
                        markup_escaped(curve.name), number_shown(curve.points[0].second, DType::f64));
  return html;
}

}  // namespace

std::string curves_html(const std::vector<RunReport>& runs) {
  std::vector<std::string> kinds;
  for (const RunReport& run : runs)
    for (const ReportCurve& curve : run.curves)
      if (const std::string kind = kind_of_figure(curve.name); std::ranges::find(kinds, kind) == kinds.end())
        kinds.push_back(kind);
  const double best = runs.size() == 1 ? runs[0].record.value("best_epoch", 0.0) : 0;
  std::string linear, log, single;
  for (const std::string& kind : kinds) {
    std::vector<Line> lines;
    for (std::size_t i = 0; i < runs.size(); ++i)
      for (const ReportCurve& curve : runs[i].curves)
        if (kind_of_figure(curve.name) == kind) lines.push_back(line_of(runs, i, curve));
    const std::string plain = lines_svg(lines, false, best), by_decades = lines_svg(lines, true, best);
    const std::string caption = caption_of(kind, lines, best);
    if (plain.empty()) single += single_values(runs, kind);
    if (!plain.empty()) linear += figure_of(caption, plain, kind + " by epoch");
    if (!by_decades.empty()) log += figure_of(caption, by_decades, kind + " by epoch, logarithmic");
  }
  if (!single.empty())
    single = "<p class=\"soft\">Told once, so that there is no curve:</p>\n<div class=\"wide\"><table>" + single +
             "</table></div>\n";
  if (linear.empty()) return single.empty() ? "" : "<h2 id=\"curves\">Figures by epoch</h2>\n" + single;
  return "<h2 id=\"curves\">Figures by epoch</h2>\n<div class=\"scales\">\n"
         "<input type=\"radio\" name=\"scale\" id=\"linear\" checked=\"\"/><label for=\"linear\">linear</label>\n"
         "<input type=\"radio\" name=\"scale\" id=\"log\"/><label for=\"log\">logarithmic</label>\n"
         "<div class=\"plots linear\">" +
         linear + "</div>\n<div class=\"plots log\">" + log + "</div>\n</div>\n" + single;
}

std::string field_html(const RunReport& run) {
  if (!run.field) return "";
  const AnswerField& field = *run.field;
  const Frame frame = frame_of(field);
  const bool regions = field.height > 1;
  std::string svg = axes_svg(frame, field.axes[0], field.axes[1]) + (regions ? regions_svg(field) : "");
  for (const AnswerField::Point& point : field.points)
    svg += fmt::format("<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\" fill=\"{}\"/>", frame.x(point.x),
                       frame.y(point.y), colour(regions ? static_cast<std::size_t>(point.group) : 0));
  if (!regions) svg += fit_svg(field, frame);
  std::vector<std::string> names{"data", "answer"};
  if (regions && !run.confusions.empty()) names = run.confusions[0].names;
  const std::string caption =
      fmt::format("<b>{}</b>{}<span class=\"soft\">rows of {}, {}</span>",
                  regions ? "Regions of its decisions" : "The fit", key_of(names), markup_escaped(field.split),
                  field.of_file ? "in the units of the file" : "as the model sees them");
  return figure_of(caption, svg, regions ? "regions of its decisions, and the data" : "the fit, and the data");
}

std::string weights_html(const RunReport::Pictures& pictures) {
  if (pictures.units.empty()) return "";
  constexpr int shades = 4;
  std::string html = "<h2>Weights of the first layer, unit by unit</h2>\n<div class=\"pictures\">\n";
  for (const std::vector<double>& unit : pictures.units) {
    double greatest = 0;
    for (double weight : unit) greatest = std::max(greatest, std::abs(weight));
    const auto shade = [&](std::int64_t at) {
      return greatest > 0 ? static_cast<int>(std::lround(shades * unit[static_cast<std::size_t>(at)] / greatest)) : 0;
    };
    html += fmt::format("<svg viewBox=\"0 0 {0} {0}\" role=\"img\" aria-label=\"weights of a unit\">", pictures.side);
    for (int level = -shades; level <= shades; ++level) {
      const std::string path = level == 0 ? "" : runs_of(pictures.side, level, shade);
      if (!path.empty())
        html += fmt::format("<path d=\"{}\" stroke=\"{}\" opacity=\"{:.2f}\"/>", path, colour(level < 0 ? 1 : 0),
                            static_cast<double>(std::abs(level)) / shades);
    }
    html += "</svg>\n";
  }
  return html + "</div>\n" + key_of({"above 0", "below 0"}) + "\n";
}

std::string image_svg(const std::vector<double>& pixels, const std::string& label) {
  constexpr int shades = 5;
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(pixels.size()))));
  const auto [least, greatest] = std::ranges::minmax(pixels);
  const double range = greatest > least ? greatest - least : 1;
  const auto shade = [&, low = least](std::int64_t at) {
    return static_cast<int>(std::lround(shades * (pixels[static_cast<std::size_t>(at)] - low) / range));
  };
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {0} {0}\" role=\"img\" aria-label=\"{1}\">", side, markup_escaped(label));
  for (int level = 1; level <= shades; ++level)
    if (const std::string path = runs_of(side, level, shade); !path.empty())
      svg += fmt::format("<path d=\"{}\" stroke=\"var(--ink)\" opacity=\"{:.2g}\"/>", path,
                         static_cast<double>(level) / shades);
  return svg + "</svg>";
}

}  // namespace nnc::driver
