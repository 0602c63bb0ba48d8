// Rows of equal length, written once from the first to the last and then read in any order: in memory, or in a file
// without a name that vanishes with its owner, so that data may be larger than memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/mapped_file.h"
#include "runtime/read_window.h"
#include "runtime/result.h"

namespace nnc {

/// Where rows of data lie.
struct Storage {
  /// Files of more bytes are streamed: columns made of them, and the numbers of a CSV file, lie in files without a
  /// name.
  std::uint64_t stream_over = std::uint64_t{256} << 20;
  std::string folder = "/tmp";  ///< of these files
};

class RowStore {
 public:
  /// In memory, or where `folder` is not empty in a file there.
  explicit RowStore(std::size_t row_bytes, std::string folder = "");
  /// Adds rows at the end. A problem where the disk does not take them.
  std::optional<Problem> append(const std::byte* rows, std::int64_t count);

  std::int64_t rows() const { return rows_; }
  std::size_t row_bytes() const { return row_bytes_; }
  /// Copies `bytes` bytes of a row, from `offset` on. A file that cannot be read back is a std::system_error.
  void read(std::int64_t row, std::size_t offset, std::size_t bytes, std::byte* to) const;
  /// Copies rows that lie one behind the other.
  void read_rows(std::int64_t first, std::int64_t count, std::byte* to) const;

 private:
  static constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

  std::size_t row_bytes_;
  std::int64_t rows_ = 0, rows_in_chunk_;
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::string folder_;
  std::optional<UnnamedFile> file_;
  mutable ReadWindow window_;
};

}  // namespace nnc
