// A derivation as text, as a LaTeX document and as one HTML page with MathML. All three go through the same lines.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "passes/derive/derivation.h"
#include "passes/derive/glossary.h"
#include "passes/derive/markup.h"

namespace nnc {

namespace {

/// Lines that another one tells of are left out.
std::vector<DerivationLine> printed(const DerivationPart& part) {
  std::vector<DerivationLine> lines;
  std::ranges::copy_if(part.lines, std::back_inserter(lines), [](const DerivationLine& line) { return !line.alike; });
  return lines;
}

/// "a, b, …, c" in the form that `write` gives a formula.
template <class Write>
std::string listed(const std::vector<Formula>& formulas, const std::string& comma, const Write& write) {
  std::string text;
  for (const Formula& formula : formulas) text += (text.empty() ? "" : comma) + write(formula);
  return text;
}

constexpr std::size_t widest_formula = 100;  ///< in columns of text

std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

/// A sum or a product that is too long for one line, in stretches of its parts that are not; any other formula whole.
std::vector<Formula> lines_of(const Formula& x) {
  const bool is_sum = x.kind == Formula::Kind::sum && x.parts.size() > 1, is_product = x.kind == Formula::Kind::product;
  if ((!is_sum && !is_product) || columns_of(as_text(x)) <= widest_formula) return {x};
  std::vector<Formula> lines;
  const auto add = [&](Formula& line, std::size_t i) {
    line.parts.push_back(x.parts[i]);
    if (is_sum) line.minus.push_back(x.minus[i]);
  };
  const Formula none{.kind = x.kind};
  Formula line = none;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    Formula longer = line;
    add(longer, i);
    // Behind a large sign nothing may follow in a product.
    const bool may_end = line.parts.empty() || is_sum || line.parts.back().kind != Formula::Kind::large;
    if (!line.parts.empty() && may_end && columns_of(as_text(longer)) > widest_formula) {
      lines.push_back(std::exchange(line, none));
      add(line, i);
    } else {
      line = std::move(longer);
    }
  }
  lines.push_back(std::move(line));
  return lines;
}

/// What stands before a stretch that goes on from another one: + or the sign of the product; − is its own.
const char* sign_between(const Formula& before, const Formula& here, const char* plus, const char* by_elements,
                         const char* times) {
  if (here.kind == Formula::Kind::sum) return here.minus.front() ? "" : plus;
  return before.parts.back().scalar || here.parts.front().scalar ? times : by_elements;
}

std::string reasons_of(const DerivationLine& line) { return fmt::format("{}", fmt::join(line.reasons, ", ")); }

// Text

/// Equations on the left; shapes and reasons in columns of their own, or behind a line that is too long for that.
void add_text_line(std::string& out, const std::string& equation, const DerivationLine& line, std::size_t column,
                   std::size_t shape_width) {
  const auto pad = [](std::string& to, std::size_t width) {
    const std::size_t columns = columns_of(to);
    if (columns < width) to.append(width - columns, ' ');
  };
  std::string text = equation;
  const std::string reasons = reasons_of(line);
  if (!line.shape.empty() || !reasons.empty()) {
    pad(text, column);
    std::string shape = line.shape;
    if (!reasons.empty()) pad(shape, shape_width);
    text += "  " + shape + (reasons.empty() ? "" : "  " + reasons);
  }
  while (text.ends_with(' ')) text.pop_back();
  out += text + "\n";
}

std::string derivation_text(const Derivation& derivation) {
  constexpr std::size_t widest_column = 84;
  std::string out = derivation.title + "\n";
  for (const DerivationPart& part : derivation.parts) {
    std::vector<std::string> equations;
    std::size_t column = 0, shape_width = 0, left_width = 0;
    const std::vector<DerivationLine> lines = printed(part);
    for (const DerivationLine& line : lines) {
      std::string equation(line.detail ? 6 : 2, ' ');
      if (line.left) {
        equation += as_text(*line.left);
        if (!line.detail) left_width = columns_of(equation);
      } else {
        equation.append(left_width - columns_of(equation), ' ');
      }
      const std::size_t right_at = columns_of(equation) + 3;
      const std::vector<Formula> stretches = lines_of(line.right);
      equation += " = " + as_text(stretches[0]);
      for (std::size_t k = 1; k < stretches.size(); ++k)
        equation += "\n" + std::string(right_at + 2, ' ') +
                    sign_between(stretches[k - 1], stretches[k], "+ ", "⊙ ", "· ") + as_text(stretches[k]);
      if (columns_of(equation) <= widest_column) column = std::max(column, columns_of(equation));
      shape_width = std::max(shape_width, columns_of(line.shape));
      equations.push_back(std::move(equation));
    }
    out += "\n" + part.title + "\n\n";
    for (std::size_t i = 0; i < equations.size(); ++i) {
      add_text_line(out, equations[i], lines[i], column, shape_width);
      if (!lines[i].likewise.empty()) out += "  likewise " + listed(lines[i].likewise, ", ", as_text) + "\n";
    }
  }
  return out;
}

// LaTeX

std::string latex_escaped(const std::string& text) {
  constexpr std::string_view dots = "…";
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (std::string_view(text).substr(i).starts_with(dots)) {
      result += "\\ldots{}";
      i += dots.size() - 1;
      continue;
    }
    const char c = text[i];
    if (c == '_' || c == '&' || c == '%' || c == '#' || c == '$') result += '\\';
    result += c;
  }
  return result;
}

std::string latex_note(const DerivationLine& line) {
  std::string note;
  std::string shape = line.shape;
  for (std::size_t at = shape.find("×"); at != std::string::npos; at = shape.find("×"))
    shape.replace(at, std::string("×").size(), "\\times ");
  if (!shape.empty()) note += "$" + shape + "$";
  std::string reasons = latex_escaped(reasons_of(line));
  if (reasons == "f′") reasons = "$f'$";
  if (reasons == "δ") reasons = "$\\delta$";
  if (!reasons.empty()) note += (note.empty() ? "" : ", ") + reasons;
  return note.empty() ? "" : " && \\text{\\small " + note + "}";
}

std::string latex_right(const Formula& right) {
  const std::vector<Formula> stretches = lines_of(right);
  std::string text = as_latex(stretches[0]);
  for (std::size_t i = 1; i < stretches.size(); ++i)
    text += std::string(" \\\\\n & \\quad {} ") +
            sign_between(stretches[i - 1], stretches[i], "+ ", "\\odot ", "\\cdot ") + as_latex(stretches[i]);
  return text;
}

std::string derivation_latex(const Derivation& derivation) {
  std::string out =
      "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n\\usepackage[landscape,margin=15mm]{geometry}\n"
      "\\allowdisplaybreaks\n\\setlength{\\parindent}{0pt}\n\\begin{document}\n";
  out += "\\section*{" + latex_escaped(derivation.title) + "}\n";
  for (const DerivationPart& part : derivation.parts) {
    out += "\\subsection*{" + latex_escaped(part.title) + "}\n";
    const std::vector<DerivationLine> lines = printed(part);
    if (lines.empty()) continue;
    out += "\\begin{align*}\n";
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const DerivationLine& line = lines[i];
      out += (line.left ? as_latex(*line.left) : "") + " &= " + latex_right(line.right) + latex_note(line);
      if (!line.likewise.empty()) out += " \\\\\n & \\text{likewise } " + listed(line.likewise, ",\\ ", as_latex);
      out += i + 1 < lines.size() ? " \\\\\n" : "\n";
    }
    out += "\\end{align*}\n";
  }
  return out + "\\end{document}\n";
}

// HTML

constexpr const char* page_style =
    ":root{color-scheme:light dark;--ink:#1b1b1f;--paper:#fdfdfb;--soft:#6a6a72;--line:#dcdcd6}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e6ea;--paper:#17171a;--soft:#9a9aa4;--line:#34343a}}"
    "body{margin:0 auto;padding:1rem;max-width:70rem;color:var(--ink);background:var(--paper);"
    "font:1rem/1.5 system-ui,sans-serif}"
    "*{box-sizing:border-box}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}"
    "h3{font-size:.95rem;margin:.2rem 0 .5rem}"
    ".glossary{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.2rem 2.5rem;"
    "font-size:.92rem}dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.25rem .9rem;margin:0}"
    "dt{font-weight:600;color:var(--soft)}dd{margin:0}";

/// A formula of its own, so that a list of them breaks between lines.
std::string math_of(const Formula& formula) { return "<math><mrow>" + as_mathml(formula) + "</mrow></math>"; }

std::string html_line(const DerivationLine& line) {
  const char* kind = line.detail ? " class=\"law\"" : line.left ? "" : " class=\"more\"";
  const std::string left = line.left ? as_mathml(*line.left) : "";
  std::string note = markup_escaped(line.shape);
  if (const std::string reasons = markup_escaped(reasons_of(line)); !reasons.empty())
    note += (note.empty() ? "" : " · ") + reasons;
  return fmt::format(
      "<li{}><div class=\"left\"><math displaystyle=\"true\"><mrow>{}</mrow></math></div>"
      "<div class=\"equation\" tabindex=\"0\"><math displaystyle=\"true\"><mrow><mo>=</mo>{}</mrow></math></div>"
      "<span class=\"note\">{}</span></li>\n",
      kind, left, as_mathml(line.right), note);
}

/// No line ends inside ∂L/∂v: U+2060 stands behind the stroke.
std::string kept_together(std::string text) {
  const std::string slope = "∂L/";
  for (std::size_t at = text.find(slope); at != std::string::npos; at = text.find(slope, at + 1))
    text.insert(at + slope.size(), "\u2060");
  return text;
}

std::string html_glossary(const Derivation& derivation) {
  const Glossary glossary = glossary_of(derivation);
  std::string out = "<h2>How to read it</h2>\n<div class=\"glossary\">\n";
  const auto add = [&](const char* title, const std::vector<GlossaryEntry>& entries) {
    if (entries.empty()) return;
    out += fmt::format("<section><h3>{}</h3>\n<dl>", kept_together(title));
    for (const GlossaryEntry& entry : entries)
      out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", markup_escaped(entry.word),
                         kept_together(markup_escaped(entry.meaning)));
    out += "</dl></section>\n";
  };
  add("Signs", glossary.signs);
  add("Rules of differentiation: L is the loss, v what comes out of a step; what a value gets is its ∂L/∂, added up "
      "over its uses",
      glossary.rules);
  add("Laws of algebra", glossary.laws);
  return out + "</div>\n";
}

/// Names of parameters, as the lines of the values introduce them.
std::set<std::string> parameters_of(const Derivation& derivation) {
  std::set<std::string> names;
  for (const DerivationPart& part : derivation.parts)
    for (const DerivationLine& line : part.lines) {
      const bool path = line.right.kind == Formula::Kind::symbol && line.right.text.find('.') != std::string::npos;
      const bool own = line.reasons == std::vector<std::string>{"parameter"};
      if (line.left && (path || own)) names.insert(as_text(*line.left));
    }
  return names;
}

/// The last form of each derivative by a parameter, where there is so much before it that a reader would look for it.
DerivationPart in_short(const Derivation& derivation) {
  constexpr std::size_t read_at_once = 12;
  const std::set<std::string> parameters = parameters_of(derivation);
  DerivationPart result{.title = "In short", .lines = {}};
  for (const DerivationPart& part : derivation.parts)
    for (std::size_t i = 0; i < part.lines.size() && part.lines.size() > read_at_once; ++i) {
      const DerivationLine& first = part.lines[i];
      if (!first.left || first.left->kind != Formula::Kind::slope) continue;
      if (!parameters.contains(as_text(first.left->parts[1]))) continue;
      DerivationLine line{.left = first.left, .right = first.right, .shape = first.shape};
      for (std::size_t next = i + 1; next < part.lines.size() && !part.lines[next].left; ++next)
        line.right = part.lines[next].right;
      result.lines.push_back(std::move(line));
    }
  return result;
}

std::string derivation_html(const Derivation& derivation) {
  const std::string title = markup_escaped(derivation.title);
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
  out += fmt::format("<title>{}</title>\n<style>{}{}</style>\n</head>\n<body>\n<h1>{}</h1>\n", title, page_style,
                     html_list_style, title);
  std::vector<DerivationPart> parts = derivation.parts;
  if (DerivationPart summary = in_short(derivation); !summary.lines.empty()) parts.push_back(std::move(summary));
  for (const DerivationPart& part : parts)
    out += fmt::format("<h2>{}</h2>\n{}", markup_escaped(part.title), html_list(part));
  return out + html_glossary(derivation) + "</body>\n</html>\n";
}

}  // namespace

const char* const html_list_style =
    "ol{list-style:none;margin:0;padding:0;display:grid;grid-template-columns:max-content minmax(0,1fr) auto;"
    "column-gap:.4rem}"
    "li{display:grid;grid-column:1/-1;grid-template-columns:subgrid;align-items:center;padding:.45rem 0;"
    "border-top:1px solid var(--line)}"
    "li.more,li.likewise{border-top:0;padding-top:.1rem}li.law{font-size:.9rem}li.law>.left{padding-left:2rem}"
    ".left{text-align:right}.likewise>span{grid-column:1/-1;color:var(--soft)}.likewise math{color:var(--ink)}"
    ".equation{overflow:auto hidden;max-width:100%;padding:.45rem 0}"
    ".note{color:var(--soft);font-size:.85rem;text-align:right;padding-left:1rem}"
    "math{font-size:1.1em;font-family:'STIX Two Math','Cambria Math','Latin Modern Math','DejaVu Math TeX Gyre',math}"
    "@media(max-width:40rem){ol{display:block}li{display:flex;flex-wrap:wrap;gap:.1rem .4rem}"
    "li.more>.left{display:none}li.more>.equation{padding-left:1.2rem}.note{margin-left:auto}}";

std::string html_list(const DerivationPart& part) {
  std::string out = "<ol>\n";
  for (const DerivationLine& line : printed(part)) {
    out += html_line(line);
    if (!line.likewise.empty())
      out += "<li class=\"likewise\"><span>likewise " + listed(line.likewise, ", ", math_of) + "</span></li>\n";
  }
  return out + "</ol>\n";
}

std::string print(const Derivation& derivation, DerivationFormat format) {
  switch (format) {
    case DerivationFormat::text:
      return derivation_text(derivation);
    case DerivationFormat::latex:
      return derivation_latex(derivation);
    case DerivationFormat::html:
      return derivation_html(derivation);
  }
  return "";
}

}  // namespace nnc
