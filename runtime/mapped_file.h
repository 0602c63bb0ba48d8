// A regular file seen as memory: pages come in where they are looked at, and can be let go of again.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "runtime/result.h"

namespace nnc {

class MappedFile {
 public:
  MappedFile() = default;
  /// A file that somebody cuts off while it is mapped ends the process, as with every mapping.
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::string_view text() const { return {begin_, size_}; }
  /// Lets go of the pages from `from` (rounded down) to `to` (rounded down): looked at again, they come again.
  void release(std::size_t from, std::size_t to) const;

 private:
  const char* begin_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace nnc
