// Progress of training on stderr: a bar on a terminal, with where training stands, its figures, its speed and the time
// that is left; else one line an epoch (of many epochs, every so-many-th).
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "driver/console.h"
#include "runtime/train.h"

namespace nnc::driver {

/// What a bar shows.
struct ProgressView {
  std::int64_t epoch = 0, epochs = 0;
  std::int64_t batch = 0, batches = 0;  ///< of this epoch
  std::string figures;                  ///< "loss 0.12  valid.acc 0.97"
  double rows_per_second = 0;
  double seconds_left = 0;
};

/// One line of at most `width` characters: what does not fit is left out from the right, the bar first made short.
std::string bar_text(const ProgressView& view, std::size_t width);
/// "42 s", "3:07", "2:05:00": at least a second.
std::string time_text(double seconds);

class Progress {
 public:
  Progress(const Console& console, const TrainJob& job, std::int64_t train_rows);

  void step(const Cursor& at, std::span<const double> losses);
  void epoch(const EpochReport& report);
  /// Takes the bar away.
  void end();

 private:
  using Clock = std::chrono::steady_clock;

  ProgressView view(const Cursor& at) const;
  bool has_line(const Cursor& at) const;

  const Console& console_;
  std::vector<std::string> losses_;
  std::int64_t epochs_, every_;  ///< every so-many-th epoch has a line
  std::int64_t every_step_;      ///< steps between two looks at the figures; 0: they are looked at after epochs
  std::int64_t rows_;
  Batches batches_;
  Clock::time_point shown_{}, begun_{};
  std::int64_t first_step_ = -1;  ///< the first one since `begun_`
  std::int64_t epoch_ = 0;        ///< whose losses are added up
  std::vector<double> totals_;    ///< of the epoch's steps that were seen here
  std::int64_t steps_in_totals_ = 0;
  std::string metrics_;  ///< as the last evaluation found them
  bool line_open_ = false;
};

}  // namespace nnc::driver
