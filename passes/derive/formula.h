// Mathematics as a tree, in the notation of textbooks: what derivations are printed from, as text, LaTeX and MathML,
// and what they are computed from again when they are checked (read_back.h). It says what stands where and knows no
// graph.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/type.h"

namespace nnc {

/// How a value stands among values of another shape: axis i of it is axis axes[i] there, and along all others it is
/// repeated; -1 is an axis of extent 1 that is left out. It is not written, since shapes stand beside the lines.
struct Sight {
  Shape shape;
  std::vector<int> axes;
  bool operator==(const Sight&) const = default;
};

/// Elements first, first + step, ... of an axis, `count` of them; all where `whole`.
struct Stretch {
  std::int64_t first = 0, step = 1, count = 1;
  bool whole = false;
  bool at_step = false;   ///< the element t, of step t
  bool left_out = false;  ///< one element, and no axis in what it makes: "5", where "5:6" keeps the axis
  bool operator==(const Stretch&) const = default;
};

/// What an operation is told beside its operands: "size 3", "before (0, 2)", "along j".
struct Argument {
  std::string name;
  std::vector<std::int64_t> numbers;
  bool are_axes = false;  ///< written as the letters of their indices
  bool operator==(const Argument&) const = default;
};

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
    entry,      ///< rows of parts[0] by the numbers parts[1]
    stretch,    ///< the elements `stretches` of parts[0]
    operation,  ///< text(parts..., arguments...): an op that is no function of single elements
    indexed     ///< a sum of products of elements of parts[0] and parts[1]; text gives their indices: "ikl,klj"
  };
  Kind kind{};
  std::string text{}, super{}, sub{};
  std::vector<Formula> parts{};
  std::vector<bool> minus{};  ///< of a sum, for each part
  bool scalar = false;        ///< a number, not a tensor: as a factor it takes no sign of its own
  double value = 0;           ///< of a number, whose digits may be those of f32
  /// Of a transpose, its permutation; of a product of matrices, how many axes are summed and how many go along, product
  /// by product; of an index (a symbol that has a shape), its axis.
  std::vector<int> axes{};
  Shape shape{};  ///< of an index, and of what a large sign is over; what a reshape makes
  std::vector<Argument> arguments{};
  std::vector<Stretch> stretches{};
  std::vector<Sight> seen{};  ///< not of what is made element by element: there its parts have it

  bool operator==(const Formula&) const = default;
};

Formula number_formula(const std::string& digits);
Formula number_formula(const std::string& digits, double value);
/// The letter of an axis: i, j, k, ...
std::string index_letter(int axis);
/// Index of an axis as a value: i, j, ...
Formula index_formula(int axis, const Shape& shape);
/// x as it stands among values of the shape.
Formula seen_as(Formula x, const Sight& sight);
Formula symbol_formula(std::string text, std::string super = "", std::string sub = "");
/// -x; the sign of a product or a quotient goes to its front, and two of them are none.
Formula negative(Formula x);
/// x in the sum, as -x where `minus`; sums among the terms are opened.
void add_term(Formula& sum, Formula x, bool minus);
/// x among the factors; products among them are opened, signs taken to the front, a factor 1 left out.
Formula product_of(std::vector<Formula> factors);
Formula quotient_of(Formula above, Formula below);
/// A sum or a maximum over indices; the sign of what is summed stands in front.
Formula large_of(std::string sign, std::string indices, Formula x, const Shape& of, bool scalar);
/// A product of matrices; a number below the second is below the whole. `axes` as in Formula.
Formula matrix_of(Formula a, Formula b, std::vector<int> axes, bool scalar);
Formula transposed(Formula x, std::vector<int> permutation);
/// Numbers that are multiplied are one: 0.01 · 2W is 0.02W, (1 / n) · 2 is 2 / n. π stays as it is.
Formula with_one_number(Formula x);

/// What operations, parts and indices are written with, which is the same in all formats: "size 3", "along j"; ":,
/// 2:5"; the letters that are summed, of the first and of the second factor. "3×n", "n×2×2"; empty for a number.
std::string shape_text(const Shape& shape);
std::string argument_text(const Argument& argument);
std::string stretches_text(const Formula& x);
struct Indices {
  std::string summed, of_first, of_second;
};
Indices indices_of(const Formula& x);
/// "-1.5e-05" as its sign, 1.5 and the exponent −5.
struct Digits {
  bool minus = false;
  std::string mantissa, exponent;
};
Digits digits_of(const std::string& number);

std::string as_text(const Formula& formula);
std::string as_latex(const Formula& formula);
/// Presentation MathML, without the <math> around it.
std::string as_mathml(const Formula& formula);

}  // namespace nnc
