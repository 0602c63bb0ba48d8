// Graphs as text, for people and for `nnc opt`: parse(print(g)) is g. One line a node or, where a derived or written
// elementwise value has one use, a nested expression, so that a gradient can be read off in one line.
#pragma once

#include <string>
#include <variant>

#include "ir/graph.h"

namespace nnc {

std::string print(const Graph& graph);
/// One node as an expression over named nodes, for logs and messages.
std::string print_expression(const Graph& graph, NodeId id);

struct TextError {
  std::uint32_t line = 0, column = 0;
  std::string message;
};
std::variant<Graph, TextError> parse_graph(const std::string& text);

/// What is wrong with a graph, or empty: operands before users, types as the shape rules say, outputs and obligations
/// that exist, order set or unset throughout.
std::string verify(const Graph& graph);

}  // namespace nnc
