// Builds scalar programs. Expressions read as arithmetic; equal instructions are merged, nothing else is simplified.
#pragma once

#include <array>
#include <span>
#include <unordered_map>
#include <vector>

#include "ir/scalar/program.h"

namespace nnc {

inline bool is_float(ScalarType type) { return type == ScalarType::f32 || type == ScalarType::f64; }

class ScalarBuilder;

/// A value of a program under construction.
struct Scalar {
  ScalarBuilder* builder = nullptr;
  ScalarId id = 0;
  ScalarType type() const;
};

class ScalarBuilder {
 public:
  Scalar input(ScalarType type);                     ///< a new input
  Scalar constant(double value, ScalarType type);    ///< floats: rounded to the type; integers: exact
  Scalar bits(std::uint64_t bits, ScalarType type);  ///< a constant by its bit pattern
  Scalar make(ScalarOp op, ScalarType type, std::span<const Scalar> operands, std::uint64_t bits = 0);
  /// The instructions of `program` with its inputs replaced; the values of its results.
  std::vector<Scalar> inline_program(const ScalarProgram& program, std::span<const Scalar> inputs);
  ScalarProgram finish(std::span<const Scalar> results) &&;
  const ScalarProgram& program() const { return program_; }

 private:
  friend struct Scalar;
  Scalar append(ScalarInstruction instruction);
  ScalarProgram program_;
  std::unordered_multimap<std::size_t, ScalarId> by_hash_;
};

Scalar operator+(Scalar a, Scalar b);  // floats; integers by the named functions below
Scalar operator-(Scalar a, Scalar b);
Scalar operator*(Scalar a, Scalar b);
Scalar operator/(Scalar a, Scalar b);
Scalar operator-(Scalar a);
Scalar fma(Scalar a, Scalar b, Scalar c);
Scalar sqrt(Scalar a);
Scalar abs(Scalar a);
Scalar minimum(Scalar a, Scalar b);
Scalar maximum(Scalar a, Scalar b);
Scalar equal(Scalar a, Scalar b);
Scalar less(Scalar a, Scalar b);
Scalar less_equal(Scalar a, Scalar b);
Scalar select(Scalar condition, Scalar yes, Scalar no);
Scalar logical_and(Scalar a, Scalar b);
Scalar logical_or(Scalar a, Scalar b);
Scalar logical_not(Scalar a);
Scalar int_add(Scalar a, Scalar b);
Scalar int_sub(Scalar a, Scalar b);
Scalar int_mul(Scalar a, Scalar b);
Scalar int_and(Scalar a, Scalar b);
Scalar int_or(Scalar a, Scalar b);
Scalar int_xor(Scalar a, Scalar b);
Scalar shift_left(Scalar a, int count);
Scalar shift_right(Scalar a, int count);
Scalar shift_right_signed(Scalar a, int count);
Scalar bitcast(Scalar a, ScalarType type);  ///< a itself where it has the type already
Scalar convert(Scalar a, ScalarType type);  ///< a itself where it has the type already; never to boolean
Scalar philox_word(Scalar row, Scalar column, Scalar key);

/// The elementary functions, each for f32 and f64 by the type of x, each a short comment away from its source and
/// bound.
namespace scalar {
Scalar exp(Scalar x);
Scalar expm1(Scalar x);
Scalar log(Scalar x);
Scalar log1p(Scalar x);
Scalar tanh(Scalar x);
Scalar sin(Scalar x);
Scalar cos(Scalar x);
Scalar erf(Scalar x);
Scalar normal_cdf(Scalar x);
Scalar logistic(Scalar x);
Scalar softplus(Scalar x);
Scalar pow(Scalar x, Scalar y);
/// Philox4x32-10 in a straight line: words in the low halves of i64.
std::array<Scalar, 4> philox(std::array<Scalar, 4> counter, std::array<Scalar, 2> key);
/// Philox4x32-10 at counter (row, column / 4), word column % 4, key from (seed, stream, step): uniform in [0, 1).
Scalar uniform(Scalar row, Scalar column, Scalar seed, Scalar step, Scalar stream, ScalarType type);
}  // namespace scalar

/// Interprets a program: `inputs[i]` points at `count` elements of program.inputs[i]; results likewise. Elements are
/// stored in their natural size (booleans: one byte).
void interpret(const ScalarProgram& program, std::span<const void* const> inputs, std::span<void* const> results,
               std::int64_t count);

/// The same program with a constant in the place of each instruction that depends on no input, with a product, or
/// nothing, in the place of a division by a power of two, with one fma for a product of a sum with +0, and without what
/// changes nothing or is never used: to the bit that `interpret` gives.
ScalarProgram with_known_values(ScalarProgram program);

}  // namespace nnc
