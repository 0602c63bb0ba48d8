// Memory is one array of bytes a region. A kernel runs outer point by outer point, its stages one after the other at
// each point, in row-major order of the loops; folds keep their lanes and chunks as docs/architecture.md says.
#include "tests/support/run_program.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>

#include "ir/order.h"
#include "ir/scalar/builder.h"

namespace nnc {
namespace {

using Dims = std::vector<std::int64_t>;
using Bits = std::uint64_t;  // an element in the low bytes

double number(Bits bits, DType dtype) {
  float single;
  double twice;
  std::int32_t whole;
  switch (dtype) {
    case DType::f32:
      std::memcpy(&single, &bits, 4);
      return single;
    case DType::f64:
      std::memcpy(&twice, &bits, 8);
      return twice;
    case DType::i32:
      std::memcpy(&whole, &bits, 4);
      return whole;
    case DType::boolean:
      return bits & 1 ? 1 : 0;
  }
  return 0;
}

Bits bits_of(double value, DType dtype) {
  Bits bits = 0;
  const auto single = static_cast<float>(value);
  switch (dtype) {
    case DType::f32:
      std::memcpy(&bits, &single, 4);
      break;
    case DType::f64:
      std::memcpy(&bits, &value, 8);
      break;
    case DType::i32: {
      const auto whole = static_cast<std::int32_t>(static_cast<std::uint32_t>(static_cast<std::int64_t>(value)));
      std::memcpy(&bits, &whole, 4);
      break;
    }
    case DType::boolean:
      bits = value != 0;
      break;
  }
  return bits;
}

/// Next point of a nest in row-major order; false after the last.
bool advance(Dims& point, const Dims& dims) {
  for (std::size_t i = dims.size(); i-- > 0;) {
    if (++point[i] < dims[i]) return true;
    point[i] = 0;
  }
  return false;
}

std::int64_t count_of(const Dims& dims) {
  std::int64_t count = 1;
  for (std::int64_t dim : dims) count *= dim;
  return count;
}

std::int64_t position(const Buffer& buffer, const Dims& index) {
  if (buffer.layout.kind == Layout::Kind::panels) {
    const std::int64_t panel = buffer.layout.panel;
    return (index[1] / panel * buffer.dims[0] + index[0]) * panel + index[1] % panel;
  }
  std::int64_t at = 0;
  for (std::size_t i = 0; i < index.size(); ++i) at += index[i] * buffer.layout.strides[i];
  return at;
}

/// One accumulation in the order that a fold states.
class Accumulator {
 public:
  Accumulator(const Fold& fold, const Dims& loops, double start) : fold_(fold), total_(start) {
    lanes_ = fold.order == Order::lanes ? order_lanes(fold.dtype) : 1;
    const bool rows = loops.size() > 1;
    unchunked_ = fold.op == FoldOp::product && fold.order == Order::serial;
    chunk_ = rows ? 256 * (count_of(loops) / std::max<std::int64_t>(loops[0], 1)) : 4096;
    innermost_ = loops.empty() ? 1 : loops.back();
    best_ = start;
  }

  void take(double value, double factor) {
    switch (fold_.op) {
      case FoldOp::sum:
        add(value);
        break;
      case FoldOp::product:
        add(value, factor);
        break;
      case FoldOp::maximum:
        best_ = greater(best_, value);
        break;
      case FoldOp::argmax:
        if (seen_ == 0 || (!std::isnan(best_) && (std::isnan(value) || value > best_))) best_ = value, where_ = seen_;
        break;
    }
    ++seen_;
    if (!unchunked_ && seen_ % std::max<std::int64_t>(chunk_, 1) == 0) close();
  }

  double result() {
    if (fold_.op == FoldOp::maximum) return best_;
    if (fold_.op == FoldOp::argmax) return static_cast<double>(where_);
    if (unchunked_) return accumulators_[0];
    if (open_) close();
    return total_;
  }

 private:
  static double greater(double a, double b) {
    if (std::isnan(a)) return a;
    if (std::isnan(b)) return b;
    if (a == b) return std::signbit(a) ? b : a;
    return a < b ? b : a;
  }

  void add(double value) {
    into([&](double accumulator) { return accumulator + value; }, value);
  }
  void add(double value, double factor) {
    into([&](double accumulator) { return std::fma(value, factor, accumulator); }, value, factor);
  }

  /// Sums are kept in the element type: f32 sums of f32 are exact in f64 before they are rounded once, products are
  /// not.
  template <class Step>
  void into(Step&& step, double value, double factor = 1) {
    const std::int64_t lane = lanes_ == 1 ? 0 : seen_ % innermost_ % lanes_;
    double& accumulator = accumulators_[lane];
    if (fold_.dtype == DType::f64)
      accumulator = step(accumulator);
    else if (fold_.dtype == DType::i32)
      accumulator = wrapped(value * factor + accumulator);
    else if (fold_.op == FoldOp::product)
      accumulator = std::fma(static_cast<float>(value), static_cast<float>(factor), static_cast<float>(accumulator));
    else
      accumulator = static_cast<float>(accumulator) + static_cast<float>(value);
    open_ = true;
  }

  static double wrapped(double value) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(static_cast<std::int64_t>(value)));
  }

  void close() {
    if (fold_.op != FoldOp::sum && fold_.op != FoldOp::product) return;
    for (int half = lanes_ / 2; half >= 1; half /= 2)
      for (int i = 0; i < half; ++i) accumulators_[i] = plus(accumulators_[i], accumulators_[i + half]);
    total_ += accumulators_[0];
    for (double& accumulator : accumulators_) accumulator = 0;
    open_ = false;
  }

  double plus(double a, double b) const {
    if (fold_.dtype == DType::f64) return a + b;
    if (fold_.dtype == DType::i32) return wrapped(a + b);
    return static_cast<float>(a) + static_cast<float>(b);
  }

  const Fold& fold_;
  double total_ = 0, best_ = 0;
  double accumulators_[16] = {};
  int lanes_ = 1;
  std::int64_t chunk_ = 0, innermost_ = 1, seen_ = 0, where_ = 0;
  bool open_ = false, unchunked_ = false;
};

class Runner {
 public:
  Runner(const Program& program, const Environment& environment) : program_(program), environment_(environment) {
    const auto undefined = std::byte{0xff};
    memory_[Region::params].assign(program.params_bytes, std::byte{0});
    memory_[Region::state].assign(program.state_bytes, std::byte{0});
    memory_[Region::grads].assign(program.grads_bytes, undefined);
    memory_[Region::carry].assign(program.carry_bytes, undefined);
    memory_[Region::arena].assign(program.arena_bytes, undefined);
    fill(program.params, environment.params);
    fill(program.state, environment.state);
    fill(program.carry, environment.carry);
    fill(program.grads, environment.inputs);
    for (const Slot& slot : program.outputs) {
      const Buffer& buffer = program.buffers[slot.buffer];
      outputs_.emplace_back(buffer.bytes, undefined);
    }
  }

  std::map<std::string, Tensor> run() {
    steps_.assign(program_.loops.size(), 0);
    walk(
        program_, [&](std::size_t kernel) { run(program_.kernels[kernel]); },
        [&](std::uint32_t number, const std::function<void()>& step) {
          const SerialLoop& loop = program_.loops[number];
          for (std::int64_t i = 0; i < loop.steps; ++i) {
            steps_[number] = loop.backwards ? loop.steps - 1 - i : i;
            step();
          }
        });
    std::map<std::string, Tensor> results;
    for (const Slot& slot : program_.outputs) results[slot.name] = read(program_.buffers[slot.buffer]);
    for (const Slot& slot : program_.grads)
      if (written_.contains(slot.buffer)) results[slot.name] = read(program_.buffers[slot.buffer]);
    for (const auto* slots : {&program_.params, &program_.state, &program_.carry})
      for (const Slot& slot : *slots)
        if (written_.contains(slot.buffer)) results["update " + slot.name] = read(program_.buffers[slot.buffer]);
    check_padding();
    return results;
  }

 private:
  void fill(const std::vector<Slot>& slots, const std::map<std::string, Tensor>& values) {
    for (const Slot& slot : slots)
      if (const auto found = values.find(slot.name); found != values.end())
        write(program_.buffers[slot.buffer], found->second);
  }

  /// Bytes from where the whole lies that a buffer is a part of to where it begins itself.
  std::size_t shift_of(const Buffer& buffer) const {
    if (!buffer.part) return 0;
    const Buffer& of = program_.buffers[buffer.part->of];
    const std::int64_t row = buffer.part->row + (buffer.part->loop ? steps_.at(*buffer.part->loop) : 0);
    return shift_of(of) +
           static_cast<std::size_t>(row % of.dims.at(0) * of.layout.strides.at(0)) * size_of(buffer.dtype);
  }
  const Buffer& whole(const Buffer& buffer) const {
    return program_.buffers[whole_of(program_, static_cast<BufferId>(&buffer - program_.buffers.data()))];
  }

  std::byte* at(const Buffer& buffer, const Dims& index) {
    for (std::size_t axis = 0; axis < index.size(); ++axis)
      if (index[axis] < 0 || index[axis] >= buffer.dims[axis]) throw std::runtime_error("index outside " + buffer.name);
    const std::size_t bytes = size_of(buffer.dtype);
    const std::size_t from = static_cast<std::size_t>(position(buffer, index)) * bytes;
    if (from + bytes > buffer.bytes) throw std::runtime_error("access outside " + buffer.name);
    if (buffer.part) return at_part(buffer, shift_of(buffer) + from);
    if (buffer.region == Region::output) return outputs_.at(buffer.offset).data() + from;
    std::vector<std::byte>& region = memory_.at(buffer.region);
    if (buffer.offset + from + bytes > region.size())
      throw std::runtime_error("access outside the region of " + buffer.name);
    return region.data() + buffer.offset + from;
  }

  std::byte* at_part(const Buffer& buffer, std::size_t from) {
    const Buffer& of = whole(buffer);
    if (from + size_of(buffer.dtype) > of.bytes) throw std::runtime_error("access outside " + of.name);
    return memory_.at(of.region).data() + of.offset + from;
  }

  void write(const Buffer& buffer, const Tensor& tensor) {
    if (tensor.count() == 0) return;
    Dims index(buffer.dims.size(), 0);
    const std::size_t bytes = size_of(buffer.dtype);
    std::int64_t i = 0;
    do std::memcpy(at(buffer, index), tensor.data.data() + bytes * i++, bytes);
    while (advance(index, buffer.dims));
  }

  Tensor read(const Buffer& buffer) {
    Tensor tensor = Tensor::zeros(buffer.dtype, buffer.dims);
    if (tensor.count() == 0) return tensor;
    Dims index(buffer.dims.size(), 0);
    const std::size_t bytes = size_of(buffer.dtype);
    std::int64_t i = 0;
    do std::memcpy(tensor.data.data() + bytes * i++, at(buffer, index), bytes);
    while (advance(index, buffer.dims));
    return tensor;
  }

  static Dims index_of(const Access& access, const Dims& loops) {
    Dims index;
    for (const AffineRow& row : access.map) {
      std::int64_t value = row.offset;
      for (std::size_t j = 0; j < row.coefficients.size(); ++j)
        if (row.coefficients[j] != 0) value += row.coefficients[j] * loops.at(j);
      if (value % row.divisor != 0) throw std::runtime_error("an index that is no whole number");
      index.push_back(value / row.divisor);
    }
    return index;
  }

  Bits load(const Access& access, const Dims& loops) {
    if (!holds(access.guards, loops)) return 0;
    const Buffer& buffer = program_.buffers[access.buffer];
    const Dims index = index_of(access, loops);
    Bits bits = 0;
    const std::size_t bytes = size_of(buffer.dtype);
    if (buffer.region == Region::scalars) {
      static const char* const names[] = {"step", "epoch", "steps_per_epoch", "total_steps", "rows"};
      return bits_of(environment_.scalars.at(names[buffer.offset]), DType::f64);
    }
    if (buffer.region == Region::constant)
      return bits_of(whole(buffer).values.at(static_cast<std::size_t>(position(buffer, index)) +
                                             shift_of(buffer) / size_of(buffer.dtype)),
                     buffer.dtype);
    if (buffer.region == Region::feed) {
      const Tensor& tensor = environment_.inputs.at(buffer.name);
      std::memcpy(&bits, tensor.data.data() + bytes * position(buffer, index), bytes);
      return bits;
    }
    std::memcpy(&bits, at(buffer, index), bytes);
    return bits;
  }

  void store(const Access& access, const Dims& loops, Bits bits) {
    const Buffer& buffer = program_.buffers[access.buffer];
    for (BufferId id = 0; id < program_.buffers.size(); ++id)
      if (program_.buffers[id].region == buffer.region && program_.buffers[id].offset == buffer.offset)
        written_.insert(id);
    std::memcpy(at(buffer, index_of(access, loops)), &bits, size_of(buffer.dtype));
  }

  void run(const Kernel& kernel) {
    if (count_of(kernel.outer) == 0) return;
    Dims outer(kernel.outer.size(), 0);
    do {
      folds_.clear();
      if (kernel.core) core_ = contraction(*kernel.core, outer);
      for (const Stage& stage : kernel.stages) run(stage, outer);
    } while (advance(outer, kernel.outer));
  }

  /// Appends the indices of the loops, whose points `number` counts in row-major order.
  static void add_digits(Dims& indices, std::int64_t number, const Dims& loops) {
    indices.resize(indices.size() + loops.size());
    for (std::size_t i = 0; i < loops.size(); ++i) {
      const std::int64_t extent = loops[loops.size() - 1 - i];
      indices[indices.size() - 1 - i] = number % extent;
      number /= extent;
    }
  }

  Bits contraction(const Contract& core, const Dims& outer) {
    const DType dtype = program_.buffers[core.a.buffer].dtype;
    double total = 0;
    for (std::int64_t k = 0; k < core.k; ++k) {
      Dims of_a = outer, of_b = outer;  // a stack's loop, if there is one, comes first
      of_a.resize(outer.size() - 2);
      add_digits(of_a, outer[outer.size() - 2], core.row_loops());
      add_digits(of_a, k, core.step_loops());
      of_b[of_b.size() - 2] = k;
      const double a = number(load(core.a, of_a), dtype), b = number(load(core.b, of_b), dtype);
      total = dtype == DType::f32 ? std::fma(static_cast<float>(a), static_cast<float>(b), static_cast<float>(total))
                                  : std::fma(a, b, total);
    }
    return bits_of(total, dtype);
  }

  double start_of(const Fold& fold, const Dims& outer) {
    if (fold.carry) {
      Dims loops = outer;
      loops.resize(fold.carry->map.empty() ? outer.size() : fold.carry->map[0].coefficients.size(), 0);
      return number(load(*fold.carry, loops), program_.buffers[fold.carry->buffer].dtype);
    }
    if (fold.op != FoldOp::maximum) return 0;
    return fold.dtype == DType::i32 ? std::numeric_limits<std::int32_t>::lowest()
                                    : -std::numeric_limits<double>::infinity();
  }

  void run(const Stage& stage, const Dims& outer) {
    std::vector<Accumulator> accumulators;
    for (const Fold& fold : stage.folds) accumulators.emplace_back(fold, stage.inner, start_of(fold, outer));
    if (count_of(stage.inner) > 0) {
      Dims inner(stage.inner.size(), 0);
      do {
        Dims loops = outer;
        loops.insert(loops.end(), inner.begin(), inner.end());
        const std::vector<Bits> results = evaluate_body(stage.body, loops);
        for (const ComputedIndex& index : stage.body.indices)
          loops.push_back(static_cast<std::int64_t>(results[index.value]));
        for (std::size_t i = 0; i < stage.folds.size(); ++i) {
          const Fold& fold = stage.folds[i];
          accumulators[i].take(number(results[fold.value], fold.dtype), number(results[fold.factor], fold.dtype));
        }
        for (const Store& to : stage.stores) {
          const DType dtype = program_.buffers[to.to.buffer].dtype;
          store(to.to, loops, to.add ? sum(load(to.to, loops), results[to.value], dtype) : results[to.value]);
        }
      } while (advance(inner, stage.inner));
    }
    std::vector<Bits>& made = folds_.emplace_back();
    for (std::size_t i = 0; i < stage.folds.size(); ++i) {
      const Fold& fold = stage.folds[i];
      const double result = accumulators[i].result();
      made.push_back(bits_of(result, fold.result));
      if (!fold.carry) continue;
      Dims loops = outer;
      loops.resize(outer.size() + stage.inner.size(), 0);
      store(*fold.carry, loops, bits_of(result, program_.buffers[fold.carry->buffer].dtype));
    }
  }

  static Bits sum(Bits a, Bits b, DType dtype) {
    if (dtype == DType::f32)
      return bits_of(static_cast<float>(number(a, dtype)) + static_cast<float>(number(b, dtype)), dtype);
    return bits_of(number(a, dtype) + number(b, dtype), dtype);
  }

  /// With computed indices the body is evaluated once for each of them: accesses whose index is not known yet read
  /// nothing.
  std::vector<Bits> evaluate_body(const Body& body, Dims loops) {
    std::vector<Bits> results;
    for (std::size_t known = 0; known <= body.indices.size(); ++known) {
      results = evaluate_body(body, loops, known);
      if (known < body.indices.size()) loops.push_back(static_cast<std::int64_t>(results[body.indices[known].value]));
    }
    return results;
  }

  std::vector<Bits> evaluate_body(const Body& body, const Dims& loops, std::size_t known) {
    std::vector<Bits> inputs;
    for (const BodyInput& input : body.inputs)
      inputs.push_back(waits(body, input, loops, known) ? 0 : value_of(input, loops));
    std::vector<Bits> results(body.program.results.size(), 0);
    std::vector<const void*> from;
    for (const Bits& bits : inputs) from.push_back(&bits);
    std::vector<void*> to;
    for (Bits& bits : results) to.push_back(&bits);
    interpret(body.program, from, to, 1);
    return results;
  }

  static bool waits(const Body& body, const BodyInput& input, const Dims& loops, std::size_t known) {
    if (known == body.indices.size()) return false;
    const auto unknown = [&](const AffineRow& row) {
      for (std::size_t j = loops.size(); j < row.coefficients.size(); ++j)
        if (row.coefficients[j] != 0) return true;
      return false;
    };
    const auto guarded = [&](const Guard& guard) { return unknown(guard.row); };
    if (const auto* inside = std::get_if<Inside>(&input)) return std::ranges::any_of(inside->guards, guarded);
    const auto* access = std::get_if<Access>(&input);
    return access && (std::ranges::any_of(access->map, unknown) || std::ranges::any_of(access->guards, guarded));
  }

  Bits value_of(const BodyInput& input, const Dims& loops) {
    if (const auto* access = std::get_if<Access>(&input)) return load(*access, loops);
    if (const auto* fold = std::get_if<FoldResult>(&input)) return folds_.at(fold->stage).at(fold->fold);
    if (const auto* loop = std::get_if<LoopIndex>(&input)) return static_cast<Bits>(loops.at(loop->loop));
    if (std::holds_alternative<CoreValue>(input)) return core_;
    if (const auto* inside = std::get_if<Inside>(&input)) return holds(inside->guards, loops);
    if (const auto* stream = std::get_if<RandomStream>(&input)) return stream->number;
    switch (std::get<CallValue>(input).which) {
      case CallValue::Which::seed:
        return environment_.seed;
      case CallValue::Which::step:
        return environment_.step;
      case CallValue::Which::row_offset:
        return environment_.row_offset;
    }
    return 0;
  }

  void check_padding() {
    for (const auto* slots : {&program_.params, &program_.state})
      for (const Slot& slot : *slots) {
        const Buffer& buffer = program_.buffers[slot.buffer];
        if (buffer.layout.kind != Layout::Kind::panels) continue;
        std::vector<bool> used(buffer.bytes / size_of(buffer.dtype));
        if (count_of(buffer.dims) == 0) continue;
        Dims index(buffer.dims.size(), 0);
        do used[position(buffer, index)] = true;
        while (advance(index, buffer.dims));
        const std::byte* from = memory_.at(buffer.region).data() + buffer.offset;
        for (std::size_t i = 0; i < buffer.bytes; ++i)
          if (!used[i / size_of(buffer.dtype)] && from[i] != std::byte{0})
            throw std::runtime_error("padding of " + buffer.name);
      }
  }

  const Program& program_;
  const Environment& environment_;
  std::map<Region, std::vector<std::byte>> memory_;
  std::vector<std::vector<std::byte>> outputs_;
  std::set<BufferId> written_;
  std::vector<std::int64_t> steps_;       ///< the index of each loop
  std::vector<std::vector<Bits>> folds_;  // of the outer point at hand, by stage
  Bits core_ = 0;
};

}  // namespace

std::map<std::string, Tensor> run_program(const Program& program, const Environment& environment) {
  return Runner(program, environment).run();
}

}  // namespace nnc
