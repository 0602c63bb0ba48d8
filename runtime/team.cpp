#include "runtime/team.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>

namespace nnc {

namespace {

constexpr int spins_before_yield = 2000;
constexpr int yields_before_sleep = 100;

/// Returns when `value` is no longer `old`.
void wait_for_change(const std::atomic<std::uint32_t>& value, std::uint32_t old, int spins) {
  for (int i = 0; i < spins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    _mm_pause();
  }
  for (int i = 0; i < yields_before_sleep; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    sched_yield();
  }
  value.wait(old, std::memory_order_acquire);
}

void barrier_of_team(void* team) { static_cast<Barrier*>(team)->wait(); }

}  // namespace

int available_threads() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  return std::max(1, CPU_COUNT(&mask));
}

void Barrier::wait() {
  std::uint32_t phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
    return;
  }
  wait_for_change(phase_, phase, spins_);
}

Team::Team(int threads) {
  if (threads <= available_threads()) spins_ = spins_before_yield;
  done_.prepare(static_cast<std::uint32_t>(threads),
                spins_);  // once: a worker may still be leaving it at the next call
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(static_cast<std::uint32_t>(i)); });
}

Team::~Team() {
  stopping_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Team::run(nnc_function function, const nnc_call& call, int threads) {
  nnc_call own = call;
  own.thread = 0;
  own.threads = static_cast<std::uint32_t>(std::clamp(threads, 1, size()));
  own.barrier = barrier_of_team;
  own.team = &barrier_;
  barrier_.prepare(own.threads, spins_);
  if (own.threads == 1) return function(&own);
  // All workers wake, also those that this call does not need: they only report back.
  active_ = own.threads;
  function_ = function;
  call_ = &own;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  function(&own);
  done_.wait();
}

void Team::work(std::uint32_t index) {
  std::uint32_t seen = 0;
  for (;;) {
    wait_for_change(generation_, seen, spins_);
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_) return;
    if (index < active_) {
      nnc_call own = *call_;
      own.thread = index;
      function_(&own);
    }
    done_.wait();
  }
}

}  // namespace nnc
