// SHA-256 (FIPS 180-4), for sums of results that are the same on every machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace nnc::test {

class Sha256 {
 public:
  void add(std::span<const std::byte> bytes);
  /// The sum of what was added, in hexadecimal. Nothing may be added after it.
  std::string hex();

 private:
  void block(const std::byte* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_{};
  std::size_t pending_count_ = 0;
  std::uint64_t length_ = 0;
};

}  // namespace nnc::test
