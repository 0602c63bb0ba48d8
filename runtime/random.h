// Random numbers that depend on what they are for and on nothing else: Philox4x32-10 (Salmon et al. 2011), a function
// of a key and a counter. Shuffles are our own Fisher-Yates on it, since std::shuffle differs between libraries.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace nnc {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// Four random words of the counter under the key: ten rounds, as in Random123.
PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key);

/// What a permutation is for, so that no two uses share their numbers.
enum class Purpose : std::uint32_t { epoch = 1, split = 2, fold = 3 };

/// The permutation of 0 .. count-1 for a seed, a purpose and a number (the epoch; 0 for a split). Each of the count!
/// orders is equally likely as far as the generator goes: bounded numbers are drawn without bias.
std::vector<std::uint32_t> permutation(std::int64_t count, std::uint64_t seed, Purpose purpose, std::uint32_t number);

}  // namespace nnc
