// Which rows of a source a split has.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ir/job.h"
#include "runtime/result.h"

namespace nnc {

/// Rows of a split in its order: file order for a whole source or for every n-th row, the order of the source's
/// permutation for a share. Bounds of fractional shares are rounded to whole rows, so that consecutive shares tile the
/// source. `stratum(row)` names the group of a row; a stratified share takes its part of each group.
Result<std::vector<std::uint32_t>> split_rows(const Split& split, std::int64_t rows,
                                              const std::function<std::string(std::uint32_t)>& stratum);

}  // namespace nnc
