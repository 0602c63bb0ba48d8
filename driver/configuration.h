// What is set once for all commands of a machine or a folder: by NNC_* variables, and in the nearest nnc.toml. An
// option on the command line beats a variable, which beats the file. Hyper-parameters are not among these.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/result.h"

namespace nnc::driver {

struct Configured {
  std::string option;  ///< "threads", for --threads
  std::string value;
  std::string from;  ///< "NNC_THREADS", "nnc.toml:3"
};

/// Of all that can be set, what is; a problem where nnc.toml says something else.
Result<std::vector<Configured>> configuration();
/// The nearest nnc.toml from the working directory upwards, or empty.
std::string configuration_file();

}  // namespace nnc::driver
