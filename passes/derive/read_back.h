// Formulas read back as nodes of a graph: what is printed is what is computed. It goes by what stands on the page,
// signs, names and arguments, and knows nothing of the nodes that a formula was written from.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "ir/builder.h"
#include "passes/derive/formula.h"

namespace nnc {

/// What a formula lacks to be computed.
struct Unreadable {
  std::string why;
};

/// Behind a name that belongs to the steps of a loop: what all steps make of it, one behind the other.
constexpr std::string_view at_every_step = " at every step";

class ReadBack {
 public:
  /// The value of a name, or of a derivative, as it stands in the text; throws Unreadable where there is none.
  using Names = std::function<Value(const std::string&)>;

  /// Every result of arithmetic is off by a share of up to `noise`, for equal expressions by the same: what comes out
  /// says how far rounding can be trusted.
  ReadBack(Builder& builder, Names names, double noise = 0)
      : builder_(builder), names_(std::move(names)), noise_(noise) {}

  /// In f64; whole numbers and truth values as they are. Throws Unreadable.
  Value operator()(const Formula& formula);

 private:
  Value unseen(const Formula& x);
  Value seen(Value x, const Sight& sight);
  Value symbol(const Formula& x);
  Value call(const Formula& x);
  Value function(const std::string& name, Value x);
  Value slope_of(const std::string& name, Value x);
  Value sum(const Formula& x);
  Value product(const Formula& x);
  Value power(const Formula& x);
  Value matrix(const Formula& x);
  Value indexed(const Formula& x);
  Value over_steps(const Formula& product);
  Value large(const Formula& x);
  Value relation(const Formula& x);
  Value choice(const Formula& x);
  Value stretch(const Formula& x);
  Value operation(const Formula& x);

  Value part(const Formula& x, std::size_t i) { return (*this)(x.parts.at(i)); }
  Value whole(const Formula& x, std::size_t i);
  Value number(const Formula& x, std::size_t i) { return as_number(part(x, i)); }
  Value as_number(Value x);
  Value as_whole(Value x);
  Value as_truth(Value x);
  Value spread_like(Value x, Value like);
  Value made(Op op, std::vector<Value> operands, Attributes attributes = NoAttributes{}, const Type& wanted = {});
  /// Of two values of one shape, or of a number and a value.
  Value by_elements(Op op, Value a, Value b);
  Value rounded(Value x);

  Builder& builder_;
  Names names_;
  double noise_;
};

}  // namespace nnc
