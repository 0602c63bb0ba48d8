// The order in which the material's own programs take their rows. It is determined but for a number below 100, which
// the first epoch draws: runs that start from zero, which are most of the material's, can be repeated to the last digit
// printed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace nnc::seeds {

/// In each epoch the material draws a number below 100, seeds NumPy's generator with it, permutes the inputs, seeds it
/// with the same again, and permutes the outputs; the next epoch draws its number from what that leaves, and permutes
/// what is permuted already. NumPy's generator is MT19937, and its numbers below a bound are words cut to as many bits
/// as the bound has, until one is below (numpy/random/src/legacy and _mt19937; Matsumoto and Nishimura 1998).
class MaterialOrder {
 public:
  /// `drawn`: the number of the first epoch.
  MaterialOrder(std::uint32_t drawn, std::size_t rows);

  /// Rows, counted from 0, in the order of the next epoch.
  const std::vector<std::size_t>& next();

 private:
  /// At most `most`, all alike likely.
  std::uint32_t at_most(std::uint32_t most);

  std::mt19937 words_;
  std::uint32_t drawn_;
  std::vector<std::size_t> order_;
};

}  // namespace nnc::seeds
