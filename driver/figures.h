// Figures of a split, as `train` shows them at its end and `eval` on its own: the same code, so the same digits.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "driver/console.h"
#include "runtime/data.h"
#include "runtime/programs.h"

namespace nnc::driver {

struct SplitFigures {
  std::string split;
  std::int64_t rows = 0;
  std::vector<NamedArray> figures;  ///< loss, then the metrics
};

SplitFigures figures_of(Runner& runner, const Programs& programs, Weights& weights, const SplitColumns& split,
                        std::uint64_t seed);

/// "test: 10000 rows, loss 0.0812, acc 0.9786"
std::string text_of(const SplitFigures& figures);
/// The figures of all splits: with --json a line of JSON each; on a terminal a table; else a line of text each.
/// Matrices stand below a table.
/// `owner`: further members of each JSON line, behind its schema ("\"train\": \"Net\", ").
void print_figures(const std::vector<SplitFigures>& all, bool json, const Console& console,
                   const std::string& owner = "");

/// {"schema": "nnc.eval.1", "split": "test", "rows": 10000, "loss": ..., "acc": ...}
std::string json_of(const SplitFigures& figures);
/// Whose event a line of JSON is: the train block's and, in a cross-validation, the part's (from 1).
std::string owner_members(const std::string& train_block, const std::optional<CrossPart>& fold);
/// A line of JSON with further members behind its schema.
std::string with_owner(std::string line, const std::string& owner);

}  // namespace nnc::driver
