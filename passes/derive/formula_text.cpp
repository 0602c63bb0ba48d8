// Formulas as one line of text. Signs are those of mathematics (−, ⊙, Σ, raised numbers of layers), so that a line
// reads like one of a book.
#include <cctype>
#include <map>
#include <set>

#include "passes/derive/formula.h"

namespace nnc {

namespace {

/// How tightly a formula holds together as text.
enum class Hold { relation, sum, product, quotient, matrix, raised, whole };

Hold hold_of(const Formula& x) {
  switch (x.kind) {
    case Formula::Kind::relation:
    case Formula::Kind::choice:
      return Hold::relation;
    case Formula::Kind::sum:
      return Hold::sum;
    case Formula::Kind::product:
    case Formula::Kind::large:
    case Formula::Kind::indexed:
      return Hold::product;
    case Formula::Kind::quotient:
      return Hold::quotient;
    case Formula::Kind::matrix:
      return Hold::matrix;
    case Formula::Kind::power:
    case Formula::Kind::transpose:
      return Hold::raised;
    case Formula::Kind::number:
    case Formula::Kind::symbol:
    case Formula::Kind::slope:
    case Formula::Kind::call:
    case Formula::Kind::truth:
    case Formula::Kind::entry:
    case Formula::Kind::stretch:
    case Formula::Kind::operation:
      return Hold::whole;
  }
  return Hold::whole;
}

std::string text_at(const Formula& x, Hold least) {
  const std::string text = as_text(x);
  return hold_of(x) < least ? "(" + text + ")" : text;
}

std::string raised(const std::string& digits) {
  static const std::map<char, std::string> signs{{'0', "⁰"}, {'1', "¹"}, {'2', "²"}, {'3', "³"}, {'4', "⁴"}, {'5', "⁵"},
                                                 {'6', "⁶"}, {'7', "⁷"}, {'8', "⁸"}, {'9', "⁹"}, {'-', "⁻"}};
  std::string text;
  for (char c : digits) {
    if (!signs.contains(c)) return "^" + digits;
    text += signs.at(c);
  }
  return text;
}

std::string lowered(const std::string& letters) {
  static const std::map<char, std::string> signs{{'0', "₀"}, {'1', "₁"}, {'2', "₂"}, {'3', "₃"}, {'4', "₄"}, {'5', "₅"},
                                                 {'6', "₆"}, {'7', "₇"}, {'8', "₈"}, {'9', "₉"}, {'i', "ᵢ"}, {'j', "ⱼ"},
                                                 {'k', "ₖ"}, {'l', "ₗ"}, {'m', "ₘ"}, {'p', "ₚ"}, {'r', "ᵣ"}, {'s', "ₛ"},
                                                 {'t', "ₜ"}, {'n', "ₙ"}, {'-', "₋"}, {'+', "₊"}};
  std::string text;
  for (char c : letters) {
    if (c == ',') {
      text += c;
      continue;
    }
    if (!signs.contains(c)) return "_" + letters;
    text += signs.at(c);
  }
  return text;
}

std::string sum_text(const Formula& x) {
  std::string text;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    if (i == 0) {
      text += x.minus[i] ? "−" : "";
    } else {
      text += x.minus[i] ? " − " : " + ";
    }
    const bool wrapped = x.minus[i] || i > 0;
    text += text_at(x.parts[i], wrapped ? Hold::product : Hold::sum);
  }
  return text;
}

/// Large signs reach to the end, so what follows one is never a part of it: only the last factor may be one.
std::string product_text(const Formula& x) {
  std::string text;
  for (std::size_t i = 0; i < x.parts.size(); ++i) {
    const Formula& part = x.parts[i];
    const bool last_large = part.kind == Formula::Kind::large && i + 1 == x.parts.size();
    const std::string factor = text_at(part, last_large ? Hold::product : Hold::matrix);
    const bool letter = i > 0 && x.parts[i - 1].kind == Formula::Kind::number && part.kind == Formula::Kind::symbol;
    // Two numbers side by side would be one.
    const bool number = std::isdigit(static_cast<unsigned char>(factor[0])) != 0 || factor.starts_with("½");
    if (i > 0 && number) text += " · ";
    if (i > 0 && !number && !letter) text += x.parts[i - 1].scalar || part.scalar ? " " : " ⊙ ";
    text += factor;
  }
  return text;
}

/// A raised number right behind one of these names would be a layer's.
bool may_be_numbered(const Formula& x) {
  static const std::set<std::string> letters{"z", "a", "δ", "W", "b", "X"};
  return x.kind == Formula::Kind::symbol && (!x.super.empty() || letters.contains(x.text));
}

std::string power_text(const Formula& x) {
  const bool bare = may_be_numbered(x.parts[0]) || hold_of(x.parts[0]) < Hold::whole;
  const std::string base = bare ? "(" + as_text(x.parts[0]) + ")" : as_text(x.parts[0]);
  if (x.parts[1].kind == Formula::Kind::number) return base + raised(x.parts[1].text);
  return base + "^" + text_at(x.parts[1], Hold::whole);
}

std::string number_text(const std::string& number) {
  const auto [minus, mantissa, exponent] = digits_of(number);
  std::string text = minus ? "−" : "";
  if (mantissa == "inf") return text + "∞";
  if (exponent.empty()) return text + mantissa;
  return text + (mantissa == "1" ? "" : mantissa + "·") + "10" + raised(exponent);
}

std::string list_of(const std::vector<Formula>& parts) {
  std::string text;
  for (const Formula& part : parts) text += (text.empty() ? "" : ", ") + as_text(part);
  return text;
}

std::string operation_text(const Formula& x) {
  std::string text = list_of(x.parts);
  if (!x.shape.empty()) text += (text.empty() ? "" : ", ") + shape_text(x.shape);
  for (const Argument& argument : x.arguments) text += ", " + argument_text(argument);
  return x.text + "(" + text + ")";
}

std::string spaced(const std::string& letters) {
  std::string text;
  for (char letter : letters) text += (text.empty() ? "" : ", ") + std::string(1, letter);
  return text;
}

}  // namespace

std::string as_text(const Formula& x) {
  switch (x.kind) {
    case Formula::Kind::number:
      return number_text(x.text);
    case Formula::Kind::symbol:
      return x.text + lowered(x.sub) + (x.super.empty() ? "" : raised(x.super));
    case Formula::Kind::slope:
      return "∂" + as_text(x.parts[0]) + "/∂" + as_text(x.parts[1]);
    case Formula::Kind::call:
      return x.text + "(" + list_of(x.parts) + ")";
    case Formula::Kind::sum:
      return sum_text(x);
    case Formula::Kind::product:
      return product_text(x);
    case Formula::Kind::matrix:
      return text_at(x.parts[0], Hold::matrix) + " " + text_at(x.parts[1], Hold::raised);
    case Formula::Kind::quotient: {
      const bool open =
          x.parts[0].kind == Formula::Kind::product && x.parts[0].parts.back().kind != Formula::Kind::large;
      return text_at(x.parts[0], open ? Hold::product : Hold::matrix) + " / " + text_at(x.parts[1], Hold::raised);
    }
    case Formula::Kind::power:
      return power_text(x);
    case Formula::Kind::transpose:
      return text_at(x.parts[0], Hold::whole) + "ᵀ";
    case Formula::Kind::large:
      return x.text + lowered(x.sub) + " " + text_at(x.parts[0], Hold::product);
    case Formula::Kind::truth:
      return "[" + as_text(x.parts[0]) + "]";
    case Formula::Kind::relation:
      return text_at(x.parts[0], Hold::sum) + " " + x.text + " " + text_at(x.parts[1], Hold::sum);
    case Formula::Kind::choice:
      return text_at(x.parts[0], Hold::sum) + " ? " + text_at(x.parts[1], Hold::sum) + " : " +
             text_at(x.parts[2], Hold::sum);
    case Formula::Kind::entry:
      return text_at(x.parts[0], Hold::whole) + "[" + as_text(x.parts[1]) + "]";
    case Formula::Kind::stretch:
      return text_at(x.parts[0], Hold::whole) + "[" + stretches_text(x) + "]";
    case Formula::Kind::operation:
      return operation_text(x);
    case Formula::Kind::indexed: {
      const auto [summed, of_first, of_second] = indices_of(x);
      const std::string sign = summed.empty() ? "" : "Σ" + lowered(summed) + " ";
      return sign + text_at(x.parts[0], Hold::whole) + "[" + spaced(of_first) + "] " +
             text_at(x.parts[1], Hold::whole) + "[" + spaced(of_second) + "]";
    }
  }
  return "";
}

}  // namespace nnc
