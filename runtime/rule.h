// Conditions on figures, as `stop` has them. A figure that was not computed leaves open what depends on it: a condition
// holds only where that cannot change it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "ir/job.h"

namespace nnc {

/// The value of a figure as one number; nothing where it was not computed.
using FigureOf = std::function<std::optional<double>(const std::string& name)>;

/// Whether a condition holds; nothing where it is open. A comparison with NaN does not hold (but `!=`).
std::optional<bool> holds(const Rule& condition, const FigureOf& of);

}  // namespace nnc
