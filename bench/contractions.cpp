// Contractions as generated code, in the three forms of a training step, as a share of this processor's fma peak, which
// is measured between them. Prints figures and fails nothing.
#include <fmt/format.h>

#include <array>

#include "passes/lowering.h"
#include "runtime/measure.h"
#include "tests/support/programs.h"

using namespace nnc;
using namespace nnc::test;

namespace {

enum class Form { forward, input_gradient, weight_gradient };

/// One contraction with the layouts that lowering chooses: weights in panels, activations row-major with padded rows.
Program contraction(Form form, std::int64_t batch, std::int64_t in, std::int64_t out, const Machine& machine) {
  test::Draft draft;
  const DType f32 = DType::f32;
  const std::int64_t panel = machine.panel(4);
  const auto padded = [](std::int64_t n) { return (n + 15) / 16 * 16 + 16; };
  const auto rows = [&](std::int64_t m, std::int64_t n) {
    return draft.row_major(Region::arena, f32, {m, n}, padded(n));
  };
  Contract core;
  BufferId result = 0;
  switch (form) {
    case Form::forward:  // X[batch, in] . W[in, out]
      core = {access(rows(batch, in), {0, 1}, 2), access(draft.panels(Region::params, f32, in, out, panel), {0, 1}, 2),
              batch, out, in};
      result = rows(batch, out);
      break;
    case Form::input_gradient:  // dZ[batch, out] . (W transposed, in panels)[out, in]
      core = {access(rows(batch, out), {0, 1}, 2), access(draft.panels(Region::params, f32, out, in, panel), {0, 1}, 2),
              batch, in, out};
      result = rows(batch, in);
      break;
    case Form::weight_gradient:  // X[batch, in] transposed . dZ[batch, out]
      core = {access(rows(batch, in), {1, 0}, 2), access(rows(batch, out), {0, 1}, 2), in, out, batch};
      result = draft.panels(Region::params, f32, in, out, panel);
      break;
  }
  Stage stage;
  stage.body = body({{ScalarType::f32, CoreValue{}}}, [](auto x) { return std::vector<Scalar>{x[0]}; });
  stage.stores = {{access(result, {0, 1}, 2), 0}};
  Kernel kernel;
  kernel.name = "contraction";
  kernel.outer = {core.m, core.n};
  kernel.core = core;
  kernel.stages = {stage};
  kernel.schedule.vector = Schedule::Vector::outer;
  tile_contraction(core, 4, machine, kernel.schedule);
  draft.program.kernels = {kernel};
  return draft.program;
}

/// A 3x3 convolution of padded images [batch, size + 2, size + 2, in], or the gradient of its weights: the contraction
/// with `a` read from the images. The gradient of the images is the first form with in and out exchanged.
Program convolution(bool weights, std::int64_t batch, std::int64_t size, std::int64_t in, std::int64_t out,
                    const Machine& machine) {
  const std::int64_t places = batch * size * size, elements = 9 * in;
  Program program = weights ? contraction(Form::weight_gradient, places, elements, out, machine)
                            : contraction(Form::forward, places, elements, out, machine);
  test::Draft draft{std::move(program)};
  Contract& core = *draft.program.kernels[0].core;
  const std::size_t place = weights ? 3 : 0, inside = 3 - place;
  core.rows = {batch, size, size};
  core.steps = {3, 3, in};
  if (weights) std::swap(core.rows, core.steps);
  const BufferId image = draft.row_major(Region::arena, DType::f32, {batch, size + 2, size + 2, in});
  core.a = {image, {loop_row(place, 6), loop_row(place + 1, 6), loop_row(place + 2, 6), loop_row(inside + 2, 6)}};
  core.a.map[1].coefficients[inside] = core.a.map[2].coefficients[inside + 1] = 1;
  Schedule schedule;
  schedule.vector = Schedule::Vector::outer;
  tile_contraction(core, 4, machine, schedule);
  draft.program.kernels[0].schedule = schedule;
  return std::move(draft.program);
}

double share_of_peak(const Program& program, double flops, const Host& host) {
  const auto compiled = compile(program, {.target = host.target});
  Arena memory(program);
  fill(memory.params.as<float>(), memory.params.size() / 4, 1);
  fill(memory.arena.as<float>(), memory.arena.size() / 4, 2);
  const int repeats = std::max(1, static_cast<int>(2e7 / flops));
  double best = 0;
  for (int run = 0; run < 30; ++run) {
    const double peak = run % 10 == 0 ? fma_peak(host.machine.vector_bytes) : 0;
    static double top = 0;
    top = std::max(top, peak);
    const double begin = seconds_now();
    for (int i = 0; i < repeats; ++i) memory.run(compiled->entry());
    best = std::max(best, flops * repeats / (seconds_now() - begin) / top);
  }
  return 100 * best;
}

double share_of_peak(Form form, std::int64_t batch, std::int64_t in, std::int64_t out, const Host& host) {
  const double flops = 2.0 * static_cast<double>(batch) * static_cast<double>(in) * static_cast<double>(out);
  return share_of_peak(contraction(form, batch, in, out, host.machine), flops, host);
}

}  // namespace

int main() {
  const Host host = detect_host();
  if (host.target.cpu.empty()) {
    fmt::print("this processor has no AVX2 and FMA\n");
    return 0;
  }
  fmt::print("{} ({} lanes), fma peak {:.1f} GFLOP/s, one thread, f32; percent of the peak\n", host.target.cpu,
             host.machine.lanes(4), fma_peak(host.machine.vector_bytes) / 1e9);
  fmt::print("{:>6} {:>5} {:>5}   {:>8} {:>8} {:>8}\n", "batch", "in", "out", "X.W", "dZ.Wt", "Xt.dZ");
  const std::array<std::array<std::int64_t, 3>, 8> layers{{{128, 784, 256},
                                                           {128, 256, 128},
                                                           {128, 128, 10},
                                                           {128, 512, 512},
                                                           {32, 784, 256},
                                                           {10, 784, 256},
                                                           {512, 784, 256},
                                                           {1024, 1024, 1024}}};
  for (const auto& [batch, in, out] : layers)
    fmt::print("{:>6} {:>5} {:>5}   {:>8.1f} {:>8.1f} {:>8.1f}\n", batch, in, out,
               share_of_peak(Form::forward, batch, in, out, host),
               share_of_peak(Form::input_gradient, batch, in, out, host),
               share_of_peak(Form::weight_gradient, batch, in, out, host));

  fmt::print("\n3x3 convolutions of padded images\n{:>6} {:>5} {:>5} {:>5}   {:>8} {:>8} {:>8}\n", "batch", "size",
             "in", "out", "X.W", "dZ.Wt", "Xt.dZ");
  const std::array<std::array<std::int64_t, 4>, 3> images{{{32, 28, 32, 32}, {32, 28, 32, 64}, {32, 14, 64, 64}}};
  for (const auto& [batch, size, in, out] : images) {
    const double flops = 18.0 * static_cast<double>(batch * size * size * in * out);
    fmt::print("{:>6} {:>5} {:>5} {:>5}   {:>8.1f} {:>8.1f} {:>8.1f}\n", batch, size, in, out,
               share_of_peak(convolution(false, batch, size, in, out, host.machine), flops, host),
               share_of_peak(convolution(false, batch, size, out, in, host.machine), flops, host),
               share_of_peak(convolution(true, batch, size, in, out, host.machine), flops, host));
  }
}
