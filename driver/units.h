// Sizes, amounts, speeds and times as people read them: three digits, and a unit that fits.
#pragma once

#include <cstdint>
#include <string>

namespace nnc::driver {

/// "512 bytes", "3.4 KiB", "1.25 GiB".
std::string bytes_text(std::uint64_t bytes);
/// "38.4 kFLOP", "9.3 GFLOP/s": a thousand of the unit is a k of it.
std::string amount_text(double count, const std::string& unit);
/// "21.4k rows/s": words have no such letter, so it stands with the number.
std::string rate_text(double count, const std::string& words);
/// "412 ns", "4.12 us", "31 ms", "2.5 s".
std::string duration_text(double seconds);

}  // namespace nnc::driver
