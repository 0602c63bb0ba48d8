// Where the numbers of a step stop being numbers: the step that spoilt a run is taken once more by the reference
// evaluator, which gives its bits, and followed back from what failed to the first value that is not finite though all
// that it is made of is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "driver/step_again.h"
#include "frontend/elaborate.h"

namespace nnc::driver {

struct FirstWrong {
  std::string what;   ///< a line for a message
  Place place;        ///< of the expression; line 0: nowhere
  std::string input;  ///< what went into the op that made it: "`log` takes -2.5 to 4.1 here"; or empty
};

/// `failed` is a loss, or the path of a parameter or a state. Nothing where the step is too much work for the
/// evaluator, or where nothing in it is wrong.
std::optional<FirstWrong> first_wrong(const Elaborated& block, const StepTaken& step, const std::string& failed,
                                      bool is_loss);

}  // namespace nnc::driver
