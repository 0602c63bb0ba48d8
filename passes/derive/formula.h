// Mathematics as a tree, in the notation of textbooks: what derivations are printed from, as text, LaTeX and MathML. It
// says what stands where and knows no graph.
#pragma once

#include <string>
#include <vector>

namespace nnc {

struct Formula {
  enum class Kind : std::uint8_t {
    number,     ///< text
    symbol,     ///< text with `super` (a layer's number) and `sub`
    slope,      ///< the derivative of parts[0] by parts[1]
    call,       ///< text(parts...)
    sum,        ///< parts added, or taken away where `minus` says so
    product,    ///< element by element, or by a scalar
    matrix,     ///< a product of matrices
    quotient,   ///< parts[0] / parts[1]
    power,      ///< parts[0] to the power of parts[1]
    transpose,  ///< of parts[0]
    large,      ///< text (a sum or a maximum) over the indices `sub` of parts[0]
    truth,      ///< 1 where parts[0] holds, else 0
    relation,   ///< parts[0] text parts[1]
    choice,     ///< parts[1] where parts[0] holds, else parts[2]
    entry       ///< rows of parts[0] by the numbers parts[1]
  };
  Kind kind{};
  std::string text{}, super{}, sub{};
  std::vector<Formula> parts{};
  std::vector<bool> minus{};  ///< of a sum, for each part
  bool scalar = false;        ///< a number, not a tensor: as a factor it takes no sign of its own

  bool operator==(const Formula&) const = default;
};

Formula number_formula(const std::string& digits);
Formula symbol_formula(std::string text, std::string super = "", std::string sub = "");
/// -x; the sign of a product or a quotient goes to its front, and two of them are none.
Formula negative(Formula x);
/// x in the sum, as -x where `minus`; sums among the terms are opened.
void add_term(Formula& sum, Formula x, bool minus);
/// x among the factors; products among them are opened, signs taken to the front, a factor 1 left out.
Formula product_of(std::vector<Formula> factors);
Formula quotient_of(Formula above, Formula below);
/// A sum or a maximum over indices; the sign of what is summed stands in front.
Formula large_of(std::string sign, std::string indices, Formula x, bool scalar);
/// A product of matrices; a number below the second is below the whole.
Formula matrix_of(Formula a, Formula b, bool scalar);

std::string as_text(const Formula& formula);
std::string as_latex(const Formula& formula);
/// Presentation MathML, without the <math> around it.
std::string as_mathml(const Formula& formula);

}  // namespace nnc
