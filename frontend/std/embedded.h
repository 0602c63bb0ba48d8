// The standard library's source files, embedded at build time.
#pragma once

#include <span>
#include <string_view>

namespace nnc {

struct EmbeddedFile {
  std::string_view name, text;
};
std::span<const EmbeddedFile> embedded_library();

}  // namespace nnc
