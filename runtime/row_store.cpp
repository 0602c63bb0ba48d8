#include "runtime/row_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace nnc {

RowStore::RowStore(std::size_t row_bytes, std::string folder)
    : row_bytes_(row_bytes),
      rows_in_chunk_(
          static_cast<std::int64_t>(std::max<std::size_t>(chunk_bytes / std::max<std::size_t>(row_bytes, 1), 1))),
      folder_(std::move(folder)) {}

std::optional<Problem> RowStore::append(const std::byte* rows, std::int64_t count) {
  if (!folder_.empty()) {
    if (!file_) {
      auto made = UnnamedFile::make(folder_);
      if (!made) return made.problem();
      file_.emplace(std::move(*made));
    }
    rows_ += count;
    return file_->append({reinterpret_cast<const char*>(rows), static_cast<std::size_t>(count) * row_bytes_});
  }
  while (count > 0) {
    const std::int64_t used = rows_ % rows_in_chunk_, fit = std::min(count, rows_in_chunk_ - used);
    if (used == 0)
      chunks_.push_back(
          std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(rows_in_chunk_) * row_bytes_));
    const std::size_t bytes = static_cast<std::size_t>(fit) * row_bytes_;
    std::memcpy(chunks_.back().get() + static_cast<std::size_t>(used) * row_bytes_, rows, bytes);
    rows += bytes, rows_ += fit, count -= fit;
  }
  return std::nullopt;
}

void RowStore::read(std::int64_t row, std::size_t offset, std::size_t bytes, std::byte* to) const {
  if (file_) {
    const auto place = static_cast<std::uint64_t>(row) * row_bytes_;
    const std::byte* record = window_.at(*file_, static_cast<std::uint64_t>(rows_) * row_bytes_, place, row_bytes_);
    std::memcpy(to, record + offset, bytes);
    return;
  }
  const auto place = static_cast<std::size_t>(row % rows_in_chunk_) * row_bytes_ + offset;
  std::memcpy(to, chunks_[static_cast<std::size_t>(row / rows_in_chunk_)].get() + place, bytes);
}

void RowStore::read_rows(std::int64_t first, std::int64_t count, std::byte* to) const {
  if (file_)
    return file_->read(static_cast<std::uint64_t>(first) * row_bytes_, static_cast<std::size_t>(count) * row_bytes_,
                       to);
  for (; count > 0; --count, ++first, to += row_bytes_) read(first, 0, row_bytes_, to);
}

}  // namespace nnc
