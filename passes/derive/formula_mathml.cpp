// Formulas as presentation MathML (MathML Core), which browsers show without a script.
#include <cctype>

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
         x.kind == Formula::Kind::truth || x.kind == Formula::Kind::entry || x.kind == Formula::Kind::stretch ||
         x.kind == Formula::Kind::operation;
}

std::string ml_brackets(const std::string& content, const char* open = "(", const char* close = ")") {
  // Around a line of text brackets keep its height: not every machine has a font whose brackets grow well.
  const std::string fixed = content.find("<mfrac") == std::string::npos ? "<mo stretchy=\"false\">" : "<mo>";
  return ml_row(fixed + open + "</mo>" + content + fixed + close + "</mo>");
}
std::string ml_unless(bool fits, const Formula& x) { return fits ? as_mathml(x) : ml_brackets(as_mathml(x)); }

/// "2,t-1": numbers and letters each as what they are, and − between them.
std::string ml_index(const std::string& letters) {
  std::string content;
  for (std::size_t at = 0, end = 0; at < letters.size(); at = end) {
    const auto is_digit = [&](std::size_t i) { return std::isdigit(static_cast<unsigned char>(letters[i])) != 0; };
    end = at + 1;
    if (is_digit(at)) {
      while (end < letters.size() && is_digit(end)) ++end;
      content += element("mn", letters.substr(at, end - at));
    } else if (std::isalpha(static_cast<unsigned char>(letters[at]))) {
      content += element("mi", letters.substr(at, 1));
    } else {
      content += ml_operator(letters[at] == '-' ? "−" : letters.substr(at, 1));
    }
  }
  return ml_row(content);
}

std::string ml_symbol(const Formula& x) {
  const std::string base = element("mi", markup_escaped(x.text));
  const std::string super = element("mn", x.super), sub = ml_index(x.sub);
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

/// Else a name, a sign or a bracket stands there.
bool begins_with_number(const Formula& x) {
  if (x.kind == Formula::Kind::number) return x.text != "π";
  const bool inside = x.kind == Formula::Kind::power || x.kind == Formula::Kind::product;
  return inside && begins_with_number(x.parts[0]);
}

std::string ml_number(const std::string& number) {
  const auto [minus, mantissa, exponent] = digits_of(number);
  std::string content = element("mn", mantissa == "inf" ? "∞" : mantissa);
  if (!exponent.empty()) {
    const bool small = exponent.starts_with("-");
    const std::string power = element("mn", small ? exponent.substr(1) : exponent);
    const std::string ten = element("msup", element("mn", "10") + (small ? ml_row(ml_operator("−") + power) : power));
    content = mantissa == "1" ? ten : ml_row(content + ml_operator("·") + ten);
  }
  return minus ? ml_row(ml_operator("−") + content) : content;
}

std::string ml_product(const Formula& x) {
  std::string content;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    const Formula& part = x.parts[i];
    // U+2062, the times sign that is not seen
    const bool plain = i > 0 && (x.parts[i - 1].scalar || part.scalar);
    const bool number = begins_with_number(part);
    if (i > 0 && number) content += ml_operator("·");
    if (i > 0 && !number) content += plain ? ml_operator("\u2062") + "<mspace width=\"0.2em\"/>" : ml_operator("⊙");
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

std::string ml_text(const std::string& text) { return element("mtext", markup_escaped(text)); }

std::string ml_operation(const Formula& x) {
  std::string content = ml_list(x.parts);
  const auto add = [&](const std::string& more) {
    content += (content.empty() ? "" : ml_operator(",") + "<mspace width=\"0.3em\"/>") + ml_text(more);
  };
  if (!x.shape.empty()) add(shape_text(x.shape));
  for (const Argument& argument : x.arguments) add(argument_text(argument));
  return ml_row(element("mi", markup_escaped(x.text)) + ml_brackets(content));
}

std::string ml_indexed(const Formula& x) {
  const auto [summed, of_first, of_second] = indices_of(x);
  const auto factor = [](const Formula& part, const std::string& letters) {
    const bool fits = ml_is_whole(part) && part.sub.empty() && part.super.empty();
    return element("msub", ml_unless(fits, part) + element("mi", letters));
  };
  const std::string sign = summed.empty() ? "" : element("munder", ml_operator("∑") + element("mi", summed));
  return ml_row(sign + factor(x.parts[0], of_first) + ml_operator("\u2062") + factor(x.parts[1], of_second));
}

}  // namespace

std::string as_mathml(const Formula& x) {
  switch (x.kind) {
    case Formula::Kind::number:
      return ml_number(x.text);
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
    case Formula::Kind::stretch:
      return ml_row(ml_unless(ml_is_whole(x.parts[0]), x.parts[0]) + ml_brackets(ml_text(stretches_text(x)), "[", "]"));
    case Formula::Kind::operation:
      return ml_operation(x);
    case Formula::Kind::indexed:
      return ml_indexed(x);
  }
  return "";
}

}  // namespace nnc
