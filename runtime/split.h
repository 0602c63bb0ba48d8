// Which rows of a source a split has.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ir/job.h"
#include "runtime/result.h"

namespace nnc {

/// Rows of a split in its order: file order for a whole source or for rows of every n, the order of the permutation for
/// a share. Bounds of fractional shares are rounded to whole rows, so that consecutive shares tile what they are cut
/// from. Further cuts are made of the rows that are left, numbered from 0. `stratum(column, row)` is the value of a row
/// of the source; a stratified share takes its part of each group, and
/// stratified counts are exact.
Result<std::vector<std::uint32_t>> split_rows(
    const Split& split, std::int64_t rows,
    const std::function<std::string(const std::string& column, std::uint32_t row)>& stratum);

}  // namespace nnc
