#include "runtime/split.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <numeric>

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

std::vector<std::uint32_t> stratified(const std::vector<std::uint32_t>& order, double first, double length,
                                      const std::function<std::string(std::uint32_t)>& stratum) {
  std::map<std::string, std::vector<std::size_t>> groups;  // positions in `order`
  for (std::size_t at = 0; at < order.size(); ++at) groups[stratum(order[at])].push_back(at);
  std::vector<bool> taken(order.size());
  for (const auto& [name, positions] : groups) {
    Share share = share_of(first, length, positions.size());
    for (std::size_t i = share.begin; i < share.end && i < positions.size(); ++i) taken[positions[i]] = true;
  }
  std::vector<std::uint32_t> rows;
  for (std::size_t at = 0; at < order.size(); ++at)
    if (taken[at]) rows.push_back(order[at]);
  return rows;
}

}  // namespace

Result<std::vector<std::uint32_t>> split_rows(const Split& split, std::int64_t rows,
                                              const std::function<std::string(std::uint32_t)>& stratum) {
  if (rows > std::int64_t{UINT32_MAX})
    return wrong(split, "a source may have at most 2^32 - 1 rows", fmt::format("{} rows", rows));
  std::vector<std::uint32_t> result;
  switch (split.kind) {
    case Split::Kind::whole: {
      result.resize(static_cast<std::size_t>(rows));
      std::iota(result.begin(), result.end(), 0u);
      break;
    }
    case Split::Kind::every_first:
    case Split::Kind::every_second: {
      bool second = split.kind == Split::Kind::every_second;
      for (std::int64_t row = 0; row < rows; ++row)
        if ((row % split.every == split.every - 1) == second) result.push_back(static_cast<std::uint32_t>(row));
      break;
    }
    case Split::Kind::share: {
      std::vector<std::uint32_t> order = permutation(rows, split.seed, Purpose::split, 0);
      double n = static_cast<double>(rows);
      if (!split.fractional && split.first + split.count > n)
        return wrong(split, fmt::format("split `{}` asks for more rows than its source has", split.name),
                     fmt::format("{} rows; the parts up to `{}` need {}", rows, split.name, split.first + split.count));
      double first = split.fractional ? split.first : split.first / n;
      double length = split.fractional ? split.count : split.count / n;
      if (!split.stratify_by.empty()) {
        result = stratified(order, first, length, stratum);
        break;
      }
      Share share = split.fractional ? share_of(first, length, order.size())
                                     : Share{static_cast<std::size_t>(split.first),
                                             static_cast<std::size_t>(split.first + split.count)};
      result.assign(order.begin() + static_cast<std::ptrdiff_t>(share.begin),
                    order.begin() + static_cast<std::ptrdiff_t>(share.end));
      break;
    }
  }
  if (result.empty())
    return wrong(split, fmt::format("split `{}` has no rows", split.name), fmt::format("{} rows in its source", rows));
  return result;
}

}  // namespace nnc
