// The one layout of .nn text: `nnc fmt`.
//
// - Lines of at most 100 columns, two spaces deeper inside braces and brackets. A bracket that does not fit holds one
//   element a line and ends in a comma; so does one after which a line ends in the source. Lists of plain words and
//   numbers are filled. A signature that does not fit goes on before its second list, or before `->`.
// - A block on one line stays there if it is one statement and fits; a pipe with one `|>` at the beginning of a line
// has
//   all of them there.
// - Spaces around operators but not around `^`, nor around the `:` of a slice. Nothing is aligned but remarks at the
// ends
//   of adjacent lines.
// - Comments and empty lines (one at a time) stay where they are.
#pragma once

#include <optional>
#include <string>

#include "frontend/diagnostics.h"

namespace nnc {

/// The text of a file in this layout, which means what the file means. Nothing where it has syntax errors, which are
/// reported.
std::optional<std::string> format(std::uint32_t file, Diagnostics& diagnostics);

}  // namespace nnc
