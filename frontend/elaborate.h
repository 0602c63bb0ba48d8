// From syntax to graphs: layers, functions and optimizers are inlined, shapes unified, names turned into paths. The
// whole step is one graph, optimizer included; `grad` is a node in it that the passes remove.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "frontend/diagnostics.h"
#include "frontend/outline.h"
#include "ir/graph.h"
#include "ir/job.h"

namespace nnc {

/// A parameter or a state by its path ("Dense1.W", "adam.m/Dense1.W", "data.x.mean").
struct Variable {
  std::string path;
  Type type;
  bool is_state = false;
};

/// One train block, elaborated. Parameters and states have the same paths in all graphs.
struct Elaborated {
  std::vector<Variable> variables;  ///< in elaborated order
  Graph init;                       ///< update PATH for every parameter and every state except the fitted ones
  Graph fit;   ///< over the rows of DataJob::fit: inputs are raw columns; update "data.x.mean", ... Folds run over the
               ///< whole split
  Graph feed;  ///< raw columns (inputs), fitted states -> result x, y, ...: one row at a time
  Graph step;  ///< columns -> result loss, update PATH: training = true, with grad nodes
  Graph evaluate;  ///< columns -> result loss, result METRIC: training = false, over a whole split
  Graph predict;   ///< columns -> result OUTPUT (row values): training = false
  /// Where ElaborateOptions::models is set: each model alone, by its name, its inputs as the block gives them; a result
  /// has the name that it is returned by, else "result" with its number. A model that the block's outputs do not reach
  /// is missing.
  std::map<std::string, Graph> models;
  Graph undo;       ///< columns -> result NAME for those that end in fitted steps: in the unit of the file
  Outline outline;  ///< from the columns to the losses
  DataJob data;
  TrainJob train;
  std::vector<SourceFile> sources;  ///< the file and those that it imports, by the paths that they were read from
  std::vector<std::uint32_t> source_numbers;  ///< of each source: what Origin::file says of its nodes
  bool imports_from_root = false;             ///< one of them by a path from the root of the file system
};

/// `expect left RELATION right within TOLERANCE`, for all elements: two results of a test's graph, each with the shape
/// of both or of rank 0.
struct Expectation {
  enum class Relation : std::uint8_t { equal, not_equal, less, less_equal, greater, greater_equal };
  Span span{};  ///< of the condition
  Relation relation = Relation::equal;
  std::string left{}, right{};            ///< names of the results
  std::string left_text{}, right_text{};  ///< as written
  double within = 0;
};

/// `gradcheck e`: the gradients of a weighted sum of e's elements.
struct GradientCheck {
  Span span{};
  std::vector<std::string> by{};       ///< the parameters that it depends on, in the graph for gradients alone
  std::vector<std::string> results{};  ///< and the gradients' names there
};

/// One `test` block. Its graph has no leaves, so that evaluating it runs the test.
struct ElaboratedTest {
  std::string title;
  Span head{};
  Graph graph;
  std::vector<Expectation> expectations;
  std::vector<GradientCheck> gradients;
};

struct ElaboratedTests {
  std::vector<ElaboratedTest> tests;  ///< in file order
  /// Where a test has a `gradcheck`: the same in f64, with "point NAME" results for the parameters of its graph, which
  /// are the values that can be varied. Empty elsewhere.
  std::vector<std::optional<ElaboratedTest>> for_gradients;
};

struct ElaborateOptions {
  std::vector<std::pair<std::string, std::string>> overrides;  ///< --set NAME=EXPRESSION
  bool double_precision = false;                               ///< --dtype f64: f32 reads as f64
  std::string train_block{};                                   ///< which one; empty: all, in file order
  bool models = false;                                         ///< each model alone as well, for those who build it
  std::string import_root{};  ///< where not empty: imports from the root of the file system are looked up below it
};

/// Parses and elaborates a file with the standard library. Reads imports but no data. On errors, `diagnostics` holds
/// them all and the result is empty. A file without train blocks is checked and gives an empty list.
std::vector<Elaborated> elaborate_file(const std::string& path, const ElaborateOptions& options,
                                       Diagnostics& diagnostics);

/// The `test` blocks of a file, and everything that elaborate_file checks. Empty on errors.
ElaboratedTests elaborate_tests(const std::string& path, const ElaborateOptions& options, Diagnostics& diagnostics);

/// The forward graph of a model alone (for `emit` of a file without a train block): inputs named as the model's.
std::optional<Graph> elaborate_model(const std::string& path, const std::string& model, const ElaborateOptions& options,
                                     Diagnostics& diagnostics);

}  // namespace nnc
