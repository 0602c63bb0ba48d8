// The page of a report: what stands where. SVG and tables, in light and dark, readable on a phone, without scripts and
// without anything from elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <sstream>

#include "driver/model_drawing.h"
#include "driver/report.h"
#include "driver/report_differences.h"
#include "driver/report_plots.h"
#include "driver/report_style.h"
#include "passes/derive/derivation.h"
#include "passes/derive/markup.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

/// What is wider than the page is moved inside of it, also by keys.
std::string wide(const std::string& label, const std::string& content) {
  return fmt::format("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{}</div>\n",
                     markup_escaped(label), content);
}

std::string row_of(const std::vector<std::string>& cells, const char* tag) {
  std::string html = "<tr>";
  for (const std::string& cell : cells) html += fmt::format("<{0}>{1}</{0}>", tag, markup_escaped(cell));
  return html + "</tr>\n";
}

/// A number with three digits, and its unit with k, M or G.
std::string brief(double x, const char* unit) {
  for (const auto& [limit, sign] : {std::pair(1e9, "G"), std::pair(1e6, "M"), std::pair(1e3, "k")})
    if (x >= limit) return fmt::format("{:.3g} {}{}", x / limit, sign, unit);
  return fmt::format("{:.3g} {}", x, unit);
}
std::string brief_time(double nanoseconds) {
  for (const auto& [limit, unit] : {std::pair(1e9, "s"), std::pair(1e6, "ms"), std::pair(1e3, "µs")})
    if (nanoseconds >= limit) return fmt::format("{:.3g} {}", nanoseconds / limit, unit);
  return fmt::format("{:.3g} ns", nanoseconds);
}

std::string line_link(std::uint32_t line) { return line == 0 ? "" : fmt::format("<a href=\"#L{0}\">{0}</a>", line); }

// ---- figures

std::string figure_text(const DenseArray& array) {
  if (array.count() == 1) return number_shown(array.at(0), array.dtype);
  return fmt::format("{} numbers", array.count());
}

/// The split by which a model is judged: rows that it did not learn from, where there are any.
const SplitFigures& judged(const RunReport& run) {
  for (const char* name : {"test", "valid"})
    for (const SplitFigures& split : run.figures)
      if (split.split == name) return split;
  return run.figures.front();
}

std::string tiles_html(const RunReport& run) {
  constexpr std::size_t most = 4;
  const SplitFigures& split = judged(run);
  std::string html = "<div class=\"tiles\">";
  std::size_t shown = 0;
  for (const NamedArray& figure : split.figures)
    if (figure.array.count() == 1 && shown++ < most)
      html += fmt::format("<div class=\"tile\"><span>{} {}</span><b>{:.4g}</b></div>", markup_escaped(split.split),
                          markup_escaped(figure.name), figure.array.at(0));
  return html + "</div>\n";
}

std::string figures_html(const RunReport& run) {
  if (run.figures.empty()) return "";
  std::vector<std::string> head{"split", "rows"};
  for (const NamedArray& figure : run.figures[0].figures) head.push_back(figure.name);
  std::string html = "<table>" + row_of(head, "th");
  for (const SplitFigures& split : run.figures) {
    std::vector<std::string> cells{split.split, std::to_string(split.rows)};
    for (const NamedArray& figure : split.figures) cells.push_back(figure_text(figure.array));
    html += row_of(cells, "td");
  }
  return tiles_html(run) + wide("figures of each split", html + "</table>");
}

// ---- answers

/// Each count on as much colour as its share of its row.
std::string confusion_html(const Confusion& table) {
  std::string html = fmt::format("<table class=\"classes{}\"><tr><th>is</th>", table.names.size() > 6 ? " many" : "");
  for (const std::string& name : table.names) html += "<th>" + markup_escaped(name) + "</th>";
  html += "</tr>\n";
  const std::size_t count = table.names.size();
  for (std::size_t is = 0; is < count; ++is) {
    const auto row = table.counts.begin() + static_cast<std::ptrdiff_t>(is * count);
    const std::int64_t rows = std::accumulate(row, row + static_cast<std::ptrdiff_t>(count), std::int64_t{0});
    html += "<tr><td>" + markup_escaped(table.names[is]) + "</td>";
    for (std::size_t said = 0; said < count; ++said) {
      const std::int64_t here = table.counts[is * count + said];
      const double share = rows > 0 ? static_cast<double>(here) / static_cast<double>(rows) : 0;
      html += fmt::format("<td class=\"{}\"{}>{}</td>", is == said ? "count hit" : "count",
                          here > 0 ? fmt::format(" style=\"--s:{:.2f}\"", share) : "", here);
    }
    html += "</tr>\n";
  }
  return fmt::format(
      "<figure{}><h3>Classes of {}</h3><p class=\"soft\">A row for what is, a column for what was "
      "answered.</p>{}</figure>\n",
      table.names.size() > 6 ? " class=\"broad\"" : "", markup_escaped(table.split),
      wide("classes of " + table.split, html + "</table>"));
}

std::string wrong_images(const RunReport& run) {
  std::string html = "<div class=\"pictures\">\n";
  for (const WrongRow& row : run.wrong)
    html +=
        fmt::format("<figure>{}<figcaption><b>{} for {}</b> <span class=\"soft\">row {}</span></figcaption></figure>\n",
                    image_svg(row.inputs, fmt::format("row {}: {}, answered {}", row.row, row.wanted, row.answered)),
                    markup_escaped(row.answered), markup_escaped(row.wanted), row.row);
  return html + "</div>\n";
}

std::string wrong_table(const RunReport& run) {
  std::vector<std::string> head{"row", "is", "answer", "by"};
  head.insert(head.end(), run.wrong_inputs.begin(), run.wrong_inputs.end());
  std::string html = "<table>" + row_of(head, "th");
  for (const WrongRow& row : run.wrong) {
    std::vector<std::string> cells{std::to_string(row.row), row.wanted, row.answered, fmt::format("{:.4g}", row.by)};
    if (!run.wrong_inputs.empty())
      for (double input : row.inputs) cells.push_back(fmt::format("{:.6g}", input));
    html += row_of(cells, "td");
  }
  return wide("rows that are furthest off", html + "</table>");
}

std::string answers_html(const RunReport& run) {
  std::string tables;
  for (auto table = run.confusions.rbegin(); table != run.confusions.rend(); ++table) tables += confusion_html(*table);
  std::string plots = field_html(run);
  plots += plots.empty() ? tables : "<div>" + tables + "</div>";
  std::string html = plots.empty() ? "" : "<div class=\"plots\">\n" + plots + "</div>\n";
  if (!run.wrong.empty()) {
    const bool images = run.wrong_inputs.empty() && !run.wrong[0].inputs.empty();
    html += fmt::format("<h3 style=\"margin-top:1.6rem\">Furthest off in {}{}</h3>\n", markup_escaped(run.wrong_split),
                        images ? ": what was answered, and what it is" : "") +
            (images ? wrong_images(run) : wrong_table(run));
  }
  return html.empty() ? "" : "<h2 id=\"answers\">Answers</h2>\n" + html;
}

// ---- the model

std::string parameters_html(const RunReport& run) {
  std::int64_t all = 0;
  std::string html = "<table><tr><th>parameter</th><th>shape</th><th>elements</th></tr>\n";
  for (const RunReport::Parameter& parameter : run.parameters) {
    const std::int64_t elements = element_count(parameter.type.shape).count;
    all += elements;
    html += row_of({parameter.path, shape_shown(parameter.type), std::to_string(elements)}, "td");
  }
  return fmt::format("<details><summary>{} parameters in {} tensors</summary>\n{}</details>\n", all,
                     run.parameters.size(), wide("parameters", html + "</table>"));
}

std::string model_html(const RunReport& run) {
  std::string html;
  if (const std::string svg = model_svg(run.outline); !svg.empty())
    html +=
        "<p class=\"soft\">As it is written, with what comes out of each step; n is the number of rows. A step leads "
        "to "
        "its line.</p>\n" +
        wide("the model", svg);
  if (!run.parameters.empty()) html += parameters_html(run);
  if (!run.values.empty())
    html += "<details><summary>Its values and gradients as formulas</summary>\n" + run.values + "<h3>Gradients</h3>\n" +
            run.gradients + "</details>\n";
  return html.empty() ? "" : "<h2 id=\"model\">The model</h2>\n" + html + weights_html(run.pictures);
}

// ---- time and memory

/// "grad.W + W + adam.m + adam.v" of "grad.W + W + adam.m/W + adam.v/W": what else a state is of stands beside it.
std::string brief_name(const std::string& name) {
  constexpr std::string_view between = " + ";
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find(between, at), name.size());
    parts.push_back(name.substr(at, end - at));
    at = end + between.size();
  }
  std::string brief;
  for (const std::string& part : parts) {
    const std::size_t slash = part.find('/');
    const bool told = slash != std::string::npos && std::ranges::find(parts, part.substr(slash + 1)) != parts.end();
    brief += (brief.empty() ? "" : " + ") + (told ? part.substr(0, slash) : part);
  }
  return brief;
}

std::string kernel_row(const KernelWork& kernel, double all) {
  const double time = kernel.nanoseconds;
  const auto flops = static_cast<double>(kernel.flops), bytes = static_cast<double>(kernel.bytes);
  std::string html = fmt::format("<tr><td class=\"words\">{}</td><td>{}</td>", markup_escaped(brief_name(kernel.name)),
                                 line_link(kernel.line));
  if (all > 0)
    html += fmt::format("<td>{:.3g}</td><td class=\"bar\"><i style=\"width:{:.1f}%\"></i></td><td>{:.1f}%</td>",
                        time / 1e3, 100 * time / all, 100 * time / all);
  html += fmt::format("<td>{}</td><td>{}</td>", brief(flops, ""), brief(bytes, "B"));
  if (all > 0)
    html += fmt::format("<td>{}</td><td>{:.3g}</td>", kernel.flops > 0 ? fmt::format("{:.3g}", flops / time) : "",
                        bytes / time);
  return html + "</tr>\n";
}

std::string work_html(const RunReport& run) {
  if (!run.profile || run.profile->kernels.empty()) return "";
  const StepProfile& step = *run.profile;
  double time = 0, flops = 0, contracted = 0, bytes = 0;
  for (const KernelWork& kernel : step.kernels) {
    time += kernel.nanoseconds;
    flops += static_cast<double>(kernel.flops), bytes += static_cast<double>(kernel.bytes);
    contracted += static_cast<double>(kernel.contracted);
  }
  const auto tile = [](const char* what, const std::string& value) {
    return fmt::format("<div class=\"tile\"><span>{}</span><b>{}</b></div>", what, value);
  };
  std::string html = "<h2 id=\"work\">Time and memory</h2>\n<div class=\"tiles\">";
  if (time > 0) html += tile("a step", brief_time(time)) + tile("arithmetic", brief(flops / time * 1e9, "FLOP/s"));
  html += tile("weights", brief(static_cast<double>(step.params_bytes), "B")) +
          tile("states", brief(static_cast<double>(step.state_bytes), "B")) +
          tile("intermediate", brief(static_cast<double>(step.arena_bytes), "B")) + "</div>\n";
  html += fmt::format(
      "<p class=\"soft\">A training step of {} {} as compiled for {}: {}, {} of them in contractions, {} moved. FLOP "
      "are all additions, multiplications, divisions, roots, minima and maxima of floats, two for a fused "
      "multiply-add; "
      "exp and the like count as what they are computed with.{}</p>\n",
      step.rows, step.rows == 1 ? "row" : "rows", markup_escaped(step.cpu), brief(flops, "FLOP"), brief(contracted, ""),
      brief(bytes, "B"),
      time > 0 ? fmt::format(" Each kernel's time is the shortest of {} steps on one thread.", step.steps) : "");
  std::string table = "<table><tr><th>kernel</th><th>line</th>";
  if (time > 0) table += "<th>µs</th><th>share</th><th></th>";
  table += "<th>FLOP</th><th>moved</th>";
  if (time > 0) table += "<th>GFLOP/s</th><th>GB/s</th>";
  table += "</tr>\n";
  for (const KernelWork& kernel : step.kernels) table += kernel_row(kernel, time);
  return html + wide("kernels of a step", table + "</table>");
}

// ---- the rest

std::string program_html(const RunReport& run) {
  if (run.source.empty()) return "";
  std::istringstream lines(run.source);
  std::string html;
  int number = 0;
  for (std::string line; std::getline(lines, line);)
    html += fmt::format("<span id=\"L{}\">{}</span>", ++number, markup_escaped(line));
  return "<h2 id=\"program\">Program</h2>\n<pre class=\"program\" tabindex=\"0\" aria-label=\"the program\">" + html +
         "</pre>\n";
}

std::string how_it_ran(const RunReport& run) {
  const auto& record = run.record;
  const int threads = record.contains("machine") ? record["machine"].value("threads", 1) : 1;
  return fmt::format("{} {}; seed {}, {}, {} {}, nnc {}", record.value("state", "under way"),
                     record.value("place", "at step 0"), record.value("seed", 0ull), record.value("dtype", ""), threads,
                     threads == 1 ? "thread" : "threads", record.value("nnc", ""));
}

/// Links to those of the page's parts that it has.
std::string contents_of(const std::string& page) {
  std::string html;
  for (const auto& [id, name] :
       {std::pair("curves", "Figures by epoch"), std::pair("answers", "Answers"), std::pair("model", "The model"),
        std::pair("work", "Time and memory"), std::pair("program", "Program")})
    if (page.find(fmt::format("<h2 id=\"{}\"", id)) != std::string::npos)
      html += fmt::format("<a href=\"#{}\">{}</a>", id, name);
  return "<nav aria-label=\"parts of the page\">" + html + "</nav>\n";
}

// ---- several runs

/// A line of a body stands on a line of its own.
std::string difference_cell(const std::string& value) {
  std::string html;
  for (char c : markup_escaped(value)) html += c == '\n' ? std::string("<br/>") : std::string(1, c);
  return html.empty() ? "<td class=\"soft\">none</td>" : "<td class=\"words\">" + html + "</td>";
}

std::string difference_table(const std::vector<RunReport>& runs, const std::vector<Difference>& rows,
                             const std::string& what) {
  std::vector<std::string> head{what};
  for (const RunReport& run : runs) head.push_back(run.folder);
  std::string html = "<table>" + row_of(head, "th");
  for (const Difference& row : rows) {
    html += "<tr><td>" + markup_escaped(row.name) + "</td>";
    for (const std::string& value : row.values) html += difference_cell(value);
    html += "</tr>\n";
  }
  return wide(what + "s that differ", html + "</table>");
}

std::string differences_html(const std::vector<RunReport>& runs) {
  const auto [settings, results] = differences_of(runs);
  std::string html = "<h2>In what they differ</h2>\n";
  html += settings.empty() ? "<p>In no setting: their programs and commands say the same.</p>\n"
                           : difference_table(runs, settings, "setting");
  html += results.empty() ? "<p>They ended alike, in every figure.</p>\n"
                          : "<h2>How they ended</h2>\n" + difference_table(runs, results, "result");
  return html;
}

}  // namespace

std::string page_of(const std::vector<RunReport>& runs) {
  const bool alone = runs.size() == 1;
  const std::string title = alone ? markup_escaped(runs[0].title) : fmt::format("{} runs", runs.size());
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n"
      "<style>{}{}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
      title, report_style, html_list_style, title);
  if (!alone) return html + differences_html(runs) + curves_html(runs) + "</body>\n</html>\n";
  const RunReport& run = runs[0];
  const std::string parts =
      curves_html(runs) + answers_html(run) + model_html(run) + work_html(run) + program_html(run);
  return html + "<p class=\"soft\">" + markup_escaped(how_it_ran(run)) + "</p>\n" + contents_of(parts) +
         figures_html(run) + parts + "</body>\n</html>\n";
}

}  // namespace nnc::driver
