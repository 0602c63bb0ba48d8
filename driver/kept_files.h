// Files that a command reads and must not write over: a program, what it trains on, weights, a run's own.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ir/job.h"
#include "runtime/result.h"

namespace nnc::driver {

using KeptFile = std::pair<std::filesystem::path, std::string>;  ///< and what it is, as in "--output is the program"

/// Of a program or a run.
std::vector<KeptFile> kept_files(const std::string& program_or_run);
/// Of what a program trains on.
std::vector<KeptFile> kept_files(const DataJob& data);

/// Why `output`, the value of `option`, cannot be written: it is one of these. Nothing where it is none, or "-".
std::optional<Problem> replaces(const std::string& output, const std::string& option,
                                const std::vector<KeptFile>& kept);

}  // namespace nnc::driver
