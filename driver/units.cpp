#include "driver/units.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

namespace nnc::driver {

namespace {

/// The number in steps of `step`, and how many: below a thousand where there is a step for that.
std::pair<double, std::size_t> scaled(double value, double step, std::size_t most) {
  std::size_t steps = 0;
  while (value >= 999.5 && steps < most) value /= step, ++steps;
  return {value, steps};
}

constexpr std::array<std::string_view, 5> thousands = {"", "k", "M", "G", "T"};

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> units = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  const auto [value, steps] = scaled(static_cast<double>(bytes), 1024, units.size() - 1);
  return value < 999.5 ? fmt::format("{:.3g} {}", value, units[steps]) : fmt::format("{:.0f} {}", value, units[steps]);
}

std::string amount_text(double count, const std::string& unit) {
  const auto [value, steps] = scaled(count, 1000, thousands.size() - 1);
  return fmt::format("{:.3g} {}{}", value, thousands[steps], unit);
}

std::string rate_text(double count, const std::string& words) {
  const auto [value, steps] = scaled(count, 1000, thousands.size() - 1);
  return fmt::format("{:.3g}{} {}", value, thousands[steps], words);
}

std::string duration_text(double seconds) {
  constexpr std::array<std::string_view, 4> units = {"ns", "us", "ms", "s"};
  const auto [value, steps] = scaled(1e9 * seconds, 1000, units.size() - 1);
  return value < 999.5 ? fmt::format("{:.3g} {}", value, units[steps]) : fmt::format("{:.0f} {}", value, units[steps]);
}

}  // namespace nnc::driver
