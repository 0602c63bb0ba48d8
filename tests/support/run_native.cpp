#include "tests/support/run_native.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <thread>

#include "tests/support/random.h"

namespace nnc::test {

namespace {

constexpr int undefined = 0xff;  // a NaN as f32 and f64

std::uint64_t page_bytes() { return static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)); }
std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t to) { return (bytes + to - 1) / to * to; }

/// Bytes that end, but for their alignment, where an inaccessible page begins, or begin where one ends.
class Guarded {
 public:
  Guarded(std::size_t bytes, std::size_t alignment, int fill, Guard guard) {
    const std::size_t page = page_bytes();
    const std::size_t aligned = rounded_up(bytes, alignment);
    const std::size_t usable = rounded_up(aligned, page);
    mapped_ = usable + page;
    base_ = static_cast<std::byte*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::runtime_error("no memory for a test");
    std::byte* const open = guard == Guard::behind ? base_ : base_ + page;
    if (mprotect(guard == Guard::behind ? base_ + usable : base_, page, PROT_NONE) != 0)
      throw std::runtime_error("no memory for a test");
    data_ = guard == Guard::behind ? open + usable - aligned : open;
    rest_ = guard == Guard::behind ? std::span(open, data_) : std::span(data_ + aligned, open + usable);
    std::memset(open, undefined, usable);
    std::memset(data_, fill, aligned);
  }
  ~Guarded() { munmap(base_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  /// Pages that hold nothing of these parts (begin and bytes) cannot be touched.
  void close_all_but(const std::vector<std::pair<std::uint64_t, std::uint64_t>>& parts) {
    const std::uint64_t page = page_bytes();
    std::vector<bool> open(mapped_ / page - 1, false);  // the last one, or the first, is closed already
    for (const auto& [begin, bytes] : parts)
      for (std::uint64_t at = begin / page; bytes > 0 && at <= (begin + bytes - 1) / page; ++at) open[at] = true;
    for (std::size_t i = 0; i < open.size(); ++i)
      if (!open[i] && mprotect(data_ + i * page, page, PROT_NONE) != 0)
        throw std::runtime_error("no memory for a test");
    rest_ = {};
  }

  std::byte* data() const { return data_; }
  /// Nothing on the side without a guard was written.
  bool intact() const {
    return std::ranges::all_of(rest_, [](std::byte byte) { return byte == std::byte{undefined}; });
  }

 private:
  std::byte *base_ = nullptr, *data_ = nullptr;
  std::span<std::byte> rest_;
  std::size_t mapped_ = 0;
};
using Memory = std::unique_ptr<Guarded>;

constexpr std::size_t region_alignment = 64;

/// Memory of a region. Where its buffers are apart, its size is a multiple of a page, and it lies between two pages.
Memory region(std::uint64_t bytes, int fill, Guard guard) {
  return std::make_unique<Guarded>(bytes, region_alignment, fill, guard);
}

/// The buffers of a region: where each begins and its bytes.
std::vector<std::pair<std::uint64_t, std::uint64_t>> parts_of(const Program& program, Region region) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> parts;
  for (const Buffer& buffer : program.buffers)
    if (buffer.region == region && !buffer.part) parts.emplace_back(buffer.offset, buffer.bytes);
  return parts;
}

/// What earlier calls left on the stack must not matter: it holds NaN.
[[gnu::noinline]] void fill_stack() {
  volatile std::byte below[64 << 10];
  for (volatile std::byte& byte : below) byte = std::byte{undefined};
}

DType dtype_of(const nnc_slot& slot) {
  switch (static_cast<nnc_dtype>(slot.dtype)) {
    case NNC_F32:
      return DType::f32;
    case NNC_F64:
      return DType::f64;
    case NNC_I32:
      return DType::i32;
    case NNC_BOOL:
      return DType::boolean;
  }
  throw std::runtime_error("a slot without an element type");
}

std::vector<std::int64_t> dims_of(const nnc_slot& slot) { return {slot.dims, slot.dims + slot.rank}; }

/// Where an element lies, in elements from the slot's start.
std::int64_t position(const nnc_slot& slot, const std::vector<std::int64_t>& index) {
  if (slot.layout == NNC_PANELS)
    return (index[1] / slot.panel * slot.dims[0] + index[0]) * slot.panel + index[1] % slot.panel;
  std::int64_t at = 0;
  for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * slot.strides[axis];
  return at;
}

/// visit(number in row-major order, position) for every element.
template <class Visit>
void each_element(const nnc_slot& slot, Visit visit) {
  const std::vector<std::int64_t> dims = dims_of(slot);
  const std::int64_t count = std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>());
  std::vector<std::int64_t> index(dims.size(), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    visit(i, position(slot, index));
    for (std::size_t axis = dims.size(); axis-- > 0;) {
      if (++index[axis] < dims[axis]) break;
      index[axis] = 0;
    }
  }
}

void write(const nnc_slot& slot, std::byte* at, const Tensor& tensor) {
  const std::size_t bytes = size_of(dtype_of(slot));
  if (tensor.dtype != dtype_of(slot) || tensor.dims != dims_of(slot))
    throw std::runtime_error(std::string("another type than the program's: ") + slot.name);
  each_element(slot, [&](std::int64_t i, std::int64_t to) {
    std::memcpy(at + static_cast<std::size_t>(to) * bytes, tensor.data.data() + static_cast<std::size_t>(i) * bytes,
                bytes);
  });
}

Tensor read(const nnc_slot& slot, const std::byte* at) {
  Tensor tensor = Tensor::zeros(dtype_of(slot), dims_of(slot));
  const std::size_t bytes = size_of(tensor.dtype);
  each_element(slot, [&](std::int64_t i, std::int64_t from) {
    std::memcpy(tensor.data.data() + static_cast<std::size_t>(i) * bytes, at + static_cast<std::size_t>(from) * bytes,
                bytes);
  });
  return tensor;
}

void check_padding(const nnc_slot& slot, const std::byte* at) {
  const std::size_t bytes = size_of(dtype_of(slot));
  std::vector<bool> used(slot.bytes, false);
  each_element(slot, [&](std::int64_t, std::int64_t place) {
    for (std::size_t i = 0; i < bytes; ++i) used[static_cast<std::size_t>(place) * bytes + i] = true;
  });
  for (std::size_t i = 0; i < slot.bytes; ++i)
    if (!used[i] && at[i] != std::byte{0}) throw std::runtime_error(std::string("padding of ") + slot.name);
}

/// The values of a region that the caller keeps: parameters, state, carries, gradients.
struct Kept {
  const nnc_slot* slots;
  std::uint32_t count;
  const std::map<std::string, Tensor>& values;
  Memory memory;

  Kept(const nnc_slot* first, std::uint32_t number, std::uint64_t bytes, const std::map<std::string, Tensor>& from,
       int fill, Guard guard)
      : slots(first), count(number), values(from), memory(region(bytes, fill, guard)) {
    for (std::uint32_t i = 0; i < count; ++i)
      if (const auto found = values.find(slots[i].name); found != values.end())
        write(slots[i], memory->data() + slots[i].offset, found->second);
  }
  void read_into(std::map<std::string, Tensor>& results, const std::string& prefix = "update ") const {
    for (std::uint32_t i = 0; i < count; ++i)
      results[prefix + slots[i].name] = read(slots[i], memory->data() + slots[i].offset);
  }
  void check() const {
    for (std::uint32_t i = 0; i < count; ++i) check_padding(slots[i], memory->data() + slots[i].offset);
  }
};

/// A column of data whose row r is anywhere: at order[r], among rows that no one may look at.
struct Column {
  Memory memory;
  std::vector<std::uint32_t> order;
  nnc_feed feed{};

  Column(const nnc_slot& slot, const Tensor& tensor, std::uint32_t rows, Guard guard) {
    const std::size_t row_bytes = tensor.data.size() / rows;
    const std::size_t stored_rows = rows + 3;
    memory = std::make_unique<Guarded>(row_bytes * stored_rows, size_of(tensor.dtype), undefined, guard);
    std::vector<std::uint32_t> places(stored_rows);
    std::iota(places.begin(), places.end(), 0U);
    Random random(seed_of(rows, slot.name));
    random.shuffle(places);
    order.assign(places.begin(), places.begin() + rows);
    for (std::uint32_t row = 0; row < rows; ++row)
      std::memcpy(memory->data() + order[row] * row_bytes, tensor.data.data() + row * row_bytes, row_bytes);
    feed = {memory->data(), static_cast<std::int64_t>(row_bytes), order.data()};
  }
};

}  // namespace

void move_apart(Program& program, Guard guard) {
  const std::uint64_t page = page_bytes();
  for (const auto& [region, size] : {std::pair{Region::params, &Program::params_bytes},
                                     {Region::state, &Program::state_bytes},
                                     {Region::grads, &Program::grads_bytes},
                                     {Region::carry, &Program::carry_bytes},
                                     {Region::arena, &Program::arena_bytes}}) {
    std::map<std::uint64_t, std::uint64_t> bytes_at;  // what begins at one place shares memory
    for (const auto& [begin, bytes] : parts_of(program, region)) bytes_at[begin] = std::max(bytes_at[begin], bytes);
    std::map<std::uint64_t, std::uint64_t> moved;
    std::uint64_t end = 0;
    for (const auto& [begin, bytes] : bytes_at) {
      const std::uint64_t aligned = rounded_up(bytes, region_alignment), pages = rounded_up(aligned, page);
      moved[begin] = end + (guard == Guard::behind ? pages - aligned : 0) + page;
      end += page + pages;
    }
    for (Buffer& buffer : program.buffers)
      if (buffer.region == region) buffer.offset = moved.contains(buffer.offset) ? moved.at(buffer.offset) : 0;
    if (end > 0) program.*size = end + page;
  }
}

std::map<std::string, Tensor> run_native(const nnc_entry& entry, const Environment& environment, unsigned threads,
                                         Guard guard, const Program* apart) {
  const Kept params(entry.params, entry.param_count, entry.params_bytes, environment.params, 0, guard);
  const Kept state(entry.state, entry.state_count, entry.state_bytes, environment.state, 0, guard);
  const Kept carry(entry.carry, entry.carry_count, entry.carry_bytes, environment.carry, undefined, guard);
  const Kept grads(entry.grads, entry.grad_count, entry.grads_bytes, environment.inputs, undefined, guard);
  const Memory arena = region(entry.arena_bytes, undefined, guard);
  if (apart) {
    params.memory->close_all_but(parts_of(*apart, Region::params));
    state.memory->close_all_but(parts_of(*apart, Region::state));
    carry.memory->close_all_but(parts_of(*apart, Region::carry));
    grads.memory->close_all_but(parts_of(*apart, Region::grads));
    arena->close_all_but(parts_of(*apart, Region::arena));
  }

  std::vector<Column> columns;
  std::vector<nnc_feed> feeds;
  for (std::uint32_t i = 0; i < entry.feed_count; ++i)
    columns.emplace_back(entry.feeds[i], environment.inputs.at(entry.feeds[i].name), entry.rows, guard);
  for (const Column& column : columns) feeds.push_back(column.feed);

  std::vector<Memory> outputs;
  std::vector<void*> output_places;
  for (std::uint32_t i = 0; i < entry.output_count; ++i) {
    outputs.push_back(
        std::make_unique<Guarded>(entry.outputs[i].bytes, size_of(dtype_of(entry.outputs[i])), undefined, guard));
    output_places.push_back(outputs.back()->data());
  }
  std::vector<double> scalars;
  for (const char* name : {"step", "epoch", "steps_per_epoch", "total_steps", "rows"})
    scalars.push_back(environment.scalars.at(name));

  std::barrier<> meeting(threads);
  nnc_call call{};
  call.params = params.memory->data();
  call.state = state.memory->data();
  call.grads = grads.memory->data();
  call.carry = carry.memory->data();
  call.arena = arena->data();
  call.feeds = feeds.data();
  call.outputs = output_places.data();
  call.scalars = scalars.data();
  call.seed = environment.seed;
  call.step = environment.step;
  call.row_offset = environment.row_offset;
  call.threads = threads;
  if (threads > 1) {
    call.team = &meeting;
    call.barrier = [](void* team) { static_cast<std::barrier<>*>(team)->arrive_and_wait(); };
  }
  std::vector<std::jthread> team;
  for (unsigned thread = 1; thread < threads; ++thread)
    team.emplace_back([&entry, own = call, thread]() mutable {
      own.thread = thread;
      fill_stack();
      entry.call(&own);
    });
  fill_stack();
  entry.call(&call);
  team.clear();  // joins

  std::map<std::string, Tensor> results;
  for (std::uint32_t i = 0; i < entry.output_count; ++i)
    results[entry.outputs[i].name] = read(entry.outputs[i], outputs[i]->data());
  params.read_into(results);
  state.read_into(results);
  carry.read_into(results);
  grads.read_into(results, "");
  params.check();
  state.check();
  for (const Memory* memory : {&params.memory, &state.memory, &carry.memory, &grads.memory, &arena})
    if (!(*memory)->intact()) throw std::runtime_error("written outside a region");
  for (const Memory& output : outputs)
    if (!output->intact()) throw std::runtime_error("written outside a result");
  return results;
}

}  // namespace nnc::test
