// Figures of systems whose start and order of rows are drawn: what many runs of an example show, beside what
// independent runs in NumPy do (tests/reference/make_seeds.py, seeds.json).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/seeds/runs.h"
#include "tests/seeds/table.h"

namespace nnc::seeds {

/// Of the independent runs: the ends, and between them the middle four fifths.
struct Spread {
  double least, low, median, high, greatest;
  int runs;
};
Spread reference(const std::string& name, const std::string& figure);

/// What docs/seeds.md says of a published number outside the middle of the independent runs.
std::string why_outside(const std::string& published, const Spread& spread, const std::string& known);

using Figure = std::function<double(const Run&)>;

class Drawn {
 public:
  /// `name` is the system's in seeds.json. Medians lie in the middle four fifths of the independent runs; those of
  /// `few` runs among them or half as far beyond as they reach.
  Drawn(Table& table, std::string system, std::string name, std::vector<Run> runs, bool few);

  /// The median of a figure, whose spread has the name `known`. `grain`: in what steps the figure comes. `why`: what is
  /// known of a published number outside, beside how far the independent runs reach.
  void row(const std::string& what, const std::string& published, const Figure& figure, const std::string& known,
           double grain = 0, const std::string& why = "") const;
  /// The material's run is repeated in other rows: that is said of each of its numbers outside.
  void is_repeated() { why_ = "its own order of rows gives it: see below"; }
  /// The share of runs that get below the loss at which they stop, told as `what`: that of the independent ones, within
  /// three deviations of so many runs. The others are left out from then on.
  void keep_those_that_stopped(const std::string& what);

  double median(const Figure& figure) const { return seeds::median(runs_, figure); }
  const std::vector<Run>& runs() const { return runs_; }

 private:
  Table& table_;
  std::string system_, name_, why_;
  std::vector<Run> runs_;
  bool few_;
};

}  // namespace nnc::seeds
