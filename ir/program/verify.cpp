// What makes a program safe to compile: every access stays in its buffer at every corner of its loops, every value has
// the type that its reader takes, a fold's result is read only after its stage, and no two values share memory while
// both are needed. Affine maps take their extremes at corners, so corners are enough; a guarded one is measured against
// its guards.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>

#include "ir/program/contraction.h"

namespace nnc {
namespace {

using Dims = std::vector<std::int64_t>;

std::int64_t count_of(const Dims& dims) {
  std::int64_t count = 1;
  for (std::int64_t dim : dims) count *= dim;
  return count;
}

/// Elements from the first to the last of a buffer, padding inside included.
std::int64_t span_of(const Buffer& buffer) {
  if (count_of(buffer.dims) == 0) return 0;
  if (buffer.layout.kind == Layout::Kind::panels)
    return (buffer.dims[1] + buffer.layout.panel - 1) / buffer.layout.panel * buffer.layout.panel * buffer.dims[0];
  std::int64_t last = 0;
  for (std::size_t axis = 0; axis < buffer.dims.size(); ++axis)
    last += (buffer.dims[axis] - 1) * buffer.layout.strides[axis];
  return last + 1;
}

/// row - factor * guard's row, whose terms in the loop `loop` cancel; the divisor is that of the row.
std::optional<std::pair<AffineRow, std::int64_t>> without(const AffineRow& row, const AffineRow& guard,
                                                          std::size_t loop) {
  if (row.divisor % guard.divisor != 0) return std::nullopt;
  const std::int64_t times = row.divisor / guard.divisor, coefficient = guard.coefficients[loop] * times;
  if (coefficient == 0 || row.coefficients[loop] % coefficient != 0) return std::nullopt;
  const std::int64_t factor = row.coefficients[loop] / coefficient;
  if (factor == 0) return std::nullopt;
  AffineRow rest = row;
  rest.offset -= factor * times * guard.offset;
  for (std::size_t j = 0; j < rest.coefficients.size(); ++j)
    rest.coefficients[j] -= factor * times * guard.coefficients[j];
  return std::pair(rest, factor);
}

/// Whether 0 <= row + (what lies in [low, high]) < extent wherever the guards from number `first` on hold. A row is as
/// a rule a sum of multiples of guarded rows and of loops: each guard is taken out of it or left, and what is left
/// takes its extremes at the corners of the nest.
bool stays_inside(const AffineRow& row, std::int64_t extent, std::span<const Guard> guards, const Dims& loops,
                  std::int64_t low = 0, std::int64_t high = 0) {
  const RowReach reach = reach_of(row, loops);
  if (reach.low + low * row.divisor >= 0 && reach.high + high * row.divisor <= (extent - 1) * row.divisor) return true;
  for (std::size_t i = 0; i < guards.size(); ++i)
    for (std::size_t loop = 0; loop < loops.size(); ++loop) {
      const auto rest = without(row, guards[i].row, loop);
      if (!rest) continue;
      const std::int64_t most = rest->second * (guards[i].extent - 1);
      if (stays_inside(rest->first, extent, guards.subspan(i + 1), loops, low + std::min<std::int64_t>(most, 0),
                       high + std::max<std::int64_t>(most, 0)))
        return true;
    }
  return false;
}

class Verifier {
 public:
  explicit Verifier(const Program& program) : program_(program) {}

  std::string run() {
    for (BufferId id = 0; id < program_.buffers.size(); ++id) check_buffer(id);
    for (const auto* slots :
         {&program_.params, &program_.state, &program_.grads, &program_.carry, &program_.feeds, &program_.outputs})
      for (const Slot& slot : *slots)
        if (slot.buffer >= program_.buffers.size()) fail("slot {} names a buffer that does not exist", slot.name);
    for (std::uint32_t id = 0; id < program_.loops.size(); ++id) check_loop(id);
    if (!problems_.empty()) return problems_;
    for (kernel_ = 0; kernel_ < program_.kernels.size(); ++kernel_) check_kernel(program_.kernels[kernel_]);
    if (problems_.empty()) check_memory();
    return problems_;
  }

 private:
  template <class... Values>
  void fail(fmt::format_string<Values...> format, Values&&... values) {
    problems_ += fmt::format(format, std::forward<Values>(values)...) + "\n";
  }
  template <class... Values>
  void fail_here(fmt::format_string<Values...> format, Values&&... values) {
    fail("kernel {} ({}): {}", kernel_, program_.kernels[kernel_].name,
         fmt::format(format, std::forward<Values>(values)...));
  }

  // --- buffers --------------------------------------------------------------------------------------------------

  std::uint64_t region_bytes(Region region) const {
    switch (region) {
      case Region::params:
        return program_.params_bytes;
      case Region::state:
        return program_.state_bytes;
      case Region::grads:
        return program_.grads_bytes;
      case Region::carry:
        return program_.carry_bytes;
      case Region::arena:
        return program_.arena_bytes;
      case Region::feed:
      case Region::output:
      case Region::scalars:
      case Region::constant:
        return ~std::uint64_t{0};  // their offset is an index, or nothing
    }
    return 0;
  }

  void check_buffer(BufferId id) {
    const Buffer& buffer = program_.buffers[id];
    const Layout& layout = buffer.layout;
    if (layout.kind == Layout::Kind::panels) {
      if (buffer.dims.size() != 2 || layout.panel <= 0) fail("buffer {} is not a matrix in panels", id);
    } else if (layout.strides.size() != buffer.dims.size()) {
      fail("buffer {} has {} strides for {} axes", id, layout.strides.size(), buffer.dims.size());
    }
    if (buffer.part) check_part(id);
    if (!problems_.empty()) return;
    const auto needed = static_cast<std::uint64_t>(span_of(buffer)) * size_of(buffer.dtype);
    if (needed > buffer.bytes) fail("buffer {} has {} bytes, its elements need {}", id, buffer.bytes, needed);
    const std::uint64_t region = region_bytes(buffer.region);
    if (region != ~std::uint64_t{0} && buffer.bytes > 0) {
      if (buffer.offset + buffer.bytes > region) fail("buffer {} leaves its region", id);
      if (buffer.offset % line_bytes != 0) fail("buffer {} is not aligned", id);
    }
    if (buffer.region == Region::constant && !buffer.part &&
        static_cast<std::int64_t>(buffer.values.size()) != count_of(buffer.dims))
      fail("constant buffer {} has {} values", id, buffer.values.size());
  }

  /// At every step a part lies in rows that there are.
  void check_part(BufferId id) {
    const Buffer& buffer = program_.buffers[id];
    const Part& part = *buffer.part;
    if (part.of >= id) return fail("buffer {} is a part of a later one", id);
    const Buffer& of = program_.buffers[part.of];
    if (of.dims.empty() || of.layout.strides.empty() || of.layout.kind != Layout::Kind::row_major || of.padded_rows)
      return fail("buffer {} is a part of one that has no rows", id);
    const bool loop = part.loop && *part.loop < program_.loops.size();
    if (part.loop && !loop) return fail("buffer {} is a row of loop {}, which there is not", id, *part.loop);
    const std::uint64_t row = static_cast<std::uint64_t>(of.layout.strides[0]) * size_of(of.dtype);
    const std::uint64_t rows = loop ? 1 : static_cast<std::uint64_t>(of.dims[0] - part.row);
    if (part.row < 0 || part.row >= of.dims[0] || buffer.bytes > rows * row || buffer.dtype != of.dtype ||
        buffer.region != of.region || buffer.offset != of.offset)
      fail("buffer {} is no part of buffer {}", id, part.of);
  }

  void check_loop(std::uint32_t id) {
    const SerialLoop& loop = program_.loops[id];
    if (loop.first >= loop.end || loop.end > program_.kernels.size() || loop.steps < 1)
      return fail("loop {} has no kernel or no step", id);
    if (id == 0) return;
    const SerialLoop& before = program_.loops[id - 1];
    if (loop.first < before.first) fail("loop {} is out of order", id);
    for (std::uint32_t other = 0; other < id; ++other)
      if (program_.loops[other].holds(loop.first) && loop.end > program_.loops[other].end)
        fail("loop {} leaves loop {}", id, other);
  }

  // --- kernels --------------------------------------------------------------------------------------------------

  void check_guards(const std::vector<Guard>& guards, const Dims& loops) {
    for (const Guard& guard : guards)
      if (guard.row.coefficients.size() != loops.size() || guard.row.divisor < 1 || guard.extent < 1)
        fail_here("a guard that is none");
  }

  /// Of a store, a carry, or an operand of a contraction.
  void check_unguarded(const Access& access, const Dims& loops) {
    check_access(access, loops);
    if (!access.guards.empty()) fail_here("a guard where none is looked at");
  }

  void check_access(const Access& access, const Dims& loops) {
    if (access.buffer >= program_.buffers.size()) return fail_here("no buffer {}", access.buffer);
    const Buffer& buffer = program_.buffers[access.buffer];
    for (const Buffer* at = &buffer; at->part; at = &program_.buffers[at->part->of])
      if (at->part->loop && !program_.loops[*at->part->loop].holds(kernel_))
        return fail_here("buffer {} is used outside of its loop", access.buffer);
    if (access.map.size() != buffer.dims.size())
      return fail_here("{} indices for buffer {} of rank {}", access.map.size(), access.buffer, buffer.dims.size());
    if (count_of(loops) == 0) return;
    for (std::size_t axis = 0; axis < access.map.size(); ++axis) {
      const AffineRow& row = access.map[axis];
      if (row.coefficients.size() != loops.size()) return fail_here("a map with a wrong number of loops");
      if (stays_inside(row, buffer.dims[axis], access.guards, loops)) continue;
      const RowReach reach = reach_of(row, loops);
      fail_here("axis {} of buffer {} is indexed from {} to {} of {}", axis, access.buffer, reach.low / row.divisor,
                reach.high / row.divisor, buffer.dims[axis]);
    }
    check_guards(access.guards, loops);
  }

  void check_kernel(const Kernel& kernel) {
    if (kernel.core) check_core(kernel);
    for (std::size_t stage = 0; stage < kernel.stages.size(); ++stage) check_stage(kernel, stage);
    check_schedule(kernel);
    if (problems_.empty()) check_work(kernel);
  }

  /// Whether a loop goes from one element of an access's last axis to the next, and along no other axis.
  static bool goes_along_last_axis(const Access& access, std::size_t loop) {
    if (access.map.empty()) return false;
    const auto moves = [&](const AffineRow& row) { return row.coefficients[loop] != 0; };
    const AffineRow& last = access.map.back();
    return last.coefficients[loop] == 1 && last.divisor == 1 && std::ranges::count_if(access.map, moves) == 1;
  }

  std::int64_t bytes_of_vector(const Kernel& kernel) const {
    return kernel.schedule.lanes * static_cast<std::int64_t>(size_of(program_.buffers[kernel.core->a.buffer].dtype));
  }

  /// Where a contraction keeps copies and sums there is a row for each piece, and what is copied lies side by side. The
  /// last vector of a copied tile reaches no further than the line behind it.
  void check_work(const Kernel& kernel) {
    const ContractionWork needed = work_of(program_, kernel);
    const std::int64_t elements = needed.elements();
    if (!kernel.work && elements == 0) return;
    if (needed.copies_rows && !goes_along_last_axis(kernel.core->a, kernel.outer.size() - 2))
      return fail_here("rows of a do not go along its last axis, where blocks copy them");
    if (needed.copies_panels && !goes_along_last_axis(kernel.core->b, kernel.outer.size() - 1))
      return fail_here("columns of b do not go along its last axis, where blocks copy them");
    if (elements > 0 && bytes_of_vector(kernel) > line_bytes)
      return fail_here("vectors longer than a line, where blocks keep them");
    if (!kernel.work) return fail_here("no memory to work in");
    if (*kernel.work >= program_.buffers.size()) return fail_here("no buffer {}", *kernel.work);
    const Buffer& work = program_.buffers[*kernel.work];
    if (work.region != Region::arena || work.part || elements == 0 ||
        work.dims != Dims{kernel.schedule.parallel, elements} || work.layout.strides != Dims{elements, 1} ||
        work.dtype != program_.buffers[kernel.core->a.buffer].dtype)
      fail_here("buffer {} is not what its pieces work in", *kernel.work);
  }

  void check_core(const Kernel& kernel) {
    const Contract& core = *kernel.core;
    const bool stack = kernel.outer.size() == 3;
    Dims outer{core.m, core.n}, of_a = core.row_loops(), of_b{core.k, core.n};
    const Dims steps = core.step_loops();
    if (count_of(of_a) != core.m || count_of(steps) != core.k || core.rows.empty() != core.steps.empty())
      return fail_here("the loops of a contraction are not m and k");
    of_a.insert(of_a.end(), steps.begin(), steps.end());
    for (Dims* loops : {&outer, &of_a, &of_b})
      if (stack) loops->insert(loops->begin(), kernel.outer[0]);
    check_unguarded(core.a, of_a);
    check_unguarded(core.b, of_b);
    if (kernel.outer != outer) fail_here("the outer domain is not that of the contraction");
    if (kernel.stages.size() != 1 || !kernel.stages[0].inner.empty() || !kernel.stages[0].folds.empty())
      fail_here("a contraction has exactly one plain stage");
    if (!problems_.empty()) return;
    const Buffer &a = program_.buffers[core.a.buffer], &b = program_.buffers[core.b.buffer];
    if (a.dtype != b.dtype || !is_float(a.dtype)) fail_here("operands of a contraction of different types");
    if (b.region == Region::feed) fail_here("operand b of a contraction is a feed");
    if (a.region == Region::feed && (stack || has_windows(core))) fail_here("a stack or windows in a feed");
    if (a.layout.kind != Layout::Kind::row_major) fail_here("operand a is not row-major");
    if (stack && b.layout.kind != Layout::Kind::row_major) fail_here("a stack in panels");
    if (b.layout.kind == Layout::Kind::row_major && b.layout.strides.back() != 1)
      fail_here("rows of b are not contiguous");
  }

  void check_schedule(const Kernel& kernel) {
    const Schedule& schedule = kernel.schedule;
    if (schedule.lanes < 1 || schedule.parallel < 1) fail_here("no lanes or no piece");
    if (kernel.core && (schedule.tile_rows < 1 || schedule.tile_vectors < 1)) fail_here("a contraction without a tile");
    if (schedule.tile_steps < 1) fail_here("turns without a step");
    if (schedule.block_tiles < 0 || schedule.block_k < 0) fail_here("a block of fewer than no tiles or steps");
    if (schedule.block_k > 0 && schedule.block_tiles == 0) fail_here("steps of a block that there is not");
    if (schedule.packed_for < 0 || (schedule.packed_for > 0 && schedule.block_k == 0))
      fail_here("packed steps of a block that there are not");
    if (schedule.vector == Schedule::Vector::outer && kernel.outer.empty()) fail_here("no outer loop to vectorise");
    if (schedule.shared == Schedule::Shared::panels && !kernel.core) fail_here("pieces of panels that there are not");
    if (schedule.shared == Schedule::Shared::stack && !(kernel.core && kernel.outer.size() == 3))
      fail_here("pieces of a stack that there is not");
  }

  ScalarType type_of(const BodyInput& input, const Kernel& kernel, std::size_t stage) {
    if (const auto* access = std::get_if<Access>(&input)) return scalar_type(program_.buffers[access->buffer].dtype);
    if (std::holds_alternative<CoreValue>(input)) {
      if (kernel.core) return scalar_type(program_.buffers[kernel.core->a.buffer].dtype);
      fail_here("a contraction's value without a contraction");
    }
    if (const auto* fold = std::get_if<FoldResult>(&input)) {
      const bool earlier = fold->stage < stage && fold->fold < kernel.stages[fold->stage].folds.size();
      if (earlier) return scalar_type(kernel.stages[fold->stage].folds[fold->fold].result);
      fail_here("stage {} reads a fold that is not done", stage);
    }
    if (std::holds_alternative<Inside>(input)) return ScalarType::boolean;
    return ScalarType::i64;
  }

  void check_stage(const Kernel& kernel, std::size_t index) {
    const Stage& stage = kernel.stages[index];
    Dims loops = kernel.outer;
    loops.insert(loops.end(), stage.inner.begin(), stage.inner.end());
    const std::size_t nest = loops.size();
    for (const ComputedIndex& computed : stage.body.indices) loops.push_back(computed.extent);
    const ScalarProgram& body = stage.body.program;
    check_indices(stage.body, nest);
    if (!problems_.empty()) return;
    if (body.inputs.size() != stage.body.inputs.size()) return fail_here("a body with inputs that nobody describes");
    for (std::size_t i = 0; i < body.inputs.size(); ++i) {
      const BodyInput& input = stage.body.inputs[i];
      if (const auto* access = std::get_if<Access>(&input)) check_access(*access, loops);
      if (const auto* inside = std::get_if<Inside>(&input)) check_guards(inside->guards, loops);
      if (const auto* loop = std::get_if<LoopIndex>(&input); loop && loop->loop >= nest)
        fail_here("stage {} reads the index of loop {}", index, loop->loop);
      if (!problems_.empty()) return;
      if (type_of(input, kernel, index) != body.inputs[i]) fail_here("input {} of stage {} has another type", i, index);
    }
    for (const Fold& fold : stage.folds) check_fold(stage, fold, loops);
    for (const Store& store : stage.stores) {
      check_unguarded(store.to, loops);
      if (!problems_.empty()) return;
      const Buffer& to = program_.buffers[store.to.buffer];
      if (result_type(body, store.value) != scalar_type(to.dtype)) fail_here("a store of another type to {}", to.name);
      if (to.region == Region::feed || to.region == Region::scalars || to.region == Region::constant)
        fail_here("a store to {}, which is only read", to.name);
      check_in_place(stage, store, loops);
      if (store.add && kernel.schedule.vector == Schedule::Vector::inner)
        fail_here("a store that adds, under vectors of the loops that it adds along");
    }
  }

  /// Whether an access or a guard has a part in a loop.
  static bool depends_on(const BodyInput& input, std::size_t loop) {
    const auto has = [&](const AffineRow& row) {
      return loop < row.coefficients.size() && row.coefficients[loop] != 0;
    };
    const auto guarded = [&](const Guard& guard) { return has(guard.row); };
    if (const auto* inside = std::get_if<Inside>(&input)) return std::ranges::any_of(inside->guards, guarded);
    const auto* access = std::get_if<Access>(&input);
    return access && (std::ranges::any_of(access->map, has) || std::ranges::any_of(access->guards, guarded));
  }

  /// A computed index is clamped, and nothing reads with it before it is known.
  void check_indices(const Body& body, std::size_t nest) {
    for (std::size_t i = 0; i < body.indices.size(); ++i) {
      const ComputedIndex& index = body.indices[i];
      if (index.value >= body.program.results.size()) return fail_here("an index that nothing computes");
      const ScalarId at = body.program.results[index.value];
      if (!is_clamped_index(body.program, at, index.extent))
        return fail_here("a computed index that may leave 0 ... {}", index.extent - 1);
      for (ScalarId id = 0; id < at; ++id) {
        const ScalarInstruction& earlier = body.program.code[id];
        if (earlier.op != ScalarOp::input || earlier.bits >= body.inputs.size()) continue;
        if (depends_on(body.inputs[earlier.bits], nest + i))
          return fail_here("an access before its computed index is known");
      }
    }
  }

  static ScalarType result_type(const ScalarProgram& body, ScalarId result) {
    return body.code[body.results.at(result)].type;
  }

  void check_fold(const Stage& stage, const Fold& fold, const Dims& loops) {
    const ScalarProgram& body = stage.body.program;
    const bool ordered = fold.op == FoldOp::sum || fold.op == FoldOp::product;
    if (ordered && fold.order == Order::unset) fail_here("a sum without an order");
    if (stage.inner.empty()) fail_here("a fold over no loop");
    if (fold.value >= body.results.size() || fold.factor >= body.results.size())
      return fail_here("a fold of a value that does not exist");
    if (result_type(body, fold.value) != scalar_type(fold.dtype)) fail_here("a fold of another type");
    if (fold.op == FoldOp::product && result_type(body, fold.factor) != scalar_type(fold.dtype))
      fail_here("a factor of another type");
    if (fold.carry) check_unguarded(*fold.carry, loops);
  }

  /// A stage may read the buffer that it writes only at the element that it replaces.
  void check_in_place(const Stage& stage, const Store& store, const Dims& loops) {
    for (const BodyInput& input : stage.body.inputs) {
      const auto* read = std::get_if<Access>(&input);
      if (!read || read->buffer != store.to.buffer) continue;
      bool same = true;
      for (std::size_t axis = 0; axis < read->map.size(); ++axis)
        for (std::size_t loop = 0; loop < loops.size(); ++loop)
          same = same &&
                 (loops[loop] <= 1 || (read->map[axis].coefficients[loop] == store.to.map[axis].coefficients[loop] &&
                                       read->map[axis].offset == store.to.map[axis].offset &&
                                       read->map[axis].divisor == store.to.map[axis].divisor));
      if (!same) fail_here("{} is read elsewhere than it is written", program_.buffers[store.to.buffer].name);
    }
  }

  // --- memory ---------------------------------------------------------------------------------------------------

  /// Whether two buffers can be one value: the same, or the same elements under other dims.
  bool same_value(BufferId a, BufferId b) const {
    const Buffer &first = program_.buffers[a], &second = program_.buffers[b];
    return a == b || (first.offset == second.offset && first.bytes == second.bytes && first.dtype == second.dtype &&
                      first.dims != second.dims && count_of(first.dims) == count_of(second.dims));
  }
  bool overlap(BufferId a, BufferId b) const {
    const Buffer &first = program_.buffers[a], &second = program_.buffers[b];
    return first.bytes > 0 && second.bytes > 0 && first.offset < second.offset + second.bytes &&
           second.offset < first.offset + first.bytes;
  }

  /// Calls read(access) and write(access) for what a kernel does to the arena.
  template <class Read, class Write>
  void for_arena(const Kernel& kernel, Read&& read, Write&& write) const {
    const auto each = [&](const Access& access, auto&& does) {
      if (program_.buffers[access.buffer].region == Region::arena) does(access.buffer);
    };
    if (kernel.core) each(kernel.core->a, read), each(kernel.core->b, read);
    if (kernel.work) write(*kernel.work);
    for (const Stage& stage : kernel.stages) {
      for (const BodyInput& input : stage.body.inputs)
        if (const auto* access = std::get_if<Access>(&input)) each(*access, read);
      for (const Store& store : stage.stores) each(store.to, write);
    }
  }

  /// Follows who wrote each cache line of the arena last, parts as their wholes: a reader must find what it asks for,
  /// also one at the beginning of a step that reads what the step before has left.
  void check_memory() {
    constexpr BufferId nobody = ~BufferId{0};
    std::vector<BufferId> owner(program_.arena_bytes / line_bytes, nobody);
    std::set<BufferId> here;  // what the kernel at hand touches
    const auto lines = [&](BufferId id, auto&& visit) {
      const Buffer& buffer = program_.buffers[id];
      const std::uint64_t end = (buffer.offset + buffer.bytes + line_bytes - 1) / line_bytes;
      for (std::uint64_t at = buffer.offset / line_bytes; at < end; ++at) visit(owner[at]);
    };
    const auto read = [&](BufferId part) {
      const BufferId buffer = whole_of(program_, part);
      here.insert(buffer);
      bool found = true;
      lines(buffer, [&](BufferId by) { found = found && by != nobody && same_value(by, buffer); });
      if (!found) fail_here("buffer {} does not hold its value when it is read", buffer);
    };
    const auto write = [&](BufferId part) {
      const BufferId buffer = whole_of(program_, part);
      here.insert(buffer);
      lines(buffer, [&](BufferId& by) { by = buffer; });
    };
    const auto run = [&](std::size_t kernel) {
      kernel_ = kernel;
      here.clear();
      for_arena(program_.kernels[kernel], read, write);
      for (BufferId a : here)
        for (BufferId b : here)
          if (a < b && overlap(a, b) && !same_value(a, b)) fail_here("buffers {} and {} share memory", a, b);
    };
    walk(program_, run, [&](std::uint32_t loop, const std::function<void()>& step) {
      check_rows(loop);
      if (!problems_.empty()) return;
      step();
      step();
    });
  }

  /// A loop reads and writes rows of some buffers, others at each step: nothing else that it uses lies there.
  void check_rows(std::uint32_t loop) {
    std::set<BufferId> all, by_rows;
    const auto note = [&](BufferId part) {
      const BufferId whole = whole_of(program_, part);
      all.insert(whole);
      for (const Buffer* at = &program_.buffers[part]; at->part; at = &program_.buffers[at->part->of])
        if (at->part->loop == loop) by_rows.insert(whole);
    };
    for (std::size_t kernel = program_.loops[loop].first; kernel < program_.loops[loop].end; ++kernel)
      for_arena(program_.kernels[kernel], note, note);
    for (BufferId a : by_rows)
      for (BufferId b : all)
        if (a != b && overlap(a, b) && !same_value(a, b)) fail("loop {}: buffers {} and {} share memory", loop, a, b);
  }

  const Program& program_;
  std::string problems_;
  std::size_t kernel_ = 0;
};

}  // namespace

bool is_clamped_index(const ScalarProgram& program, ScalarId instruction, std::int64_t extent) {
  const auto at = [&](ScalarId id) -> const ScalarInstruction& { return program.code[id]; };
  const auto whole = [&](ScalarId id, std::int64_t value) {
    return at(id).op == ScalarOp::constant && at(id).type == ScalarType::i32 &&
           static_cast<std::int32_t>(at(id).bits) == value;
  };
  /// select(less(a, b), c, d)
  const auto choice = [&](ScalarId id, auto&& fits) {
    const ScalarInstruction& select = at(id);
    if (select.op != ScalarOp::select || select.type != ScalarType::i32) return false;
    const ScalarInstruction& less = at(select.operands[0]);
    return less.op == ScalarOp::less &&
           fits(less.operands[0], less.operands[1], select.operands[1], select.operands[2]);
  };
  const ScalarInstruction& index = at(instruction);
  if (index.op != ScalarOp::convert || index.type != ScalarType::i64) return false;
  return choice(index.operands[0], [&](ScalarId last, ScalarId x, ScalarId yes, ScalarId no) {
    if (yes != last || no != x || !whole(last, extent - 1)) return false;
    return choice(x, [&](ScalarId id, ScalarId first, ScalarId below, ScalarId above) {
      return below == first && above == id && whole(first, 0);
    });
  });
}

RowReach reach_of(const AffineRow& row, const std::vector<std::int64_t>& loops) {
  RowReach reach{row.offset, row.offset};
  for (std::size_t loop = 0; loop < std::min(loops.size(), row.coefficients.size()); ++loop) {
    const std::int64_t most = row.coefficients[loop] * std::max<std::int64_t>(loops[loop] - 1, 0);
    (most < 0 ? reach.low : reach.high) += most;
  }
  return reach;
}

bool holds(const std::vector<Guard>& guards, const std::vector<std::int64_t>& point) {
  return std::ranges::all_of(guards, [&](const Guard& guard) {
    std::int64_t at = guard.row.offset;
    for (std::size_t loop = 0; loop < guard.row.coefficients.size(); ++loop)
      if (guard.row.coefficients[loop] != 0) at += guard.row.coefficients[loop] * point.at(loop);
    return at % guard.row.divisor == 0 && at >= 0 && at / guard.row.divisor < guard.extent;
  });
}

std::string verify(const Program& program) { return Verifier(program).run(); }

}  // namespace nnc
