// Gradients against differences. Every op's rule is checked alone, on generated shapes and points in f64, so that a
// wrong rule is caught by its name; and a whole step is checked from its parameters to its loss. The difference
// quotient is central with one step of Richardson extrapolation, good to about 1e-11 on smooth functions. What is NaN
// or infinite on either side agrees with nothing: it is a failure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ir/evaluate.h"
#include "ir/graph.h"
#include "passes/differentiate.h"

namespace nnc {

struct GradcheckOptions {
  std::uint64_t seed = 1;
  int cases = 20;                          ///< shapes and points for each op
  double tolerance = 1e-6;                 ///< relative error
  int elements = 24;                       ///< of each parameter of a step: all, or this many drawn
  std::int64_t rows = 5;                   ///< batch of a step
  std::map<std::string, Tensor> points{};  ///< parameters of a step that are not drawn, by name
  GradientHook hook{};                     ///< spoils rules; for gradcheck's own test
  /// Spoils what a pass has made of a gradient; for gradcheck's own test.
  std::function<Graph(std::string_view pass, Graph)> spoil{};
};

struct GradcheckFailure {
  std::string where;                               ///< "mul, operand 1" or "grad/Dense1.W[7]"
  std::string pass{};                              ///< of a step: the first pass after which it is wrong
  double derived = 0, measured = 0, relative = 0;  ///< relative is infinite where either of the two is not finite
  std::string shapes{};                            ///< of an op: its operands' types
  bool no_value = false;  ///< what is differentiated is itself no finite number (`measured`); then nothing else is said
};
/// The failure in one line: which gradient, both numbers, and by how much they differ or which of them is none.
std::string to_string(const GradcheckFailure& failure);

struct GradcheckReport {
  std::int64_t checked = 0;    ///< elements compared
  std::int64_t near_ties = 0;  ///< drawn but not compared: a kink of the function lies between the points
  double worst = 0;            ///< greatest relative error of all that were compared
  std::vector<GradcheckFailure> failures;
};

/// Whether gradcheck_op has something to check, and why not where it has not ("" if it has).
std::string exempt_from_gradcheck(Op op);

/// One op's gradient rule, alone.
GradcheckReport gradcheck_op(Op op, const GradcheckOptions& options = {});

/// The gradients by parameters of a step with its grad nodes, made f64 throughout, at random parameters and inputs that
/// keep the obligations: each as it comes out of `differentiate` and of every pass after it. Gradients of a value that
/// itself holds a gradient are checked like all others.
GradcheckReport gradcheck_step(const Graph& step, const GradcheckOptions& options = {});

/// Leaves of a graph in f64, drawn so that obligations are kept: in (-1, 1), or in (0, 1) where `positive`.
Environment random_point(const Graph& graph, std::int64_t rows, std::uint64_t seed, bool positive = false);

/// The same graph with f64 in place of f32.
Graph in_double_precision(const Graph& graph);

}  // namespace nnc
