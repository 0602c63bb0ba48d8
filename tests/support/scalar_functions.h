// The elementary functions as the tests see them: a program for each float type, and a wider reference.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "ir/scalar/builder.h"

namespace nnc::test {

struct ElementaryFunction {
  std::string name;
  int arity = 1;
  Scalar (*unary)(Scalar) = nullptr;
  Scalar (*binary)(Scalar, Scalar) = nullptr;
  long double (*wide)(long double,
                      long double) = nullptr;  ///< the reference; the second argument unused where arity is 1
  double (*fast)(double) = nullptr;            ///< a reference that is enough for f32; unary ones only
  double bound_f32 = 1, bound_f64 = 2;         ///< in units in the last place of the exact result
  bool odd = false;
  int direction = 0;         ///< 1: never falls as x grows; -1: never rises; 0: neither
  double low = 0, high = 0;  ///< least and greatest value; both 0: none
};

std::span<const ElementaryFunction> scalar_functions();
const ElementaryFunction* scalar_function(const std::string& name);

ScalarProgram program_of(const ElementaryFunction& function, ScalarType type);

/// |value - exact| in units of the last place that the type has at `exact`; 0 where both are NaN, or `value` is what
/// `exact` rounds to; infinite where only one is NaN, or a zero or infinity is wrong.
double ulp_error(float value, double exact);
double ulp_error(double value, long double exact);

}  // namespace nnc::test
