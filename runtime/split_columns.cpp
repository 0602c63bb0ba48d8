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
