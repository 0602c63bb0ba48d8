// Whether a loss bends down where a Newton step was to be taken: its matrix of second derivatives has then a negative
// pivot, and no rounding and no penalty on the weights is to blame.
#pragma once

#include <optional>
#include <string>

#include "driver/step_again.h"
#include "frontend/elaborate.h"

namespace nnc::driver {

struct NegativePivot {
  std::string weight;  ///< whose row it is in, "`Dense1.W[0, 3]`"
  double pivot = 0;    ///< of its row, when those before are eliminated; the first: the second derivative itself
  std::int64_t row = 0, rows = 0;
};

/// The first pivot of a matrix that the step solves with which is negative beyond rounding, those before it being
/// positive beyond it. Nothing where there is none, and where the step is too much work for the evaluator.
std::optional<NegativePivot> negative_pivot(const Elaborated& block, const StepTaken& step);

}  // namespace nnc::driver
