#include "passes/derive/repeats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>
#include <utility>

namespace nnc {

namespace {

constexpr std::size_t fewest_groups = 3;

/// An equation with the lines that go on from it, as text in which the numbers of names are blank, and these numbers.
struct Equation {
  std::size_t first = 0, end = 0;  ///< lines
  std::string text;
  std::vector<int> numbers;
};

/// The value of a raised or lowered digit at a place of the text, and its length in bytes.
std::optional<std::pair<int, std::size_t>> small_digit(std::string_view text, std::size_t at) {
  static constexpr std::array<std::string_view, 20> digits{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹",
                                                           "₀", "₁", "₂", "₃", "₄", "₅", "₆", "₇", "₈", "₉"};
  for (std::size_t i = 0; i < digits.size(); ++i)
    if (text.substr(at).starts_with(digits[i])) return std::pair(static_cast<int>(i % 10), digits[i].size());
  return std::nullopt;
}

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

/// Numbers of names are those in small digits, and those right behind a letter ("Dense2"); all others count as text.
void add_text(Equation& equation, std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    int number = 0;
    std::size_t end = at;
    if (at > 0 && std::isalpha(static_cast<unsigned char>(text[at - 1])) && is_digit(text[at])) {
      for (; end < text.size() && is_digit(text[end]) && number < 100000; ++end)
        number = 10 * number + (text[end] - '0');
    } else {
      for (auto digit = small_digit(text, end); digit && number < 100000; digit = small_digit(text, end)) {
        number = 10 * number + digit->first;
        end += digit->second;
      }
    }
    if (end == at) {
      equation.text += text[at++];
      continue;
    }
    equation.text += '#';
    equation.numbers.push_back(number);
    at = end;
  }
}

std::vector<Equation> equations_of(const std::vector<DerivationLine>& lines) {
  std::vector<Equation> equations;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const DerivationLine& line = lines[i];
    if (line.left || equations.empty()) equations.push_back({.first = i, .end = i, .text = "", .numbers = {}});
    Equation& equation = equations.back();
    equation.end = i + 1;
    if (line.left) add_text(equation, as_text(*line.left));
    add_text(equation, " = " + as_text(line.right));
    equation.text += fmt::format("  {}  {}\n", line.shape, fmt::join(line.reasons, ", "));
  }
  return equations;
}

/// Groups of `period` equations from `first` on that are alike.
std::size_t groups_at(const std::vector<Equation>& equations, std::size_t first, std::size_t period) {
  std::size_t groups = 1;
  std::vector<std::vector<int>> steps;  // from a group to the next, of each equation
  for (; first + (groups + 1) * period <= equations.size(); ++groups) {
    for (std::size_t i = 0; i < period; ++i) {
      const Equation& before = equations[first + (groups - 1) * period + i];
      const Equation& here = equations[first + groups * period + i];
      if (before.text != here.text || before.numbers.size() != here.numbers.size()) return groups;
      std::vector<int> step;
      for (std::size_t k = 0; k < here.numbers.size(); ++k) step.push_back(here.numbers[k] - before.numbers[k]);
      if (std::ranges::all_of(step, [](int by) { return by == 0; })) return groups;
      if (groups == 1)
        steps.push_back(std::move(step));
      else if (steps[i] != step)
        return groups;
    }
  }
  return groups;
}

/// Where what is said of a layer begins for a reader: with its δ, or with its parameters.
bool begins_layer(const DerivationLine& line) {
  return line.left && (line.left->kind == Formula::Kind::relation ||
                       (line.right.kind == Formula::Kind::symbol && line.right.text.find('.') != std::string::npos));
}

/// What an equation is about: "δ²" of "δ² = ∂loss/∂z² = ...".
Formula subject_of(const Formula& left) { return left.kind == Formula::Kind::relation ? left.parts[0] : left; }

void tell_once(std::vector<DerivationLine>& lines, const std::vector<Equation>& equations, std::size_t first,
               std::size_t period, std::size_t groups) {
  std::vector<Formula>& told = lines[equations[first + period - 1].end - 1].likewise;
  const auto tell = [&](std::size_t group) {
    for (std::size_t i = 0; i < period; ++i)
      if (const auto& left = lines[equations[first + group * period + i].first].left) told.push_back(subject_of(*left));
  };
  tell(1);
  if (groups > fewest_groups) told.push_back(symbol_formula("…"));
  tell(groups - 1);
  for (std::size_t i = equations[first + period].first; i < equations[first + groups * period - 1].end; ++i)
    lines[i].alike = true;
}

}  // namespace

void tell_repeats_once(std::vector<DerivationLine>& lines) {
  const std::vector<Equation> equations = equations_of(lines);
  for (std::size_t first = 0; first < equations.size();) {
    std::size_t period = 1, groups = 1;
    for (std::size_t p = 1; first + fewest_groups * p <= equations.size(); ++p)
      if (const std::size_t found = groups_at(equations, first, p);
          found >= fewest_groups && found * p > groups * period)
        period = p, groups = found;
    for (std::size_t i = 0; groups >= fewest_groups && i < period; ++i) {
      const std::size_t from_there = groups_at(equations, first + i, period);
      if (from_there < fewest_groups || !begins_layer(lines[equations[first + i].first])) continue;
      first += i;
      groups = from_there;
      break;
    }
    if (groups >= fewest_groups) tell_once(lines, equations, first, period, groups);
    first += period * groups;
  }
}

}  // namespace nnc
