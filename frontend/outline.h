// The outline of what is trained: what the text applies to what, with the shapes that come out. It is read from the
// graph of the evaluation, in which every node was made by some application of the text: one of a library layer or
// function is a step as a whole, and of an own layer or model the parts are.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace nnc {

class Diagnostics;

struct OutlineStep {
  enum class Kind : std::uint8_t { column, applied };
  Kind kind = Kind::applied;
  std::string text;    ///< as written: "Dense(hidden)", "h + x"; of a function its name; of a column that
  std::string name;    ///< what the text calls the result, or empty
  std::string within;  ///< the instance in whose body it stands ("Block1"); empty: the model's own, or the train block
  std::uint32_t line = 0;
  Type type{};                                             ///< of the result
  std::vector<std::pair<std::string, Type>> parameters{};  ///< by their last names
  std::vector<std::size_t> from{};                         ///< earlier steps
};

/// In an order in which each step stands behind those that it is made from.
using Outline = std::vector<OutlineStep>;

/// Applications of the text while a graph is built, and the nodes that each made.
class WrittenCalls {
 public:
  /// An application begins at the graph's length of `begin`; its number.
  std::size_t open(std::string text, std::string within, bool whole, std::size_t begin);
  /// Nodes since then that belong to no application inside of it are its own.
  void close(std::size_t call, std::size_t end);

  /// Nodes of a range that belong to no application were made by operators, also where they are an argument of the
  /// application that is open: they belong to the body around it.
  void by_operator(std::size_t begin, std::size_t end);

  struct Call {
    std::string text, within;
    bool whole = true;  ///< one step; else its parts are
    std::size_t begin = 0;
  };
  const Call* of(NodeId id) const;         ///< null: it was made by an operator of the train block
  std::size_t number_of(NodeId id) const;  ///< SIZE_MAX: of none

 private:
  std::vector<Call> calls_;
  std::vector<std::size_t> open_;   ///< from the outside in
  std::vector<std::size_t> owner_;  ///< by node
};

/// What the named results of the graph are made from; `diagnostics` has the text.
Outline outline_of(const Graph& graph, const WrittenCalls& calls, const std::vector<std::string>& results,
                   const Diagnostics& diagnostics);

}  // namespace nnc
