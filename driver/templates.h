// The templates of `nnc new`: driver/templates/*, as text that the binary carries.
#pragma once

#include <span>

#include "frontend/std/embedded.h"

namespace nnc {

std::span<const EmbeddedFile> embedded_templates();

}  // namespace nnc
