// Entries written by hand, so that the runtime is tested without a compiler: the functions are plain C++.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "runtime/programs.h"

namespace nnc::test {

/// An entry with its slot tables; offsets of params, state and carries follow one another, 64 bytes each.
class HandEntry {
 public:
  HandEntry(const char* name, std::int64_t rows, nnc_function call) : entry_{} {
    entry_.abi_version = NNC_ABI_VERSION;
    entry_.name = name;
    entry_.rows = static_cast<std::uint32_t>(rows);
    entry_.call = call;
  }
  HandEntry(const HandEntry&) = delete;
  HandEntry& operator=(const HandEntry&) = delete;

  HandEntry& param(const char* name, std::vector<std::int64_t> dims) {
    return add(params_, name, NNC_F32, std::move(dims), 64);
  }
  HandEntry& state(const char* name, std::vector<std::int64_t> dims) {
    return add(state_, name, NNC_F32, std::move(dims), 64);
  }
  HandEntry& carry(const char* name) { return add(carry_, name, NNC_F64, {}, 64); }
  HandEntry& feed(const char* name, nnc_dtype dtype, std::vector<std::int64_t> dims) {
    return add(feeds_, name, dtype, std::move(dims), 1);
  }
  HandEntry& output(const char* name, nnc_dtype dtype, std::vector<std::int64_t> dims) {
    return add(outputs_, name, dtype, std::move(dims), 1);
  }

  const nnc_entry* entry() {
    entry_.params = params_.data(), entry_.param_count = static_cast<std::uint32_t>(params_.size());
    entry_.state = state_.data(), entry_.state_count = static_cast<std::uint32_t>(state_.size());
    entry_.carry = carry_.data(), entry_.carry_count = static_cast<std::uint32_t>(carry_.size());
    entry_.feeds = feeds_.data(), entry_.feed_count = static_cast<std::uint32_t>(feeds_.size());
    entry_.outputs = outputs_.data(), entry_.output_count = static_cast<std::uint32_t>(outputs_.size());
    entry_.params_bytes = 64 * params_.size(), entry_.state_bytes = 64 * state_.size(),
    entry_.carry_bytes = 64 * carry_.size();
    return &entry_;
  }

 private:
  /// `step`: bytes between two slots of a region; 1 where the offset is an index.
  HandEntry& add(std::vector<nnc_slot>& slots, const char* name, nnc_dtype dtype, std::vector<std::int64_t> dims,
                 std::uint64_t step) {
    nnc_slot slot{};
    slot.name = name;
    slot.dtype = static_cast<std::uint8_t>(dtype);
    slot.rank = static_cast<std::uint8_t>(dims.size());
    slot.layout = NNC_ROW_MAJOR;
    std::vector<std::int64_t> strides(dims.size(), 1);
    for (std::size_t axis = dims.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * dims[axis];
    slot.dims = numbers_.emplace_back(std::move(dims)).data();
    slot.strides = numbers_.emplace_back(std::move(strides)).data();
    slot.offset = step * slots.size();
    slot.bytes = 64;
    slots.push_back(slot);
    return *this;
  }

  nnc_entry entry_;
  std::vector<nnc_slot> params_, state_, carry_, feeds_, outputs_;
  std::deque<std::vector<std::int64_t>> numbers_;  ///< slots point into it
};

/// Row `row` of a feed.
template <class T>
const T* feed_row(const nnc_call* call, std::size_t feed, std::int64_t row) {
  const nnc_feed& from = call->feeds[feed];
  return reinterpret_cast<const T*>(static_cast<const std::byte*>(from.base) + from.order[row] * from.row_stride);
}

}  // namespace nnc::test
