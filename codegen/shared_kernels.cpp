// Kernels are compared by what is left of them when their buffers and streams have numbers in the order in which they
// are met: two that are then equal, over buffers of the same layouts, do the same to other memory.
#include "codegen/shared_kernels.h"

#include <algorithm>

#include "runtime/abi.h"

namespace nnc {

namespace {

/// All that code generation asks of a buffer but its place.
struct BufferTraits {
  DType dtype{};
  std::vector<std::int64_t> dims;
  Layout layout;
  Region region{};
  std::uint64_t bytes = 0;
  std::vector<double> values;
  bool padded_rows = false;
  std::optional<Part> part;  ///< of a buffer and a loop by their numbers here
  bool operator==(const BufferTraits&) const = default;
};

struct KernelForm {
  Kernel kernel;
  std::vector<std::int64_t> steps;  ///< of the loops around it
  std::vector<BufferTraits> traits;
  std::vector<std::pair<std::size_t, std::size_t>> overlapping;  ///< buffers that share memory
  bool operator==(const KernelForm&) const = default;
};

/// A kernel with numbers in the place of buffers and streams, and what these are.
class NumberedKernel {
 public:
  NumberedKernel(const Program& program, std::size_t number)
      : program_(program), around_(loops_around(program, number)) {
    form_.kernel = program.kernels[number];
    form_.kernel.name.clear();
    form_.kernel.origin.clear();
    form_.kernel.line = 0;
    for (std::uint32_t loop : around_) form_.steps.push_back(program.loops[loop].steps);
    number_kernel(form_.kernel);
    for (std::size_t a = 0; a < buffers_.size(); ++a)
      for (std::size_t b = 0; b < a; ++b)
        if (overlap(program.buffers[buffers_[a]], program.buffers[buffers_[b]])) form_.overlapping.emplace_back(b, a);
  }

  const KernelForm& form() const { return form_; }
  const std::vector<BufferId>& buffers() const { return buffers_; }
  const std::vector<std::uint64_t>& streams() const { return streams_; }

 private:
  template <class T>
  static std::optional<std::size_t> place_of(const std::vector<T>& list, const T& what) {
    const auto found = std::ranges::find(list, what);
    return found == list.end() ? std::nullopt : std::optional(static_cast<std::size_t>(found - list.begin()));
  }
  static bool overlap(const Buffer& a, const Buffer& b) {
    return a.region == b.region && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
  }

  BufferId number_buffer(BufferId id) {
    if (const auto known = place_of(buffers_, id)) return static_cast<BufferId>(*known);
    const Buffer& buffer = program_.buffers[id];
    std::optional<Part> part = buffer.part;
    if (part) part->of = number_buffer(part->of);
    if (part && part->loop) part->loop = static_cast<std::uint32_t>(*place_of(around_, *part->loop));
    buffers_.push_back(id);
    form_.traits.push_back({.dtype = buffer.dtype,
                            .dims = buffer.dims,
                            .layout = buffer.layout,
                            .region = buffer.region,
                            .bytes = buffer.bytes,
                            .values = buffer.values,
                            .padded_rows = buffer.padded_rows,
                            .part = part});
    return static_cast<BufferId>(buffers_.size() - 1);
  }
  void number_access(Access& access) { access.buffer = number_buffer(access.buffer); }

  void number_kernel(Kernel& kernel) {
    if (kernel.core) {
      number_access(kernel.core->a);
      number_access(kernel.core->b);
    }
    if (kernel.work) kernel.work = number_buffer(*kernel.work);
    for (Stage& stage : kernel.stages) {
      for (BodyInput& input : stage.body.inputs) {
        if (auto* access = std::get_if<Access>(&input)) number_access(*access);
        if (auto* stream = std::get_if<RandomStream>(&input)) number_stream(*stream);
      }
      for (Fold& fold : stage.folds)
        if (fold.carry) number_access(*fold.carry);
      for (Store& store : stage.stores) number_access(store.to);
    }
  }
  void number_stream(RandomStream& stream) {
    const auto known = place_of(streams_, stream.number);
    if (!known) streams_.push_back(stream.number);
    stream.number = known.value_or(streams_.size() - 1);
  }

  const Program& program_;
  std::vector<std::uint32_t> around_;
  KernelForm form_;
  std::vector<BufferId> buffers_;  ///< by number
  std::vector<std::uint64_t> streams_;
};

/// Bytes from the beginning of its region, or of its list, to where a buffer is found.
std::int64_t place_of(const Buffer& buffer) {
  const auto offset = static_cast<std::int64_t>(buffer.offset);
  switch (buffer.region) {
    case Region::params:
    case Region::state:
    case Region::grads:
    case Region::carry:
    case Region::arena:
      return offset;
    case Region::feed:
      return offset * static_cast<std::int64_t>(sizeof(nnc_feed));
    case Region::output:
      return offset * static_cast<std::int64_t>(sizeof(void*));
    case Region::scalars:
      return offset * static_cast<std::int64_t>(sizeof(double));
    case Region::constant:
      return 0;
  }
  return 0;
}

/// Buffers that move alike are one argument.
void find_moved(const Program& program, const std::vector<const NumberedKernel*>& kernels, SharedKernel& shared) {
  const NumberedKernel& first = *kernels.front();
  for (std::size_t i = 0; i < first.buffers().size(); ++i) {
    const Buffer& buffer = program.buffers[first.buffers()[i]];
    if (buffer.part) continue;
    std::vector<std::int64_t> by;
    for (const NumberedKernel* kernel : kernels)
      by.push_back(place_of(program.buffers[kernel->buffers()[i]]) - place_of(buffer));
    if (std::ranges::all_of(by, [](std::int64_t bytes) { return bytes == 0; })) continue;
    auto alike = std::ranges::find_if(shared.moved, [&](const SharedKernel::Moved& moved) {
      return moved.region == buffer.region && moved.by == by;
    });
    if (alike == shared.moved.end()) alike = shared.moved.insert(alike, {buffer.region, {}, by});
    alike->buffers.push_back(first.buffers()[i]);
  }
}

void find_streams(const std::vector<const NumberedKernel*>& kernels, SharedKernel& shared) {
  for (std::size_t i = 0; i < kernels.front()->streams().size(); ++i) {
    SharedKernel::Streams streams{kernels.front()->streams()[i], {}};
    for (const NumberedKernel* kernel : kernels) streams.numbers.push_back(kernel->streams()[i]);
    const bool same = std::ranges::all_of(streams.numbers, [&](auto number) { return number == streams.number; });
    if (!same) shared.streams.push_back(std::move(streams));
  }
}

}  // namespace

std::vector<SharedKernel> shared_kernels(const Program& program) {
  std::vector<NumberedKernel> kernels;
  for (std::size_t i = 0; i < program.kernels.size(); ++i) kernels.emplace_back(program, i);
  std::vector<SharedKernel> all;
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    const auto equal = std::ranges::find_if(
        all, [&](const SharedKernel& shared) { return kernels[shared.kernels.front()].form() == kernels[i].form(); });
    equal == all.end() ? all.push_back({{i}, {}, {}}) : equal->kernels.push_back(i);
  }
  for (SharedKernel& shared : all) {
    std::vector<const NumberedKernel*> members;
    for (std::size_t i : shared.kernels) members.push_back(&kernels[i]);
    find_moved(program, members, shared);
    find_streams(members, shared);
  }
  return all;
}

}  // namespace nnc
