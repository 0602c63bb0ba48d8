// Bytes that come one after the other, from a packed file or through a pipe, and must be kept somewhere to be looked at
// again: in memory, or beyond a limit in a file without a name.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/result.h"
#include "runtime/row_store.h"
#include "runtime/stored_array.h"

namespace nnc {

/// What begins a gzip file.
inline constexpr std::string_view gzip_mark = "\x1f\x8b";

/// What a gzip file holds; of a file that is none, its bytes. More than `most_in_memory` bytes lie in a file in
/// `folder`. Problems: it cannot be read, it is damaged or cut off, the folder does not take it.
Result<KeptBytes> unpacked(const std::string& path, std::uint64_t most_in_memory, const std::string& folder);
/// The same of standard input.
Result<KeptBytes> unpacked_stdin(std::uint64_t most_in_memory, const std::string& folder);
/// The first bytes of what a gzip file holds, as many as there are.
std::string first_unpacked(const std::string& path, std::size_t count);

}  // namespace nnc
