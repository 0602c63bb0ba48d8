// Loops over kernels: what lies in which, and the walk that runs, emits and checks share.
#include "ir/program/program.h"

namespace nnc {
namespace {

/// The walk over kernels from `kernel` up to `end`; `loop` is the first loop that may begin there.
struct KernelWalk {
  const Program& program;
  const std::function<void(std::size_t)>& visit;
  const std::function<void(std::uint32_t, const std::function<void()>&)>& around;

  void range(std::size_t kernel, std::size_t end, std::uint32_t loop) const {
    while (kernel < end) {
      while (loop < program.loops.size() && program.loops[loop].first < kernel) ++loop;
      if (loop == program.loops.size() || program.loops[loop].first != kernel) {
        visit(kernel++);
        continue;
      }
      const SerialLoop& inside = program.loops[loop];
      around(loop, [&] { range(inside.first, inside.end, loop + 1); });
      kernel = inside.end;
    }
  }
};

}  // namespace

BufferId whole_of(const Program& program, BufferId buffer) {
  while (program.buffers[buffer].part) buffer = program.buffers[buffer].part->of;
  return buffer;
}

std::vector<std::uint32_t> loops_around(const Program& program, std::size_t kernel) {
  std::vector<std::uint32_t> around;
  for (std::uint32_t loop = 0; loop < program.loops.size(); ++loop)
    if (program.loops[loop].holds(kernel)) around.push_back(loop);
  return around;
}

Program alone(const Program& program, std::size_t kernel) {
  Program one = program;
  one.kernels = {program.kernels[kernel]};
  one.loops.clear();
  std::vector<std::optional<std::uint32_t>> numbers(program.loops.size());
  for (std::uint32_t loop : loops_around(program, kernel)) {
    numbers[loop] = static_cast<std::uint32_t>(one.loops.size());
    const SerialLoop& around = program.loops[loop];
    one.loops.push_back({.first = 0, .end = 1, .steps = around.steps, .backwards = around.backwards});
  }
  for (Buffer& buffer : one.buffers)
    if (buffer.part && buffer.part->loop) buffer.part->loop = numbers[*buffer.part->loop];
  return one;
}

void walk(const Program& program, const std::function<void(std::size_t)>& kernel,
          const std::function<void(std::uint32_t, const std::function<void()>&)>& loop) {
  KernelWalk{program, kernel, loop}.range(0, program.kernels.size(), 0);
}

}  // namespace nnc
