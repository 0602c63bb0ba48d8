#include "runtime/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "runtime/file.h"

namespace nnc {

namespace fs = std::filesystem;

namespace {

Problem io_problem(std::string message, std::vector<std::string> notes = {}) {
  return {.kind = Problem::Kind::io,
          .message = std::move(message),
          .place = {},
          .expected = {},
          .found = {},
          .notes = std::move(notes)};
}

Problem in_use(const std::string& run) {
  return io_problem(fmt::format("another process is training the run `{}`", run));
}

constexpr int most_runs = 1'000'000;

/// Null where another process has the lock of a folder. A file system without locks does not stop training.
std::shared_ptr<const int> lock(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0 && ::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return ::close(descriptor), nullptr;
  return {new int(descriptor), [](const int* held) {
            if (*held >= 0) ::close(*held);
            delete held;
          }};
}

}  // namespace

Result<std::string> make_run_folder(const std::string& name, const std::optional<std::string>& out) {
  std::error_code error;
  if (out) {
    if (is_run(*out))
      return io_problem(
          fmt::format("`{}` already holds a run", *out),
          {fmt::format("help: name another folder with --out, or go on with `nnc train --resume {}`", *out)});
    fs::create_directories(*out, error);
    if (!fs::is_directory(*out))
      return io_problem(fmt::format("cannot make the folder `{}`: {}", *out, error.message()));
    return *out;
  }
  fs::create_directories("runs", error);
  for (int number = 1; number < most_runs; ++number) {
    std::string path = fmt::format("runs/{}-{}", name, number);
    if (fs::create_directory(path, error)) return path;  // atomic: two runs that start at once get two folders
    if (error) return io_problem(fmt::format("cannot make the folder `{}`: {}", path, error.message()));
  }
  return io_problem("there are too many runs in `runs`");
}

bool is_run(const std::string& path) { return fs::exists(fs::path(path) / "run.json"); }

Result<RunDirectory> RunDirectory::create(const std::string& name, const std::optional<std::string>& out) {
  auto path = make_run_folder(name, out);
  if (!path) return path.problem();
  RunDirectory run;
  run.path_ = *path;
  run.lock_ = lock(*path);
  if (!run.lock_) return in_use(*path);
  std::error_code error;
  fs::create_directories(run.file("model"), error);
  run.metrics_.open(run.file("metrics.jsonl"), std::ios::trunc);
  if (error || !run.metrics_) return io_problem(fmt::format("cannot write into `{}`", *path));
  return run;
}

Result<RunDirectory> RunDirectory::open(const std::string& path) {
  RunDirectory run;
  run.path_ = path;
  run.lock_ = lock(path);
  if (!run.lock_) return in_use(path);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path, ignored))
    if (is_temporary(entry.path().filename().string())) fs::remove(entry.path(), ignored);
  return run;
}

std::optional<Problem> RunDirectory::cut_metrics(std::uint64_t bytes) {
  const std::string path = file("metrics.jsonl");
  std::error_code error;
  const std::uint64_t length = fs::file_size(path, error);
  if (!error && length > bytes) fs::resize_file(path, bytes, error);
  metrics_.open(path, std::ios::app);
  metrics_bytes_ = error ? 0 : std::min(length, bytes);
  if (metrics_) return std::nullopt;
  return io_problem(fmt::format("cannot write `{}`", path));
}

std::optional<Problem> RunDirectory::write(const std::string& name, const std::string& content) const {
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(file(name)).parent_path(), failed);  // else writing tells
  return write_file_atomically(file(name), content);
}

void RunDirectory::add_metrics(const std::string& line) {
  metrics_ << line << '\n';
  metrics_bytes_ += line.size() + 1;
}

std::optional<Problem> RunDirectory::flush_metrics() {
  if (metrics_.flush()) return std::nullopt;
  return io_problem(fmt::format("cannot write `{}`", file("metrics.jsonl")));
}

}  // namespace nnc
