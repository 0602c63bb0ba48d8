// How threads share kernels: some kernel must be worth waking a team, and then each piece of any kernel a barrier.
#include <algorithm>

#include "passes/lowering.h"

namespace nnc {
namespace {

// A rough machine, only to tell small kernels from large ones.
constexpr double operations_per_microsecond = 20'000;  // of elementwise code, and contractions well below their peak
constexpr double bytes_per_microsecond = 10'000;
// Waking a team takes some microseconds, a barrier where all are awake a tenth of one.
constexpr double microseconds_of_team = 10, microseconds_per_piece = 2;

class Sharing {
 public:
  Sharing(Program& program, const LowerOptions& options) : program_(program), options_(options) {}

  /// As many threads as the longest kernel is worth share all that is worth a barrier.
  void run() {
    std::int64_t team = 1;
    for (const Kernel& kernel : program_.kernels)
      team = std::max(team, pieces(kernel, microseconds_of_team, std::max(1, options_.threads)));
    for (Kernel& kernel : program_.kernels) kernel.schedule.parallel = pieces(kernel, microseconds_per_piece, team);
  }

 private:
  std::int64_t pieces(const Kernel& kernel, double microseconds_each, std::int64_t most) const {
    const auto worth = static_cast<std::int64_t>(microseconds_of(kernel) / microseconds_each);
    return std::clamp<std::int64_t>(worth, 1, kernel.outer.empty() ? 1 : most);
  }

  double microseconds_of(const Kernel& kernel) const {
    double operations = 0, bytes = 0;
    const auto points = static_cast<double>(count_of(kernel.outer));
    if (kernel.core) operations += points * static_cast<double>(kernel.core->k) / 2;  // several at once, and fast
    for (const Stage& stage : kernel.stages) {
      const double times = points * static_cast<double>(count_of(stage.inner));
      for (const ScalarInstruction& instruction : stage.body.program.code)
        operations += times * static_cast<double>(length_of(instruction.op));
      const auto see = [&](const Access& access) {
        bytes += times * static_cast<double>(size_of(program_.buffers[access.buffer].dtype));
      };
      for (const BodyInput& input : stage.body.inputs)
        if (const auto* access = std::get_if<Access>(&input)) see(*access);
      for (const Store& store : stage.stores) see(store.to);
    }
    return operations / operations_per_microsecond + bytes / bytes_per_microsecond;
  }

  Program& program_;
  const LowerOptions& options_;
};

}  // namespace

void share_out(Draft& draft, const LowerOptions& options) { Sharing(draft.program, options).run(); }

}  // namespace nnc
