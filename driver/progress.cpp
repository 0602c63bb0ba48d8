#include "driver/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "driver/stderr.h"
#include "driver/units.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

constexpr std::int64_t most_lines = 25;  // beyond this many epochs, not each has its line
constexpr auto between_frames = std::chrono::milliseconds(100);
constexpr std::size_t longest_bar = 24, shortest_bar = 8;

/// Six digits are enough to watch; metrics.jsonl has them all.
std::string brief(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : number_shown(value, DType::f64);
}

std::string brief(const NamedArray& figure) {
  if (figure.array.count() != 1) return shown_text(figure.array);
  return brief(figure.array.at(0));
}

std::string bar(std::int64_t done, std::int64_t all, std::size_t length) {
  const auto full = static_cast<std::size_t>(done * static_cast<std::int64_t>(length) / std::max<std::int64_t>(all, 1));
  std::string text(full, '=');
  if (full < length) text += '>';
  text.resize(length, ' ');
  return "[" + text + "]";
}

}  // namespace

std::string time_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(1.0, std::ceil(std::min(seconds, 1e9))));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string bar_text(const ProgressView& view, std::size_t width) {
  const std::string head = fmt::format("epoch {}/{} ", view.epoch, view.epochs);
  const std::string parts[] = {fmt::format(" {}/{}", view.batch, view.batches), "  " + view.figures,
                               "  " + rate_text(view.rows_per_second, "rows/s"),
                               fmt::format("  {} left", time_text(view.seconds_left))};
  std::size_t needed = head.size();
  for (const std::string& part : parts) needed += part.size();
  constexpr std::size_t ends = 2;
  const std::size_t room = width > needed + ends ? width - needed - ends : 0;
  std::string text = head + bar(view.batch, view.batches, std::clamp(room, shortest_bar, longest_bar));
  for (const std::string& part : parts) {
    if (text.size() + part.size() > width) continue;
    text += part;
  }
  return text.substr(0, width);
}

Progress::Progress(const Console& console, const TrainJob& job, std::int64_t train_rows)
    : console_(console),
      losses_(job.losses),
      epochs_(job.epochs),
      every_((job.epochs + most_lines - 1) / most_lines),
      every_step_(job.check_every_steps),
      rows_(train_rows),
      batches_(job.batch_size, train_rows),
      totals_(job.losses.size()) {}

/// Speed and time left are those of everything since training began here, evaluations included.
ProgressView Progress::view(const Cursor& at) const {
  const double seconds = std::max(std::chrono::duration<double>(Clock::now() - begun_).count(), 1e-9);
  const double a_step = seconds / static_cast<double>(std::max<std::int64_t>(at.step - first_step_, 1));
  std::string figures;
  for (std::size_t i = 0; i < losses_.size(); ++i)
    figures += fmt::format("{}{} {:.4g}", i == 0 ? "" : "  ", losses_[i],
                           totals_[i] / static_cast<double>(std::max<std::int64_t>(steps_in_totals_, 1)));
  const std::int64_t left = (epochs_ - at.epoch) * batches_.count + batches_.count - at.batch;
  const double rows_a_step = static_cast<double>(rows_) / static_cast<double>(batches_.count);
  return {at.epoch,
          epochs_,
          at.batch,
          batches_.count,
          figures + metrics_,
          rows_a_step / a_step,
          a_step * static_cast<double>(left)};
}

void Progress::step(const Cursor& at, std::span<const double> losses) {
  if (!console_.live) return;
  const auto now = Clock::now();
  if (first_step_ < 0) begun_ = shown_ = now, first_step_ = at.step;
  if (at.epoch != epoch_) {
    epoch_ = at.epoch, steps_in_totals_ = 0;
    std::fill(totals_.begin(), totals_.end(), 0.0);
  }
  for (std::size_t i = 0; i < losses.size(); ++i) totals_[i] += losses[i];
  ++steps_in_totals_;
  if (now - shown_ < between_frames) return;
  shown_ = now;
  to_stderr("\r{}\033[K", bar_text(view(at), console_.width() - 1));
  std::fflush(stderr);
  line_open_ = true;
}

/// Not each of many epochs has a line, nor each of many looks at the figures between them.
bool Progress::has_line(const Cursor& at) const {
  const bool last = at.epoch == epochs_;
  if (every_step_ == 0 || at.step % every_step_ != 0)
    return every_ <= 1 || last || at.epoch == 1 || at.epoch % every_ == 0;
  const std::int64_t looks = (epochs_ * batches_.count + every_step_ - 1) / every_step_;
  const std::int64_t look = at.step / every_step_, apart = (looks + most_lines - 1) / most_lines;
  return look == 1 || look % apart == 0 || (last && at.batch == batches_.count);
}

void Progress::epoch(const EpochReport& report) {
  const bool last = report.at.epoch == epochs_, evaluated = report.figures.size() > losses_.size();
  if (evaluated) {
    metrics_.clear();
    for (std::size_t i = losses_.size(); i < report.figures.size(); ++i)
      if (report.figures[i].array.count() == 1)
        metrics_ += fmt::format("  {} {:.4g}", report.figures[i].name, report.figures[i].array.at(0));
  }
  if (!has_line(report.at)) return;
  if (every_ > 1 && !evaluated && console_.live && Clock::now() - shown_ < between_frames && !last) return;
  end();
  std::string text = fmt::format("epoch {}/{}", report.at.epoch, report.epochs);
  if (every_step_ > 0) text += fmt::format(", step {}", report.at.step);
  for (const NamedArray& figure : report.figures) text += fmt::format("  {} {}", figure.name, brief(figure));
  const double rate = static_cast<double>(report.rows) / std::max(report.seconds, 1e-9);
  to_stderr("{}  ({})\n", text, rate_text(rate, "rows/s"));
}

void Progress::end() {
  if (line_open_) to_stderr("\r\033[K");
  line_open_ = false;
}

}  // namespace nnc::driver
