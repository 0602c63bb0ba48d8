#include "ir/ranges.h"

#include "ir/op.h"

namespace nnc {

Range range_of_node(const Node& node, std::span<const Range> operands) {
  const Range all = range_of_type(node.type.dtype);
  const OpDef& op = definition(node.op);
  Range range = all;
  if (op.range) {
    range = op.range({operands, node.attributes, node.type});
  } else if (op.cls == OpClass::view) {
    range = std::accumulate(operands.begin() + 1, operands.end(), operands.front(), either);
  }
  const bool square = node.op == Op::mul && node.operands[0] == node.operands[1];
  if (square) range.low = std::max(range.low, 0.0);
  return range.low < all.low || range.high > all.high ? all : range;  // whole numbers wrap
}

namespace {

std::vector<Range> ranges_up_to(const std::vector<Node>& nodes, NodeId last) {
  std::vector<Range> ranges;
  for (NodeId id = 0; id <= last; ++id) {
    std::vector<Range> operands;
    for (const NodeId operand : nodes[id].operands) operands.push_back(ranges[operand]);
    ranges.push_back(range_of_node(nodes[id], operands));
  }
  return ranges;
}

/// The node that views only show in another shape, and points under a name.
NodeId behind_views(const std::vector<Node>& nodes, NodeId id) {
  while (nodes[id].op == Op::reshape || nodes[id].op == Op::transpose || nodes[id].op == Op::broadcast ||
         nodes[id].op == Op::point)
    id = nodes[id].operands[0];
  return id;
}

}  // namespace

bool is_share_of_one(const std::vector<Node>& nodes, NodeId id) {
  id = behind_views(nodes, id);
  const std::vector<Range> ranges = ranges_up_to(nodes, id);
  if (ranges[id].in_unit_interval()) return true;
  const Node& node = nodes[id];
  if (node.op != Op::div || !ranges[node.operands[0]].non_negative()) return false;
  const Node& whole = nodes[behind_views(nodes, node.operands[1])];
  return whole.op == Op::sum && whole.operands.size() == 1 && whole.operands[0] == node.operands[0];
}

bool may_be_any_number(const std::vector<Node>& nodes, NodeId id) {
  if (!depends_on(nodes, id, Op::param)) return false;
  for (id = behind_views(nodes, id); nodes[id].op == Op::add || nodes[id].op == Op::sub || nodes[id].op == Op::neg;) {
    const auto& operands = nodes[id].operands;
    const auto open = std::find_if(operands.begin(), operands.end(), [&](NodeId operand) {
      const NodeId behind = behind_views(nodes, operand);
      return nodes[behind].op == Op::dot || nodes[behind].op == Op::add || nodes[behind].op == Op::sub;
    });
    if (open == operands.end()) return false;
    id = behind_views(nodes, *open);
  }
  return nodes[id].op == Op::dot && depends_on(nodes, id, Op::param);
}

bool depends_on(const std::vector<Node>& nodes, NodeId id, Op leaf) {
  std::vector<bool> needed(id + 1, false);
  needed[id] = true;
  for (NodeId at = id + 1; at-- > 0;) {
    if (!needed[at]) continue;
    if (nodes[at].op == leaf) return true;
    for (const NodeId operand : nodes[at].operands) needed[operand] = true;
  }
  return false;
}

}  // namespace nnc
