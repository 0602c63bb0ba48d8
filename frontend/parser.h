// Text to syntax tree. Errors are reported and parsing goes on at the next statement or declaration, so that one run
// shows every independent error of a file.
#pragma once

#include <cstdint>

#include "frontend/ast.h"
#include "frontend/diagnostics.h"

namespace nnc {

/// The declarations of a file that parse. A statement or declaration with a syntax error is left out (and reported); a
/// declaration that lost a part of its body is marked by `Declaration::damaged`, so that nobody draws conclusions from
/// what is missing in it.
Ast parse(std::uint32_t file, Diagnostics& diagnostics);

}  // namespace nnc
