// Philox against Random123's known answers, and the permutations made of it.
#include <algorithm>
#include <map>
#include <numeric>

#include "runtime/random.h"
#include "tests/unit/catch.h"

using namespace nnc;

TEST_CASE("philox4x32-10 gives Random123's known answers") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a permutation has every row once, and depends on seed, purpose and number") {
  auto order = permutation(1000, 42, Purpose::epoch, 1);
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::uint32_t> identity(1000);
  std::iota(identity.begin(), identity.end(), 0u);
  CHECK(sorted == identity);
  CHECK(order != identity);
  CHECK(order == permutation(1000, 42, Purpose::epoch, 1));
  CHECK(order != permutation(1000, 42, Purpose::epoch, 2));
  CHECK(order != permutation(1000, 43, Purpose::epoch, 1));
  CHECK(order != permutation(1000, 42, Purpose::split, 1));
  CHECK(permutation(0, 1, Purpose::epoch, 1).empty());
  CHECK(permutation(1, 1, Purpose::epoch, 1) == std::vector<std::uint32_t>{0});
}

TEST_CASE("all orders of four rows are equally likely") {
  std::map<std::vector<std::uint32_t>, int> seen;
  constexpr int draws = 24000;
  for (int i = 0; i < draws; ++i) ++seen[permutation(4, 7, Purpose::epoch, static_cast<std::uint32_t>(i))];
  REQUIRE(seen.size() == 24);
  double chi_squared = 0;
  for (const auto& [order, count] : seen) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  CHECK(chi_squared < 49.7);  // 23 degrees of freedom, p = 0.001
}
