// The nearest of some names to one that was mistyped.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace nnc {

/// The candidate with the fewest edits (insert, delete, replace, swap two neighbours; case counts half) from `name`, or
/// empty where none is nearer than a third of the name's length (at least one edit).
std::string closest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace nnc
