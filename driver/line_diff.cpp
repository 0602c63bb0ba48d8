// The shortest edit (Myers 1986, "An O(ND) difference algorithm"), found greedily, furthest diagonal by furthest.
#include "driver/line_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <vector>

namespace nnc::driver {

namespace {

using Lines = std::vector<std::string>;

Lines lines_of(const std::string& text) {
  Lines result;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

/// ' ' kept, '-' only before, '+' only after.
struct Edit {
  char kind;
  std::string line;
};

std::vector<Edit> edits(const Lines& a, const Lines& b) {
  const int n = static_cast<int>(a.size()), m = static_cast<int>(b.size()), most = n + m;
  const auto at = [&](std::vector<int>& v, int k) -> int& { return v[static_cast<std::size_t>(k + most + 1)]; };
  std::vector<int> furthest(static_cast<std::size_t>(2 * most + 3), 0);
  std::vector<std::vector<int>> history;
  const auto down = [&](std::vector<int>& v, int k, int d) {
    return k == -d || (k != d && at(v, k - 1) < at(v, k + 1));
  };
  for (int d = 0; d <= most; ++d) {
    history.push_back(furthest);
    bool done = false;
    for (int k = -d; k <= d && !done; k += 2) {
      int x = down(furthest, k, d) ? at(furthest, k + 1) : at(furthest, k - 1) + 1;
      while (x < n && x - k < m && a[static_cast<std::size_t>(x)] == b[static_cast<std::size_t>(x - k)]) ++x;
      at(furthest, k) = x;
      done = x >= n && x - k >= m;
    }
    if (done) break;
  }
  std::vector<Edit> result;
  int x = n, y = m;
  for (int d = static_cast<int>(history.size()) - 1; d >= 0; --d) {
    std::vector<int>& v = history[static_cast<std::size_t>(d)];
    const int k = x - y, from = down(v, k, d) ? k + 1 : k - 1;
    const int begin_x = d == 0 ? 0 : at(v, from), begin_y = d == 0 ? 0 : begin_x - from;
    while (x > begin_x && y > begin_y) result.push_back({' ', a[static_cast<std::size_t>(--x)]}), --y;
    if (d == 0) break;
    if (x > begin_x) result.push_back({'-', a[static_cast<std::size_t>(--x)]});
    if (y > begin_y) result.push_back({'+', b[static_cast<std::size_t>(--y)]});
  }
  std::reverse(result.begin(), result.end());
  return result;
}

}  // namespace

std::string line_diff(const std::string& before, const std::string& after, const std::string& name) {
  if (before == after) return "";
  constexpr std::size_t around = 3;
  const std::vector<Edit> all = edits(lines_of(before), lines_of(after));
  std::string out = fmt::format("--- {}\n+++ {}\n", name, name);
  std::size_t old_line = 1, new_line = 1;
  const auto pass = [&](const Edit& edit) { old_line += edit.kind != '+', new_line += edit.kind != '-'; };
  for (std::size_t i = 0; i < all.size();) {
    // The next change, and the end of the run of changes that lie close to each other.
    std::size_t change = i;
    while (change < all.size() && all[change].kind == ' ') ++change;
    if (change == all.size()) break;
    std::size_t end = change, kept = 0;
    for (std::size_t j = change; j < all.size() && kept <= 2 * around; ++j) {
      kept = all[j].kind == ' ' ? kept + 1 : 0;
      if (kept == 0) end = j + 1;
    }
    const std::size_t begin = std::max(i, change > around ? change - around : 0);
    for (; i < begin; ++i) pass(all[i]);
    end = std::min(all.size(), end + around);
    const std::size_t old_begin = old_line, new_begin = new_line;
    std::string hunk;
    for (; i < end; ++i) {
      hunk += fmt::format("{}{}\n", all[i].kind, all[i].line);
      pass(all[i]);
    }
    out +=
        fmt::format("@@ -{},{} +{},{} @@\n{}", old_begin, old_line - old_begin, new_begin, new_line - new_begin, hunk);
  }
  return out;
}

}  // namespace nnc::driver
