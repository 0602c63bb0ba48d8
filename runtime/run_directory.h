// The folder of a training run: model/ (the source), last.safetensors, best.safetensors where the program sets `best`,
// metrics.jsonl, run.json. It has all it takes to evaluate and predict from anywhere.
#pragma once

#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "runtime/result.h"

namespace nnc {

/// runs/NAME-N below the working directory with the first N that is free, or `out` where given: that one is made if it
/// is not there, and refused if it holds a run. Its path.
Result<std::string> make_run_folder(const std::string& name, const std::optional<std::string>& out);

class RunDirectory {
 public:
  /// In a new folder (make_run_folder), or in one that has no record yet and that no other process is about to fill.
  static Result<RunDirectory> create(const std::string& name, const std::optional<std::string>& out);
  /// The folder of a run that goes on, without what a process that was killed has left half written. A run that another
  /// process is training is refused.
  static Result<RunDirectory> open(const std::string& path);

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// `name` may lie in a folder below, which is made.
  std::optional<Problem> write(const std::string& name, const std::string& content) const;
  /// A line at the end of metrics.jsonl; on the disk after `flush_metrics`.
  void add_metrics(const std::string& line);
  /// A problem where a line could not be written, now or before.
  std::optional<Problem> flush_metrics();
  /// Length of metrics.jsonl.
  std::uint64_t metrics_bytes() const { return metrics_bytes_; }
  /// Takes lines away that were written after so many bytes.
  std::optional<Problem> cut_metrics(std::uint64_t bytes);

 private:
  /// Why metrics.jsonl cannot be written, at once where a call to it failed.
  std::optional<Problem> no_metrics();

  std::string path_;
  std::ofstream metrics_;
  int metrics_error_ = 0;  ///< why the first line that could not be written could not
  std::uint64_t metrics_bytes_ = 0;
  std::shared_ptr<const int> lock_;  ///< closed at the end; the system opens it when the process dies
};

/// True where a folder holds a run.
bool is_run(const std::string& path);

}  // namespace nnc
