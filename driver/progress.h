// Progress of training on stderr: a moving line on a terminal, else one line an epoch (of many epochs, every
// so-many-th).
#pragma once

#include <chrono>

#include "driver/console.h"
#include "runtime/train.h"

namespace nnc::driver {

class Progress {
 public:
  Progress(const Console& console, const TrainJob& job, std::int64_t train_rows);

  void step(const Cursor& at, std::span<const double> losses);
  void epoch(const EpochReport& report);
  /// Ends the moving line.
  void end();

 private:
  using Clock = std::chrono::steady_clock;

  const Console& console_;
  std::vector<std::string> losses_;
  std::int64_t epochs_, batches_, every_;
  Clock::time_point shown_{};
  bool line_open_ = false;
};

}  // namespace nnc::driver
