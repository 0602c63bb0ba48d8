// The page of a report: SVG and tables, in light and dark, readable on a phone, without scripts and without anything
// from elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "driver/report.h"
#include "passes/derive/derivation.h"
#include "passes/derive/markup.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

constexpr const char* report_style =
    ":root{color-scheme:light dark;--ink:#1b1b1f;--paper:#fdfdfb;--soft:#5f5f68;--line:#d9d9d3;"
    "--c0:#1f6fb4;--c1:#c4501b;--c2:#2f7d32;--c3:#7a3fa0;--c4:#8a6a00;--c5:#b0275f;--c6:#00757a;--c7:#555}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e6ea;--paper:#17171a;--soft:#a0a0aa;--line:#3a3a40;"
    "--c0:#6db3f2;--c1:#f29a6d;--c2:#7ccf80;--c3:#c79be8;--c4:#d9bd5b;--c5:#ee86b0;--c6:#5fd0d4;--c7:#bbb}}"
    "*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:60rem;color:var(--ink);background:var(--paper);"
    "font:1rem/1.5 system-ui,sans-serif}h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.2rem .7rem .2rem 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:normal}"
    "td.hit{font-weight:bold}svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:11px}"
    ".axis{stroke:var(--line);fill:none}.soft{color:var(--soft)}pre{overflow-x:auto;font-size:.85rem}"
    ".key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.9rem}"
    ".key span::before{content:'';display:inline-block;width:.9rem;height:.2rem;margin-right:.4rem;"
    "vertical-align:middle;background:var(--k)}"
    ".scales>input{margin:0 .3rem 0 0}.scales>label{margin-right:1rem}.scales>.log{display:none}"
    ".pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(4.5rem,1fr));gap:.5rem;margin-bottom:.5rem}"
    "details{margin-top:1rem}"
    "#log:checked~.log{display:block}#log:checked~.linear{display:none}";

std::string colour(std::size_t i) { return fmt::format("var(--c{})", i % 8); }

// ---- plots

/// A picture whose axes go from `low` to `high`.
struct Frame {
  double low[2] = {0, 0}, high[2] = {1, 1};
  bool log = false;
  static constexpr double left = 58, right = 590, top = 10, bottom = 260;

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

std::vector<double> decades(double low, double high) {
  std::vector<double> all;
  const double step = std::max(1.0, std::ceil(std::log10(high / low) / 6));
  for (double power = std::ceil(std::log10(low) - 1e-9); power <= std::log10(high) + 1e-9; power += step)
    all.push_back(std::pow(10, power));
  return all;
}

std::string axes_svg(const Frame& frame, const std::string& below, const std::string& beside) {
  std::string svg;
  for (double at : ticks(frame.low[0], frame.high[0]))
    svg += fmt::format("<text x=\"{:.1f}\" y=\"276\" text-anchor=\"middle\">{:.4g}</text>", frame.x(at), at);
  for (double at : frame.log ? decades(frame.low[1], frame.high[1]) : ticks(frame.low[1], frame.high[1]))
    svg += fmt::format(
        "<path class=\"axis\" d=\"M{:.0f} {:.1f}H{:.0f}\"/><text x=\"52\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{:.4g}</text>",
        Frame::left, frame.y(at), Frame::right, frame.y(at) + 4, at);
  return svg + fmt::format("<text x=\"590\" y=\"294\" text-anchor=\"end\">{}</text><text x=\"0\" y=\"294\">{}</text>",
                           markup_escaped(below), markup_escaped(beside));
}

std::string svg_of(const std::string& content, const std::string& label) {
  return fmt::format("<svg viewBox=\"0 0 600 300\" role=\"img\" aria-label=\"{}\">{}</svg>\n", markup_escaped(label),
                     content);
}

struct Line {
  std::string name;
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

/// One picture of lines; empty where they have no two points, or, on a log scale, none above 0.
std::string lines_svg(const std::vector<Line>& lines, bool log, const std::string& beside) {
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
  std::string svg = axes_svg(frame, "epoch", beside);
  for (std::size_t i = 0; i < lines.size(); ++i)
    svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\"/>",
                       path_of(frame, *lines[i].points), colour(i));
  return svg_of(svg, beside);
}

std::string key_of(const std::vector<std::string>& names) {
  std::string html = "<div class=\"key\">";
  for (std::size_t i = 0; i < names.size(); ++i)
    html += fmt::format("<span style=\"--k:{}\">{}</span>", colour(i), markup_escaped(names[i]));
  return html + "</div>\n";
}

/// "loss" of "train.loss".
std::string kind_of_figure(const std::string& name) { return name.substr(name.find('.') + 1); }

std::string curves_html(const std::vector<RunReport>& runs) {
  std::vector<std::string> kinds;
  for (const RunReport& run : runs)
    for (const ReportCurve& curve : run.curves)
      if (const std::string kind = kind_of_figure(curve.name); std::ranges::find(kinds, kind) == kinds.end())
        kinds.push_back(kind);
  std::string linear, log;
  for (const std::string& kind : kinds) {
    std::vector<Line> lines;
    std::vector<std::string> names;
    for (const RunReport& run : runs)
      for (const ReportCurve& curve : run.curves) {
        if (kind_of_figure(curve.name) != kind) continue;
        names.push_back((runs.size() > 1 ? run.folder + " " : "") + curve.name);
        lines.push_back({names.back(), &curve.points});
      }
    const std::string plain = lines_svg(lines, false, kind), by_decades = lines_svg(lines, true, kind);
    if (!plain.empty()) linear += plain + key_of(names);
    if (!by_decades.empty()) log += by_decades + key_of(names);
  }
  if (linear.empty()) return "";
  return "<h2>Figures by epoch</h2>\n<div class=\"scales\">\n"
         "<input type=\"radio\" name=\"scale\" id=\"linear\" checked=\"\"/><label for=\"linear\">linear</label>\n"
         "<input type=\"radio\" name=\"scale\" id=\"log\"/><label for=\"log\">logarithmic</label>\n"
         "<div class=\"linear\">" +
         linear + "</div>\n<div class=\"log\">" + log + "</div>\n</div>\n";
}

// ---- answers

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
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>",
          Frame::left + step_x * static_cast<double>(first), Frame::bottom - step_y * static_cast<double>(row + 1),
          step_x * static_cast<double>(end - first), step_y, colour(static_cast<std::size_t>(answer(first))));
      first = end;
    }
  return svg + "</g>";
}

std::string field_html(const RunReport& run) {
  if (!run.field) return "";
  const AnswerField& field = *run.field;
  const Frame frame = frame_of(field);
  const bool regions = field.height > 1;
  std::string svg = regions ? regions_svg(field) : "";
  for (const AnswerField::Point& point : field.points)
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\" fill=\"{}\"/>", frame.x(point.x),
                       frame.y(point.y), colour(regions ? static_cast<std::size_t>(point.group) : 0));
  if (!regions) {
    std::vector<std::pair<double, double>> line;
    for (std::int64_t i = 0; i < field.width; ++i)
      line.emplace_back(
          field.low[0] + (field.high[0] - field.low[0]) * static_cast<double>(i) / static_cast<double>(field.width - 1),
          field.answers[static_cast<std::size_t>(i)]);
    svg +=
        fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>", path_of(frame, line), colour(1));
  }
  svg = axes_svg(frame, field.axes[0], field.axes[1]) + svg;
  std::vector<std::string> names{"data", "answer"};
  if (regions && !run.confusions.empty()) names = run.confusions[0].names;
  return fmt::format("<h2>{}</h2>\n<p class=\"soft\">Columns as the model sees them; rows of {}.</p>\n",
                     regions ? "Regions of its decisions" : "The fit", markup_escaped(field.split)) +
         svg_of(svg, regions ? "regions" : "fit") + key_of(names);
}

std::string confusion_html(const Confusion& table) {
  std::string html = fmt::format("<h2>Classes of {}</h2>\n<div class=\"wide\"><table><tr><th>is, answered as</th>",
                                 markup_escaped(table.split));
  for (const std::string& name : table.names) html += "<th>" + markup_escaped(name) + "</th>";
  html += "</tr>\n";
  for (std::size_t is = 0; is < table.names.size(); ++is) {
    html += "<tr><td>" + markup_escaped(table.names[is]) + "</td>";
    for (std::size_t said = 0; said < table.names.size(); ++said)
      html += fmt::format("<td{}>{}</td>", is == said ? " class=\"hit\"" : "",
                          table.counts[is * table.names.size() + said]);
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string wrong_html(const RunReport& run) {
  if (run.wrong.empty()) return "";
  std::string html = fmt::format(
      "<h2>Furthest off in {}</h2>\n<div "
      "class=\"wide\"><table><tr><th>row</th><th>is</th><th>answer</th><th>by</th></tr>\n",
      markup_escaped(run.wrong_split));
  for (const WrongRow& row : run.wrong)
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.4g}</td></tr>\n", row.row,
                        markup_escaped(row.wanted), markup_escaped(row.answered), row.by);
  return html + "</table></div>\n";
}

// ---- tables

std::string figure_text(const DenseArray& array) {
  if (array.count() == 1) return number_shown(array.at(0), array.dtype);
  return fmt::format("{} numbers", array.count());
}

std::string figures_html(const RunReport& run) {
  if (run.figures.empty()) return "";
  std::string html = "<div class=\"wide\"><table><tr><th>split</th><th>rows</th>";
  for (const NamedArray& figure : run.figures[0].figures) html += "<th>" + markup_escaped(figure.name) + "</th>";
  html += "</tr>\n";
  for (const SplitFigures& split : run.figures) {
    html += fmt::format("<tr><td>{}</td><td>{}</td>", markup_escaped(split.split), split.rows);
    for (const NamedArray& figure : split.figures) html += "<td>" + figure_text(figure.array) + "</td>";
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string model_html(const RunReport& run) {
  std::string html;
  if (!run.parameters.empty()) {
    html += "<h2>Parameters</h2>\n<div class=\"wide\"><table><tr><th>path</th><th>type</th></tr>\n";
    for (const auto& [path, type] : run.parameters)
      html += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", markup_escaped(path), markup_escaped(type));
    html += "</table></div>\n";
  }
  if (!run.kernels.empty()) {
    html += fmt::format(
        "<h2>Kernels of a step of {} rows</h2>\n<div class=\"wide\"><table><tr><th>kernel</th>"
        "<th>line</th><th>FLOP</th><th>bytes</th></tr>\n",
        run.step_rows);
    for (const KernelWork& kernel : run.kernels)
      html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", markup_escaped(kernel.name),
                          kernel.line, kernel.flops, kernel.bytes);
    html += "</table></div>\n";
  }
  if (!run.values.empty())
    html += "<h2>The model</h2>\n" + run.values + "<details><summary>Its gradients</summary>\n" + run.gradients +
            "</details>\n";
  if (!run.source.empty()) html += "<h2>Program</h2>\n<pre>" + markup_escaped(run.source) + "</pre>\n";
  return html;
}

/// Weights below 0 in one colour, above 0 in the other; in each picture the greatest is opaque. Runs of one shade are
/// one line of a path.
std::string pictures_html(const RunReport& run) {
  if (run.pictures.units.empty()) return "";
  constexpr int shades = 4;
  const std::int64_t side = run.pictures.side;
  std::string html = "<h2>Weights of the first layer, unit by unit</h2>\n<div class=\"pictures\">\n";
  for (const std::vector<double>& unit : run.pictures.units) {
    double greatest = 0;
    for (double weight : unit) greatest = std::max(greatest, std::abs(weight));
    const auto shade = [&](std::int64_t at) {
      return greatest > 0 ? static_cast<int>(std::lround(shades * unit[static_cast<std::size_t>(at)] / greatest)) : 0;
    };
    html += fmt::format("<svg viewBox=\"0 0 {0} {0}\" aria-label=\"weights\">", side);
    for (int level = -shades; level <= shades; ++level) {
      std::string path;
      for (std::int64_t first = 0; first < side * side && level != 0;) {
        std::int64_t end = first + 1;
        while (end % side != 0 && shade(end) == shade(first)) ++end;
        if (shade(first) == level) path += fmt::format("M{} {}.5h{}", first % side, first / side, end - first);
        first = end;
      }
      if (!path.empty())
        html += fmt::format("<path d=\"{}\" stroke=\"{}\" opacity=\"{:.2f}\"/>", path, colour(level < 0 ? 1 : 0),
                            static_cast<double>(std::abs(level)) / shades);
    }
    html += "</svg>\n";
  }
  return html + "</div>\n" + key_of({"above 0", "below 0"});
}

std::string how_it_ran(const RunReport& run) {
  const auto& record = run.record;
  return fmt::format("{} after epoch {}, step {}; seed {}, {}, threads {}, nnc {}", record.value("state", "under way"),
                     record.value("epoch", 0), record.value("step", 0), record.value("seed", 0ull),
                     record.value("dtype", ""), record.contains("machine") ? record["machine"].value("threads", 1) : 1,
                     record.value("nnc", ""));
}

// ---- several runs

std::string setting_text(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// --set as settings of their own, and of the machine what matters to a run.
std::vector<std::pair<std::string, std::string>> settings_of(const RunReport& run) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const auto& [name, value] : run.record.items()) {
    if (name == "schema" || name == "machine" || name == "data_folder" || name == "imports") continue;
    if (name != "set") settings.emplace_back(name, setting_text(value));
    if (name == "set" && value.is_array())
      for (const auto& pair : value)
        if (pair.is_array() && pair.size() == 2) settings.emplace_back(setting_text(pair[0]), setting_text(pair[1]));
    if (name == "set" && value.is_object())
      for (const auto& [constant, to] : value.items()) settings.emplace_back(constant, setting_text(to));
  }
  for (const ReportCurve& curve : run.curves)
    if (!curve.points.empty())
      settings.emplace_back("last " + curve.name, number_shown(curve.points.back().second, DType::f64));
  return settings;
}

std::string differences_html(const std::vector<RunReport>& runs) {
  std::vector<std::vector<std::pair<std::string, std::string>>> all;
  std::vector<std::string> names;
  for (const RunReport& run : runs) {
    all.push_back(settings_of(run));
    for (const auto& [name, value] : all.back())
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  std::string html = "<h2>In what they differ</h2>\n<div class=\"wide\"><table><tr><th>setting</th>";
  for (const RunReport& run : runs) html += "<th>" + markup_escaped(run.folder) + "</th>";
  html += "</tr>\n";
  for (const std::string& name : names) {
    std::vector<std::string> values;
    for (const auto& settings : all) {
      const auto found = std::ranges::find(settings, name, &std::pair<std::string, std::string>::first);
      values.push_back(found == settings.end() ? "as written" : found->second);
    }
    if (std::set<std::string>(values.begin(), values.end()).size() == 1) continue;
    html += "<tr><td>" + markup_escaped(name) + "</td>";
    for (const std::string& value : values) html += "<td>" + markup_escaped(value) + "</td>";
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

}  // namespace

std::string page_of(const std::vector<RunReport>& runs) {
  std::string title = runs[0].title;
  if (runs.size() > 1) title = fmt::format("{} runs", runs.size());
  title = markup_escaped(title);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n"
      "<style>{}{}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
      title, report_style, html_list_style, title);
  if (runs.size() > 1) return html + differences_html(runs) + curves_html(runs) + "</body>\n</html>\n";
  const RunReport& run = runs[0];
  html += "<p class=\"soft\">" + markup_escaped(how_it_ran(run)) + "</p>\n" + figures_html(run) + curves_html(runs) +
          field_html(run);
  for (const Confusion& table : run.confusions) html += confusion_html(table);
  return html + wrong_html(run) + pictures_html(run) + model_html(run) + "</body>\n</html>\n";
}

}  // namespace nnc::driver
