// In what runs differ: what their programs and commands say, and how they ended.
#pragma once

#include <string>
#include <vector>

#include "driver/report.h"

namespace nnc::driver {

/// A line of a comparison: a value of each run, empty where a run has none.
struct Difference {
  std::string name;
  std::vector<std::string> values;
};
struct Differences {
  std::vector<Difference> settings;  ///< of the command, and of the program: "optimizer", "const hidden", "model Net"
  std::vector<Difference> results;   ///< state, epoch, last figures
};

/// What is not the same in all of them. Of models, layers and data the lines in which they differ.
Differences differences_of(const std::vector<RunReport>& runs);

}  // namespace nnc::driver
