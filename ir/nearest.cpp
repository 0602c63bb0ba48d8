// Damerau-Levenshtein distance (optimal string alignment) in three rows. The length of a name bounds how wrong it may
// be: a third of its letters.
#include "ir/nearest.h"

#include <algorithm>
#include <filesystem>
#include <vector>

namespace nnc {

int edit_distance(std::string_view a, std::string_view b, int limit) {
  const auto difference = a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
  if (difference > static_cast<std::size_t>(limit)) return limit + 1;
  const std::size_t columns = b.size() + 1;
  std::vector<int> before_last(columns), last(columns), row(columns);
  for (std::size_t j = 0; j < columns; ++j) last[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j < columns; ++j) {
      const int replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    if (*std::min_element(row.begin(), row.end()) > limit) return limit + 1;
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return std::min(last.back(), limit + 1);
}

std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> candidates) {
  // A name of kilobytes was not meant to be any of ours.
  if (name.size() > 100) return std::nullopt;
  const auto same_letters = [&](const std::string& candidate) {  // `w` beside `W`
    return candidate != name && std::ranges::equal(candidate, name, [](char a, char b) {
             const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
             return lower(a) == lower(b);
           });
  };
  if (const auto same = std::ranges::find_if(candidates, same_letters); same != candidates.end()) return *same;
  const int limit = std::max(1, static_cast<int>(name.size()) / 3);
  int best = limit + 1;
  const std::string* nearest = nullptr;
  for (const std::string& candidate : candidates) {
    // One wrong letter makes a one-letter name another name, not a mistyped one.
    if (candidate == name || (name.size() == 1 && candidate.size() == 1)) continue;
    const int distance = edit_distance(name, candidate, best - 1);
    if (distance < best) {
      best = distance;
      nearest = &candidate;
    }
  }
  return nearest ? std::optional(*nearest) : std::nullopt;
}

std::optional<std::string> nearest_path(const std::string& path) {
  if (path.empty()) return std::nullopt;
  const std::filesystem::path asked(path), folder = asked.parent_path();
  std::vector<std::string> names;
  std::error_code unknown;
  for (const auto& entry : std::filesystem::directory_iterator(folder.empty() ? "." : folder, unknown))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  const auto near = nearest_name(asked.filename().string(), names);
  return near ? std::optional((folder / *near).string()) : std::nullopt;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates) {
  const auto nearest = nearest_name(name, candidates);
  return nearest ? "did you mean `" + *nearest + "`?" : "";
}

std::string or_did_you_mean(std::string_view name, std::span<const std::string> candidates) {
  const std::string meant = did_you_mean(name, candidates);
  return meant.empty() ? "" : "; " + meant;
}

}  // namespace nnc
