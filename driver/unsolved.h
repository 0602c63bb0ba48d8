// Why a run whose optimizer solves an equation has ended: what made its matrix singular, in the names of the columns.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "driver/session.h"
#include "driver/step_again.h"
#include "ir/job.h"
#include "runtime/data.h"
#include "runtime/weights.h"

namespace nnc::driver {

struct UnsolvedRun {
  const SplitColumns& train;
  const Session& session;
  const DataJob& data;
  const Weights& weights;  ///< the last good ones
  const std::vector<std::string>& models;
  double least_loss;  ///< of all steps
  const Elaborated& block;
  const std::optional<StepTaken>& step;  ///< the one that had no solution
};

/// Lines for a message. `solve`, which `newton` uses, has no solution where its matrix is singular: where there are
/// fewer rows than unknowns, where columns depend on each other, or where the loss has become flat because it falls
/// without end as the weights grow. Nor has it one that leads down where the loss bends down.
std::vector<std::string> why_unsolved(const UnsolvedRun& run);

}  // namespace nnc::driver
