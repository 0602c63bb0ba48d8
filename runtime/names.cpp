#include "runtime/names.h"

#include <fmt/format.h>

#include <algorithm>

namespace nnc {

std::string in_list(std::span<const std::string> names, std::size_t most) {
  std::string list;
  for (std::size_t i = 0; i < std::min(most, names.size()); ++i) {
    const std::string& name = names[i];
    const bool plain =
        !name.empty() && name.find_first_of(",\"\n") == std::string::npos && name.front() != ' ' && name.back() != ' ';
    list += (i > 0 ? ", " : "") + (plain ? name : "\"" + name + "\"");
  }
  return list + (names.size() > most ? ", ..." : "");
}

std::string what_stands_for_missing(const std::string& column) {
  return fmt::format(
      "help: `col(\"{}\", missing = median)` says what stands for a value that is missing; nothing is made up unasked",
      column);
}

}  // namespace nnc
