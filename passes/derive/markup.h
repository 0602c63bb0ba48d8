// Text as it stands in HTML and MathML, in elements and in attributes.
#pragma once

#include <string>
#include <string_view>

namespace nnc {

inline std::string markup_escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '"') {
      result += "&quot;";
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace nnc
