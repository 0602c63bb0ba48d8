#include "passes/record.h"

#include <charconv>
#include <string_view>

namespace nnc {

namespace {

constexpr std::string_view mark = "∂";  // no name of a program begins with it

}  // namespace

std::string step_gradient_name(std::size_t entry) { return std::string(mark) + std::to_string(entry); }

std::optional<std::size_t> step_gradient_entry(const std::string& name) {
  if (!name.starts_with(mark)) return std::nullopt;
  std::size_t entry = 0;
  const char* const last = name.data() + name.size();
  const auto [end, error] = std::from_chars(name.data() + mark.size(), last, entry);
  if (error != std::errc{} || end != last) return std::nullopt;
  return entry;
}

const StepGradient* Record::step_gradient(const Node& node) const {
  const auto entry = step_gradient_entry(node.origin.name);
  return entry && *entry < step_gradients.size() ? &step_gradients[*entry] : nullptr;
}

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
