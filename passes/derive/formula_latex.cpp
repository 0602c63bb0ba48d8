// Formulas as LaTeX, for amsmath.
#include <cctype>
#include <map>
#include <string_view>

#include "passes/derive/formula.h"

namespace nnc {

namespace {

bool is_loose(const Formula& x) {
  return x.kind == Formula::Kind::sum || x.kind == Formula::Kind::relation || x.kind == Formula::Kind::choice;
}
/// What stands as one factor beside others.
bool is_factor(const Formula& x) {
  return !is_loose(x) && x.kind != Formula::Kind::large && x.kind != Formula::Kind::indexed;
}
bool is_whole(const Formula& x) {
  return x.kind == Formula::Kind::number || x.kind == Formula::Kind::symbol || x.kind == Formula::Kind::call ||
         x.kind == Formula::Kind::truth || x.kind == Formula::Kind::entry || x.kind == Formula::Kind::stretch ||
         x.kind == Formula::Kind::operation;
}

std::string in_brackets(const std::string& text) { return "\\left(" + text + "\\right)"; }
std::string wrapped_unless(bool fits, const Formula& x) { return fits ? as_latex(x) : in_brackets(as_latex(x)); }

/// A name: one letter as it is, Greek by its command, a word upright.
std::string latex_name(const std::string& name) {
  static const std::map<std::string_view, std::string> known{
      {"δ", "\\delta"}, {"σ", "\\sigma"},   {"Φ", "\\Phi"},   {"σ′", "\\sigma'"}, {"Φ′", "\\Phi'"},
      {"Σ", "\\sum"},   {"max", "\\max"},   {"exp", "\\exp"}, {"log", "\\log"},   {"sin", "\\sin"},
      {"cos", "\\cos"}, {"tanh", "\\tanh"}, {"√", "\\sqrt"},  {"…", "\\dots"},    {"ξ", "\\xi"}};
  if (const auto found = known.find(name); found != known.end()) return found->second;
  std::string base = name, prime;
  if (base.ends_with("′")) {
    base.erase(base.size() - std::string_view("′").size());
    prime = "'";
  }
  if (base.size() == 1) return base + prime;
  std::string escaped;
  for (char c : base)
    escaped += c == '_' || c == '#' || c == '%' || c == '&' ? std::string("\\") + c : std::string(1, c);
  return (prime.empty() ? "\\mathrm{" : "\\operatorname{") + escaped + "}" + prime;
}

std::string latex_relation(const std::string& sign) {
  if (sign == "≤") return "\\le";
  if (sign == "≥") return "\\ge";
  if (sign == "≠") return "\\ne";
  if (sign == "∧") return "\\wedge";
  if (sign == "∨") return "\\vee";
  return sign;
}

std::string latex_sum(const Formula& x) {
  std::string text;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    if (i > 0 || x.minus[i]) text += x.minus[i] ? " - " : " + ";
    text += wrapped_unless(!is_loose(x.parts[i]), x.parts[i]);
  }
  return text;
}

std::string latex_product(const Formula& x) {
  std::string text;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    const Formula& part = x.parts[i];
    const bool fits = is_factor(part) || (part.kind == Formula::Kind::large && i + 1 == x.parts.size());
    const std::string factor = wrapped_unless(fits, part);
    const bool number = std::isdigit(static_cast<unsigned char>(factor[0])) != 0 || factor.starts_with("\\tfrac");
    if (i > 0) text += number ? " \\cdot " : x.parts[i - 1].scalar || part.scalar ? "\\, " : " \\odot ";
    text += factor;
  }
  return text;
}

std::string latex_list(const std::vector<Formula>& parts) {
  std::string text;
  for (const Formula& part : parts) text += (text.empty() ? "" : ", ") + as_latex(part);
  return text;
}

std::string latex_number(const std::string& number) {
  if (number == "½") return "\\tfrac{1}{2}";
  if (number == "π") return "\\pi";
  const auto [minus, mantissa, exponent] = digits_of(number);
  const std::string sign = minus ? "-" : "";
  if (mantissa == "inf") return sign + "\\infty";
  if (exponent.empty()) return sign + mantissa;
  return sign + (mantissa == "1" ? "" : mantissa + " \\cdot ") + "10^{" + exponent + "}";
}

std::string latex_operation(const Formula& x) {
  std::string text = latex_list(x.parts);
  const auto add = [&](const std::string& more) { text += (text.empty() ? "" : ",\\ ") + more; };
  std::string shape = shape_text(x.shape);
  for (std::size_t at = shape.find("×"); at != std::string::npos; at = shape.find("×"))
    shape.replace(at, std::string_view("×").size(), " \\times ");
  if (!shape.empty()) add(shape);
  for (const Argument& argument : x.arguments) add("\\text{" + argument_text(argument) + "}");
  return latex_name(x.text) + in_brackets(text);
}

std::string latex_indexed(const Formula& x) {
  const auto [summed, of_first, of_second] = indices_of(x);
  const auto factor = [](const Formula& part, const std::string& letters) {
    return (is_whole(part) && part.sub.empty() ? as_latex(part) : in_brackets(as_latex(part))) + "_{" + letters + "}";
  };
  return (summed.empty() ? "" : "\\sum_{" + summed + "} ") + factor(x.parts[0], of_first) + "\\, " +
         factor(x.parts[1], of_second);
}

std::string latex_symbol(const Formula& x) {
  std::string text = latex_name(x.text);
  if (!x.sub.empty()) text += "_{" + x.sub + "}";
  if (!x.super.empty()) text += "^{" + x.super + "}";
  return text;
}

}  // namespace

std::string as_latex(const Formula& x) {
  switch (x.kind) {
    case Formula::Kind::number:
      return latex_number(x.text);
    case Formula::Kind::symbol:
      return latex_symbol(x);
    case Formula::Kind::slope:
      return "\\frac{\\partial " + as_latex(x.parts[0]) + "}{\\partial " + as_latex(x.parts[1]) + "}";
    case Formula::Kind::call:
      if (x.text == "√") return "\\sqrt{" + as_latex(x.parts[0]) + "}";
      return latex_name(x.text) + in_brackets(latex_list(x.parts));
    case Formula::Kind::sum:
      return latex_sum(x);
    case Formula::Kind::product:
      return latex_product(x);
    case Formula::Kind::matrix:
      return wrapped_unless(is_factor(x.parts[0]) && x.parts[0].kind != Formula::Kind::product, x.parts[0]) + "\\, " +
             wrapped_unless(is_whole(x.parts[1]) || x.parts[1].kind == Formula::Kind::transpose, x.parts[1]);
    case Formula::Kind::quotient:
      return "\\frac{" + as_latex(x.parts[0]) + "}{" + as_latex(x.parts[1]) + "}";
    case Formula::Kind::power: {
      const Formula& of = x.parts[0];
      const bool plain = of.kind == Formula::Kind::symbol ? of.super.empty() : is_whole(of);
      return wrapped_unless(plain, of) + "^{" + as_latex(x.parts[1]) + "}";
    }
    case Formula::Kind::transpose: {
      const Formula& of = x.parts[0];
      if (of.kind == Formula::Kind::symbol && !of.super.empty()) return "{" + as_latex(of) + "}^{\\top}";
      return wrapped_unless(is_whole(of), of) + "^{\\top}";
    }
    case Formula::Kind::large:
      return latex_name(x.text) + (x.sub.empty() ? " " : "_{" + x.sub + "} ") +
             wrapped_unless(!is_loose(x.parts[0]), x.parts[0]);
    case Formula::Kind::truth:
      return "\\left[" + as_latex(x.parts[0]) + "\\right]";
    case Formula::Kind::relation:
      return as_latex(x.parts[0]) + " " + latex_relation(x.text) + " " + as_latex(x.parts[1]);
    case Formula::Kind::choice:
      return "\\begin{cases}" + as_latex(x.parts[1]) + " & " + as_latex(x.parts[0]) + " \\\\ " + as_latex(x.parts[2]) +
             " & \\text{else}\\end{cases}";
    case Formula::Kind::entry:
      return wrapped_unless(is_whole(x.parts[0]), x.parts[0]) + "\\left[" + as_latex(x.parts[1]) + "\\right]";
    case Formula::Kind::stretch:
      return wrapped_unless(is_whole(x.parts[0]), x.parts[0]) + "\\left[" + stretches_text(x) + "\\right]";
    case Formula::Kind::operation:
      return latex_operation(x);
    case Formula::Kind::indexed:
      return latex_indexed(x);
  }
  return "";
}

}  // namespace nnc
