// What a model that ignores its inputs would reach: the least that training has to beat. Found in the graph, whatever
// the model is: the last value through which everything learnt reaches the figures is replaced by a constant.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "driver/session.h"
#include "ir/graph.h"
#include "runtime/data.h"

namespace nnc::driver {

struct Baseline {
  std::string always;               ///< "the mean of `y`", "the most frequent class of `y`"
  std::vector<NamedArray> figures;  ///< loss and metrics over the split
};

/// The model's answer: the first value of rows through which everything learnt reaches the figures. Nothing where no
/// one value does.
std::optional<NodeId> answer_of(const Graph& evaluate);

/// What it takes to compile the figures of a constant and to run them.
struct Native {
  Session& session;
  const Compilation& compilation;
  Runner& runner;
};

/// `evaluate` as optimise gives it. The constant is learnt from `train`, its figures are those of `shown`; `fitted` has
/// the fitted states. Nothing where no one value separates what is learnt from the figures (a penalty on weights), or
/// no column says what it should be. Of streamed rows no more than a block is in memory.
std::optional<Baseline> baseline_of(const Graph& evaluate, const std::vector<std::string>& losses,
                                    const SplitColumns& train, const SplitColumns& shown, Weights& fitted,
                                    const Native& native);

}  // namespace nnc::driver
