// What the lists behind the operands of a call say: the attributes of its op.
#pragma once

#include <span>

#include "ir/graph.h"
#include "ir/text_tokens.h"

namespace nnc::graph_text {

/// The attributes of a call with these lists, as ir/parse.cpp's grammar has them; ops that are told their shape set
/// it. `loops` are those that stand before the call. Fails at `place`, which is the op's name.
Attributes call_attributes(Op op, Order order, const std::vector<List>& lists, std::span<const Scan> loops,
                           Shape& shape, const Token& place);

}  // namespace nnc::graph_text
