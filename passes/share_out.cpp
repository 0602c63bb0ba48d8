// How threads share kernels: some kernel must be worth waking a team, and then each piece of any kernel a barrier.
//
// A contraction's pieces are tiles of rows, panels of columns, or products of a stack. What one thread writes another
// one waits for, line by line: so a product with a parameter and the parameter's update have pieces of the same panels
// where the parameter is what would have to cross, and each panel and its moments stay with one thread from step to
// step. Where activations are more, these stay and tiles are shared.
#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "ir/program/contraction.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

// A rough machine, only to tell small kernels from large ones.
constexpr double operations_per_microsecond = 20'000;  // of elementwise code, and contractions well below their peak
constexpr double bytes_per_microsecond = 10'000;
// Waking a team takes some microseconds, a barrier where all are awake a tenth of one.
constexpr double microseconds_of_team = 10, microseconds_per_piece = 2;
// Fmas of whole vectors at their peak, and bytes that another thread has just written.
constexpr double fmas_per_microsecond = 6'000, crossing_bytes_per_microsecond = 6'400;
/// Rows of a batch for each column up to which a parameter is what should not cross, rather than activations.
constexpr std::int64_t most_rows_a_column = 2;

/// Contractions that meet the same parameters by panels, and so share them alike.
struct Meeting {
  std::vector<Kernel*> kernels;
  double bytes = 0;  ///< of parameters that one of them reads and another one writes
};

/// Whether an access's last axis is the last loop of a contraction, so that its columns go with the panels.
bool in_columns(const Access& access) {
  if (access.map.empty()) return false;
  const AffineRow& row = access.map.back();
  const auto others = std::span(row.coefficients).first(row.coefficients.size() - 1);
  return row.offset == 0 && row.divisor == 1 && row.coefficients.back() == 1 &&
         std::ranges::all_of(others, [](std::int64_t coefficient) { return coefficient == 0; });
}

class Sharing {
 public:
  Sharing(Draft& draft, const LowerOptions& options) : draft_(draft), program_(draft.program), options_(options) {}

  /// As many threads as the longest kernel is worth share all that is worth a barrier.
  void run() {
    std::int64_t team = 1;
    for (const Kernel& kernel : program_.kernels)
      team = std::max(team, pieces(kernel, microseconds_of_team, std::max(1, options_.threads)));
    for (Kernel& kernel : program_.kernels) kernel.schedule.parallel = pieces(kernel, microseconds_per_piece, team);
    for (const Meeting& meeting : meetings()) choose(meeting);
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

  /// The base of a buffer that is there again in the next step, or in another program of the job.
  std::optional<BufferId> kept(const Access& access) const {
    const BufferId base = draft_.base[access.buffer];
    switch (program_.buffers[base].region) {
      case Region::params:
      case Region::state:
      case Region::grads:
      case Region::carry:
        return base;
      case Region::arena:
      case Region::feed:
      case Region::output:
      case Region::scalars:
      case Region::constant:
        return std::nullopt;
    }
    return std::nullopt;
  }

  /// Of what a contraction writes, that which is kept, by columns.
  std::vector<BufferId> kept_results(const Kernel& kernel) const {
    std::vector<BufferId> results;
    for (const Stage& stage : kernel.stages)
      for (const Store& store : stage.stores)
        if (const auto base = kept(store.to); base && in_columns(store.to)) results.push_back(*base);
    return results;
  }

  /// Every contraction, with those that it shares parameters with. A loop's step meets a parameter again and again, in
  /// a cache that it has come to before, and has a barrier for every piece each time: it goes by itself.
  std::vector<Meeting> meetings() {
    std::vector<Meeting> meetings;
    std::map<BufferId, std::size_t> updated;  // by parameter: the meeting of its update
    for (std::size_t i = program_.kernels.size(); i-- > 0;) {
      Kernel& kernel = program_.kernels[i];
      if (!kernel.core) continue;
      const bool in_loop = !loops_around(program_, i).empty();
      const std::optional<BufferId> read = in_columns(kernel.core->b) ? kept(kernel.core->b) : std::nullopt;
      if (const auto found = read && !in_loop ? updated.find(*read) : updated.end(); found != updated.end()) {
        Meeting& meeting = meetings[found->second];
        if (meeting.bytes == 0) meeting.bytes = static_cast<double>(bytes_of(program_.buffers[*read]));
        meeting.kernels.push_back(&kernel);
        continue;
      }
      meetings.push_back({{&kernel}});
      if (in_loop) continue;
      for (const BufferId result : kept_results(kernel)) updated.emplace(result, meetings.size() - 1);
    }
    return meetings;
  }

  /// Whether a contraction's parameter is more than the activations that it meets. Where it goes down a's rows, or what
  /// it gives is kept, a gradient or what becomes of it, or a total of blocks, the rows of a batch are summed.
  bool few_rows(const Kernel& kernel) const {
    const Contract& core = *kernel.core;
    const bool summed = goes_down(core) || !kept_results(kernel).empty();
    return panels_may_be_shared(summed ? core.k : core.m, core.n);
  }

  /// Microseconds of the largest of so many pieces, of units that are all alike. Shares that are the same number are
  /// the same to the last bit.
  static double largest(const Kernel& kernel, std::int64_t units, std::int64_t pieces) {
    const std::int64_t some = std::max<std::int64_t>(1, units);
    const std::int64_t most = (some + pieces - 1) / pieces;
    const double share = static_cast<double>(most) / static_cast<double>(some);
    const double fmas = static_cast<double>(count_of(kernel.outer)) * static_cast<double>(kernel.core->k) /
                        static_cast<double>(kernel.schedule.lanes);
    return share * (fmas / fmas_per_microsecond);
  }

  /// Panels, where that is as even, or less uneven than what it takes for parameters to cross.
  void choose(const Meeting& meeting) const {
    std::int64_t pieces = 1;
    bool few = true;
    for (const Kernel* kernel : meeting.kernels) {
      pieces = std::max(pieces, kernel->schedule.parallel);
      few = few && few_rows(*kernel);
    }
    double by_panels = 0;
    double by_tiles = meeting.bytes * (1 - 1 / static_cast<double>(pieces)) / crossing_bytes_per_microsecond;
    for (const Kernel* kernel : meeting.kernels) {
      by_panels += largest(*kernel, panels_of(*kernel->core, kernel->schedule), pieces);
      by_tiles += largest(*kernel, row_tiles(program_, *kernel).count, pieces);
    }
    const bool panels = few && by_panels <= by_tiles;
    for (Kernel* kernel : meeting.kernels) {
      Schedule& schedule = kernel->schedule;
      const std::int64_t products = kernel->outer.size() == 3 ? kernel->outer[0] : 1;
      if (panels && meeting.kernels.size() > 1) schedule.parallel = pieces;
      const bool stack = products > 1 && products >= schedule.parallel;
      schedule.shared = stack ? Schedule::Shared::stack : panels ? Schedule::Shared::panels : Schedule::Shared::tiles;
    }
  }

  Draft& draft_;
  Program& program_;
  const LowerOptions& options_;
};

}  // namespace

bool panels_may_be_shared(std::int64_t rows, std::int64_t columns) { return rows <= most_rows_a_column * columns; }

void share_out(Draft& draft, const LowerOptions& options) { Sharing(draft, options).run(); }

}  // namespace nnc
