// A regular file seen as memory: pages come in where they are looked at, and can be let go of again. And files without
// a name, for what is too large for memory and has no place of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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
  /// Copies bytes from the file without looking at its pages, which would count as memory of this process. That they
  /// cannot be read any more is a std::system_error.
  void read(std::uint64_t from, std::size_t bytes, std::byte* to) const;

 private:
  friend class UnnamedFile;
  static MappedFile of(int descriptor, std::size_t size);
  const char* begin_ = nullptr;
  std::size_t size_ = 0;
  int descriptor_ = -1;  ///< its own
};

/// A file in a folder that has no name there, and vanishes with its owner.
class UnnamedFile {
 public:
  static Result<UnnamedFile> make(const std::string& folder);
  UnnamedFile(UnnamedFile&& other) noexcept;
  UnnamedFile& operator=(UnnamedFile&& other) noexcept;
  ~UnnamedFile();

  /// Writes at its end. A problem where the disk does not take it.
  std::optional<Problem> append(std::span<const char> bytes);
  /// Copies bytes from it. That it cannot be read back is a std::system_error.
  void read(std::uint64_t from, std::size_t bytes, std::byte* to) const;
  /// What was written, as memory; it stays there when this object goes.
  Result<MappedFile> map() const;

 private:
  UnnamedFile() = default;
  Problem unwritable() const;

  std::string folder_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace nnc
