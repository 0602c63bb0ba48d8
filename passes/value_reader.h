// A graph under construction, read through its values.
#pragma once

#include "ir/builder.h"
#include "passes/view.h"

namespace nnc {

class ValueReader {
 protected:
  explicit ValueReader(Builder& builder) : builder_(builder) {}

  const Node& node(Value x) const { return builder_[x.id]; }
  Value operand(Value x, std::size_t i) const { return {&builder_, node(x).operands[i]}; }
  bool is_one(Value x) const {
    double number = 0;
    return repeats_number(builder_.graph().nodes, x.id, number) && number == 1;
  }
  /// -x, of -y y itself.
  Value negated(Value x) const { return node(x).op == Op::neg ? operand(x, 0) : -x; }

  Builder& builder_;
};

/// Views of one operand: done to a factor and to the rest they give the view of the product, zeros of a pad included.
inline bool shows_one(const Node& node) {
  return definition(node.op).cls == OpClass::view && node.operands.size() == 1;
}

}  // namespace nnc
