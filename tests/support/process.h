// A process that a test starts, watches, and sends signals to.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace nnc::test {

class Process {
 public:
  /// The nnc binary with these arguments, run in `folder`; what it prints goes to `folder`/process.out and .err.
  Process(const std::vector<std::string>& arguments, const std::filesystem::path& folder) {
    std::vector<char*> words{const_cast<char*>("nnc")};
    for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    child_ = fork();
    if (child_ != 0) return;
    const int out = open((folder / "process.out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = open((folder / "process.err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (chdir(folder.c_str()) != 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(99);
    execv(NNC_BINARY, words.data());
    _exit(99);
  }
  ~Process() {
    if (status_) return;
    send(SIGKILL);
    wait();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const { kill(child_, signal); }
  bool ended() {
    int raw = 0;
    if (!status_ && waitpid(child_, &raw, WNOHANG) == child_) set(raw);
    return status_.has_value();
  }
  /// Its exit status, or 128 + the signal that ended it.
  int wait() {
    int raw = 0;
    if (!status_ && waitpid(child_, &raw, 0) == child_) set(raw);
    return status_.value_or(-1);
  }

 private:
  void set(int raw) { status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw); }

  pid_t child_ = -1;
  std::optional<int> status_;
};

}  // namespace nnc::test
