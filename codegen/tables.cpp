#include "codegen/tables.h"

#include <set>

namespace nnc {

namespace {

std::uint8_t abi_dtype(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return NNC_F32;
    case DType::f64:
      return NNC_F64;
    case DType::i32:
      return NNC_I32;
    case DType::boolean:
      return NNC_BOOL;
  }
  return NNC_F32;
}

std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& dims) {
  std::vector<std::int64_t> strides(dims.size(), 1);
  for (std::size_t axis = dims.size(); axis > 1; --axis) strides[axis - 2] = strides[axis - 1] * dims[axis - 1];
  return strides;
}

void add_buffer(std::set<BufferId>& buffers, const Access& access) { buffers.insert(access.buffer); }

/// Bytes of all buffers that a kernel reads or writes for others, each once.
std::uint64_t bytes_touched(const Program& program, const Kernel& kernel) {
  std::set<BufferId> buffers;
  if (kernel.core) {
    add_buffer(buffers, kernel.core->a);
    add_buffer(buffers, kernel.core->b);
  }
  for (const Stage& stage : kernel.stages) {
    for (const BodyInput& input : stage.body.inputs)
      if (const auto* access = std::get_if<Access>(&input)) add_buffer(buffers, *access);
    for (const Store& store : stage.stores) add_buffer(buffers, store.to);
  }
  std::uint64_t bytes = 0;
  for (BufferId id : buffers) {
    const Buffer& buffer = program.buffers[id];
    std::uint64_t elements = 1;
    for (std::int64_t extent : buffer.dims) elements *= static_cast<std::uint64_t>(extent);
    bytes += elements * size_of(buffer.dtype);
  }
  return bytes;
}

/// Steps of contractions that are written out, as in a net in one piece: chains of fma that begin with 0.
std::uint64_t written_out_products(const ScalarProgram& program) {
  std::uint64_t products = 0;
  std::vector<bool> is_total(program.code.size(), false);
  for (std::size_t i = 0; i < program.code.size(); ++i) {
    const ScalarInstruction& x = program.code[i];
    is_total[i] = x.op == ScalarOp::constant && x.bits == 0;
    if (x.op != ScalarOp::fma || !is_total[x.operands[2]]) continue;
    is_total[i] = true;
    ++products;
  }
  return products;
}

}  // namespace

std::uint64_t contraction_flops(const Kernel& kernel) {
  std::uint64_t points = 1;
  for (std::int64_t extent : kernel.outer) points *= static_cast<std::uint64_t>(extent);
  std::uint64_t flops = kernel.core ? 2 * points * static_cast<std::uint64_t>(kernel.core->k) : 0;
  for (const Stage& stage : kernel.stages) {
    std::uint64_t inner = points;
    for (std::int64_t extent : stage.inner) inner *= static_cast<std::uint64_t>(extent);
    for (const Fold& fold : stage.folds) flops += fold.op == FoldOp::product ? 2 * inner : 0;
    flops += 2 * inner * written_out_products(stage.body.program);
  }
  return flops;
}

namespace {

std::uint64_t flops_of(ScalarOp op) {
  switch (op) {
    case ScalarOp::add:
    case ScalarOp::sub:
    case ScalarOp::mul:
    case ScalarOp::div:
    case ScalarOp::sqrt:
    case ScalarOp::minimum:
    case ScalarOp::maximum:
      return 1;
    case ScalarOp::fma:
      return 2;
    case ScalarOp::input:
    case ScalarOp::constant:
    case ScalarOp::neg:
    case ScalarOp::abs:
    case ScalarOp::equal:
    case ScalarOp::less:
    case ScalarOp::less_equal:
    case ScalarOp::select:
    case ScalarOp::logical_and:
    case ScalarOp::logical_or:
    case ScalarOp::logical_not:
    case ScalarOp::int_add:
    case ScalarOp::int_sub:
    case ScalarOp::int_mul:
    case ScalarOp::int_and:
    case ScalarOp::int_or:
    case ScalarOp::int_xor:
    case ScalarOp::shift_left:
    case ScalarOp::shift_right:
    case ScalarOp::shift_right_signed:
    case ScalarOp::bitcast:
    case ScalarOp::convert:
    case ScalarOp::philox:
      return 0;
  }
  return 0;
}

std::uint64_t times_in_loops(const Program& program, std::size_t kernel) {
  std::uint64_t times = 1;
  for (std::uint32_t loop : loops_around(program, kernel))
    times *= static_cast<std::uint64_t>(program.loops[loop].steps);
  return times;
}

}  // namespace

std::uint64_t arithmetic_flops(const Program& program, std::size_t number) {
  const Kernel& kernel = program.kernels[number];
  std::uint64_t points = 1;
  for (std::int64_t extent : kernel.outer) points *= static_cast<std::uint64_t>(extent);
  std::uint64_t flops = kernel.core ? 2 * points * static_cast<std::uint64_t>(kernel.core->k) : 0;
  for (const Stage& stage : kernel.stages) {
    std::uint64_t at_a_point = 0, inner = points;
    for (std::int64_t extent : stage.inner) inner *= static_cast<std::uint64_t>(extent);
    for (const ScalarInstruction& x : stage.body.program.code) at_a_point += flops_of(x.op);
    for (const Fold& fold : stage.folds) at_a_point += fold.op == FoldOp::product ? 2 : 1;
    for (const Store& store : stage.stores) at_a_point += store.add ? 1 : 0;
    flops += inner * at_a_point;
  }
  return times_in_loops(program, number) * flops;
}

const nnc_slot* EntryTables::slots(const Program& program, const std::vector<Slot>& list) {
  std::vector<nnc_slot>& made = slots_.emplace_back();
  for (const Slot& slot : list) {
    const Buffer& buffer = program.buffers[slot.buffer];
    const bool panels = buffer.layout.kind == Layout::Kind::panels;
    const bool dense =
        buffer.layout.strides.empty() || buffer.region == Region::output || buffer.region == Region::feed;
    made.push_back({.name = keep(slot.name),
                    .dtype = abi_dtype(buffer.dtype),
                    .rank = static_cast<std::uint8_t>(buffer.dims.size()),
                    .layout = static_cast<std::uint8_t>(panels ? NNC_PANELS : NNC_ROW_MAJOR),
                    .dims = keep(buffer.dims),
                    .strides = keep(dense ? dense_strides(buffer.dims) : buffer.layout.strides),
                    .panel = buffer.layout.panel,
                    .offset = buffer.offset,
                    .bytes = buffer.bytes});
  }
  return made.data();
}

EntryTables::EntryTables(const Program& program, nnc_function function, nnc_repeated repeat) {
  for (const Obligation& obligation : program.obligations)
    obligations_.push_back({keep(obligation.input), obligation.low, obligation.high});
  for (std::size_t i = 0; i < program.kernels.size(); ++i) {
    const Kernel& kernel = program.kernels[i];
    const std::uint64_t times = times_in_loops(program, i);
    kernels_.push_back(
        {keep(kernel.name), kernel.line, times * contraction_flops(kernel), times * bytes_touched(program, kernel)});
  }
  const auto count = [](const auto& list) { return static_cast<std::uint32_t>(list.size()); };
  entry_ = {.abi_version = NNC_ABI_VERSION,
            .name = keep(program.entry),
            .rows = static_cast<std::uint32_t>(program.rows),
            .call = function,
            .repeat = repeat,
            .params_bytes = program.params_bytes,
            .state_bytes = program.state_bytes,
            .grads_bytes = program.grads_bytes,
            .carry_bytes = program.carry_bytes,
            .arena_bytes = program.arena_bytes,
            .params = slots(program, program.params),
            .state = slots(program, program.state),
            .grads = slots(program, program.grads),
            .carry = slots(program, program.carry),
            .feeds = slots(program, program.feeds),
            .outputs = slots(program, program.outputs),
            .param_count = count(program.params),
            .state_count = count(program.state),
            .grad_count = count(program.grads),
            .carry_count = count(program.carry),
            .feed_count = count(program.feeds),
            .output_count = count(program.outputs),
            .obligations = obligations_.data(),
            .obligation_count = count(obligations_),
            .kernels = kernels_.data(),
            .kernel_count = count(kernels_)};
}

}  // namespace nnc
