#include "runtime/row_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

namespace nnc {

namespace {

/// A new file without a name, or -1.
int nameless_file(const std::string& folder) {
  const int made = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (made >= 0) return made;
  std::string path = folder + "/nnc-rows-XXXXXX";  // a file system without O_TMPFILE
  const int named = ::mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(path.c_str());
  return named;
}

Problem cannot_write(const std::string& folder, int error) {
  return {
      .kind = Problem::Kind::io,
      .message = fmt::format("cannot write the rows of the data to a file in `{}`: {}", folder, std::strerror(error)),
      .place = {},
      .expected = {},
      .found = {},
      .notes = {"help: data that are streamed need disk space about as large as their numbers; TMPDIR names the "
                "folder, --stream-over MB keeps files up to that size in memory"}};
}

}  // namespace

RowStore::RowStore(std::size_t row_bytes, std::string folder)
    : row_bytes_(row_bytes),
      rows_in_chunk_(
          static_cast<std::int64_t>(std::max<std::size_t>(chunk_bytes / std::max<std::size_t>(row_bytes, 1), 1))),
      folder_(std::move(folder)) {}

RowStore::RowStore(RowStore&& other) noexcept
    : row_bytes_(other.row_bytes_),
      rows_(other.rows_),
      rows_in_chunk_(other.rows_in_chunk_),
      chunks_(std::move(other.chunks_)),
      folder_(std::move(other.folder_)),
      file_(std::exchange(other.file_, -1)),
      window_(std::move(other.window_)) {}

RowStore& RowStore::operator=(RowStore&& other) noexcept {
  std::swap(row_bytes_, other.row_bytes_), std::swap(rows_, other.rows_);
  std::swap(rows_in_chunk_, other.rows_in_chunk_), std::swap(chunks_, other.chunks_);
  std::swap(folder_, other.folder_), std::swap(file_, other.file_);
  std::swap(window_, other.window_);
  return *this;
}

RowStore::~RowStore() {
  if (file_ >= 0) ::close(file_);
}

std::optional<Problem> RowStore::append(const std::byte* rows, std::int64_t count) {
  if (!folder_.empty()) {
    if (file_ < 0) file_ = nameless_file(folder_);
    if (file_ < 0) return cannot_write(folder_, errno);
    for (std::size_t left = static_cast<std::size_t>(count) * row_bytes_; left > 0;) {
      const ssize_t written = ::write(file_, rows, left);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return cannot_write(folder_, errno);
      rows += written, left -= static_cast<std::size_t>(written);
    }
    rows_ += count;
    return std::nullopt;
  }
  while (count > 0) {
    const std::int64_t used = rows_ % rows_in_chunk_, fit = std::min(count, rows_in_chunk_ - used);
    if (used == 0)
      chunks_.push_back(std::make_unique<std::byte[]>(static_cast<std::size_t>(rows_in_chunk_) * row_bytes_));
    const std::size_t bytes = static_cast<std::size_t>(fit) * row_bytes_;
    std::memcpy(chunks_.back().get() + static_cast<std::size_t>(used) * row_bytes_, rows, bytes);
    rows += bytes, rows_ += fit, count -= fit;
  }
  return std::nullopt;
}

void RowStore::read_file(std::uint64_t from, std::size_t bytes, std::byte* to) const {
  while (bytes > 0) {
    const ssize_t got = ::pread(file_, to, bytes, static_cast<off_t>(from));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw std::system_error(got < 0 ? errno : EIO, std::generic_category(), "rows of the data in " + folder_);
    to += got, from += static_cast<std::uint64_t>(got), bytes -= static_cast<std::size_t>(got);
  }
}

const std::byte* RowStore::look_at(std::int64_t row) const {
  constexpr std::size_t ahead = std::size_t{1} << 16;
  const std::int64_t end = window_.first + window_.count;
  if (row < window_.first || row >= end) {
    const auto most = static_cast<std::int64_t>(std::max<std::size_t>(ahead / std::max<std::size_t>(row_bytes_, 1), 1));
    window_.count = row == end ? std::min(most, rows_ - row) : 1;
    window_.first = row;
    window_.bytes.resize(static_cast<std::size_t>(window_.count) * row_bytes_);
    read_file(static_cast<std::uint64_t>(row) * row_bytes_, window_.bytes.size(), window_.bytes.data());
  }
  return window_.bytes.data() + static_cast<std::size_t>(row - window_.first) * row_bytes_;
}

void RowStore::read(std::int64_t row, std::size_t offset, std::size_t bytes, std::byte* to) const {
  if (file_ >= 0) {
    std::memcpy(to, look_at(row) + offset, bytes);
    return;
  }
  const auto place = static_cast<std::size_t>(row % rows_in_chunk_) * row_bytes_ + offset;
  std::memcpy(to, chunks_[static_cast<std::size_t>(row / rows_in_chunk_)].get() + place, bytes);
}

void RowStore::read_rows(std::int64_t first, std::int64_t count, std::byte* to) const {
  if (file_ >= 0)
    return read_file(static_cast<std::uint64_t>(first) * row_bytes_, static_cast<std::size_t>(count) * row_bytes_, to);
  for (; count > 0; --count, ++first, to += row_bytes_) read(first, 0, row_bytes_, to);
}

}  // namespace nnc
