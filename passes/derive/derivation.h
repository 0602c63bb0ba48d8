// The derivation of gradients as a value: lines, each an equality that a law or a rule of differentiation has given,
// from which they are printed and by which they are checked. It is made from the record of what the passes did, and
// knows no model.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "passes/derive/formula.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace nnc {

struct DeriveOptions {
  std::string parameter{};  ///< by its path; empty: all
  bool every_law = false;   ///< each use of a law is a line of its own
  std::vector<std::string> disabled_laws{};
  GradientHook hook{};  ///< spoils rules; for the check's own test
};

/// left = right. Without a left formula it goes on from the line before.
struct DerivationLine {
  std::optional<Formula> left{};
  Formula right{};
  std::string shape{};                 ///< "n×3"; empty for a number
  std::vector<std::string> reasons{};  ///< laws, and ops whose rules were used, by name
  bool detail = false;                 ///< one use of a law inside of the line before
  bool alike = false;                  ///< told by another line's `likewise`, and not printed
  std::vector<Formula> likewise{};  ///< what the lines are about that follow the same way, "…" between first and last

  /// The left side is the derivative of one node of Derivation::marked by another.
  struct Slope {
    NodeId of = 0, by = 0;
  };
  std::optional<Slope> slope{};
  std::optional<NodeId> value{};      ///< the left side is the name of this node of Derivation::values
  bool given = false;                 ///< the right side says where the value comes from, and is not computed by itself
  std::optional<std::size_t> loop{};  ///< the left side is a result of this loop, or in its part what a step computes
};

/// A loop, whose part says what step t does. Names with a t belong to a step.
struct DerivationLoop {
  struct Carry {
    Formula before, after, start;  ///< names: of what a step takes, of what it leaves, of what the first step takes
    Formula first, next;           ///< what that is, and what a step makes of it
    Type type{};
  };
  struct Sequence {
    Formula name, of;
    int axis = 0;  ///< of `of`, along which the steps lie
    /// The loop before it that hands the elements out, under the same name; then there is no `of`.
    std::optional<std::size_t> handed_out_by{};
  };
  std::int64_t steps = 1;
  bool backwards = false;
  std::vector<Carry> carries{};
  std::vector<Sequence> sequences{};
};

struct DerivationPart {
  std::string title;
  std::vector<DerivationLine> lines;
  std::size_t root = 0;  ///< names are those of one value that is differentiated
};

struct Derivation {
  std::string title;
  std::vector<DerivationPart> parts;
  Graph values;  ///< every value that a line speaks of
  Graph marked;  ///< the expressions that were differentiated, with what their gradients hold
  /// Columns, parameters and numbers that are drawn, as they stand in formulas, of each root: nodes of `values`.
  std::vector<std::map<std::string, NodeId>> leaves;
  std::vector<DerivationLoop> loops;
};

/// The gradients that a step asks for by its parameters, by the passes up to simplify. Empty parts where it asks for
/// none (or for none by that parameter).
Derivation derive(const Graph& step, const DeriveOptions& options = {});

enum class DerivationFormat : std::uint8_t { text, latex, html };
std::string print(const Derivation& derivation, DerivationFormat format);
/// One part of it as a list for a page that has its own head, and the style that such lists take.
std::string html_list(const DerivationPart& part);
extern const char* const html_list_style;

/// A line whose sides are not one value: which, and by how much; or why it cannot be computed.
struct DerivationFailure {
  std::string line;  ///< as text
  std::vector<std::string> reasons;
  double left = 0, right = 0;
  std::string unreadable{};
};
struct DerivationReport {
  std::int64_t checked = 0;           ///< lines compared
  std::vector<std::string> on_kinks;  ///< lines that were not, since no point was found at which the derivative is one
  double worst = 0;                   ///< greatest relative difference
  std::vector<DerivationFailure> failures;
};
/// Evaluates what is printed: formulas are read back, names mean what their own lines say, and both sides of each line
/// are computed in f64 at random points. Values are compared with those of the program; derivatives are measured along
/// random directions by differences of eighth order. All sides agree to 1e-9.
DerivationReport check(const Derivation& derivation, std::uint64_t seed = 1);

}  // namespace nnc
