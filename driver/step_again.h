// A step that training has taken, once more, by the reference evaluator, which gives its bits.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/evaluate.h"
#include "runtime/data.h"
#include "runtime/train.h"
#include "runtime/weights.h"

namespace nnc::driver {

/// A step, as training takes it.
struct StepTaken {
  Cursor after;                     ///< where training stood before it
  const Weights& weights;           ///< those before it
  const SplitColumns& train;        ///< its rows
  const TrainJob& job;              ///< with the seed of the run
  std::int64_t planned_epochs = 0;  ///< what schedules see
};

/// Which rows of the split it has, as training shuffles them.
std::vector<std::uint32_t> rows_of(const StepTaken& step);

/// Values of all nodes of a graph on those rows. Nothing where there are none, or where that is more than some seconds'
/// work.
std::vector<Tensor> values_again(const Graph& graph, const StepTaken& step, const std::vector<std::uint32_t>& rows);

}  // namespace nnc::driver
