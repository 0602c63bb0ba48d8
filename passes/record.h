// What the defining passes did, in one graph: every value that a law or a rule was used on, as it was before and as it
// was afterwards. Equal expressions are one node whichever pass made them, so that what one pass leaves is where the
// next one goes on. Passes write it where they are asked to; passes/derive reads it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "ir/graph.h"

namespace nnc {

/// One application of a law: what stood there and what stands there now, both nodes of Record::values; and the value
/// that it was applied in, by its name and the place where it was written.
struct LawUse {
  std::string law;
  NodeId before = 0, after = 0;
  Origin at = {};
};
using LawLog = std::vector<LawUse>;

/// A value that a pass replaced by another form of it, and the laws by which it did (none where only its operands have
/// changed).
struct Rewrite {
  NodeId before = 0, after = 0;
  LawLog laws = {};
};

/// The gradient rule of one op, used on the value y with dL/dy: what it hands to y's operands.
struct RuleUse {
  struct Share {
    NodeId operand = 0, gradient = 0;
  };
  NodeId root = 0, y = 0, dy = 0;
  NodeId marked_root = 0, marked_y = 0;  ///< L and y in Record::differentiated
  std::vector<Share> shares = {};
};

/// dL/dx, which a program asked for.
struct AskedGradient {
  NodeId root = 0, by = 0, gradient = 0;
  NodeId marked_root = 0, marked_by = 0;  ///< in Record::differentiated
};

/// What a derived value in the body of a loop's derivative is. The node carries the number of its entry as its name,
/// which passes keep (step_gradient).
struct StepGradient {
  std::optional<Op> rule{};    ///< the op whose rule gave it
  std::optional<NodeId> by{};  ///< it is the derivative by this node of the body of the loop that was differentiated
  NodeId loop = 0;             ///< that loop, in Record::values
};

struct Record {
  /// Without marks of gradients (stop_gradient, point), as after differentiate.
  Builder values{"derivation"};
  LawLog uses;  ///< every law that was used, in order
  std::vector<Rewrite> stabilised, simplified;
  std::vector<RuleUse> rules;
  std::vector<AskedGradient> asked;
  std::vector<StepGradient> step_gradients;
  Graph differentiated;  ///< what was differentiated and what came of it, with the marks

  /// Copies the values of one graph, which may grow but not change, into the record.
  class Reader {
   public:
    /// Without a record there is nothing to be asked.
    Reader(Record* record, const Graph& graph) : values_(record ? &record->values : nullptr), graph_(&graph) {}
    NodeId operator()(NodeId id);

   private:
    Builder* values_;
    const Graph* graph_;
    std::vector<Value> known_;
  };

  /// The entry of a node of a loop's body; nullptr where it has none.
  const StepGradient* step_gradient(const Node& node) const;
};

/// The name by which a node carries its entry in Record::step_gradients.
std::string step_gradient_name(std::size_t entry);
/// Nothing for any other name.
std::optional<std::size_t> step_gradient_entry(const std::string& name);

}  // namespace nnc
