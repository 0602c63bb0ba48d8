// Gives every buffer its place. Parameters, state, carries and gradients lie one after the other in the order of their
// slots, the same in every program of a job. Values of the arena share memory where they are not alive at the same
// time: first fit, in the order in which they are made. What goes into a loop or comes out of it is alive all through;
// what a step makes and uses itself shares memory with the rest of the step.
#include <algorithm>

#include "passes/lowering.h"

namespace nnc {
namespace {

std::uint64_t aligned(std::uint64_t bytes) { return (bytes + line_bytes - 1) / line_bytes * line_bytes; }

/// Kernels during which a value of the arena is needed, both included.
struct Lifetime {
  BufferId buffer = 0;
  std::size_t first = 0, last = 0;
  bool used = false;
};

class Planner {
 public:
  explicit Planner(Draft& draft) : draft_(draft), program_(draft.program) {}

  void run() {
    program_.params_bytes = one_after_the_other(program_.params);
    program_.state_bytes = one_after_the_other(program_.state);
    program_.carry_bytes = one_after_the_other(program_.carry);
    program_.grads_bytes = one_after_the_other(program_.grads);
    place_arena();
    for (BufferId id = 0; id < program_.buffers.size(); ++id)
      program_.buffers[id].offset = program_.buffers[draft_.base[id]].offset;
  }

 private:
  std::uint64_t one_after_the_other(const std::vector<Slot>& slots) {
    std::uint64_t end = 0;
    for (const Slot& slot : slots) {
      program_.buffers[slot.buffer].offset = end;
      end += aligned(program_.buffers[slot.buffer].bytes);
    }
    return end;
  }

  std::vector<Lifetime> lifetimes() const {
    std::vector<Lifetime> lifetimes(program_.buffers.size());
    for (std::size_t k = 0; k < program_.kernels.size(); ++k) {
      const auto note = [&](BufferId id, std::size_t first, std::size_t last) {
        Lifetime& lifetime = lifetimes[id];
        if (!lifetime.used) lifetime = {id, first, last, true};
        lifetime.first = std::min(lifetime.first, first);
        lifetime.last = std::max(lifetime.last, last);
      };
      const auto see = [&](const Access& access) {
        const BufferId base = draft_.base[access.buffer];
        note(base, k, k);
        for (const Buffer* at = &program_.buffers[access.buffer]; at->part; at = &program_.buffers[at->part->of])
          if (at->part->loop) {
            const SerialLoop& loop = program_.loops[*at->part->loop];
            note(base, loop.first, loop.end - 1);
          }
      };
      const Kernel& kernel = program_.kernels[k];
      if (kernel.core) see(kernel.core->a), see(kernel.core->b);
      if (kernel.work) note(*kernel.work, k, k);
      for (const Stage& stage : kernel.stages) {
        for (const BodyInput& input : stage.body.inputs)
          if (const auto* access = std::get_if<Access>(&input)) see(*access);
        for (const Store& store : stage.stores) see(store.to);
        for (const Fold& fold : stage.folds)
          if (fold.carry) see(*fold.carry);
      }
    }
    for (Lifetime& lifetime : lifetimes)
      if (lifetime.used) cover_loops(lifetime);
    std::erase_if(lifetimes, [&](const Lifetime& lifetime) {
      return !lifetime.used || program_.buffers[lifetime.buffer].region != Region::arena;
    });
    std::stable_sort(lifetimes.begin(), lifetimes.end(),
                     [](const Lifetime& a, const Lifetime& b) { return a.first < b.first; });
    return lifetimes;
  }

  /// A lifetime that begins or ends within a loop, and not both, lasts for the whole loop.
  void cover_loops(Lifetime& lifetime) const {
    for (bool grown = true; grown;) {
      const auto [first, last] = std::pair(lifetime.first, lifetime.last);
      for (const SerialLoop& loop : program_.loops) {
        if (loop.holds(lifetime.first) == loop.holds(lifetime.last)) continue;
        if (loop.holds(lifetime.first)) lifetime.first = loop.first;
        if (loop.holds(lifetime.last)) lifetime.last = loop.end - 1;
      }
      grown = lifetime.first != first || lifetime.last != last;
    }
  }

  void place_arena() {
    std::vector<Lifetime> placed;  // ascending by offset
    for (const Lifetime& lifetime : lifetimes()) {
      Buffer& buffer = program_.buffers[lifetime.buffer];
      std::uint64_t at = 0;
      for (const Lifetime& other : placed) {
        const Buffer& there = program_.buffers[other.buffer];
        if (other.last < lifetime.first || lifetime.last < other.first) continue;
        if (at + aligned(buffer.bytes) <= there.offset) break;
        at = std::max(at, there.offset + aligned(there.bytes));
      }
      buffer.offset = at;
      program_.arena_bytes = std::max(program_.arena_bytes, at + aligned(buffer.bytes));
      const auto after = std::upper_bound(
          placed.begin(), placed.end(), at,
          [&](std::uint64_t offset, const Lifetime& other) { return offset < program_.buffers[other.buffer].offset; });
      placed.insert(after, lifetime);
    }
  }

  Draft& draft_;
  Program& program_;
};

}  // namespace

void plan(Draft& draft) { Planner(draft).run(); }

}  // namespace nnc
