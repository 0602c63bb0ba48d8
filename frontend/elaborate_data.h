// A `data` block: which files are read and how they are split (DataJob, what the runtime obeys), and the expressions of
// its columns as two graphs: `feed` makes the columns of one row from raw ones, `fit` learns over the rows of a split
// what standardize and minmax need to know.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "frontend/elaborator.h"

namespace nnc {

/// One fitted step of a column's expression, z = (c - offset) / scale with states of the column's row.
struct Fitted {
  enum class Kind : std::uint8_t { standardize, minmax } kind{};
  std::string path;              ///< "data.x": the states are path.mean and path.deviation, or path.min and path.max
  Type row;                      ///< of both states
  NodeId input = 0, result = 0;  ///< c and z, nodes of the feed graph
  std::string first_state() const { return path + (kind == Kind::standardize ? ".mean" : ".min"); }
  std::string second_state() const { return path + (kind == Kind::standardize ? ".deviation" : ".max"); }
};

struct ElaboratedColumn {
  ArrayType type;            ///< with the batch as its first axis
  std::vector<Fitted> undo;  ///< the fitted steps that its expression ends with, the last first
  bool classes = false;
};

struct ElaboratedData {
  DataJob job;
  Graph fit, feed;
  std::map<std::string, ElaboratedColumn> columns;  ///< by name; in order in job.columns
  /// After an error, which is reported: there are no graphs, and only the columns that have none are known.
  bool failed = false;
  std::set<std::string> lost{};  ///< the others
};

/// Elaborates a data block; its fitted states become variables of the elaborator ("data.x.mean").
ElaboratedData elaborate_data(Elaborator& elaborator, const Module& module, const ast::Declaration& data);

/// z mapped back through the fitted steps of a column, last first, in the elaborator's current graph.
Term undo(Elaborator& elaborator, const Array& z, const ElaboratedColumn& column, Span span);

}  // namespace nnc
