// Parameters and state of a model in memory, in the layout that its training step wants. Files and people see the
// logical row-major order; `unpack` and `pack` translate by the slot tables that every compiled program carries.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "runtime/abi.h"
#include "runtime/dense_array.h"

namespace nnc {

DType dtype_of(const nnc_slot& slot);
std::span<const nnc_slot> params_of(const nnc_entry& entry);
std::span<const nnc_slot> state_of(const nnc_entry& entry);
std::span<const nnc_slot> carry_of(const nnc_entry& entry);
std::span<const nnc_slot> feeds_of(const nnc_entry& entry);
std::span<const nnc_slot> outputs_of(const nnc_entry& entry);
/// The slot of that name, or null.
const nnc_slot* find_slot(std::span<const nnc_slot> slots, std::string_view name);

/// The logical array of a slot of a region.
DenseArray unpack(const nnc_slot& slot, const std::byte* region);
/// Writes a logical array of the slot's dims (element types convert); the slot's padding becomes zeros.
void pack(const nnc_slot& slot, const DenseArray& logical, std::byte* region);

/// Both regions. Every program of one model has the same slots for them.
struct Weights {
  explicit Weights(const nnc_entry& any_entry)
      : layout(&any_entry), params(any_entry.params_bytes), state(any_entry.state_bytes) {}

  const nnc_entry* layout;  ///< outlives the weights
  Bytes params, state;
};

}  // namespace nnc
