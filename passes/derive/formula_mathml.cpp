// Formulas as presentation MathML (MathML Core), which browsers show without a script.
#include "passes/derive/formula.h"
#include "passes/derive/markup.h"

namespace nnc {

namespace {

std::string element(const char* name, const std::string& content) {
  return std::string("<") + name + ">" + content + "</" + name + ">";
}
std::string ml_operator(const std::string& sign) { return element("mo", sign); }
std::string ml_row(const std::string& content) { return element("mrow", content); }

bool ml_is_loose(const Formula& x) {
  return x.kind == Formula::Kind::sum || x.kind == Formula::Kind::relation || x.kind == Formula::Kind::choice;
}
bool ml_is_whole(const Formula& x) {
  return x.kind == Formula::Kind::number || x.kind == Formula::Kind::symbol || x.kind == Formula::Kind::call ||
         x.kind == Formula::Kind::truth || x.kind == Formula::Kind::entry;
}

std::string ml_brackets(const std::string& content, const char* open = "(", const char* close = ")") {
  // Around a line of text brackets keep its height: not every machine has a font whose brackets grow well.
  const std::string fixed = content.find("<mfrac") == std::string::npos ? "<mo stretchy=\"false\">" : "<mo>";
  return ml_row(fixed + open + "</mo>" + content + fixed + close + "</mo>");
}
std::string ml_unless(bool fits, const Formula& x) { return fits ? as_mathml(x) : ml_brackets(as_mathml(x)); }

std::string ml_symbol(const Formula& x) {
  const std::string base = element("mi", markup_escaped(x.text));
  const std::string super = element("mn", x.super), sub = element("mi", markup_escaped(x.sub));
  if (!x.super.empty() && !x.sub.empty()) return element("msubsup", base + sub + super);
  if (!x.super.empty()) return element("msup", base + super);
  if (!x.sub.empty()) return element("msub", base + sub);
  return base;
}

std::string ml_sum(const Formula& x) {
  std::string content;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    if (i > 0 || x.minus[i]) content += ml_operator(x.minus[i] ? "−" : "+");
    content += ml_unless(!ml_is_loose(x.parts[i]), x.parts[i]);
  }
  return ml_row(content);
}

std::string ml_product(const Formula& x) {
  std::string content;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    const Formula& part = x.parts[i];
    // U+2062, the times sign that is not seen
    const bool plain = i > 0 && (x.parts[i - 1].scalar || part.scalar);
    if (i > 0) content += plain ? ml_operator("\u2062") + "<mspace width=\"0.2em\"/>" : ml_operator("⊙");
    const bool open = part.kind == Formula::Kind::large && i + 1 < x.parts.size();
    content += ml_unless(!ml_is_loose(part) && !open, part);
  }
  return ml_row(content);
}

std::string ml_list(const std::vector<Formula>& parts) {
  std::string content;
  for (std::size_t i = 0; i < parts.size(); ++i) content += (i > 0 ? ml_operator(",") : "") + as_mathml(parts[i]);
  return content;
}

std::string ml_large(const Formula& x) {
  const std::string sign = ml_operator(markup_escaped(x.text == "Σ" ? "∑" : x.text));
  const std::string below = x.sub.empty() ? sign : element("munder", sign + element("mi", markup_escaped(x.sub)));
  return ml_row(below + ml_unless(!ml_is_loose(x.parts[0]), x.parts[0]));
}

}  // namespace

std::string as_mathml(const Formula& x) {
  switch (x.kind) {
    case Formula::Kind::number:
      return x.text.starts_with("-") ? ml_row(ml_operator("−") + element("mn", x.text.substr(1)))
                                     : element("mn", markup_escaped(x.text));
    case Formula::Kind::symbol:
      return ml_symbol(x);
    case Formula::Kind::slope:
      return element(
          "mfrac", ml_row(ml_operator("∂") + as_mathml(x.parts[0])) + ml_row(ml_operator("∂") + as_mathml(x.parts[1])));
    case Formula::Kind::call:
      if (x.text == "√") return element("msqrt", as_mathml(x.parts[0]));
      return ml_row(element("mi", markup_escaped(x.text)) + ml_brackets(ml_list(x.parts)));
    case Formula::Kind::sum:
      return ml_sum(x);
    case Formula::Kind::product:
      return ml_product(x);
    case Formula::Kind::matrix: {
      const bool open = ml_is_loose(x.parts[0]) || x.parts[0].kind == Formula::Kind::product ||
                        x.parts[0].kind == Formula::Kind::large;
      return ml_row(ml_unless(!open, x.parts[0]) + ml_operator("\u2062") +
                    ml_unless(ml_is_whole(x.parts[1]) || x.parts[1].kind == Formula::Kind::transpose, x.parts[1]));
    }
    case Formula::Kind::quotient:
      return element("mfrac", as_mathml(x.parts[0]) + as_mathml(x.parts[1]));
    case Formula::Kind::power: {
      const Formula& of = x.parts[0];
      const bool plain = of.kind == Formula::Kind::symbol ? of.super.empty() : ml_is_whole(of);
      return element("msup", ml_unless(plain, of) + as_mathml(x.parts[1]));
    }
    case Formula::Kind::transpose: {
      const Formula& of = x.parts[0];
      // Beside a layer's number, not above it.
      if (of.kind == Formula::Kind::symbol && !of.super.empty() && of.sub.empty())
        return element("msup",
                       element("mi", markup_escaped(of.text)) + ml_row(element("mn", of.super) + ml_operator("⊤")));
      return element("msup", ml_unless(ml_is_whole(of), of) + ml_operator("⊤"));
    }
    case Formula::Kind::large:
      return ml_large(x);
    case Formula::Kind::truth:
      return ml_brackets(as_mathml(x.parts[0]), "[", "]");
    case Formula::Kind::relation:
      return ml_row(as_mathml(x.parts[0]) + ml_operator(markup_escaped(x.text)) + as_mathml(x.parts[1]));
    case Formula::Kind::choice:
      return ml_row(as_mathml(x.parts[0]) + ml_operator("?") + as_mathml(x.parts[1]) + ml_operator(":") +
                    as_mathml(x.parts[2]));
    case Formula::Kind::entry:
      return ml_row(ml_unless(ml_is_whole(x.parts[0]), x.parts[0]) + ml_brackets(as_mathml(x.parts[1]), "[", "]"));
  }
  return "";
}

}  // namespace nnc
