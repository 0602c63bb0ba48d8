#include "driver/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

constexpr std::int64_t most_lines = 25;  // beyond this many epochs, not each has its line
constexpr auto between_frames = std::chrono::milliseconds(100);

/// Six digits are enough to watch; metrics.jsonl has them all.
std::string brief(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : number_shown(value, DType::f64);
}

std::string brief(const NamedArray& figure) {
  if (figure.array.count() != 1) return shown_text(figure.array);
  return brief(figure.array.at(0));
}

}  // namespace

Progress::Progress(const Console& console, const TrainJob& job, std::int64_t train_rows)
    : console_(console),
      losses_(job.losses),
      epochs_(job.epochs),
      batches_(Batches(job.batch_size, train_rows).count),
      every_((job.epochs + most_lines - 1) / most_lines) {}

void Progress::step(const Cursor& at, std::span<const double> losses) {
  if (!console_.live || Clock::now() - shown_ < between_frames) return;
  shown_ = Clock::now();
  fmt::print(stderr, "\r\033[Kepoch {}/{}  step {}/{}", at.epoch, epochs_, at.batch, batches_);
  for (std::size_t i = 0; i < losses.size(); ++i) fmt::print(stderr, "  {} {}", losses_[i], brief(losses[i]));
  std::fflush(stderr);
  line_open_ = true;
}

void Progress::epoch(const EpochReport& report) {
  bool last = report.at.epoch == epochs_;
  bool evaluated = report.figures.size() > losses_.size();
  if (every_ > 1 && !last && report.at.epoch != 1 && report.at.epoch % every_ != 0) return;
  if (every_ > 1 && !evaluated && console_.live && Clock::now() - shown_ < between_frames && !last) return;
  end();
  std::string text = fmt::format("epoch {}/{}", report.at.epoch, epochs_);
  for (const NamedArray& figure : report.figures) text += fmt::format("  {} {}", figure.name, brief(figure));
  double rate = static_cast<double>(report.rows) / std::max(report.seconds, 1e-9);
  fmt::print(stderr, "{}  ({:.3g} rows/s)\n", text, rate);
}

void Progress::end() {
  if (line_open_) fmt::print(stderr, "\r\033[K");
  line_open_ = false;
}

}  // namespace nnc::driver
