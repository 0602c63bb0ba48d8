// Programs with loops: recurrent cells, loops in loops, carries that change places, stacks of weights, systems of
// equations; with gradients, and gradients of gradients.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace nnc::test {

/// h' = tanh(x W + h U + b) over the `steps` steps of x [batch, steps, 2]; the loss reads the last h, of 3 elements,
/// and all of them; parameters step against its gradient. `again`: the loss is the squared norm of that loss's gradient
/// by U.
Graph recurrent_step(bool again, std::int64_t steps, DType dtype = DType::f64);

/// x with (M M' + 2 + M / 10) x = b for M [3, 3] and b [3, 2]; the loss is |x|^2, or with `again` the squared norm of
/// its gradient by M.
Graph solving_step(bool again, DType dtype = DType::f64);

/// All kinds in f32, as written, each with what it is.
std::vector<std::pair<std::string, Graph>> graphs_with_loops();

}  // namespace nnc::test
