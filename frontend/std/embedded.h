// Files of the source tree that the compiler carries, embedded at build time.
#pragma once

#include <span>
#include <string_view>

namespace nnc {

struct EmbeddedFile {
  std::string_view name, text;
};
/// frontend/std/*.nn: the standard library.
std::span<const EmbeddedFile> embedded_library();
/// frontend/explanations/*.md: a page for each code.
std::span<const EmbeddedFile> embedded_explanations();

}  // namespace nnc
