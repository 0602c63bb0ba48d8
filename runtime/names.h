// Names in messages: the nearest to one that was mistyped, and lists of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nnc {

/// The candidate with the fewest edits (insert, delete, replace, swap two neighbours; case counts half) from `name`, or
/// empty where none is nearer than a third of the name's length (at least one edit).
std::string closest_name(std::string_view name, std::span<const std::string> candidates);

/// "red, green", each in quotes where it could not be told from its neighbours: it is empty, has a comma or a quote, or
/// begins or ends with a blank. Behind the first `most` stands "...".
std::string in_list(std::span<const std::string> names, std::size_t most = SIZE_MAX);

}  // namespace nnc
