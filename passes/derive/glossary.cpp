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
     "how fast the loss grows with each element of z, which a layer gives before relu, softmax or the like is applied; "
     "training goes against it, downhill"},
    {"⊙", "element by element: places of two tables are multiplied with one another"},
    {"ᵀ", "transposed: rows become columns"},
    {"x W",
     "two tables side by side are a product of matrices: row of the first times column of the second, added up. A "
     "value "
     "with more than two axes stands there as a table of all its rows: xᵀ δ is the sum over every axis but the last"},
    {"Σᵢ", "the sum over the first index, the rows"},
    {"Σⱼ", "the sum over the second index, the columns of a row"},
    {"Σₜ", "the sum over the steps of a loop"},
    {"Σ ", "the sum over all elements that are left"},
    {"¹", "behind z, a, δ, W, b or X it is the number of the layer, and no power: the square of z¹ is (z¹)²"},
    {"ξ",
     "numbers that are drawn between 0 and 1, anew at each step; ξ₁, ξ₂, … are drawn each for itself. Dropout keeps "
     "what "
     "stands where ξ is large enough"},
    {"·", "times, between two numbers"},
    {"reshape(", "the same numbers, row by row, in another shape"},
    {"transpose(", "axes in another order, counted from 0: axis i of the result is the one that stands in place i"},
    {"ones(", "1 everywhere, in this shape"},
    {"broadcast(", "the same values, repeated along the axes that are not named"},
    {"pad(", "zeros before, behind or between the elements, so many along each axis"},
    {"window(",
     "stretches of `size` neighbours along an axis, which becomes two: one for the stretch, one for its elements"},
    {"overlap_add(", "the sum, for each element, of the places that stretches show it at"},
    {"concat(", "the parts one behind the other along an axis"},
    {"scatter_add(", "a table whose row r is the sum of the rows that have the number r"},
    {"all(", "what a loop hands out at each step, one behind the other"},
    {"last(", "what is left after a loop's last step"},
    {"ₜ", "at step t; ₜ₋₁ is what the step before has left, and ₜ₊₁ in a loop that goes backwards"},
    {"gₜ",
     "in a loop that goes backwards: what step t gives back to what the step before has left; step t itself gets gₜ₊₁ "
     "from the step after it"},
    {"′", "f′ is the derivative of f"},
    {"[",
     "[condition] is 1 where it holds, else 0; behind a name [...] are its elements: row x, or first:end of an axis, "
     "counted from 0, where : alone is the whole axis and a number alone takes the axis away"},
    {"?", "c ? a : b is a where c holds, else b"},
    {"maxⱼ",
     "the greatest element of a row; where maximum-out has put it in, the loss does not depend on it, so it is a "
     "constant "
     "to the derivative"},
    {"σ", "σ(x) = 1 / (1 + exp(−x)), the logistic function"},
    {"relu", "relu(x) = x where x > 0, else 0"},
    {"Y",
     "for each row 1 in the column of its class, counted from 0, else 0: one 1 a row, since labels are checked to be "
     "classes when they are read"},
    {"A", "softmax: for each row the shares that the model gives the classes, positive and adding up to 1"},
    {"Φ", "the share of a normal distribution that lies below x"},
    {"½", "one half"}};

/// L is the loss, v what the op gives: what the chain rule makes of ∂L/∂v.
constexpr std::pair<Op, std::string_view> rules[] = {
    {Op::add, "v = a + b: both get ∂L/∂v"},
    {Op::sub, "v = a − b: a gets ∂L/∂v, b gets −∂L/∂v"},
    {Op::neg, "v = −u: u gets −∂L/∂v"},
    {Op::mul, "v = a b: a gets ∂L/∂v times b, and b gets it times a"},
    {Op::div, "v = a / b: a gets ∂L/∂v / b, and b gets −∂L/∂v times v / b"},
    {Op::pow, "v = uᵃ: u gets ∂L/∂v times a uᵃ⁻¹"},
    {Op::exp, "v = exp(u): u gets ∂L/∂v times v"},
    {Op::log, "v = log(u): u gets ∂L/∂v / u"},
    {Op::sqrt, "v = √u: u gets ∂L/∂v / (2 v)"},
    {Op::tanh, "v = tanh(u): u gets ∂L/∂v times 1 − v²"},
    {Op::logistic, "v = σ(u): u gets ∂L/∂v times v (1 − v)"},
    {Op::softplus, "v = log(1 + exp(u)): u gets ∂L/∂v times σ(u)"},
    {Op::sin, "v = sin(u): u gets ∂L/∂v times cos(u)"},
    {Op::cos, "v = cos(u): u gets −∂L/∂v times sin(u)"},
    {Op::abs, "v = |u|: u gets ∂L/∂v with the sign of u"},
    {Op::max, "v = the greater of a and b: that one gets ∂L/∂v"},
    {Op::min, "v = the lesser of a and b: that one gets ∂L/∂v"},
    {Op::select, "v = a where a condition holds, else b: each gets ∂L/∂v where it was taken, else 0"},
    {Op::sum, "v = Σ u: every element of u gets ∂L/∂v of the sum that it is in"},
    {Op::reduce_max, "v = the greatest u: that one gets ∂L/∂v"},
    {Op::broadcast, "a value that is used in every row (or elsewhere again) gets the sum of what all its uses get"},
    {Op::dot, "v = u W, where v in row i and column j is Σₖ uᵢₖ Wₖⱼ: W gets uᵀ ∂L/∂v, and u gets ∂L/∂v Wᵀ"},
    {Op::transpose, "v = uᵀ: u gets (∂L/∂v)ᵀ"},
    {Op::reshape, "the same numbers in another shape: each gets what it got"},
    {Op::concat, "parts side by side: each gets its part of ∂L/∂v"},
    {Op::slice, "a part: it gets ∂L/∂v, and the rest 0"},
    {Op::gather, "rows of a table by their numbers: each row gets the sum of what was taken from it"},
    {Op::window, "parts that overlap: each element gets the sum of what all parts that hold it get"},
    {Op::scan, "a loop: its steps are gone through backwards, each by these rules"}};

/// What is no law and no rule.
constexpr std::pair<std::string_view, std::string_view> words[] = {
    {"δ", "δ is put in as the line above gives it"},
    {"f′", "the derivative of the function is written out"},
    {"rearranged", "the parts were put in another order, or have other forms already"},
    {"ways", "ways to the loss that meet: what the value gets by each of them is added up"},
    {"over steps", "what a parameter gets is the sum over the steps; this is the sum so far"},
    {"parameter", "what training learns"},
    {"drawn", "random numbers, which no derivative goes through"}};

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
