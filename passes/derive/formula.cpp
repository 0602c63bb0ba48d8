#include "passes/derive/formula.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace nnc {

Formula number_formula(const std::string& digits, double value) {
  return {.kind = Formula::Kind::number, .text = digits, .scalar = true, .value = value};
}
Formula number_formula(const std::string& digits) { return number_formula(digits, std::stod(digits)); }
Formula symbol_formula(std::string text, std::string super, std::string sub) {
  return {.kind = Formula::Kind::symbol, .text = std::move(text), .super = std::move(super), .sub = std::move(sub)};
}

std::string index_letter(int axis) { return std::string(1, "ijklmpqrs"[axis % 9]); }

Formula index_formula(int axis, const Shape& shape) {
  Formula index = symbol_formula(index_letter(axis));
  index.axes = {axis};
  index.shape = shape;
  return index;
}

namespace {

/// The base and the exponent of a power of a whole number; x itself is x¹.
std::pair<Formula, int> base_and_exponent(const Formula& x) {
  if (x.kind != Formula::Kind::power || x.parts[1].kind != Formula::Kind::number) return {x, 1};
  const double exponent = x.parts[1].value;
  if (exponent != std::trunc(exponent) || std::abs(exponent) > 1000) return {x, 1};
  return {x.parts[0], static_cast<int>(exponent)};
}

/// x x x as x³, where the first of them stands; numbers stay as they are.
void gather_powers(std::vector<Formula>& factors) {
  std::vector<std::pair<Formula, int>> gathered;
  for (const Formula& factor : factors) {
    const auto [base, exponent] = base_and_exponent(factor);
    const auto known = std::ranges::find(gathered, base, &std::pair<Formula, int>::first);
    if (base.kind == Formula::Kind::number || known == gathered.end())
      gathered.emplace_back(base, exponent);
    else
      known->second += exponent;
  }
  factors.clear();
  for (auto& [base, exponent] : gathered) {
    const bool scalar = base.scalar;
    if (exponent != 1)
      base = {.kind = Formula::Kind::power,
              .parts = {std::move(base), number_formula(std::to_string(exponent))},
              .scalar = scalar};
    factors.push_back(std::move(base));
  }
}

bool is_one(const Formula& x) { return x.kind == Formula::Kind::number && x.text == "1"; }

/// The sign in front of a value, taken off.
bool take_sign(Formula& x) {
  if (x.kind == Formula::Kind::sum && x.parts.size() == 1 && x.minus[0]) {
    Formula inner = std::move(x.parts[0]);
    x = std::move(inner);
    return true;
  }
  if (x.kind == Formula::Kind::number && x.text.starts_with("-")) {
    x.text.erase(0, 1);
    x.value = -x.value;
    return true;
  }
  return false;
}

}  // namespace

Formula negative(Formula x) {
  if (take_sign(x)) return x;
  if (x.kind == Formula::Kind::sum && std::ranges::all_of(x.minus, std::identity{})) {
    x.minus.assign(x.minus.size(), false);
    return x;
  }
  const bool scalar = x.scalar;
  return {.kind = Formula::Kind::sum, .parts = {std::move(x)}, .minus = {true}, .scalar = scalar};
}

void add_term(Formula& sum, Formula x, bool minus) {
  sum.scalar = (sum.parts.empty() || sum.scalar) && x.scalar;
  if (x.kind == Formula::Kind::sum) {
    for (std::size_t i = 0; i < x.parts.size(); ++i) {
      sum.parts.push_back(x.parts[i]);
      sum.minus.push_back(x.minus[i] != minus);
    }
    return;
  }
  if (take_sign(x)) minus = !minus;
  sum.parts.push_back(std::move(x));
  sum.minus.push_back(minus);
}

Formula product_of(std::vector<Formula> factors) {
  Formula product{.kind = Formula::Kind::product, .scalar = true};
  bool minus = false;
  for (Formula& factor : factors) {
    minus = take_sign(factor) != minus;
    product.scalar = product.scalar && factor.scalar;
    if (is_one(factor)) continue;
    if (factor.kind == Formula::Kind::product) {
      product.parts.insert(product.parts.end(), factor.parts.begin(), factor.parts.end());
    } else {
      product.parts.push_back(std::move(factor));
    }
  }
  const auto scalars_first = [](const Formula& x) { return x.scalar && x.kind != Formula::Kind::large; };
  std::ranges::stable_partition(product.parts, scalars_first);
  gather_powers(product.parts);
  if (product.parts.empty()) product = number_formula("1");
  if (product.parts.size() == 1) {
    Formula only = std::move(product.parts[0]);
    product = std::move(only);
  }
  return minus ? negative(std::move(product)) : product;
}

/// Of a sum over axes by a number the number comes first.
Formula quotient_of(Formula above, Formula below) {
  const bool minus = take_sign(above) != take_sign(below);
  const Formula& last = above.kind == Formula::Kind::product ? above.parts.back() : above;
  if (below.scalar && last.kind == Formula::Kind::large) {
    Formula share = quotient_of(number_formula("1"), std::move(below));
    Formula whole = product_of({std::move(share), std::move(above)});
    return minus ? negative(std::move(whole)) : whole;
  }
  if (is_one(below)) return minus ? negative(std::move(above)) : above;
  const bool scalar = above.scalar && below.scalar;
  Formula quotient{.kind = Formula::Kind::quotient, .parts = {std::move(above), std::move(below)}, .scalar = scalar};
  return minus ? negative(std::move(quotient)) : quotient;
}

Formula large_of(std::string sign, std::string indices, Formula x, const Shape& of, bool scalar) {
  const bool minus = sign == "Σ" && take_sign(x);
  Formula large{.kind = Formula::Kind::large,
                .text = std::move(sign),
                .sub = std::move(indices),
                .parts = {std::move(x)},
                .scalar = scalar,
                .shape = of};
  return minus ? negative(std::move(large)) : large;
}

Formula matrix_of(Formula a, Formula b, std::vector<int> axes, bool scalar) {
  const bool minus = take_sign(a) != take_sign(b);
  if (b.kind == Formula::Kind::quotient && b.parts[1].scalar && !b.parts[0].scalar) {
    Formula below = b.parts[1], above = b.parts[0];
    Formula whole = quotient_of(matrix_of(std::move(a), std::move(above), std::move(axes), scalar), std::move(below));
    return minus ? negative(std::move(whole)) : whole;
  }
  Formula product{
      .kind = Formula::Kind::matrix, .parts = {std::move(a), std::move(b)}, .scalar = scalar, .axes = std::move(axes)};
  return minus ? negative(std::move(product)) : product;
}

namespace {

bool is_decimal(const Formula& x) { return x.kind == Formula::Kind::number && x.text != "π" && x.seen.empty(); }

Formula decimal(double value) {
  return value == 0.5 ? number_formula("½", value) : number_formula(fmt::format("{:.7g}", value), value);
}

/// The numbers among the factors as one; the numerator of the first fraction that has only a number there is one too.
Formula with_one_factor(Formula product) {
  std::vector<Formula> rest;
  std::optional<Formula> below;
  double value = 1;
  int numbers = 0;
  for (Formula& part : product.parts) {
    if (is_decimal(part)) {
      value *= part.value;
    } else if (part.kind == Formula::Kind::quotient && part.scalar && is_decimal(part.parts[0]) && !below) {
      value *= part.parts[0].value;
      below = std::move(part.parts[1]);
    } else {
      rest.push_back(std::move(part));
      continue;
    }
    ++numbers;
  }
  if (numbers == 0) {
    product.parts = std::move(rest);
    return product;
  }
  rest.insert(rest.begin(), below ? quotient_of(decimal(value), std::move(*below)) : decimal(value));
  return product_of(std::move(rest));
}

}  // namespace

Formula with_one_number(Formula x) {
  for (Formula& part : x.parts) part = with_one_number(std::move(part));
  if (x.kind == Formula::Kind::product) {
    const auto is_number = [](const Formula& part) {
      return is_decimal(part) || (part.kind == Formula::Kind::quotient && part.scalar && is_decimal(part.parts[0]));
    };
    const bool is_none =
        std::ranges::any_of(x.parts, [](const Formula& part) { return is_decimal(part) && part.value == 0; });
    return !is_none && std::ranges::count_if(x.parts, is_number) > 1 ? with_one_factor(std::move(x)) : x;
  }
  // 0.3 z / 2 is 0.15 z, where it comes out as a short number
  if (x.kind != Formula::Kind::quotient || !is_decimal(x.parts[1]) || x.parts[0].kind != Formula::Kind::product ||
      !is_decimal(x.parts[0].parts[0]) || x.parts[0].parts[0].value == 1)
    return x;
  Formula product = std::move(x.parts[0]);
  product.parts[0] = decimal(product.parts[0].value / x.parts[1].value);
  return product_of(std::move(product.parts));
}

/// Two that undo each other are none.
Formula transposed(Formula x, std::vector<int> permutation) {
  if (x.kind == Formula::Kind::transpose && x.seen.empty() && x.axes.size() == permutation.size()) {
    bool undone = true;
    for (std::size_t i = 0; i < permutation.size(); ++i)
      undone = undone && x.axes[static_cast<std::size_t>(permutation[i])] == static_cast<int>(i);
    if (undone) {
      Formula inner = std::move(x.parts[0]);
      return inner;
    }
  }
  // (aᵀ b)ᵀ = bᵀ a
  const bool of_product = x.kind == Formula::Kind::matrix && x.seen.empty() && x.axes == std::vector<int>{1, 0};
  if (of_product && permutation == std::vector<int>{1, 0} && x.parts[0].kind == Formula::Kind::transpose &&
      x.parts[0].seen.empty() && x.parts[0].axes == permutation) {
    Formula first = transposed(std::move(x.parts[1]), permutation), second = std::move(x.parts[0].parts[0]);
    return matrix_of(std::move(first), std::move(second), {1, 0}, x.scalar);
  }
  return {.kind = Formula::Kind::transpose, .parts = {std::move(x)}, .axes = std::move(permutation)};
}

namespace {

/// One look after the other, as one.
Sight after(const Sight& first, const Sight& then) {
  Sight both = then;
  both.axes.clear();
  for (int axis : first.axes) both.axes.push_back(axis < 0 ? -1 : then.axes[static_cast<std::size_t>(axis)]);
  return both;
}

bool is_by_elements(const Formula& x) {
  switch (x.kind) {
    case Formula::Kind::call:
    case Formula::Kind::sum:
    case Formula::Kind::product:
    case Formula::Kind::quotient:
    case Formula::Kind::power:
    case Formula::Kind::truth:
    case Formula::Kind::relation:
    case Formula::Kind::choice:
      return true;
    case Formula::Kind::number:
    case Formula::Kind::symbol:
    case Formula::Kind::slope:
    case Formula::Kind::matrix:
    case Formula::Kind::transpose:
    case Formula::Kind::large:
    case Formula::Kind::entry:
    case Formula::Kind::stretch:
    case Formula::Kind::operation:
    case Formula::Kind::indexed:
      return false;
  }
  return false;
}

}  // namespace

namespace {

/// What is left to say of how a part stands among others once the axes of which it is one element are left out of it.
std::optional<Sight> without_elements(Formula& x, const Sight& sight) {
  Sight rest{sight.shape, {}};
  bool as_it_is = true;
  for (std::size_t i = 0; i < sight.axes.size(); ++i) {
    Stretch& axis = x.stretches[i];
    axis.left_out = sight.axes[i] < 0 && axis.count == 1 && !axis.whole;
    if (axis.left_out) continue;
    as_it_is = as_it_is && sight.axes[i] == static_cast<int>(rest.axes.size());
    rest.axes.push_back(sight.axes[i]);
  }
  if (as_it_is && rest.axes.size() == sight.shape.size()) return std::nullopt;
  return rest;
}

}  // namespace

/// Numbers are the same everywhere. An index is that of the axis where its own lies now.
Formula seen_as(Formula x, const Sight& sight) {
  if (x.scalar) return x;
  if (is_by_elements(x)) {
    for (Formula& part : x.parts) part = seen_as(std::move(part), sight);
    return x;
  }
  if (x.kind == Formula::Kind::symbol && !x.shape.empty()) {
    const int axis = sight.axes[static_cast<std::size_t>(x.axes[0])];
    return axis < 0 ? number_formula("0") : index_formula(axis, sight.shape);
  }
  if (x.kind == Formula::Kind::stretch && x.seen.empty()) {
    if (const auto rest = without_elements(x, sight)) x.seen.push_back(*rest);
    return x;
  }
  if (x.seen.empty())
    x.seen.push_back(sight);
  else
    x.seen.back() = after(x.seen.back(), sight);
  return x;
}

// Writing

namespace {

std::string extent_letters(Extent extent) {
  if (!extent.batched) return std::to_string(extent.count);
  return extent.count == 1 ? "n" : std::to_string(extent.count) + "n";
}

}  // namespace

std::string shape_text(const Shape& shape) {
  std::string text;
  for (const Extent& extent : shape) text += (text.empty() ? "" : "×") + extent_letters(extent);
  return text;
}

std::string argument_text(const Argument& argument) {
  std::string numbers;
  for (std::int64_t number : argument.numbers)
    numbers += (numbers.empty() ? "" : ", ") +
               (argument.are_axes ? index_letter(static_cast<int>(number)) : std::to_string(number));
  return argument.name + " " + (argument.numbers.size() > 1 ? "(" + numbers + ")" : numbers);
}

/// As in the language: an element of an axis, or from its first to behind its last.
std::string stretches_text(const Formula& x) {
  std::string text;
  for (const Stretch& axis : x.stretches) {
    if (!text.empty()) text += ", ";
    const std::int64_t end = axis.first + axis.step * axis.count;
    if (axis.at_step) {
      text += "t";
    } else if (axis.whole) {
      text += ":";
    } else if (axis.left_out) {
      text += std::to_string(axis.first);
    } else {
      text += std::to_string(axis.first) + ":" + (end >= 0 ? std::to_string(end) : "");
      if (axis.step != 1) text += ":" + std::to_string(axis.step);
    }
  }
  return text;
}

Indices indices_of(const Formula& x) {
  const std::size_t first = x.text.find(','), second = x.text.find(',', first + 1);
  Indices indices{"", x.text.substr(0, first), x.text.substr(first + 1, second - first - 1)};
  for (char letter : indices.of_first)
    if (x.text.find(letter, second) == std::string::npos) indices.summed += letter;
  return indices;
}

Digits digits_of(const std::string& number) {
  Digits digits{number.starts_with("-"), number, ""};
  if (digits.minus) digits.mantissa.erase(0, 1);
  const std::size_t e = digits.mantissa.find('e');
  if (e == std::string::npos) return digits;
  digits.exponent = std::to_string(std::stoi(digits.mantissa.substr(e + 1)));
  digits.mantissa.erase(e);
  return digits;
}

}  // namespace nnc
