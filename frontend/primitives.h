// The words that the compiler itself knows: what cannot be written in the language. Everything else is in std/*.nn.
#pragma once

#include <string>
#include <vector>

#include "frontend/elaborator.h"

namespace nnc {

/// The primitive of that name, or null.
std::shared_ptr<const HostFunction> find_primitive(const std::string& name);
/// `random`, `iota`: values by their bare name.
bool is_shapeless_primitive(const std::string& name);
/// step, epoch, steps_per_epoch, total_steps.
bool is_run_time_scalar(const std::string& name);
void primitive_names(std::vector<std::string>& into);

}  // namespace nnc
