// A derivation as text, as a LaTeX document and as one HTML page with MathML. All three go through the same lines.
#include <fmt/format.h>

#include <algorithm>

#include "passes/derive/derivation.h"
#include "passes/derive/markup.h"

namespace nnc {

namespace {

std::string reasons_of(const DerivationLine& line) { return fmt::format("{}", fmt::join(line.reasons, ", ")); }

// Text

std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

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
    for (const DerivationLine& line : part.lines) {
      std::string equation(line.detail ? 6 : 2, ' ');
      if (line.left) {
        equation += as_text(*line.left);
        if (!line.detail) left_width = columns_of(equation);
      } else {
        equation.append(left_width - columns_of(equation), ' ');
      }
      equation += " = " + as_text(line.right);
      if (columns_of(equation) <= widest_column) column = std::max(column, columns_of(equation));
      shape_width = std::max(shape_width, columns_of(line.shape));
      equations.push_back(std::move(equation));
    }
    out += "\n" + part.title + "\n\n";
    for (std::size_t i = 0; i < equations.size(); ++i)
      add_text_line(out, equations[i], part.lines[i], column, shape_width);
  }
  return out;
}

// LaTeX

std::string latex_escaped(const std::string& text) {
  std::string result;
  for (char c : text) {
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

std::string derivation_latex(const Derivation& derivation) {
  std::string out =
      "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n\\usepackage[landscape,margin=15mm]{geometry}\n"
      "\\allowdisplaybreaks\n\\setlength{\\parindent}{0pt}\n\\begin{document}\n";
  out += "\\section*{" + latex_escaped(derivation.title) + "}\n";
  for (const DerivationPart& part : derivation.parts) {
    out += "\\subsection*{" + latex_escaped(part.title) + "}\n";
    if (part.lines.empty()) continue;
    out += "\\begin{align*}\n";
    for (std::size_t i = 0; i < part.lines.size(); ++i) {
      const DerivationLine& line = part.lines[i];
      out += (line.left ? as_latex(*line.left) : "") + " &= " + as_latex(line.right) + latex_note(line);
      out += i + 1 < part.lines.size() ? " \\\\\n" : "\n";
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
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}";

std::string html_line(const DerivationLine& line) {
  const char* kind = line.detail ? " class=\"law\"" : line.left ? "" : " class=\"more\"";
  const std::string left = line.left ? as_mathml(*line.left) : "";
  std::string note = markup_escaped(line.shape);
  if (const std::string reasons = markup_escaped(reasons_of(line)); !reasons.empty())
    note += (note.empty() ? "" : " · ") + reasons;
  return fmt::format(
      "<li{}><div class=\"equation\" tabindex=\"0\"><math "
      "displaystyle=\"true\"><mrow>{}<mo>=</mo>{}</mrow></math></div>"
      "<span class=\"note\">{}</span></li>\n",
      kind, left, as_mathml(line.right), note);
}

std::string derivation_html(const Derivation& derivation) {
  const std::string title = markup_escaped(derivation.title);
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
  out += fmt::format("<title>{}</title>\n<style>{}{}</style>\n</head>\n<body>\n<h1>{}</h1>\n", title, page_style,
                     html_list_style, title);
  for (const DerivationPart& part : derivation.parts)
    out += fmt::format("<h2>{}</h2>\n{}", markup_escaped(part.title), html_list(part));
  return out + "</body>\n</html>\n";
}

}  // namespace

const char* const html_list_style =
    "ol{list-style:none;margin:0;padding:0}"
    "li{display:flex;flex-wrap:wrap;gap:.2rem 1.5rem;align-items:center;justify-content:space-between;"
    "padding:.45rem 0;border-top:1px solid var(--line)}"
    "li.more{border-top:0}li.law{padding-left:2rem;font-size:.9rem}"
    ".equation{overflow-x:auto;max-width:100%;padding:.1rem 0}"
    ".note{color:var(--soft);font-size:.85rem;margin-left:auto;text-align:right}"
    "math{font-size:1.1em}";

std::string html_list(const DerivationPart& part) {
  std::string out = "<ol>\n";
  for (const DerivationLine& line : part.lines) out += html_line(line);
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
