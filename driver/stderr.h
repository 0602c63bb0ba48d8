// What is said on stderr. That it cannot be written (a full disk, a terminal that went away) is no failure of the
// command: training goes on, and the status says what it would have said.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

namespace nnc::driver {

template <class... Values>
void to_stderr(fmt::format_string<Values...> format, Values&&... values) {
  const std::string text = fmt::format(format, std::forward<Values>(values)...);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace nnc::driver
