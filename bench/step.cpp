// A whole training step of a .nn file as generated code, one thread: its time against the bound of its contractions,
// FLOPs / fma peak, which is measured between the runs. With --kernels each kernel is timed alone as well.
//
//   bench_step [FILE.nn] [--rows N] [--kernels] [--dtype f64] [--at-least PERCENT]
//
// Ends with status 1 where the share is below --at-least.
#include <fmt/format.h>

#include <cstring>

#include "bench/peak.h"
#include "driver/session.h"
#include "passes/pipeline.h"
#include "tests/support/programs.h"

using namespace nnc;

namespace {

/// Weights of small size, states and columns between 0 and 1, labels 0 to 9.
void fill_memory(test::Arena& memory, const Program& program) {
  std::memset(memory.params.data(), 0, memory.params.size());
  std::memset(memory.state.data(), 0, memory.state.size());
  const auto fill_slot = [&](const Slot& slot, double low, double high) {
    const Buffer& buffer = program.buffers[slot.buffer];
    std::mt19937_64 random(buffer.offset + 1);
    const auto number = [&] { return low + (high - low) * static_cast<double>(random() >> 11) / 0x1p53; };
    const std::size_t count = buffer.bytes / size_of(buffer.dtype);
    for (std::size_t i = 0; i < count; ++i) {
      if (buffer.dtype == DType::f32) memory.at<float>(slot.buffer)[i] = static_cast<float>(number());
      if (buffer.dtype == DType::f64) memory.at<double>(slot.buffer)[i] = number();
      if (buffer.dtype == DType::i32)
        memory.at<std::int32_t>(slot.buffer)[i] = static_cast<std::int32_t>(random() % 10);
    }
  };
  for (const Slot& slot : program.params) fill_slot(slot, -0.05, 0.05);
  for (const Slot& slot : program.state) fill_slot(slot, 0, 1e-3);
  for (const Slot& slot : program.feeds) fill_slot(slot, 0, 1);
  for (double& scalar : memory.scalars) scalar = 100;
}

double best_seconds(const Program& program, const CompileOptions& options, int vector_bytes, double& peak) {
  const auto compiled = compile(program, options);
  test::Arena memory(program);
  fill_memory(memory, program);
  double best = 1e30;
  for (int run = 0; run < 60; ++run) {
    if (run % 20 == 0) peak = std::max(peak, bench::fma_peak(vector_bytes));
    int calls = 0;
    const double begin = bench::seconds();
    double now = begin;
    do {
      for (int i = 0; i < 4; ++i) memory.run(compiled->entry());
      calls += 4;
      now = bench::seconds();
    } while (now - begin < 2e-3);
    best = std::min(best, (now - begin) / calls);
    if (run % 20 == 0) fill_memory(memory, program);  // weights stay small
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  std::string file = NNC_SOURCE_DIR "/examples/mnist/mnist.nn";
  std::int64_t rows = 0;
  bool kernels = false;
  double at_least = 0;
  ElaborateOptions elaborate;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--rows") == 0 && i + 1 < argc)
      rows = std::atoll(argv[++i]);
    else if (std::strcmp(argv[i], "--kernels") == 0)
      kernels = true;
    else if (std::strcmp(argv[i], "--at-least") == 0 && i + 1 < argc)
      at_least = std::atof(argv[++i]);
    else if (std::strcmp(argv[i], "--dtype") == 0 && i + 1 < argc)
      elaborate.double_precision = std::strcmp(argv[++i], "f64") == 0;
    else
      file = argv[i];
  }
  Diagnostics diagnostics;
  const std::vector<Elaborated> blocks = elaborate_file(file, elaborate, diagnostics);
  if (blocks.empty()) {
    fmt::print("{} has no train block that can be compiled\n", file);
    return 1;
  }
  const Elaborated& block = blocks.front();
  const Host host = detect_host();
  if (host.target.cpu.empty()) {
    fmt::print("this processor has no AVX2 and FMA\n");
    return 0;
  }
  if (rows == 0) rows = block.train.batch_size;
  const driver::Session session(block, {.host = host}, rows);
  const double begin = bench::seconds();
  const Program program = session.lower_graph(optimise(block.step), EntryKind::step, rows);
  const double lowered = bench::seconds();
  const CompileOptions options{.target = host.target};
  double code = 1e30;
  for (int i = 0; i < 3; ++i) {
    const double start = bench::seconds();
    compile(program, options);
    code = std::min(code, bench::seconds() - start);
  }
  const auto compiled = compile(program, options);
  double flops = 0, peak = 0;
  for (std::uint32_t i = 0; i < compiled->entry().kernel_count; ++i)
    flops += static_cast<double>(compiled->entry().kernels[i].flops);
  const double lanes_lost = elaborate.double_precision ? 2 : 1;  // the peak is that of f32
  flops *= lanes_lost;

  const double step = best_seconds(program, options, host.machine.vector_bytes, peak);
  fmt::print("{}, {} rows, {}, one thread\n", file, rows, host.target.cpu);
  fmt::print("passes and lowering {:.1f} ms, code generation {:.1f} ms\n", 1e3 * (lowered - begin), 1e3 * code);
  fmt::print("fma peak {:.1f} GFLOP/s, contractions {:.1f} MFLOP: bound {:.1f} us\n", peak / 1e9, flops / 1e6,
             1e6 * flops / peak);
  const double percent = 100 * flops / peak / step;
  fmt::print("step {:.1f} us: {:.1f}% of the bound\n", 1e6 * step, percent);
  const int status = percent < at_least ? 1 : 0;
  if (status != 0) fmt::print("that is below the {}% that were asked for\n", at_least);
  if (!kernels) return status;
  for (std::size_t i = 0; i < program.kernels.size(); ++i) {
    Program one = program;
    one.kernels = {program.kernels[i]};
    const double time = best_seconds(one, options, host.machine.vector_bytes, peak);
    const double share = lanes_lost * static_cast<double>(compiled->entry().kernels[i].flops) / peak;
    fmt::print("{:>9.2f} us", 1e6 * time);
    fmt::print("  {:>6}  kernel {} {}\n", share > 0 ? fmt::format("{:.1f}%", 100 * share / time) : "", i,
               program.kernels[i].name);
  }
  return status;
}
