// A mistyped name, of a thing or of a file, is answered with the nearest one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nnc {

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to get from `a` to `b`; any
/// number above `limit` comes back as `limit + 1`, and is found out quickly however long the names are.
int edit_distance(std::string_view a, std::string_view b, int limit);

/// The candidate nearest to `name`, the first of equals, or nothing where all are too far away to be what was meant.
std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> candidates);

/// The path of a file or folder beside `path` whose name is nearly that; or nothing.
std::optional<std::string> nearest_path(const std::string& path);

/// "did you mean `width`?", or empty where nothing is near: the help line of an error about a name.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

/// "; did you mean `width`?", or empty: the end of an error of one line.
std::string or_did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace nnc
