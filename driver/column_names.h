// What the values of a training column are called: as the file names them where they come from there one by one.
#pragma once

#include <string>
#include <vector>

#include "driver/session.h"

namespace nnc::driver {

/// Names for the `width` values of a row of a column: of the file's columns where the column is some of them side by
/// side, whatever was done to each; else "x", or "x[0]", "x[1]", ...
std::vector<std::string> value_names(const DataJob& data, const Session& session, const std::string& column,
                                     std::int64_t width);

}  // namespace nnc::driver
