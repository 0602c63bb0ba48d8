#include "runtime/names.h"

#include <algorithm>
#include <cctype>
#include <vector>

namespace nnc {

namespace {

/// Twice the number of edits, so that a difference in case can count half.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = 2 * i;
  for (std::size_t j = 0; j <= b.size(); ++j) cost[0][j] = 2 * j;
  auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t replace = a[i - 1] == b[j - 1] ? 0 : lower(a[i - 1]) == lower(b[j - 1]) ? 1 : 2;
      cost[i][j] = std::min({cost[i - 1][j] + 2, cost[i][j - 1] + 2, cost[i - 1][j - 1] + replace});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 2);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string closest_name(std::string_view name, std::span<const std::string> candidates) {
  constexpr std::size_t longest = 256;
  if (name.size() > longest) return "";
  std::string best;
  // Of one letter there is nothing left after an edit but its case.
  std::size_t limit = name.size() == 1 ? 1 : 2 * std::max<std::size_t>(1, name.size() / 3);
  for (const std::string& candidate : candidates) {
    if (candidate.size() > longest) continue;
    std::size_t distance = edits(name, candidate);
    if (distance > limit || (distance == limit && !best.empty())) continue;
    best = candidate;
    limit = distance;
  }
  return best;
}

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

}  // namespace nnc
