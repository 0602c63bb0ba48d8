// Time that this thread has spent computing: what a bound in a test is about on a machine that others use too.
#pragma once

#include <ctime>

namespace nnc::test {

/// Seconds of processor time of the calling thread.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace nnc::test
