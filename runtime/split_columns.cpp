// The columns of a split, and entries fed from them.
#include <algorithm>
#include <cstring>

#include "runtime/data.h"

namespace nnc {

const DenseArray* SplitColumns::find(const std::string& column) const {
  for (const NamedArray& named : columns)
    if (named.name == column) return &named.array;
  return nullptr;
}

SplitColumns SplitColumns::part(std::int64_t first, std::int64_t count) const {
  SplitColumns some{name, count, {}};
  const auto with_rows = [count](std::vector<std::int64_t> dims) { return dims[0] = count, dims; };
  for (const NamedArray& column : columns) {
    some.columns.push_back({column.name, DenseArray(column.array.dtype, with_rows(column.array.dims))});
    if (count > 0)
      std::memcpy(some.columns.back().array.row(0), column.array.row(first),
                  column.array.row_bytes() * static_cast<std::size_t>(count));
  }
  if (!streamed) return some;
  for (const Streamed::Column& column : streamed->columns) {
    some.columns.push_back({column.name, DenseArray(column.dtype, with_rows(column.dims))});
    for (std::int64_t i = 0; i < count; ++i)
      streamed->rows.read(first + i, column.offset, column.bytes, some.columns.back().array.row(i));
  }
  return some;
}

std::uint64_t SplitColumns::memory() const {
  std::uint64_t bytes = 0;
  for (const NamedArray& column : columns) bytes += column.array.bytes.size();
  return bytes;
}

namespace {

/// Rounds of xxHash64, a word at a time: an epoch over the same numbers takes longer.
std::uint64_t mixed(std::uint64_t sum, std::uint64_t word) {
  sum += word * 0xc2b2ae3d27d4eb4fu;
  return (sum << 31 | sum >> 33) * 0x9e3779b185ebca87u;
}

std::uint64_t mixed(std::uint64_t sum, const void* from, std::size_t bytes) {
  const auto* at = static_cast<const std::byte*>(from);
  for (; bytes > 0;) {
    std::uint64_t word = 0;
    const std::size_t some = std::min(bytes, sizeof word);
    std::memcpy(&word, at, some);
    sum = mixed(sum, word);
    at += some, bytes -= some;
  }
  return sum;
}

std::uint64_t of_name(const std::string& name, DType dtype) {
  return mixed(mixed(1, name.data(), name.size()), static_cast<std::uint64_t>(dtype));
}

}  // namespace

/// Column by column, row by row: the same for columns in memory and in a file.
std::uint64_t SplitColumns::fingerprint() const {
  std::uint64_t all = static_cast<std::uint64_t>(rows);
  for (const NamedArray& column : columns) {
    std::uint64_t sum = of_name(column.name, column.array.dtype);
    for (std::int64_t row = 0; row < rows; ++row) sum = mixed(sum, column.array.row(row), column.array.row_bytes());
    all += sum;
  }
  if (!streamed) return all;
  std::vector<std::uint64_t> sums;
  for (const Streamed::Column& column : streamed->columns) sums.push_back(of_name(column.name, column.dtype));
  const std::size_t row_bytes = streamed->rows.row_bytes();
  Bytes block(row_bytes * static_cast<std::size_t>(std::min(rows, block_rows)));
  for (std::int64_t first = 0; first < rows; first += block_rows) {
    const std::int64_t count = std::min(block_rows, rows - first);
    streamed->rows.read_rows(first, count, block.data());
    for (std::size_t c = 0; c < sums.size(); ++c)
      for (std::size_t row = 0; row < static_cast<std::size_t>(count); ++row)
        sums[c] =
            mixed(sums[c], block.data() + row * row_bytes + streamed->columns[c].offset, streamed->columns[c].bytes);
  }
  for (const std::uint64_t sum : sums) all += sum;
  return all;
}

void feed_streamed(const SplitColumns::Streamed& streamed, const nnc_entry& entry, const std::byte* rows,
                   std::int64_t count, std::span<nnc_feed> feeds) {
  for (const nnc_slot& slot : feeds_of(entry)) {
    const auto column = std::ranges::find(streamed.columns, slot.name, &SplitColumns::Streamed::Column::name);
    feeds[slot.offset] = {rows + column->offset, static_cast<std::int64_t>(streamed.rows.row_bytes()),
                          identity_order(count)};
  }
}

void ColumnFeeder::block(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<nnc_feed> feeds) {
  if (split_.streamed) {
    const std::size_t bytes = split_.streamed->rows.row_bytes() * static_cast<std::size_t>(count);
    if (block_.size() < bytes) block_ = Bytes(bytes);
    split_.streamed->rows.read_rows(first, count, block_.data());
    return feed_streamed(*split_.streamed, entry, block_.data(), count, feeds);
  }
  for (const nnc_slot& slot : feeds_of(entry)) {
    const DenseArray* column = split_.find(slot.name);
    feeds[slot.offset] = {column->row(first), static_cast<std::int64_t>(column->row_bytes()), identity_order(count)};
  }
}

}  // namespace nnc
