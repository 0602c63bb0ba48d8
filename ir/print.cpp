// Prints a graph one statement a line. A value with one use and no name of its own stands inside its user's line as
// long as that stays short; numbers always stand where they are used. The grammar is in ir/parse.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "ir/order.h"
#include "ir/syntax.h"
#include "ir/text.h"

namespace nnc {

namespace {

using syntax::Binding;

constexpr std::size_t line_width = 110;

struct Piece {
  std::string text;
  Binding binding = Binding::atom;
};

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

using syntax::is_digit;
using syntax::is_letter;

/// Whether a name prints as it is: letters, digits, dots, and no `.2` at its end, which numbers names that are equal.
bool is_plain(std::string_view name) {
  if (name.empty() || !is_letter(name.front()) || name.back() == '.') return false;
  const auto allowed = [](char c) { return is_letter(c) || is_digit(c) || c == '.'; };
  if (!std::ranges::all_of(name, allowed)) return false;
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos || !std::ranges::all_of(name.substr(dot + 1), is_digit);
}

std::string label_text(std::string_view name) { return '%' + (is_plain(name) ? std::string(name) : quoted(name)); }

std::string list_text(const std::vector<int>& axes) {
  return axes.size() == 1 ? fmt::format("{}", axes[0]) : fmt::format("[{}]", fmt::join(axes, ", "));
}

/// A last argument, which is left out where all its numbers are what they would be without it.
std::string list_unless(const std::vector<std::int64_t>& list, std::int64_t usual) {
  if (std::ranges::all_of(list, [&](std::int64_t number) { return number == usual; })) return "";
  return fmt::format(", [{}]", fmt::join(list, ", "));
}

/// Stride and dilation; what is 1 to the end is left out.
std::string distances(std::int64_t stride, std::int64_t dilation) {
  if (dilation != 1) return fmt::format(", {}, {}", stride, dilation);
  return stride == 1 ? "" : fmt::format(", {}", stride);
}

std::string shape_text(const Shape& shape) {
  std::vector<std::string> extents;
  for (const Extent& extent : shape) extents.push_back(to_string(extent));
  return fmt::format("[{}]", fmt::join(extents, ", "));
}

/// The shortest decimal that reads back as the same element.
std::string element_text(double value, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return fmt::format("{}", static_cast<float>(value));
    case DType::f64:
      return fmt::format("{}", value);
    case DType::i32:
      return fmt::format("{}", static_cast<std::int64_t>(value));
    case DType::boolean:
      return value != 0 ? "true" : "false";
  }
  return "";
}

/// A constant or a size; with its element type unless that is clear from what stands beside it.
std::string number_text(const Node& node, bool clear) {
  const bool suffixed = !clear && node.type.dtype != DType::boolean;
  const std::string suffix = suffixed ? fmt::format("_{}", name_of(node.type.dtype)) : "";
  if (const auto* size = std::get_if<Size>(&node.attributes))
    return fmt::format("size({}){}", to_string(size->extent), suffix);
  return element_text(std::get<Constant>(node.attributes).values.front(), node.type.dtype) + suffix;
}

/// What stands before the type of a leaf or a generated value.
std::string leaf_text(const Node& node) {
  struct Visitor {
    const Node& node;
    std::string operator()(const NoAttributes&) { return ""; }
    std::string operator()(const Named& named) { return ' ' + quoted(named.name); }
    std::string operator()(const Constant& constant) {
      std::vector<std::string> elements;
      for (double value : constant.values) elements.push_back(element_text(value, node.type.dtype));
      return fmt::format(" [{}]", fmt::join(elements, ", "));
    }
    std::string operator()(const Size& size) { return ' ' + to_string(size.extent); }
    std::string operator()(const Iota& iota) { return fmt::format(" {}", iota.axis); }
    std::string operator()(const Random& random) { return fmt::format(" {:#x}", random.stream); }
    std::string operator()(const Reduce&) { return ""; }
    std::string operator()(const Broadcast&) { return ""; }
    std::string operator()(const Transpose&) { return ""; }
    std::string operator()(const Slice&) { return ""; }
    std::string operator()(const Pad&) { return ""; }
    std::string operator()(const Concat&) { return ""; }
    std::string operator()(const Window&) { return ""; }
    std::string operator()(const OverlapAdd&) { return ""; }
    std::string operator()(const Dot&) { return ""; }
    std::string operator()(const Numbered&) { return ""; }
    std::string operator()(const Scatter&) { return ""; }
    std::string operator()(const Scan&) { return ""; }
  };
  return std::string(definition(node.op).name) + std::visit(Visitor{node}, node.attributes);
}

/// The loops of a text, in the order in which they stand there: nodes refer to them by number.
class Bodies {
 public:
  void add(const Scan& scan) {
    if (number(scan) == static_cast<int>(loops_.size())) loops_.push_back(&scan);
  }
  int number(const Scan& scan) const {
    const auto same = [&](const Scan* known) {
      Scan other = *known;
      other.result = scan.result;
      return other == scan;
    };
    return static_cast<int>(std::ranges::find_if(loops_, same) - loops_.begin());
  }
  const std::vector<const Scan*>& loops() const { return loops_; }

 private:
  std::vector<const Scan*> loops_;
};

/// The arguments of a call that are no operands.
std::string argument_text(const Node& node, const Bodies& bodies) {
  struct Visitor {
    const Node& node;
    const Bodies& bodies;
    std::string operator()(const NoAttributes&) {
      return definition(node.op).cls == OpClass::view ? ", " + shape_text(node.type.shape) : "";
    }
    std::string operator()(const Named&) { return ""; }
    std::string operator()(const Constant&) { return ""; }
    std::string operator()(const Size&) { return ""; }
    std::string operator()(const Iota&) { return ""; }
    std::string operator()(const Random&) { return ""; }
    std::string operator()(const Reduce& reduce) { return ", " + list_text(reduce.axes); }
    std::string operator()(const Broadcast& broadcast) {
      const std::string shape = ", " + shape_text(node.type.shape);
      return broadcast.axes.empty() ? shape : shape + ", " + list_text(broadcast.axes);
    }
    std::string operator()(const Transpose& transpose) {
      return fmt::format(", [{}]", fmt::join(transpose.permutation, ", "));
    }
    std::string operator()(const Slice& slice) {
      return fmt::format(", {}, [{}]{}", shape_text(node.type.shape), fmt::join(slice.starts, ", "),
                         list_unless(slice.steps, 1));
    }
    std::string operator()(const Pad& pad) {
      return fmt::format(", [{}], [{}]{}", fmt::join(pad.low, ", "), fmt::join(pad.high, ", "),
                         list_unless(pad.between, 0));
    }
    std::string operator()(const Concat& concat) { return fmt::format(", {}", concat.axis); }
    std::string operator()(const Window& window) {
      return fmt::format(", {}, {}{}", window.axis, window.size, distances(window.stride, window.dilation));
    }
    std::string operator()(const OverlapAdd& sum) {
      return fmt::format(", {}, {}{}", sum.axis, sum.extent, distances(sum.stride, sum.dilation));
    }
    std::string operator()(const Dot& dot) {
      const std::string contracted = fmt::format(", {}, {}", list_text(dot.a), list_text(dot.b));
      if (dot.batch_a.empty()) return contracted;
      return contracted + fmt::format(", {}, {}", list_text(dot.batch_a), list_text(dot.batch_b));
    }
    std::string operator()(const Numbered& point) { return fmt::format(", {}", point.number); }
    std::string operator()(const Scatter& scatter) { return fmt::format(", {}", scatter.count); }
    std::string operator()(const Scan& scan) { return fmt::format(", {}, {}", bodies.number(scan), scan.result); }
  };
  return std::visit(Visitor{node, bodies}, node.attributes);
}

std::string_view order_text(Order order) {
  switch (order) {
    case Order::unset:
      return "";
    case Order::serial:
      return "[serial]";
    case Order::lanes:
      return "[lanes]";
  }
  return "";
}

bool has_cast_name(const Node& node) { return node.op == Op::cast; }

std::string in_parentheses_if(bool needed, const std::string& text) { return needed ? '(' + text + ')' : text; }

Piece infix_text(const Node& node, std::span<const Piece> operands, std::span<const bool> numbers) {
  const OpDef& def = definition(node.op);
  const Binding binding = syntax::binding_of(def.infix, def.arity);
  if (operands.size() == 1)  // a sign before a number would be the number's own
    return {fmt::format("{}{}", def.infix,
                        in_parentheses_if(operands[0].binding < binding || numbers[0], operands[0].text)),
            binding};
  const bool left_alone =
      binding == Binding::comparison ? operands[0].binding > binding : operands[0].binding >= binding;
  const bool right_alone = operands[1].binding > binding;
  return {fmt::format("{} {} {}", in_parentheses_if(!left_alone, operands[0].text), def.infix,
                      in_parentheses_if(!right_alone, operands[1].text)),
          binding};
}

/// A node as an expression; `operand_text(id)` is how an operand that is no number is written.
template <class OperandText>
Piece expression(const Graph& graph, const Node& node, const Bodies& bodies, OperandText&& operand_text) {
  const OpDef& def = definition(node.op);
  if (is_number(node)) return {number_text(node, false)};
  if (node.operands.empty()) return {leaf_text(node)};

  const std::size_t count = node.operands.size(), first = syntax::first_of_one_type(count);
  const auto number = [&](std::size_t i) { return is_number(graph[node.operands[i]]); };
  bool clear = false;  // the element type that a number has is said by an operand beside it
  if (def.cls == OpClass::elementwise)
    for (std::size_t i = first; i < count; ++i) clear |= !number(i);

  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < count; ++i) {
    if (!number(i)) {
      pieces.push_back(operand_text(node.operands[i]));
      continue;
    }
    pieces.push_back({number_text(graph[node.operands[i]], clear && i >= first)});
    if (def.cls == OpClass::elementwise && i >= first) clear = true;
  }
  if (!def.infix.empty()) {
    const bool numbers[] = {number(0), number(count - 1)};
    return infix_text(node, pieces, numbers);
  }
  std::string text{has_cast_name(node) ? name_of(node.type.dtype) : def.name};
  text += order_text(order_of(node));
  text += '(';
  for (std::size_t i = 0; i < pieces.size(); ++i) text += (i > 0 ? ", " : "") + pieces[i].text;
  return {text + argument_text(node, bodies) + ')'};
}

bool may_nest(const Node& node) {
  switch (definition(node.op).cls) {
    case OpClass::elementwise:
    case OpClass::reduce:
    case OpClass::view:
      return node.origin.name.empty();
    case OpClass::leaf:
    case OpClass::generate:
    case OpClass::contract:
    case OpClass::index:
    case OpClass::control:
    case OpClass::loop:
    case OpClass::formula:
      return false;
  }
  return false;
}

/// First decides which nodes are statements, with labels of one width for unnamed ones, then numbers and prints them:
/// so the text does not depend on how nodes happen to be numbered.
class Printer {
 public:
  explicit Printer(const Graph& graph) : graph_(graph) {
    for (const Node& node : graph.nodes)
      if (const auto* scan = std::get_if<Scan>(&node.attributes)) bodies_.add(*scan);
  }

  std::string print() {
    find_statements();
    number_statements();
    std::string text = graph_.name.empty() ? "" : fmt::format("graph {}\n", quoted(graph_.name));
    for (const Scan* loop : bodies_.loops()) text += loop_text(*loop);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      if (is_statement_[id]) text += statement(id, nested(id)) + '\n';
    for (const Obligation& obligation : graph_.obligations)
      text += fmt::format("require {} <= {} < {}\n", obligation.low, quoted(obligation.input), obligation.high);
    for (const Output& output : graph_.outputs)
      text += fmt::format("{} {} = {}\n", output.kind == OutputKind::result ? "result" : "update", quoted(output.name),
                          reference(output.node));
    return text;
  }

 private:
  void find_statements() {
    const std::size_t count = graph_.nodes.size();
    std::vector<std::uint32_t> uses(count, 0);
    std::vector<NodeId> user(count, 0);
    for (NodeId id = 0; id < count; ++id)
      for (NodeId operand : graph_[id].operands) {
        ++uses[operand];
        user[operand] = id;
      }
    for (const Output& output : graph_.outputs) uses[output.node] += 2;  // is referred to by its label

    std::unordered_map<std::string_view, int> namesakes;
    is_statement_.assign(count, false);
    labels_.assign(count, "%000");
    for (NodeId id = 0; id < count; ++id) {
      const Node& node = graph_[id];
      if (is_number(node)) {
        is_statement_[id] = uses[id] == 0;
        continue;
      }
      is_statement_[id] = !may_nest(node) || uses[id] != 1 || graph_[user[id]].derived != node.derived;
      if (node.origin.name.empty()) continue;
      const int namesake = ++namesakes[node.origin.name];
      labels_[id] = label_text(node.origin.name) + (namesake > 1 ? fmt::format(".{}", namesake) : "");
    }
    std::vector<std::string> texts(count);
    std::vector<Binding> bindings(count);
    for (NodeId id = 0; id < count; ++id) {
      if (is_number(graph_[id])) continue;
      Piece piece = fit(id, texts, bindings);
      for (NodeId operand : graph_[id].operands) std::string().swap(texts[operand]);
      texts[id] = std::move(piece.text);
      bindings[id] = piece.binding;
    }
  }

  /// The node's expression, after as many of its operands as needed were made statements of their own, the longest
  /// first.
  Piece fit(NodeId id, const std::vector<std::string>& texts, const std::vector<Binding>& bindings) {
    while (true) {
      Piece piece = expression(graph_, graph_[id], bodies_, [&](NodeId operand) {
        return is_statement_[operand] ? Piece{labels_[operand]} : Piece{texts[operand], bindings[operand]};
      });
      if (statement(id, piece).size() <= line_width) return piece;
      std::optional<NodeId> longest;
      for (NodeId operand : graph_[id].operands)
        if (!is_number(graph_[operand]) && !is_statement_[operand] &&
            (!longest || texts[operand].size() > texts[*longest].size()))
          longest = operand;
      if (!longest) return piece;
      is_statement_[*longest] = true;
    }
  }

  void number_statements() {
    int next = 0;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      if (is_statement_[id] && (graph_[id].origin.name.empty() || is_number(graph_[id])))
        labels_[id] = fmt::format("%{}", next++);
  }

  /// The node's expression with its nested operands in full; their depth is bounded by the width of a line.
  Piece nested(NodeId id) const {
    return expression(graph_, graph_[id], bodies_, [&](NodeId operand) {
      return is_statement_[operand] ? Piece{labels_[operand]} : nested(operand);
    });
  }

  /// The loop's head, its body indented, and `end`.
  std::string loop_text(const Scan& loop) const {
    std::string text = fmt::format("loop {}: {} steps{}, {} carries, {} sequences\n", bodies_.number(loop), loop.steps,
                                   loop.backwards ? " backwards" : "", loop.carries, loop.sequences);
    const std::string body = Printer(*loop.body).print();
    for (std::size_t begin = 0; begin < body.size();) {
      const std::size_t end = body.find('\n', begin) + 1;
      text += "  " + body.substr(begin, end - begin);
      begin = end;
    }
    return text + "end\n";
  }

  std::string statement(NodeId id, const Piece& piece) const {
    const Node& node = graph_[id];
    const std::string_view mark = node.derived ? "~ " : "";
    if (node.operands.empty())
      return fmt::format("{}{} = {} : {}", mark, labels_[id], leaf_text(node), to_string(node.type));
    return fmt::format("{}{} : {} = {}", mark, labels_[id], to_string(node.type), piece.text);
  }

  std::string reference(NodeId id) const {
    return is_number(graph_[id]) ? number_text(graph_[id], false) : labels_[id];
  }

  const Graph& graph_;
  Bodies bodies_;
  std::vector<bool> is_statement_;
  std::vector<std::string> labels_;
};

constexpr int levels_of_expression = 6;

Piece expression_of(const Graph& graph, NodeId id, int levels) {
  Bodies bodies;
  if (const auto* scan = std::get_if<Scan>(&graph[id].attributes)) bodies.add(*scan);
  return expression(graph, graph[id], bodies, [&](NodeId operand) -> Piece {
    const Node& node = graph[operand];
    if (!node.origin.name.empty()) return {label_text(node.origin.name)};
    if (levels == 0 || node.operands.empty()) return {fmt::format("%{}", operand)};
    return expression_of(graph, operand, levels - 1);
  });
}

}  // namespace

std::string print(const Graph& graph) { return Printer(graph).print(); }

std::string print_expression(const Graph& graph, NodeId id) {
  return expression_of(graph, id, levels_of_expression).text;
}

}  // namespace nnc
