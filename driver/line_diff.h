// What changes from one text to another, line by line.
#pragma once

#include <string>

namespace nnc::driver {

/// A unified diff with three lines around each change; empty where nothing changes.
std::string line_diff(const std::string& before, const std::string& after, const std::string& name);

}  // namespace nnc::driver
