// What the runtime holds, as the reference evaluator takes it.
#pragma once

#include <cstring>

#include "ir/evaluate.h"
#include "runtime/weights.h"

namespace nnc::driver {

inline Tensor tensor_of(const DenseArray& array) {
  Tensor tensor = Tensor::zeros(array.dtype, array.dims);
  std::memcpy(tensor.data.data(), array.bytes.data(), tensor.data.size());
  return tensor;
}

/// Parameters and states of an environment.
inline void set_variables(const Weights& weights, Environment& environment) {
  for (const nnc_slot& slot : params_of(*weights.layout))
    environment.params[slot.name] = tensor_of(unpack(slot, weights.params.data()));
  for (const nnc_slot& slot : state_of(*weights.layout))
    environment.state[slot.name] = tensor_of(unpack(slot, weights.state.data()));
}

}  // namespace nnc::driver
