// How fast a CSV file is read, against the least that anybody could do: a loop of std::from_chars over the same mapped
// bytes on one core, which trusts that every field is a number followed by one byte. Processor time is counted, so that
// other work on the machine does not.
// And what it costs to train on it: `nnc train` of one epoch, its time and the most memory that it had.
//   bench_csv [MIB [COLUMNS [NNC]]]   makes a file of so many MiB in TMPDIR; NNC is the command, for the second part
#include <fmt/format.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/csv.h"

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Processor time of this thread, the system's share included.
double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Numbers as measurements have them: six digits, some signs, some exponents.
void make_file(const std::string& path, std::size_t bytes, int columns) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  std::string text;
  for (int c = 0; c < columns; ++c) text += fmt::format("c{}{}", c, c + 1 < columns ? ',' : '\n');
  std::uint64_t state = 1;
  for (std::size_t written = 0; written < bytes;) {
    for (int c = 0; c < columns; ++c) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const double unit = static_cast<double>(state >> 11) * 0x1p-53;
      text +=
          fmt::format("{:.6g}{}", c % 4 == 3 ? (unit - 0.5) * 1e-3 : unit * 200 - 100, c + 1 < columns ? ',' : '\n');
    }
    if (text.size() < std::size_t{1} << 20) continue;
    written += std::fwrite(text.data(), 1, text.size(), file);
    text.clear();
  }
  std::fclose(file);
}

/// The loop of from_chars; the sum keeps it from being left out.
double least(const nnc::MappedFile& file) {
  const std::string_view text = file.text();
  const char *at = text.data() + text.find('\n') + 1, *const end = text.data() + text.size();
  double sum = 0;
  while (at < end) {
    float value = 0;
    at = std::from_chars(at, end, value).ptr + 1;
    sum += value;
  }
  return sum;
}

std::int64_t read(const std::string& path, const std::string& folder) {
  auto table = nnc::CsvTable::open(path);
  for (std::size_t c = 0; c < table->names().size(); ++c) table->want_number(c, nnc::DType::f32);
  if (auto problem = table->load(folder)) return std::fputs(problem->render().c_str(), stderr), -1;
  return table->rows();
}

/// Standardized columns, shuffled, a tenth for validation: what needs every part of the way.
void train(const std::string& nnc, const std::string& folder, int columns) {
  std::ofstream(folder + "/nnc-bench.nn")
      << "data rows {\n  train, valid = split(csv(\"nnc-bench.csv\"), 0.9, 0.1)\n  x: f32[" << columns - 1
      << "] = standardize(cols(except = \"c0\"))\n  y: f32[1] = standardize(col(\"c0\"))\n}\n"
      << "model Net(x: f32[batch, " << columns - 1
      << "]) -> f32[batch, 1] { return x |> Dense(16) |> relu |> Dense(1) }\n"
      << "train Net on rows {\n  loss = mse(Net(x), y)\n  optimizer = adam(lr = 1e-3)\n  batch_size = 256\n  epochs = "
         "1\n}\n";
  const std::string program = folder + "/nnc-bench.nn", run = folder + "/nnc-bench-run";
  std::filesystem::remove_all(run);
  const auto start = Clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(nnc.c_str(), "nnc", "train", program.c_str(), "--out", run.c_str(), "--threads", "1",
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  rusage usage{};
  ::wait4(child, &status, 0, &usage);
  fmt::print("trained with status {} in {:.1f} s, at most {:.0f} MB of memory\n", WEXITSTATUS(status),
             seconds_since(start), static_cast<double>(usage.ru_maxrss) * 1024 / 1e6);
  std::filesystem::remove(program);
  std::filesystem::remove_all(run);
}

}  // namespace

int main(int count, char** arguments) {
  const std::size_t mib = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 256;
  const int columns = count > 2 ? std::atoi(arguments[2]) : 20;
  const std::string folder = std::filesystem::temp_directory_path().string();
  const std::string path = folder + "/nnc-bench.csv";
  make_file(path, mib << 20, columns);
  const double size = static_cast<double>(std::filesystem::file_size(path)) / 1e6;
  double loop = 1e9, memory = 1e9, streamed = 1e9, sum = 0;
  std::int64_t rows = 0;
  for (int round = 0; round < 5; ++round) {  // one after the other, so that a machine's load hits all of them
    const auto mapped = nnc::MappedFile::open(path);
    double start = processor_seconds();
    sum = least(*mapped);
    loop = std::min(loop, processor_seconds() - start);
    start = processor_seconds();
    rows = read(path, "");
    memory = std::min(memory, processor_seconds() - start);
    start = processor_seconds();
    rows = read(path, folder);
    streamed = std::min(streamed, processor_seconds() - start);
  }
  fmt::print("{:.0f} MB, {} rows of {} columns (sum {:.6g}); the best of 5\n", size, rows, columns, sum);
  fmt::print("a loop of from_chars        {:6.0f} MB/s\n", size / loop);
  fmt::print("read, rows in memory        {:6.0f} MB/s  {:.0f}%\n", size / memory, 100 * loop / memory);
  fmt::print("read, rows in a file        {:6.0f} MB/s  {:.0f}%\n", size / streamed, 100 * loop / streamed);
  std::fflush(stdout);
  if (count > 3) train(arguments[3], folder, columns);
  std::filesystem::remove(path);
}
