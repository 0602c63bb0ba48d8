#include "passes/record.h"

namespace nnc {

/// Operands precede users, so all nodes up to the one that is asked for are copied in their order.
NodeId Record::Reader::operator()(NodeId id) {
  while (known_.size() <= id) {
    const Node& node = graph_->nodes[known_.size()];
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(known_[operand]);
    if (node.op == Op::stop_gradient || node.op == Op::point) {
      if (!node.derived) values_->name_node(operands[0].id, node.origin.name);
      known_.push_back(operands[0]);
    } else {
      known_.push_back(copy_node(*values_, node, operands));
    }
  }
  return known_[id].id;
}

}  // namespace nnc
