#include "runtime/result.h"

#include <fmt/format.h>

namespace nnc {

std::string Problem::render() const {
  std::string text = fmt::format("error: {}\n", message);
  if (!place.file.empty()) {
    text += fmt::format("  --> {}", place.file);
    if (place.line > 0) text += fmt::format(":{}", place.line);
    if (place.line > 0 && place.column > 0) text += fmt::format(":{}", place.column);
    text += '\n';
  }
  if (!expected.empty()) text += fmt::format("   = expected: {}\n", expected);
  if (!found.empty()) text += fmt::format("   = found:    {}\n", found);
  for (const std::string& note : notes) text += fmt::format("   = {}\n", note);
  return text;
}

}  // namespace nnc
