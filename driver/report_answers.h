// What a model answers, for the page of its run.
#pragma once

#include <span>

#include "driver/report.h"

namespace nnc::driver {

/// Fills in field, confusions and what is furthest off, from splits that lie in memory. Nothing where no one value of a
/// row is the model's answer.
void add_model_answers(RunReport& report, const Elaborated& block, Session& session, const Compilation& compilation,
                       Runner& runner, Weights& weights, const std::vector<const SplitColumns*>& splits,
                       const ClassNames& names);

/// Rows of a block that divide the rows of every split, so that one program answers for all of them: to compile a
/// program for each remainder takes longer than the rest of the page. `block_rows` where blocks would be too many.
std::int64_t common_block(std::span<const std::int64_t> splits);

}  // namespace nnc::driver
