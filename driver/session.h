// From an elaborated train block to compiled entries: the training step is lowered first and chooses where parameters
// and state lie, every other program obeys it; each is compiled when it is first asked for, or beside other work where
// it is known that it will be, and kept.
#pragma once

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "codegen/compile.h"
#include "frontend/elaborate.h"
#include "passes/passes.h"
#include "runtime/data.h"
#include "runtime/programs.h"

namespace nnc::driver {

struct Compilation {
  Host host;
  CodegenLevel level = CodegenLevel::less;
  int threads = 1;
};

/// The most threads that any kernel of a program is cut up for.
int threads_of(const Program& program);

class Session {
 public:
  /// `step_rows`: rows of a whole training batch.
  Session(const Elaborated& model, const Compilation& compilation, std::int64_t step_rows);

  /// The session's entries for the runtime; valid while the session lives.
  Programs programs();
  Entry entry(EntryKind kind, int pass, std::int64_t rows);
  /// Begins to compile an entry that will be asked for, beside what is done until then. With one thread it does
  /// nothing.
  void prepare(EntryKind kind, int pass, std::int64_t rows);

  bool fits() const { return !model_.fit.outputs.empty(); }
  /// Whether a step solves systems of equations, which have no solution where a matrix is not positive definite.
  bool solves() const {
    return std::ranges::any_of(model_.step.nodes, [](const Node& node) { return node.op == Op::solve; });
  }
  /// What columns (and raw inputs) must satisfy, from all graphs.
  std::vector<RangeCheck> column_checks() const;
  std::vector<RangeCheck> input_checks() const;
  /// Raw inputs that a column of the feed graph is made of, by the column's name.
  const std::map<std::string, std::vector<std::string>>& inputs_of_columns() const { return inputs_of_columns_; }
  /// Raw inputs that `predict` needs.
  std::vector<std::string> predict_inputs() const;

  /// One program as it is compiled, for `emit`.
  Program lower_graph(const Graph& opt, EntryKind kind, std::int64_t rows) const;
  /// The training step for so many rows.
  Program step_program(std::int64_t rows) { return lower_graph(optimised(EntryKind::step, 0), EntryKind::step, rows); }

 private:
  using Key = std::tuple<EntryKind, int, std::int64_t>;

  Graph graph_of(EntryKind kind, int pass);
  const Graph& optimised(EntryKind kind, int pass);

  const Elaborated& model_;
  Compilation compilation_;
  LowerOptions options_;
  VariableLayouts layouts_;
  Blockwise fit_, evaluate_;
  std::map<std::string, double> carry_start_;
  std::map<std::string, std::vector<std::string>> inputs_of_columns_;
  std::map<std::pair<EntryKind, int>, Graph> graphs_;
  struct Made {
    std::unique_ptr<Compiled> code;
    std::future<std::unique_ptr<Compiled>> coming;  ///< what `prepare` has begun
    int threads = 1;
  };
  void begin(Made& made, EntryKind kind, int pass, std::int64_t rows, std::launch where);
  std::map<Key, Made> made_;
};

}  // namespace nnc::driver
