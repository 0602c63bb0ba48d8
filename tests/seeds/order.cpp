#include "tests/seeds/order.h"

#include <bit>
#include <numeric>
#include <utility>

namespace nnc::seeds {

MaterialOrder::MaterialOrder(std::uint32_t drawn, std::size_t rows) : drawn_(drawn), order_(rows) {
  std::iota(order_.begin(), order_.end(), std::size_t{0});
}

const std::vector<std::size_t>& MaterialOrder::next() {
  words_.seed(drawn_);
  for (std::size_t last = order_.size() - 1; last > 0; --last)
    std::swap(order_[last], order_[at_most(static_cast<std::uint32_t>(last))]);
  // The outputs' permutation leaves the generator where the inputs' has left it.
  drawn_ = at_most(99);
  return order_;
}

std::uint32_t MaterialOrder::at_most(std::uint32_t most) {
  const std::uint32_t bits = (std::uint32_t{1} << std::bit_width(most)) - 1;
  while (true)
    if (const auto word = static_cast<std::uint32_t>(words_()) & bits; word <= most) return word;
}

}  // namespace nnc::seeds
