// A team of threads that runs compiled entries: one fork a call, every thread runs the same function and meets the
// others at barriers. Waiting spins for a moment, then yields, then sleeps, so that more threads than cores do no harm.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "runtime/abi.h"

namespace nnc {

/// Threads that this process may run at once: the size of its CPU mask.
int available_threads();

/// The point where `count` threads wait for one another.
class Barrier {
 public:
  /// `spins`: how often to look before yielding; 0 where there are more threads than cores.
  void prepare(std::uint32_t count, int spins) { count_ = count, spins_ = spins; }
  void wait();

 private:
  std::uint32_t count_ = 1;
  int spins_ = 0;
  std::atomic<std::uint32_t> arrived_{0}, phase_{0};
};

class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  /// Calls `function` on min(threads, size()) threads, each with its own copy of `call` (thread, threads, barrier and
  /// team set), and returns when all have.
  void run(nnc_function function, const nnc_call& call, int threads);

 private:
  void work(std::uint32_t index);

  std::vector<std::thread> workers_;
  int spins_ = 0;
  Barrier barrier_, done_;
  std::atomic<std::uint32_t> generation_{0};
  std::uint32_t active_ = 1;  // written before generation_, read after it
  bool stopping_ = false;
  nnc_function function_ = nullptr;
  const nnc_call* call_ = nullptr;
};

}  // namespace nnc
