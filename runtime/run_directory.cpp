#include "runtime/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
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
  if (out) {
    if (is_run(*out))
      return io_problem(
          fmt::format("`{}` already holds a run", *out),
          {fmt::format("help: name another folder with --out, or go on with `nnc train --resume {}`", *out)});
    if (auto problem = make_folder(*out)) return *problem;
    return *out;
  }
  const std::string elsewhere = "help: `--out DIR` makes the run in another place";
  if (auto problem = make_folder("runs")) return problem->notes.push_back(elsewhere), *problem;
  std::error_code error;
  for (int number = 1; number < most_runs; ++number) {
    std::string path = fmt::format("runs/{}-{}", name, number);
    if (fs::create_directory(path, error)) return path;  // atomic: two runs that start at once get two folders
    if (error) return io_problem(fmt::format("cannot make the folder `{}`: {}", path, error.message()), {elsewhere});
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
  if (auto problem = make_folder(run.file("model"))) return *problem;
  run.metrics_.open(run.file("metrics.jsonl"), std::ios::trunc);
  if (auto problem = run.no_metrics()) return *problem;
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
  return no_metrics();
}

std::optional<Problem> RunDirectory::write(const std::string& name, const std::string& content) const {
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(file(name)).parent_path(), failed);  // else writing tells
  return write_file_atomically(file(name), content);
}

void RunDirectory::add_metrics(const std::string& line) {
  metrics_ << line << '\n';
  if (!metrics_ && metrics_error_ == 0) metrics_error_ = errno;  // of now: what follows has errors of its own
  metrics_bytes_ += line.size() + 1;
}

std::optional<Problem> RunDirectory::flush_metrics() {
  metrics_.flush();
  return no_metrics();
}

std::optional<Problem> RunDirectory::no_metrics() {
  if (metrics_) return std::nullopt;
  if (metrics_error_ == 0) metrics_error_ = errno;
  return io_problem(fmt::format("cannot write `{}`: {}", file("metrics.jsonl"), std::strerror(metrics_error_)));
}

}  // namespace nnc
