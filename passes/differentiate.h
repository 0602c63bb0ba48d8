// Differentiation with a way to look at, or to spoil, what each rule returns: gradcheck's own test breaks rules with
// it.
#pragma once

#include <functional>

#include "ir/builder.h"
#include "ir/op.h"

namespace nnc {

struct Record;

Graph differentiate(const Graph& graph, const GradientHook& hook, Record* record = nullptr);

/// The graph in `builder` with the outputs and obligations of `graph`, whose node i is `made[i]`: how every rewriting
/// pass ends.
Graph finish_like(const Graph& graph, Builder&& builder, const std::vector<Value>& made);

}  // namespace nnc
