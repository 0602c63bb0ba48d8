// From syntax to graphs: layers, functions and optimizers are inlined, shapes unified, names turned into paths. The
// whole step is one graph, optimizer included; `grad` is a node in it that the passes remove.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "frontend/diagnostics.h"
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
  DataJob data;
  TrainJob train;
  std::vector<SourceFile> sources;  ///< the file and those that it imports, by the paths that they were read from
  bool imports_from_root = false;   ///< one of them by a path from the root of the file system
};

struct ElaborateOptions {
  std::vector<std::pair<std::string, std::string>> overrides;  ///< --set NAME=EXPRESSION
  bool double_precision = false;                               ///< --dtype f64: f32 reads as f64
  std::string train_block{};                                   ///< which one; empty: all, in file order
  std::string import_root{};  ///< where not empty: imports from the root of the file system are looked up below it
};

/// Parses and elaborates a file with the standard library. Reads imports but no data. On errors, `diagnostics` holds
/// them all and the result is empty. A file without train blocks is checked and gives an empty list.
std::vector<Elaborated> elaborate_file(const std::string& path, const ElaborateOptions& options,
                                       Diagnostics& diagnostics);

/// The forward graph of a model alone (for `emit` of a file without a train block): inputs named as the model's.
std::optional<Graph> elaborate_model(const std::string& path, const std::string& model, const ElaborateOptions& options,
                                     Diagnostics& diagnostics);

}  // namespace nnc
