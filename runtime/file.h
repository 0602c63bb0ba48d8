// Files whole: read at once, written so that a reader sees the old content or the new, never a part.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace nnc {

/// The content of a regular file. Anything else (a folder, a pipe, a device) is refused.
Result<std::vector<char>> read_file(const std::string& path);

/// Why a regular file cannot be opened for reading, or nothing.
std::optional<Problem> unreadable(const std::string& path);

/// Writes a temporary file beside `path`, flushes it to the disk, renames it over `path` and flushes the folder.
std::optional<Problem> write_file_atomically(const std::string& path, std::string_view content);

/// SHA-256 of a text, as 64 hexadecimal digits: how runs name the source they were made from.
std::string sha256(std::string_view text);

}  // namespace nnc
