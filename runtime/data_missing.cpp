// What stands for missing numbers where it is learnt: a statistic of each value of a row, over the rows of the splits
// that are fitted on, put into the state that the feed graph reads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/data_state.h"

namespace nnc {

namespace {

const char* noun_of(Missing::By by) {
  switch (by) {
    case Missing::By::mean:
      return "mean";
    case Missing::By::median:
      return "median";
    case Missing::By::most_frequent:
      return "most frequent value";
    case Missing::By::nothing:
    case Missing::By::number:
    case Missing::By::word:
      break;
  }
  return "value";
}

/// Between the least and the greatest, so that of equal values it is that value.
double mean_of(const std::vector<double>& values) {
  double sum = 0, least = values[0], greatest = values[0];
  for (const double value : values) sum += value, least = std::min(least, value), greatest = std::max(greatest, value);
  return std::clamp(sum / static_cast<double>(values.size()), least, greatest);
}

double median_of(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  const double below = *std::max_element(values.begin(), middle);
  return below + (*middle - below) / 2;
}

double most_frequent_of(std::vector<double>& values) {
  std::ranges::sort(values);
  double found = values[0];
  std::size_t most = 0;
  for (std::size_t begin = 0, end = 0; begin < values.size(); begin = end) {
    while (end < values.size() && values[end] == values[begin]) ++end;
    if (end - begin > most) most = end - begin, found = values[begin];
  }
  return found;
}

double statistic(Missing::By by, std::vector<double>& values) {
  return by == Missing::By::mean     ? mean_of(values)
         : by == Missing::By::median ? median_of(values)
                                     : most_frequent_of(values);
}

}  // namespace

std::optional<Problem> RawData::learn_missing(Weights& weights) const {
  constexpr std::int64_t values_at_once = std::int64_t{1} << 23;  // 64 MiB of them: columns are gone through in groups
  for (const RawColumn& raw : state_->job.raw) {
    if (raw.classes || !raw.missing.learnt()) continue;
    const nnc_slot* slot = find_slot(state_of(*weights.layout), missing_path(raw.input));
    if (slot == nullptr) continue;  // of a column that no model reads
    DenseArray row(raw.type.dtype, {row_elements(raw.type)});
    DenseArray stands(raw.type.dtype, std::vector<std::int64_t>(slot->dims, slot->dims + slot->rank));
    std::int64_t rows = 1;
    for (const std::string& name : state_->job.fit)
      if (const auto split = state_->splits.find(name); split != state_->splits.end())
        rows += static_cast<std::int64_t>(split->second.rows.size());
    const std::int64_t group = std::max<std::int64_t>(values_at_once / rows, 1);
    for (std::int64_t first = 0; first < row.count(); first += group) {
      std::vector<std::vector<double>> values(static_cast<std::size_t>(std::min(group, row.count() - first)));
      for (const std::string& name : state_->job.fit) {
        const auto split = state_->splits.find(name);
        if (split == state_->splits.end()) continue;
        for (const std::uint32_t index : split->second.rows) {
          state_->copy(split->second.source, raw, index, row.bytes.data());
          for (std::size_t i = 0; i < values.size(); ++i)
            if (const double value = row.at(first + static_cast<std::int64_t>(i)); !is_missing(value, raw.type.dtype))
              values[i].push_back(value);
        }
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::int64_t at = first + static_cast<std::int64_t>(i);
        if (values[i].empty())
          return wrong_at(
              raw.place,
              fmt::format("{} has no value in `{}`", column_name(raw, at), fmt::join(state_->job.fit, "`, `")),
              fmt::format("some, so that there is a {}", noun_of(raw.missing.by)));
        stands.set(at, statistic(raw.missing.by, values[i]));
      }
    }
    pack(*slot, stands, weights.state.data());
  }
  return std::nullopt;
}

}  // namespace nnc
