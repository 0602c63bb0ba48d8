// How each kernel runs, from the machine's numbers and the kernel's size alone. Loop order of a contraction: whichever
// operand is read again and again should be the smaller traffic. How threads share kernels is passes/share_out.
#include <algorithm>

#include "ir/program/contraction.h"
#include "passes/lowering.h"

namespace nnc {
namespace {

// Of a block: a panel of b is read from memory for each. More tiles than these gain little.
constexpr std::int64_t fewest_tiles = 4, most_tiles = 32, most_tiles_by_steps = 128;
// Panels that a copy of a's rows pays for, and those after which it is made anew: their accumulators wait in memory. By
// steps, where reading in place is slower, few of them for each thread that makes the copy will do.
constexpr std::int64_t fewest_panels_packed = 8, fewest_panels_of_thread = 2, most_panels_packed = 32;
// Steps of k up to which sums are whole where a's rows are copied; longer ones go by steps.
constexpr std::int64_t fewest_steps_copied = 192, most_steps_copied = 512;
// Of windows' rows: what the second cache takes to answer, and other fetches before it.
constexpr int steps_fetched = 12;
constexpr std::int64_t fewest_for_vectors = 4;  // shorter loops are not worth a vector

/// The last loop that has more than one step, or the last one.
std::size_t last_long(const Dims& loops) {
  for (std::size_t loop = loops.size(); loop-- > 0;)
    if (loops[loop] != 1) return loop;
  return loops.size() - 1;
}

std::int64_t product(const Dims& dims, std::size_t count) {
  std::int64_t result = 1;
  for (std::size_t i = 0; i < count; ++i) result *= dims[i];
  return result;
}

/// Of a loop that is vectorised: a short one has vectors of its own length, without lanes that are masked out.
int lanes_along(std::int64_t extent, int lanes) {
  while (lanes / 2 >= std::max(extent, fewest_for_vectors)) lanes /= 2;
  return lanes;
}

/// Elements of the operand a, of which windows show some repeatedly.
std::int64_t elements_of_a(const Contract& core) {
  Dims loops = core.row_loops(), steps = core.step_loops();
  loops.insert(loops.end(), steps.begin(), steps.end());
  std::int64_t elements = 1;
  for (const AffineRow& row : core.a.map) {
    Dims all(row.coefficients.size() - loops.size(), 1);  // a stack's loop
    all.insert(all.end(), loops.begin(), loops.end());
    const RowReach reach = reach_of(row, all);
    elements *= reach.high - reach.low + 1;
  }
  return std::min(elements, core.m * core.k);
}

/// Steps of a turn where a tile's rows lie in streams: those of a product, each of which is one, and a copied tile,
/// which is one as a whole (docs/decisions.md has what was measured).
int steps_of_streams(const Machine& machine) { return (machine.tile_steps + 1) / 2; }

/// What a contraction reads and writes.
std::int64_t bytes_of(const Contract& core, std::int64_t element) {
  return (elements_of_a(core) + core.k * core.n + core.m * core.n) * element;
}

/// Steps of each of so many parts of k, in whole turns of the innermost loop.
std::int64_t equal_steps(const Contract& core, std::int64_t parts, const Schedule& schedule) {
  const std::int64_t even = (core.k + parts - 1) / parts;
  return (even + schedule.tile_steps - 1) / schedule.tile_steps * schedule.tile_steps;
}

/// The most tiles that one thread has.
std::int64_t tiles_of_thread(const Contract& core, const Schedule& schedule) {
  const std::int64_t tiles = (core.m + schedule.tile_rows - 1) / schedule.tile_rows;
  const std::int64_t pieces = schedule.shared == Schedule::Shared::tiles ? schedule.parallel : 1;
  return (tiles + pieces - 1) / pieces;
}

/// Tiles of a block where no more than `most` of a thread's fit: as many as in the others, so that no block is a rest.
int equal_tiles(const Contract& core, std::int64_t most, const Schedule& schedule) {
  const std::int64_t tiles = tiles_of_thread(core, schedule);
  const std::int64_t blocks = std::max<std::int64_t>(1, (tiles + most - 1) / most);
  return static_cast<int>((tiles + blocks - 1) / blocks);
}

/// Where many panels meet a's rows, these are copied, tile by tile: read where they lie, each step is another page.
/// A panel's steps, a tile's and the accumulators of two tiles then take five sevenths of the first cache, with room
/// for another tile's steps where much is fetched ahead, and a block's steps of a three quarters of the second.
void pack_rows(const Contract& core, std::int64_t bytes, const Machine& machine, std::int64_t fewest_panels,
               Schedule& schedule) {
  const std::int64_t width = panel_width(schedule);
  const std::int64_t panels = panels_of_piece(core, schedule);
  if (panels_of(core, schedule) < fewest_panels || panels < fewest_panels_of_thread) return;
  if (!rows_side_by_side(core)) return;
  const std::int64_t room = machine.l1_bytes * 5 / 7 - 2 * schedule.tile_rows * width * bytes;
  const std::int64_t rows_met = (machine.fetch_ahead ? 2 : 1) * schedule.tile_rows;
  const std::int64_t most = std::max<std::int64_t>(1, room / ((width + rows_met) * bytes));
  const std::int64_t steps = equal_steps(core, (core.k + most - 1) / most, schedule);
  const std::int64_t tiles = machine.l2_bytes * 3 / 4 / (schedule.tile_rows * steps * bytes);
  schedule.block_k = static_cast<int>(steps);
  schedule.block_tiles = equal_tiles(core, std::clamp(tiles, fewest_tiles, most_tiles_by_steps), schedule);
  schedule.packed_for = static_cast<int>(std::min(panels, most_panels_packed));
}

/// Products. A block's rows take two thirds of the second cache, or all rows of a thread the whole of it: then b is
/// read once. A tile's rows that take more than three quarters of the first cache go through k in equal parts of two
/// thirds, and meet a few panels with each part.
void cut_products(const Contract& core, std::int64_t bytes, const Machine& machine, Schedule& schedule) {
  const std::int64_t tiles = tiles_of_thread(core, schedule), tile = core.k * schedule.tile_rows * bytes;
  const std::int64_t panel = core.k * panel_width(schedule) * bytes;
  const bool all = tiles * tile + panel <= machine.l2_bytes;
  const std::int64_t most = std::clamp<std::int64_t>(machine.l2_bytes * 2 / 3 / tile, fewest_tiles, most_tiles);
  schedule.block_tiles = equal_tiles(core, all ? tiles : most, schedule);
  const std::int64_t part = machine.l1_bytes * 2 / 3;
  if (4 * tile > 3 * machine.l1_bytes)
    schedule.block_k = static_cast<int>(equal_steps(core, (tile + part - 1) / part, schedule));
}

/// Where neither operand stays in the second cache, each panel of b would meet all of a in slower memory: so a goes in
/// blocks.
void block_rows(const Contract& core, std::int64_t bytes, const Machine& machine, Schedule& schedule) {
  const std::int64_t room = machine.l2_bytes / 2;
  if (elements_of_a(core) * bytes <= room || core.k * core.n * bytes <= room) return;
  const std::int64_t width = panel_width(schedule);
  const std::int64_t panel = core.k * width * bytes, tile = core.k * schedule.tile_rows * bytes;
  schedule.panels_outside = true;
  // Xᵀ·dZ goes down the rows of both: each step of k is another line and another page.
  const std::vector<AffineRow>& map = core.a.map;
  const bool down = map.size() > 1 && map.end()[-2].coefficients.end()[-1] != 0;
  if (machine.cut_products && !down && !has_windows(core)) return cut_products(core, bytes, machine, schedule);
  schedule.block_tiles = static_cast<int>(std::clamp<std::int64_t>((room - panel) / tile, fewest_tiles, most_tiles));
  const std::int64_t fitting = machine.l1_bytes / 2 / (2 * line_bytes);  // a line of each operand for each
  if (core.k <= 2 * fitting || !(down || panel > room / 2)) return;
  schedule.block_k = static_cast<int>(fitting);
  // Then so many steps of a tile's rows, and its accumulators for a few panels, are what has to stay. Windows overlap:
  // of these the steps of all tiles are little more than a part of the image.
  const std::int64_t image = has_windows(core) ? elements_of_a(core) * fitting / core.k * bytes : 0;
  const std::int64_t stays = schedule.tile_rows * ((has_windows(core) ? 0 : fitting) + 4 * width) * bytes;
  const std::int64_t tiles = std::max<std::int64_t>(0, room - image) / stays;
  schedule.block_tiles = static_cast<int>(std::clamp(tiles, fewest_tiles, most_tiles_by_steps));
  pack_rows(core, bytes, machine, fewest_panels_packed, schedule);
}

/// Rows of Xᵀ that many panels meet are copied though nothing need go in blocks: a step of a tile is a line or two of
/// its own where it lies, and the copy's steps lie side by side. Blocks take three eighths of the second cache.
void copy_rows(const Contract& core, std::int64_t bytes, const Machine& machine, Schedule& schedule) {
  const std::int64_t room = machine.l2_bytes * 3 / 8, tile = core.k * schedule.tile_rows * bytes;
  schedule.panels_outside = true;
  schedule.block_tiles = equal_tiles(core, std::max<std::int64_t>(1, room / tile), schedule);
  schedule.block_k = static_cast<int>(core.k);
  schedule.packed_for = static_cast<int>(panels_of_piece(core, schedule));
}

/// Whether the copy gains more than it takes where the rows lie in memory of the program.
bool copies_rows(const Contract& core, const Machine& machine, const Schedule& schedule) {
  return machine.copy_rows && panels_of_piece(core, schedule) >= fewest_panels_packed && rows_side_by_side(core) &&
         core.k >= fewest_steps_copied && core.k <= most_steps_copied;
}

/// Likewise where they lie in a feed and nothing is copied yet.
bool copies_fed_rows(const Contract& core, const Schedule& schedule) {
  return schedule.packed_for == 0 && rows_side_by_side(core) && panels_of_piece(core, schedule) >= fewest_panels_fed;
}

/// Long sums stay by steps.
void copy_fed_rows(const Contract& core, std::int64_t bytes, const Machine& machine, Schedule& schedule) {
  if (schedule.block_k > 0) return pack_rows(core, bytes, machine, fewest_panels_fed, schedule);
  copy_rows(core, bytes, machine, schedule);
}

class Scheduler {
 public:
  Scheduler(const Program& program, const LowerOptions& options) : program_(program), options_(options) {}

  Schedule of(const Kernel& kernel) const {
    Schedule schedule;
    schedule.lanes = options_.machine.lanes(element_bytes(kernel));
    schedule.vector = kernel.core ? Schedule::Vector::outer : vector_loop(kernel);
    if (kernel.core) {
      shape_tiles(*kernel.core, element_bytes(kernel), options_.machine, schedule);
      if (rows_of_feed(program_, *kernel.core)) schedule.tile_rows = std::min(schedule.tile_rows, pointer_rows_of_feed);
    } else if (schedule.vector == Schedule::Vector::outer)
      schedule.lanes = lanes_along(kernel.outer[last_long(kernel.outer)], schedule.lanes);
    return schedule;
  }

  /// What depends on the pieces.
  void order(Kernel& kernel) const {
    if (!kernel.core) return;
    const bool fed = buffer(kernel.core->a).region == Region::feed;
    order_tiles(*kernel.core, element_bytes(kernel), fed, options_.machine, kernel.schedule);
    if (updates_much(kernel)) kernel.schedule.fetch_ahead = options_.machine.fetch_ahead;
  }

 private:
  /// Whether a contraction, with the moments of the parameter that it updates, leaves the second cache.
  bool updates_much(const Kernel& kernel) const {
    std::int64_t updated = 0, variables = 0;
    for (const Stage& stage : kernel.stages)
      for (const Store& store : stage.stores) {
        const Buffer& of = buffer(store.to);
        if (of.region != Region::params && of.region != Region::state) continue;
        updated += static_cast<std::int64_t>(of.bytes);
        ++variables;
      }
    const Contract& core = *kernel.core;
    const auto operands = (elements_of_a(core) + core.k * core.n) * static_cast<std::int64_t>(element_bytes(kernel));
    return variables > 1 && operands + updated > 2 * options_.machine.l2_bytes;
  }

  const Buffer& buffer(const Access& access) const { return program_.buffers[access.buffer]; }

  /// Size of the elements that vectors are counted in: the smallest float that the kernel works on.
  std::size_t element_bytes(const Kernel& kernel) const {
    if (kernel.core) return size_of(buffer(kernel.core->a).dtype);
    std::size_t bytes = 8;
    const auto see = [&](ScalarType type) {
      if (type == ScalarType::f32 || type == ScalarType::i32) bytes = 4;
    };
    for (const Stage& stage : kernel.stages) {
      for (const ScalarInstruction& instruction : stage.body.program.code) see(instruction.type);
      for (const Fold& fold : stage.folds) see(scalar_type(fold.dtype));
    }
    return bytes;
  }

  /// Elements between neighbours along a loop; 0: the same element, -1: unknown or far.
  std::int64_t step(const Access& access, std::size_t loop) const {
    const Buffer& of = buffer(access);
    std::int64_t step = 0;
    for (std::size_t axis = 0; axis < access.map.size(); ++axis) {
      const std::int64_t coefficient = access.map[axis].coefficients[loop];
      if (coefficient == 0) continue;
      if (access.map[axis].divisor != 1) return -1;
      if (of.layout.kind == Layout::Kind::panels) return axis == 1 && coefficient == 1 ? 1 : -1;
      if (of.region == Region::feed && axis == 0) return -1;
      step += coefficient * of.layout.strides[axis];
    }
    return step;
  }

  /// How many accesses are better off with one loop vectorised than with the other, weighed by how often they happen.
  double contiguous(const Kernel& kernel, const Stage& stage, std::size_t loop) const {
    double total = 0;
    const std::size_t loops = kernel.outer.size() + stage.inner.size();
    std::vector<bool> jumps;  // computed indices that differ along the loop
    for (const ComputedIndex& index : stage.body.indices) jumps.push_back(follows(stage.body, index.value, loop));
    const auto see = [&](const Access& access) {
      bool jump = false;
      for (std::size_t i = 0; i < jumps.size(); ++i)
        for (const AffineRow& row : access.map) jump = jump || (jumps[i] && row.coefficients[loops + i] != 0);
      const std::int64_t by = jump ? -1 : step(access, loop);
      total += by == 1 || by == 0 ? 1 : -1;
    };
    for (const BodyInput& input : stage.body.inputs)
      if (const auto* access = std::get_if<Access>(&input)) see(*access);
    for (const Store& store : stage.stores) see(store.to);
    return total *
           static_cast<double>(product(kernel.outer, kernel.outer.size()) * product(stage.inner, stage.inner.size()));
  }

  /// Whether a result of a body depends on a loop, by its index or by what is read with it.
  static bool follows(const Body& body, ScalarId result, std::size_t loop) {
    std::vector<bool> depends;
    for (const ScalarInstruction& instruction : body.program.code) {
      bool here = false;
      for (int i = 0; i < operand_count(instruction.op); ++i) here = here || depends[instruction.operands[i]];
      if (instruction.op == ScalarOp::input) {
        const BodyInput& input = body.inputs[instruction.bits];
        if (const auto* index = std::get_if<LoopIndex>(&input)) here = index->loop == loop;
        if (std::holds_alternative<FoldResult>(input) || std::holds_alternative<CoreValue>(input)) here = true;
        if (const auto* access = std::get_if<Access>(&input))
          for (const AffineRow& row : access->map) {
            here = here || row.coefficients[loop] != 0;
            for (std::size_t i = 0; i < body.indices.size(); ++i) {
              const std::size_t computed = row.coefficients.size() - body.indices.size() + i;
              here = here || (row.coefficients[computed] != 0 && depends_at(depends, body, i));
            }
          }
      }
      depends.push_back(here);
    }
    return depends[body.program.results[result]];
  }
  /// Of a computed index, as far as instructions are known: one that comes later is read by none of them.
  static bool depends_at(const std::vector<bool>& depends, const Body& body, std::size_t index) {
    const ScalarId at = body.program.results[body.indices[index].value];
    return at < depends.size() && depends[at];
  }

  Schedule::Vector vector_loop(const Kernel& kernel) const {
    bool lanes = false, serial = false, inner = false, adds = false;
    double along_outer = 0, along_inner = 0;
    for (const Stage& stage : kernel.stages) {
      for (const Fold& fold : stage.folds) {
        const bool ordered = fold.op == FoldOp::sum || fold.op == FoldOp::product;
        lanes = lanes || (ordered && fold.order == Order::lanes);
        serial = serial || (ordered && fold.order != Order::lanes);
      }
      for (const Store& store : stage.stores) adds = adds || store.add;
      if (!kernel.outer.empty()) along_outer += contiguous(kernel, stage, last_long(kernel.outer));
      if (stage.inner.empty()) continue;
      inner = true;
      along_inner += contiguous(kernel, stage, kernel.outer.size() + last_long(stage.inner));
    }
    const bool wide = !kernel.outer.empty() && kernel.outer[last_long(kernel.outer)] >= fewest_for_vectors;
    if (lanes) return wide && along_outer > along_inner ? Schedule::Vector::outer : Schedule::Vector::inner;
    if (!inner || serial || adds) return wide ? Schedule::Vector::outer : Schedule::Vector::none;
    if (wide && along_outer >= along_inner) return Schedule::Vector::outer;
    return Schedule::Vector::inner;
  }

  const Program& program_;
  const LowerOptions& options_;
};

}  // namespace

void shape_tiles(const Contract& core, std::size_t bytes, const Machine& machine, Schedule& schedule) {
  schedule.lanes = machine.lanes(bytes);
  const std::int64_t vectors = (core.n + schedule.lanes - 1) / schedule.lanes;
  schedule.tile_vectors = static_cast<int>(std::clamp<std::int64_t>(vectors, 1, machine.tile_vectors));
  // The accumulators that a narrow tile leaves free go to more rows.
  schedule.tile_rows = machine.tile_rows * machine.tile_vectors / schedule.tile_vectors;
  schedule.tile_steps = goes_down(core) ? machine.tile_steps : steps_of_streams(machine);
}

void order_tiles(const Contract& core, std::size_t bytes, bool fed, const Machine& machine, Schedule& schedule) {
  const auto m = static_cast<double>(core.m), n = static_cast<double>(core.n), k = static_cast<double>(core.k);
  const double panels = n / (schedule.lanes * schedule.tile_vectors), tiles = m / schedule.tile_rows;
  const auto a = static_cast<double>(elements_of_a(core));
  schedule.panels_outside = panels * a + k * n <= tiles * k * n + a;
  const auto size = static_cast<std::int64_t>(bytes);
  block_rows(core, size, machine, schedule);
  // Smaller ones find in the second cache what the kernels before them left, and would fetch it for nothing. What Xᵀ·dZ
  // replaces was met by no kernel since the product. The rows and panels of products are streams that processors follow
  // by themselves.
  const bool replaces = machine.fetch_ahead && rows_side_by_side(core);
  const bool large = bytes_of(core, size) > (replaces ? 1 : 2) * machine.l2_bytes;
  if (large && copies_rows(core, machine, schedule)) copy_rows(core, size, machine, schedule);
  if (fed && copies_fed_rows(core, schedule)) copy_fed_rows(core, size, machine, schedule);
  // Two steps of a feed's rows are no faster, and before Adam's update they leave LLVM a register short (znver5).
  if (schedule.packed_for > 0 && !fed) schedule.tile_steps = steps_of_streams(machine);
  schedule.fetch_ahead = machine.fetch_ahead && large && (goes_down(core) || has_windows(core));
  // A tile takes a little of each pixel, so nothing that processors do by themselves brings the next ones.
  const bool far = elements_of_a(core) * size > machine.l1_bytes;
  if (machine.fetch_ahead && has_windows(core) && goes_down(core) && far) schedule.fetch_steps = steps_fetched;
}

/// A whole program over less than two vectors is a chain of instructions that wait for one another, the trees of its
/// sums among them: then those vectors are best that are done soonest.
void shorten_vectors(const Kernel& kernel, const Machine& machine, Schedule& schedule) {
  std::int64_t points = 1;
  for (const Stage& stage : kernel.stages) points = std::max(points, product(stage.inner, stage.inner.size()));
  const int lanes = schedule.lanes * machine.short_vector_bytes / machine.vector_bytes;
  if (!kernel.outer.empty() || kernel.core || lanes == schedule.lanes || points >= std::int64_t{2} * schedule.lanes)
    return;
  schedule.lanes = lanes;
  schedule.widest_bytes = machine.short_vector_bytes;
}

void schedule(Draft& draft, const LowerOptions& options) {
  const Scheduler scheduler(draft.program, options);
  for (Kernel& kernel : draft.program.kernels) kernel.schedule = scheduler.of(kernel);
  share_out(draft, options);
  for (Kernel& kernel : draft.program.kernels) scheduler.order(kernel);
  if (draft.program.kernels.size() == 1 && draft.program.loops.empty())
    shorten_vectors(draft.program.kernels[0], options.machine, draft.program.kernels[0].schedule);
  for (Kernel& kernel : draft.program.kernels) give_work(draft.program, kernel);
  while (draft.base.size() < draft.program.buffers.size()) {
    draft.base.push_back(static_cast<BufferId>(draft.base.size()));
    draft.dense.push_back(true);
  }
}

}  // namespace nnc
