// A graph as one JSON object, for programs that read it: everything the text form says, nothing shortened. The schema
// is described in docs/graph-json.md and named in the field `schema`; a field may be added, none changes its meaning.
#include <fmt/format.h>

#include <cmath>

#include "ir/export.h"
#include "ir/op.h"

namespace nnc {

namespace {

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      result += std::string("\\") + c;
    else if (static_cast<unsigned char>(c) < 0x20)
      result += fmt::format("\\u{:04x}", static_cast<int>(c));
    else
      result += c;
  }
  return result + '"';
}

template <class List, class Text>
std::string list_of(const List& items, Text&& text) {
  std::string result = "[";
  for (const auto& item : items) result += (result.size() > 1 ? ", " : "") + std::string(text(item));
  return result + "]";
}

template <class Integer>
std::string numbers(const std::vector<Integer>& list) {
  return list_of(list, [](Integer i) { return std::to_string(i); });
}

/// JSON has neither infinities nor NaN: they stand as strings.
std::string number(double value) {
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value > 0 ? "\"inf\"" : "\"-inf\"";
  return fmt::format("{}", value);
}

/// A count, or "batch", "3*batch".
std::string json_of(Extent extent) { return extent.batched ? quoted(to_string(extent)) : std::to_string(extent.count); }
std::string json_of(const Type& type) {
  return fmt::format("{{\"dtype\": {}, \"shape\": {}}}", quoted(name_of(type.dtype)),
                     list_of(type.shape, [](Extent extent) { return json_of(extent); }));
}
std::string json_of(Order order) {
  switch (order) {
    case Order::unset:
      return "null";
    case Order::serial:
      return "\"serial\"";
    case Order::lanes:
      return "\"lanes\"";
  }
  return "null";
}

std::string graph_object(const Graph& graph);

struct AttributesToJson {
  std::string operator()(const NoAttributes&) const { return ""; }
  std::string operator()(const Named& x) const { return fmt::format("\"name\": {}", quoted(x.name)); }
  std::string operator()(const Constant& x) const { return fmt::format("\"values\": {}", list_of(x.values, number)); }
  std::string operator()(const Size& x) const { return fmt::format("\"extent\": {}", json_of(x.extent)); }
  std::string operator()(const Iota& x) const { return fmt::format("\"axis\": {}", x.axis); }
  std::string operator()(const Random& x) const { return fmt::format("\"stream\": \"{:#x}\"", x.stream); }
  std::string operator()(const Reduce& x) const {
    return fmt::format("\"axes\": {}, \"order\": {}", numbers(x.axes), json_of(x.order));
  }
  std::string operator()(const Broadcast& x) const { return fmt::format("\"axes\": {}", numbers(x.axes)); }
  std::string operator()(const Transpose& x) const {
    return fmt::format("\"permutation\": {}", numbers(x.permutation));
  }
  std::string operator()(const Slice& x) const {
    return fmt::format("\"starts\": {}, \"steps\": {}", numbers(x.starts), numbers(x.steps));
  }
  std::string operator()(const Pad& x) const {
    return fmt::format("\"low\": {}, \"high\": {}, \"between\": {}", numbers(x.low), numbers(x.high),
                       numbers(x.between));
  }
  std::string operator()(const Concat& x) const { return fmt::format("\"axis\": {}", x.axis); }
  std::string operator()(const Window& x) const {
    return fmt::format("\"axis\": {}, \"size\": {}, \"stride\": {}, \"dilation\": {}", x.axis, x.size, x.stride,
                       x.dilation);
  }
  std::string operator()(const OverlapAdd& x) const {
    return fmt::format("\"axis\": {}, \"extent\": {}, \"stride\": {}, \"dilation\": {}", x.axis, x.extent, x.stride,
                       x.dilation);
  }
  std::string operator()(const Dot& x) const {
    return fmt::format("\"a\": {}, \"b\": {}, \"batch_a\": {}, \"batch_b\": {}, \"order\": {}", numbers(x.a),
                       numbers(x.b), numbers(x.batch_a), numbers(x.batch_b), json_of(x.order));
  }
  std::string operator()(const Numbered& x) const { return fmt::format("\"number\": {}", x.number); }
  std::string operator()(const Scatter& x) const { return fmt::format("\"count\": {}", x.count); }
  std::string operator()(const Scan& x) const {
    return fmt::format(
        "\"carries\": {}, \"sequences\": {}, \"steps\": {}, \"backwards\": {}, \"result\": {}, \"body\": {}", x.carries,
        x.sequences, x.steps, x.backwards, x.result, graph_object(*x.body));
  }
};

std::string json_of(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  std::string text =
      fmt::format("{{\"id\": {}, \"op\": {}, \"type\": {}, \"operands\": {}", id, quoted(definition(node.op).name),
                  json_of(node.type), list_of(node.operands, [](NodeId operand) { return std::to_string(operand); }));
  text += fmt::format(", \"attributes\": {{{}}}", std::visit(AttributesToJson{}, node.attributes));
  text += fmt::format(", \"derived\": {}", node.derived);
  if (!node.origin.name.empty()) text += fmt::format(", \"label\": {}", quoted(node.origin.name));
  if (node.origin.line > 0) text += fmt::format(", \"line\": {}, \"column\": {}", node.origin.line, node.origin.column);
  return text + "}";
}

/// Without a line's end, since the body of a loop stands inside another graph.
std::string graph_object(const Graph& graph) {
  std::string text = fmt::format("{{\"schema\": \"nnc.graph.1\", \"name\": {},\n \"nodes\": [", quoted(graph.name));
  for (NodeId id = 0; id < graph.nodes.size(); ++id) text += (id ? ",\n  " : "\n  ") + json_of(graph, id);
  text +=
      "],\n \"outputs\": " + list_of(graph.outputs, [](const Output& output) {
        return fmt::format("\n  {{\"kind\": \"{}\", \"name\": {}, \"node\": {}}}",
                           output.kind == OutputKind::result ? "result" : "update", quoted(output.name), output.node);
      });
  text += ",\n \"obligations\": " + list_of(graph.obligations, [](const Obligation& promise) {
            return fmt::format("\n  {{\"input\": {}, \"low\": {}, \"high\": {}}}", quoted(promise.input), promise.low,
                               promise.high);
          });
  return text + "}";
}

}  // namespace

std::string print_json(const Graph& graph) { return graph_object(graph) + "\n"; }

}  // namespace nnc
