#include "passes/derive/glossary.h"

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>
#include <utility>

#include "ir/op.h"
#include "passes/laws.h"

namespace nnc {

namespace {

/// A sign is one where the printed text holds it.
constexpr std::pair<std::string_view, std::string_view> signs[] = {
    {"n", "the number of rows; n×3 is a table of n rows and 3 columns"},
    {"∂", "∂L/∂x is a table like x: each element says how fast L grows with that element of x, all others held"},
    {"δ",
     "the derivative of the loss by what a layer gives before its function, z; training goes against it, downhill"},
    {"⊙", "element by element: places of two tables are multiplied with one another"},
    {"ᵀ", "transposed: rows become columns"},
    {"x W", "two tables side by side are a product of matrices: row of the first times column of the second, added up"},
    {"Σᵢ", "the sum over the first index, the rows"},
    {"Σⱼ", "the sum over the second index, the columns of a row"},
    {"Σ ", "the sum over all elements"},
    {"′", "f′ is the derivative of f"},
    {"[", "[condition] is 1 where it holds, else 0"},
    {"σ", "σ(x) = 1 / (1 + exp(−x)), the logistic function"},
    {"relu", "relu(x) = x where x > 0, else 0"},
    {"Y", "for each row 1 in the column of its class, else 0: one 1 a row, since labels are checked to be classes"},
    {"A", "softmax: each row's shares, positive and adding up to 1"},
    {"Φ", "the share of a normal distribution that lies below x"},
    {"½", "one half"}};

/// L is the loss, y what the op gives: what the chain rule makes of ∂L/∂y.
constexpr std::pair<Op, std::string_view> rules[] = {
    {Op::add, "y = a + b: both get ∂L/∂y"},
    {Op::sub, "y = a − b: a gets ∂L/∂y, b gets −∂L/∂y"},
    {Op::neg, "y = −x: x gets −∂L/∂y"},
    {Op::mul, "y = a b: a gets ∂L/∂y times b, and b gets it times a"},
    {Op::div, "y = a / b: a gets ∂L/∂y / b, and b gets −∂L/∂y times y / b"},
    {Op::pow, "y = xᵃ: x gets ∂L/∂y times a xᵃ⁻¹"},
    {Op::exp, "y = exp(x): x gets ∂L/∂y times y"},
    {Op::log, "y = log(x): x gets ∂L/∂y / x"},
    {Op::sqrt, "y = √x: x gets ∂L/∂y / (2 y)"},
    {Op::tanh, "y = tanh(x): x gets ∂L/∂y times 1 − y²"},
    {Op::logistic, "y = σ(x): x gets ∂L/∂y times y (1 − y)"},
    {Op::softplus, "y = log(1 + exp(x)): x gets ∂L/∂y times σ(x)"},
    {Op::sin, "y = sin(x): x gets ∂L/∂y times cos(x)"},
    {Op::cos, "y = cos(x): x gets −∂L/∂y times sin(x)"},
    {Op::abs, "y = |x|: x gets ∂L/∂y with the sign of x"},
    {Op::max, "y = the greater of a and b: that one gets ∂L/∂y"},
    {Op::min, "y = the lesser of a and b: that one gets ∂L/∂y"},
    {Op::select, "y = a where a condition holds, else b: each gets ∂L/∂y where it was taken, else 0"},
    {Op::sum, "y = Σ x: every element of x gets ∂L/∂y of the sum that it is in"},
    {Op::reduce_max, "y = the greatest x: that one gets ∂L/∂y"},
    {Op::broadcast, "a value that is used in every row (or elsewhere again) gets the sum of what all its uses get"},
    {Op::dot, "y = x W: W gets xᵀ ∂L/∂y, and x gets ∂L/∂y Wᵀ, as the sums over rows say element by element"},
    {Op::transpose, "y = xᵀ: x gets (∂L/∂y)ᵀ"},
    {Op::reshape, "the same numbers in another shape: each gets what it got"},
    {Op::concat, "parts side by side: each gets its part of ∂L/∂y"},
    {Op::slice, "a part: it gets ∂L/∂y, and the rest 0"},
    {Op::gather, "rows of a table by their numbers: each row gets the sum of what was taken from it"},
    {Op::window, "parts that overlap: each element gets the sum of what all parts that hold it get"},
    {Op::scan, "a loop: its steps are gone through backwards, each by these rules"}};

/// What is no law and no rule.
constexpr std::pair<std::string_view, std::string_view> words[] = {
    {"δ", "δ is put in as the line above gives it"},
    {"f′", "the derivative of the function is written out"},
    {"rearranged", "the parts were put in another order, or have other forms already"},
    {"parameter", "what training learns"}};

std::string printed_text(const Derivation& derivation) {
  std::string text;
  for (const DerivationPart& part : derivation.parts)
    for (const DerivationLine& line : part.lines) {
      if (line.alike) continue;
      if (line.left) text += as_text(*line.left) + " ";
      text += as_text(line.right) + " " + line.shape + "\n";
    }
  return text;
}

/// A sign of letters stands alone; any other is seen wherever it stands.
bool holds(const std::string& text, std::string_view sign) {
  if (sign == "x W") return text.find("ᵀ ") != std::string::npos || text.find(" W") != std::string::npos;
  const bool word = std::ranges::all_of(sign, [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; });
  for (std::size_t at = text.find(sign); at != std::string::npos; at = text.find(sign, at + 1)) {
    const auto letter = [&](std::size_t i) {
      return i < text.size() && std::isalpha(static_cast<unsigned char>(text[i]));
    };
    if (!word || (!(at > 0 && letter(at - 1)) && !letter(at + sign.size()))) return true;
  }
  return false;
}

}  // namespace

Glossary glossary_of(const Derivation& derivation) {
  Glossary glossary;
  const std::string text = printed_text(derivation);
  for (const auto& [sign, meaning] : signs)
    if (holds(text, sign)) glossary.signs.push_back({std::string(sign), std::string(meaning)});
  std::vector<std::string> named;
  for (const DerivationPart& part : derivation.parts)
    for (const DerivationLine& line : part.lines)
      if (!line.alike) named.insert(named.end(), line.reasons.begin(), line.reasons.end());
  const auto is_named = [&](std::string_view word) { return std::ranges::find(named, word) != named.end(); };
  for (const auto& [op, meaning] : rules)
    if (is_named(definition(op).name))
      glossary.rules.push_back({std::string(definition(op).name), std::string(meaning)});
  for (const auto& [word, meaning] : words)
    if (is_named(word)) glossary.rules.push_back({std::string(word), std::string(meaning)});
  for (const std::span<const Law> laws : {stabilise_laws(), simplify_laws()})
    for (const Law& law : laws)
      if (is_named(law.name) &&
          std::ranges::find(glossary.rules, law.name, &GlossaryEntry::word) == glossary.rules.end())
        glossary.laws.push_back({std::string(law.name), std::string(law.identity)});
  return glossary;
}

}  // namespace nnc
