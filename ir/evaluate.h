// The reference evaluator: one walk over a graph, single-threaded and without cleverness. What it computes is what the
// graph means, to the bit; native code is compared with it. Of what users run, only checks and
// the baseline before training depend on it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace nnc {

/// A dense row-major array. Elements are stored as the bits of their type: f32 and i32 in 4 bytes, f64 in 8, bool in 1.
struct Tensor {
  DType dtype = DType::f32;
  std::vector<std::int64_t> dims;
  std::vector<std::byte> data;

  static Tensor zeros(DType dtype, std::vector<std::int64_t> dims);
  std::int64_t count() const;
  double at(std::int64_t index) const;             ///< exact for every dtype
  void set(std::int64_t index, double value);      ///< rounds to the dtype
  bool operator==(const Tensor&) const = default;  ///< bits
};
/// Equal bits, any NaN equal to any NaN.
bool same_bits(const Tensor& a, const Tensor& b);

struct Environment {
  std::int64_t batch = 1;  ///< rows
  std::map<std::string, Tensor> inputs, params, state, carry;
  std::map<std::string, double> scalars;  ///< step, epoch, steps_per_epoch, total_steps, rows
  std::uint64_t seed = 0, step = 0, row_offset = 0;
};

/// Values of all outputs by name, updates as "update NAME". Throws std::invalid_argument where a leaf is not given or
/// has another type, and for graphs with grad nodes or unset orders (with `assume_order` an unset order is the one that
/// assign_order would set).
std::map<std::string, Tensor> evaluate(const Graph& graph, const Environment& environment, bool assume_order = false);

}  // namespace nnc
