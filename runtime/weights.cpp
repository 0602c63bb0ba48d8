#include "runtime/weights.h"

#include <cstring>
#include <span>

namespace nnc {

DType dtype_of(const nnc_slot& slot) {
  switch (slot.dtype) {
    case NNC_F64:
      return DType::f64;
    case NNC_I32:
      return DType::i32;
    case NNC_BOOL:
      return DType::boolean;
  }
  return DType::f32;
}

std::span<const nnc_slot> params_of(const nnc_entry& entry) { return {entry.params, entry.param_count}; }
std::span<const nnc_slot> state_of(const nnc_entry& entry) { return {entry.state, entry.state_count}; }
std::span<const nnc_slot> carry_of(const nnc_entry& entry) { return {entry.carry, entry.carry_count}; }
std::span<const nnc_slot> feeds_of(const nnc_entry& entry) { return {entry.feeds, entry.feed_count}; }
std::span<const nnc_slot> outputs_of(const nnc_entry& entry) { return {entry.outputs, entry.output_count}; }

const nnc_slot* find_slot(std::span<const nnc_slot> slots, std::string_view name) {
  for (const nnc_slot& slot : slots)
    if (name == slot.name) return &slot;
  return nullptr;
}

namespace {

/// Walks the logical elements in row-major order and tells where each lies in the slot, in elements.
template <class Visit>
void for_each_element(const nnc_slot& slot, Visit&& visit) {
  if (slot.layout == NNC_PANELS) {
    std::int64_t k_extent = slot.dims[0], n_extent = slot.dims[1], logical = 0;
    for (std::int64_t k = 0; k < k_extent; ++k)
      for (std::int64_t n = 0; n < n_extent; ++n)
        visit(logical++, ((n / slot.panel) * k_extent + k) * slot.panel + n % slot.panel);
    return;
  }
  std::int64_t count = checked_product(std::span(slot.dims, slot.rank));
  std::vector<std::int64_t> index(slot.rank, 0);
  for (std::int64_t logical = 0; logical < count; ++logical) {
    std::int64_t at = 0;
    for (std::size_t axis = 0; axis < slot.rank; ++axis) at += index[axis] * slot.strides[axis];
    visit(logical, at);
    for (std::size_t axis = slot.rank; axis-- > 0;) {
      if (++index[axis] < slot.dims[axis]) break;
      index[axis] = 0;
    }
  }
}

}  // namespace

DenseArray unpack(const nnc_slot& slot, const std::byte* region) {
  DenseArray logical(dtype_of(slot), {slot.dims, slot.dims + slot.rank});
  std::size_t size = size_of(logical.dtype);
  const std::byte* from = region + slot.offset;
  for_each_element(slot, [&](std::int64_t to, std::int64_t at) {
    std::memcpy(logical.bytes.data() + static_cast<std::size_t>(to) * size, from + static_cast<std::size_t>(at) * size,
                size);
  });
  return logical;
}

void pack(const nnc_slot& slot, const DenseArray& logical, std::byte* region) {
  std::byte* to = region + slot.offset;
  std::memset(to, 0, slot.bytes);
  std::size_t size = size_of(dtype_of(slot));
  DenseArray element(dtype_of(slot), {});
  for_each_element(slot, [&](std::int64_t from, std::int64_t at) {
    const std::byte* source = logical.bytes.data() + static_cast<std::size_t>(from) * size;
    if (logical.dtype != element.dtype) {
      element.set(0, logical.at(from));
      source = element.bytes.data();
    }
    std::memcpy(to + static_cast<std::size_t>(at) * size, source, size);
  });
}

}  // namespace nnc
