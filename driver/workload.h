// What a compiled program needs to be run for its own sake: initial weights, and columns of random numbers.
#pragma once

#include <optional>
#include <vector>

#include "driver/session.h"
#include "runtime/programs.h"
#include "runtime/weights.h"

namespace nnc::driver {

/// Memory for the calls of one program: initial weights, columns of random numbers that keep its obligations, and
/// results, for as many calls as follow one another at once. Valid while the entry lives; not movable, since calls
/// point here.
class Workload {
 public:
  Workload(const nnc_entry& entry, Session& session);
  /// Calls that `run` makes: several where the entry repeats.
  std::int64_t times() const { return static_cast<std::int64_t>(scalars_.size()); }
  void run(Runner& runner, int threads);
  /// One call of an entry that is watched, on this thread.
  void run_watched(void (*see)(void*), void* watch);
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  /// Steps on random numbers lead anywhere: weights begin again.
  void restart() { weights_.params = start_->params, weights_.state = start_->state; }
  const std::vector<DenseArray>& columns() const { return columns_; }

 private:
  void initialise(Session& session);
  nnc_call call();

  const nnc_entry& entry_;
  Weights weights_;
  std::optional<Weights> start_;
  std::vector<Scalars> scalars_;  ///< of each call
  std::vector<DenseArray> columns_, results_;
  std::vector<nnc_feed> feeds_;
  std::vector<std::uint32_t> order_;
  std::vector<void*> outputs_;
  Bytes gradients_, arena_;  ///< the latter for calls without a runner
};

}  // namespace nnc::driver
