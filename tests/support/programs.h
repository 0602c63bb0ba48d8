// Hand-written programs and their execution: buffers with places, compiled code run by a team of threads on memory that
// is filled with NaN bits and checked for writes past its end.
#pragma once

#include <barrier>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "codegen/compile.h"
#include "ir/program/program.h"
#include "ir/scalar/builder.h"
#include "runtime/abi.h"
#include "tests/support/share_all.h"

namespace nnc::test {

template <class T>
constexpr DType dtype_of = std::is_same_v<T, float> ? DType::f32 : DType::f64;
template <class T>
constexpr ScalarType scalar_of = std::is_same_v<T, float> ? ScalarType::f32 : ScalarType::f64;

/// A program under construction; every buffer gets a place of its own.
struct Draft {
  Program program;

  BufferId row_major(Region region, DType dtype, const std::vector<std::int64_t>& dims, std::int64_t padded_last = 0) {
    Buffer buffer{};
    buffer.dtype = dtype;
    buffer.dims = dims;
    std::vector<std::int64_t> stored = dims;
    if (padded_last > 0) stored.back() = padded_last;
    std::vector<std::int64_t> strides(dims.size(), 1);
    for (std::size_t i = dims.size(); i > 1; --i) strides[i - 2] = strides[i - 1] * stored[i - 1];
    buffer.layout.strides = strides;
    buffer.padded_rows = padded_last > 0;
    std::int64_t count = 1;
    for (std::int64_t extent : stored) count *= extent;
    buffer.bytes = static_cast<std::uint64_t>(count) * size_of(dtype);
    return place(buffer, region);
  }
  BufferId panels(Region region, DType dtype, std::int64_t k, std::int64_t n, std::int64_t panel) {
    Buffer buffer{};
    buffer.dtype = dtype;
    buffer.dims = {k, n};
    buffer.layout = {Layout::Kind::panels, {}, panel};
    buffer.bytes = static_cast<std::uint64_t>((n + panel - 1) / panel * panel * k) * size_of(dtype);
    return place(buffer, region);
  }
  BufferId constant(DType dtype, const std::vector<std::int64_t>& dims, std::vector<double> values) {
    const BufferId id = row_major(Region::constant, dtype, dims);
    program.buffers[id].values = std::move(values);
    return id;
  }

 private:
  BufferId place(Buffer buffer, Region region) {
    const auto id = static_cast<BufferId>(program.buffers.size());
    buffer.region = region;
    buffer.name = "b" + std::to_string(id);
    const auto take = [&](std::uint64_t& size) {
      buffer.offset = size;
      size += (buffer.bytes + 63) / 64 * 64;
    };
    switch (region) {
      case Region::params:
        take(program.params_bytes);
        break;
      case Region::state:
        take(program.state_bytes);
        break;
      case Region::grads:
        take(program.grads_bytes);
        break;
      case Region::carry:
        take(program.carry_bytes);
        break;
      case Region::arena:
        take(program.arena_bytes);
        break;
      case Region::feed:
        buffer.offset = program.feeds.size();
        program.feeds.push_back({buffer.name, id});
        break;
      case Region::output:
        buffer.offset = program.outputs.size();
        program.outputs.push_back({buffer.name, id});
        break;
      case Region::scalars:
      case Region::constant:
        break;
    }
    program.buffers.push_back(buffer);
    return id;
  }
};

/// The row of a map that is loop `loop` of `loops`.
inline AffineRow loop_row(std::size_t loop, std::size_t loops, std::int64_t coefficient = 1, std::int64_t offset = 0) {
  AffineRow row{offset, std::vector<std::int64_t>(loops, 0)};
  row.coefficients[loop] = coefficient;
  return row;
}
/// An access whose axes are the loops given, of `loops`.
inline Access access(BufferId buffer, const std::vector<std::size_t>& axes, std::size_t loops) {
  Access access{buffer, {}};
  for (std::size_t axis : axes) access.map.push_back(loop_row(axis, loops));
  return access;
}

/// A body of one expression: `make` gets the builder and its inputs and returns the results.
inline Body body(std::vector<std::pair<ScalarType, BodyInput>> inputs,
                 const std::function<std::vector<Scalar>(std::span<const Scalar>)>& make) {
  ScalarBuilder builder;
  std::vector<Scalar> values;
  Body made;
  for (auto& [type, input] : inputs) {
    values.push_back(builder.input(type));
    made.inputs.push_back(input);
  }
  const std::vector<Scalar> results = make(values);
  made.program = std::move(builder).finish(results);
  return made;
}

/// Memory with guards behind it, aligned to 64 bytes.
class Memory {
 public:
  explicit Memory(std::size_t bytes = 0) : bytes_(bytes), storage_((bytes + guard + 63) / 64 + 1) {
    std::memset(data(), 0xff, bytes + guard);  // NaN as f32 and f64
  }
  std::byte* data() { return reinterpret_cast<std::byte*>(storage_.data()); }
  template <class T>
  T* as(std::size_t offset = 0) {
    return reinterpret_cast<T*>(data() + offset);
  }
  std::size_t size() const { return bytes_; }
  bool guards_intact() {
    for (std::size_t i = 0; i < guard; ++i)
      if (data()[bytes_ + i] != std::byte{0xff}) return false;
    return true;
  }

 private:
  static constexpr std::size_t guard = 256;
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::size_t bytes_;
  std::vector<Line> storage_;
};

/// All regions of a program, and a call over them.
struct Arena {
  explicit Arena(const Program& owner)
      : program(owner),
        params(owner.params_bytes),
        state(owner.state_bytes),
        grads(owner.grads_bytes),
        carry(owner.carry_bytes),
        arena(owner.arena_bytes) {
    for (const Slot& slot : owner.outputs) outputs.emplace_back(owner.buffers[slot.buffer].bytes);
    for (const Slot& slot : owner.feeds) {
      const Buffer& buffer = owner.buffers[slot.buffer];
      feeds.emplace_back(buffer.bytes);
      std::vector<std::uint32_t> rows(static_cast<std::size_t>(buffer.dims[0]));
      std::iota(rows.begin(), rows.end(), 0U);
      orders.push_back(rows);
    }
  }

  template <class T>
  T* at(BufferId id) {
    const Buffer& buffer = program.buffers[id];
    switch (buffer.region) {
      case Region::params:
        return params.as<T>(buffer.offset);
      case Region::state:
        return state.as<T>(buffer.offset);
      case Region::grads:
        return grads.as<T>(buffer.offset);
      case Region::carry:
        return carry.as<T>(buffer.offset);
      case Region::arena:
        return arena.as<T>(buffer.offset);
      case Region::feed:
        return feeds[buffer.offset].as<T>();
      case Region::output:
        return outputs[buffer.offset].as<T>();
      case Region::scalars:
        return reinterpret_cast<T*>(scalars + buffer.offset);
      case Region::constant:
        break;
    }
    return nullptr;
  }

  void run(const nnc_entry& entry, unsigned threads = 1) {
    std::vector<nnc_feed> columns;
    for (std::size_t i = 0; i < feeds.size(); ++i) {
      const Buffer& buffer = program.buffers[program.feeds[i].buffer];
      const std::int64_t row = static_cast<std::int64_t>(buffer.bytes) / buffer.dims[0];
      columns.push_back({feeds[i].data(), row, orders[i].data()});
    }
    std::vector<void*> results;
    for (Memory& output : outputs) results.push_back(output.data());
    std::barrier<> meet(threads);
    nnc_call call{};
    call.params = params.data();
    call.state = state.data();
    call.grads = grads.data();
    call.carry = carry.data();
    call.arena = arena.data();
    call.feeds = columns.data();
    call.outputs = results.data();
    call.scalars = scalars;
    call.seed = seed;
    call.step = step;
    call.row_offset = row_offset;
    call.threads = threads;
    call.team = &meet;
    call.barrier = [](void* team) { static_cast<std::barrier<>*>(team)->arrive_and_wait(); };
    std::vector<std::thread> team;
    for (unsigned thread = 1; thread < threads; ++thread) {
      nnc_call own = call;
      own.thread = thread;
      team.emplace_back([own, &entry] { entry.call(&own); });
    }
    if (threads == 1) call.barrier = nullptr;
    entry.call(&call);
    for (std::thread& thread : team) thread.join();
  }

  bool guards_intact() {
    bool intact = params.guards_intact() && state.guards_intact() && grads.guards_intact() && carry.guards_intact() &&
                  arena.guards_intact();
    for (Memory& output : outputs) intact = intact && output.guards_intact();
    return intact;
  }

  const Program& program;
  Memory params, state, grads, carry, arena;
  std::vector<Memory> outputs, feeds;
  std::vector<std::vector<std::uint32_t>> orders;
  double scalars[8] = {};
  std::uint64_t seed = 0, step = 0, row_offset = 0;
};

/// Equal bits, or both NaN.
template <class T>
bool same(T a, T b) {
  if (std::isnan(static_cast<double>(a)) && std::isnan(static_cast<double>(b))) return true;
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}
template <class T>
std::size_t count_different(const T* a, const T* b, std::size_t count) {
  std::size_t different = 0;
  for (std::size_t i = 0; i < count; ++i) different += same(a[i], b[i]) ? 0 : 1;
  return different;
}

inline CompileOptions host_options(CodegenLevel level = CodegenLevel::less) {
  return {.target = detect_host().target, .level = level};
}

template <class T>
void fill(T* to, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<T>(static_cast<double>(random() >> 40) / (1 << 23) - 1.0);
}

}  // namespace nnc::test
