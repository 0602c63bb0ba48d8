// Names in messages: lists of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace nnc {

/// "red, green", each in quotes where it could not be told from its neighbours: it is empty, has a comma or a quote, or
/// begins or ends with a blank. Behind the first `most` stands "...".
std::string in_list(std::span<const std::string> names, std::size_t most = SIZE_MAX);

/// What a problem with a missing value in a column of numbers says about it.
std::string what_stands_for_missing(const std::string& column);

}  // namespace nnc
