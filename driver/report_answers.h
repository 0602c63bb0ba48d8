// What a model answers, for the page of its run.
#pragma once

#include "driver/report.h"

namespace nnc::driver {

/// Fills in field, confusions and what is furthest off, from splits that lie in memory. Nothing where no one value of a
/// row is the model's answer.
void add_model_answers(RunReport& report, const Elaborated& block, Session& session, const Compilation& compilation,
                       Runner& runner, Weights& weights, const std::vector<const SplitColumns*>& splits,
                       const ClassNames& names);

}  // namespace nnc::driver
