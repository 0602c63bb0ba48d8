// Runs the nnc binary as a user does, in a scratch folder of its own, and keeps what it printed.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "tests/support/scratch.h"

namespace nnc::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct CommandResult {
  int status = -1;
  std::string out, err;
  long peak_kib = 0;       ///< the greatest resident set of the process
  double cpu_seconds = 0;  ///< of processor time, its threads together
};

/// `nnc ARGUMENTS` (as a shell reads them), run in `folder`.
inline CommandResult run_nnc(const std::string& arguments, const std::filesystem::path& folder,
                             const std::string& environment = "") {
  static int number = 0;
  const std::string stem = (folder / ("command" + std::to_string(number++))).string();
  const std::string line = "cd '" + folder.string() + "' && " + environment + " '" NNC_BINARY "' " + arguments + " >'" +
                           stem + ".out' 2>'" + stem + ".err' </dev/null";
  CommandResult result;
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  int raw = 0;
  rusage usage{};
  wait4(child, &raw, 0, &usage);  // the shell's figures include those of the command it waited for
  result.peak_kib = usage.ru_maxrss;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  result.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  result.status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
  result.out = read_file(stem + ".out");
  result.err = read_file(stem + ".err");
  return result;
}

/// The folder of real data sets, or empty: NNC_SHARED, else ../shared beside the checkout. Says so where a test has to
/// do without.
inline std::filesystem::path shared_data(const std::string& test_name) {
  const char* named = std::getenv("NNC_SHARED");
  std::filesystem::path folder = named ? named : NNC_SOURCE_DIR "/../shared";
  folder /= "data";
  if (std::filesystem::is_directory(folder)) return folder;
  std::cout << "SKIPPED: " << test_name << ": no data sets at " << folder.string()
            << " (NNC_SHARED names the folder)\n";
  return {};
}

}  // namespace nnc::test
