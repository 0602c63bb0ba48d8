// Threads of a team meet at every barrier, whatever their number and the number of cores.
#include <atomic>
#include <vector>

#include "runtime/team.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

constexpr int rounds = 50;

/// Every thread adds its share to a cell of the round; after the barrier each checks that all have.
struct Work {
  std::atomic<std::uint32_t> cells[rounds];
  std::atomic<int> failures{0};
};

void add_up(const nnc_call* call) {
  Work& work = *static_cast<Work*>(call->arena);
  for (auto& cell : work.cells) {
    cell.fetch_add(call->thread + 1);
    call->barrier(call->team);
    if (cell.load() != call->threads * (call->threads + 1) / 2) ++work.failures;
  }
}

}  // namespace

TEST_CASE("a team of any size runs calls one after the other") {
  for (int size : {1, 2, 3, 7, 16}) {
    Team team(size);
    CHECK(team.size() == size);
    for (int repeat = 0; repeat < 20; ++repeat) {
      for (int threads : {1, size, size / 2 + 1}) {
        Work work{};
        nnc_call call{};
        call.arena = &work;
        team.run(add_up, call, threads);
        CHECK(work.failures == 0);
        std::uint32_t ran = static_cast<std::uint32_t>(std::min(threads, size));
        for (auto& cell : work.cells) CHECK(cell.load() == ran * (ran + 1) / 2);
      }
    }
  }
}
