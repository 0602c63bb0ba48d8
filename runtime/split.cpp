#include "runtime/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "runtime/random.h"

namespace nnc {

namespace {

Problem wrong(const Split& split, std::string message, std::string found) {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = split.place,
          .expected = {},
          .found = std::move(found),
          .notes = {}};
}

/// The share of `count` items, as [begin, end).
struct Share {
  std::size_t begin, end;
};
Share share_of(double first, double length, std::size_t count) {
  double n = static_cast<double>(count);
  return {static_cast<std::size_t>(std::floor(first * n + 0.5)),
          static_cast<std::size_t>(std::floor((first + length) * n + 0.5))};
}

using Stratum = std::function<std::string(const std::string& column, std::uint32_t row)>;
using Rows = std::vector<std::uint32_t>;

/// Where a group's rows are told apart by how far into their group they stand, any number of rows from the front is
/// exact, and takes its part of each group: within one row, as near as whole rows come.
Rows stratified_counts(const Rows& order, std::size_t first, std::size_t count, const std::string& column,
                       const Stratum& stratum) {
  std::map<std::string, std::vector<std::size_t>> groups;  // positions in `order`
  for (std::size_t at = 0; at < order.size(); ++at) groups[stratum(column, order[at])].push_back(at);
  std::vector<std::pair<double, std::size_t>> by_depth;
  for (const auto& [name, positions] : groups)
    for (std::size_t i = 0; i < positions.size(); ++i)
      by_depth.emplace_back((static_cast<double>(i) + 0.5) / static_cast<double>(positions.size()), positions[i]);
  std::ranges::sort(by_depth);
  std::vector<std::size_t> taken;
  for (std::size_t i = first; i < first + count; ++i) taken.push_back(by_depth[i].second);
  std::ranges::sort(taken);
  Rows rows;
  for (const std::size_t at : taken) rows.push_back(order[at]);
  return rows;
}

/// `order` are the rows of the source in their shuffled order.
Rows stratified(const Rows& order, double first, double length, const std::string& column, const Stratum& stratum) {
  std::map<std::string, std::vector<std::size_t>> groups;  // positions in `order`
  for (std::size_t at = 0; at < order.size(); ++at) groups[stratum(column, order[at])].push_back(at);
  std::vector<bool> taken(order.size());
  for (const auto& [name, positions] : groups) {
    Share share = share_of(first, length, positions.size());
    for (std::size_t i = share.begin; i < share.end && i < positions.size(); ++i) taken[positions[i]] = true;
  }
  Rows rows;
  for (std::size_t at = 0; at < order.size(); ++at)
    if (taken[at]) rows.push_back(order[at]);
  return rows;
}

Rows every(const Cut& cut, const Rows& from) {
  const auto first = static_cast<std::size_t>(cut.first), end = first + static_cast<std::size_t>(cut.count);
  const auto group = static_cast<std::size_t>(cut.every);
  Rows rows;
  for (std::size_t at = 0; at < from.size(); ++at)
    if (at % group >= first && at % group < end) rows.push_back(from[at]);
  return rows;
}

Result<Rows> share(const Split& split, const Cut& cut, const Rows& from, const Stratum& stratum) {
  const double n = static_cast<double>(from.size());
  if (!cut.fractional && cut.first + cut.count > n)
    return wrong(split, fmt::format("split `{}` asks for more rows than its source has", split.name),
                 fmt::format("{} rows; the parts up to `{}` need {}", from.size(), split.name, cut.first + cut.count));
  Rows order;
  for (const std::uint32_t at : permutation(static_cast<std::int64_t>(from.size()), cut.seed, Purpose::split, 0))
    order.push_back(from[at]);
  const Share part = cut.fractional
                         ? share_of(cut.first, cut.count, order.size())
                         : Share{static_cast<std::size_t>(cut.first), static_cast<std::size_t>(cut.first + cut.count)};
  if (!cut.stratify_by.empty())
    return cut.fractional ? stratified(order, cut.first, cut.count, cut.stratify_by, stratum)
                          : stratified_counts(order, part.begin, part.end - part.begin, cut.stratify_by, stratum);
  return Rows(order.begin() + static_cast<std::ptrdiff_t>(part.begin),
              order.begin() + static_cast<std::ptrdiff_t>(part.end));
}

}  // namespace

Result<std::vector<std::uint32_t>> split_rows(const Split& split, std::int64_t rows, const Stratum& stratum) {
  if (rows > std::int64_t{UINT32_MAX})
    return wrong(split, "a source may have at most 2^32 - 1 rows", fmt::format("{} rows", rows));
  Rows left(static_cast<std::size_t>(rows));
  std::iota(left.begin(), left.end(), 0u);
  for (const Cut& cut : split.cuts) {
    if (cut.kind == Cut::Kind::every) {
      left = every(cut, left);
      continue;
    }
    auto part = share(split, cut, left, stratum);
    if (!part) return part.problem();
    left = std::move(*part);
  }
  if (left.empty())
    return wrong(split, fmt::format("split `{}` has no rows", split.name),
                 fmt::format("{} row{} in its source", rows, rows == 1 ? "" : "s"));
  return left;
}

}  // namespace nnc
