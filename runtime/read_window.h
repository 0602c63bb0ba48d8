// A part of a file in memory: what was asked for and, where that is what follows, some of what stands behind it. A file
// that is gone through in order is read in few calls, one that is looked at here and there by what is looked at.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nnc {

class ReadWindow {
 public:
  /// `count` bytes from `from` on of a file that has `size`; valid until the next call.
  template <class File>
  const std::byte* at(const File& file, std::uint64_t size, std::uint64_t from, std::size_t count) {
    constexpr std::uint64_t ahead = std::uint64_t{1} << 16;
    const std::uint64_t end = first_ + bytes_.size();
    if (from < first_ || from + count > end) {
      const bool follows = from >= first_ && from <= end;
      bytes_.resize(std::min(follows ? std::max<std::uint64_t>(count, ahead) : count, size - from));
      file.read(from, bytes_.size(), bytes_.data());
      first_ = from;
    }
    return bytes_.data() + (from - first_);
  }

 private:
  std::vector<std::byte> bytes_;
  std::uint64_t first_ = 0;
};

}  // namespace nnc
