// Contractions as generated code, in the three forms of a training step, beside oneDNN and libxsmm where these are
// installed, by turns: shares of this processor's fma peak, which is measured between them. Prints figures and fails
// nothing.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string>

#include "bench/peers.h"
#include "passes/lowering.h"
#include "runtime/measure.h"
#include "tests/support/programs.h"

using namespace nnc;
using namespace nnc::test;

namespace {

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

constexpr int rounds = 6, runs_of_round = 5;
constexpr double flops_of_run = 2e7;  // at least: shorter work is repeated

/// Percent of the fma peak that each of these reaches at its best; they run by turns. -1: there is no such work.
std::vector<double> shares_of_peak(const std::vector<PeerWork>& works, double flops, const Host& host) {
  const int repeats = std::max(1, static_cast<int>(flops_of_run / flops));
  std::vector<double> best(works.size(), INFINITY);
  double peak = 0;
  for (int round = 0; round < rounds; ++round) {
    peak = std::max(peak, fma_peak(host.machine.vector_bytes));
    for (std::size_t i = 0; i < works.size(); ++i)
      for (int run = 0; works[i] && run < runs_of_round; ++run) {
        const double begin = seconds_now();
        for (int repeat = 0; repeat < repeats; ++repeat) works[i]();
        best[i] = std::min(best[i], (seconds_now() - begin) / repeats);
      }
  }
  std::vector<double> shares;
  for (double seconds : best) shares.push_back(std::isinf(seconds) ? -1 : 100 * flops / seconds / peak);
  return shares;
}

/// "97.1 / 86.2 / -"
std::string shares_of_peak(const Program& program, const std::vector<PeerWork>& peers, double flops, const Host& host) {
  const auto compiled = compile(program, {.target = host.target});
  Arena memory(program);
  fill(memory.params.as<float>(), memory.params.size() / 4, 1);
  fill(memory.arena.as<float>(), memory.arena.size() / 4, 2);
  std::vector<PeerWork> works{[&] { memory.run(compiled->entry()); }};
  works.insert(works.end(), peers.begin(), peers.end());
  std::string text;
  for (double share : shares_of_peak(works, flops, host))
    text += (text.empty() ? "" : " / ") + (share < 0 ? std::string("-") : fmt::format("{:.1f}", share));
  return text;
}

constexpr std::array<Form, 3> forms{Form::forward, Form::input_gradient, Form::weight_gradient};

void print_products(const Host& host) {
  fmt::print("{:>6} {:>5} {:>5}   {:<22} {:<22} {:<22}\n", "batch", "in", "out", "X.W", "dZ.Wt", "Xt.dZ");
  const std::array<std::array<std::int64_t, 3>, 8> layers{{{128, 784, 256},
                                                           {128, 256, 128},
                                                           {128, 128, 10},
                                                           {128, 512, 512},
                                                           {32, 784, 256},
                                                           {10, 784, 256},
                                                           {512, 784, 256},
                                                           {1024, 1024, 1024}}};
  for (const auto& [batch, in, out] : layers) {
    fmt::print("{:>6} {:>5} {:>5}  ", batch, in, out);
    const double flops = 2.0 * static_cast<double>(batch) * static_cast<double>(in) * static_cast<double>(out);
    for (Form form : forms)
      fmt::print(
          " {:<22}",
          shares_of_peak(contraction(form, batch, in, out, host.machine),
                         {onednn_product(form, batch, in, out), libxsmm_product(form, batch, in, out)}, flops, host));
    fmt::print("\n");
    std::fflush(stdout);
  }
}

void print_convolutions(const Host& host) {
  fmt::print("\n3x3 convolutions of padded images\n{:>6} {:>5} {:>5} {:>5}   {:<22} {:<22} {:<22}\n", "batch", "size",
             "in", "out", "X.W", "dZ.Wt", "Xt.dZ");
  const std::array<std::array<std::int64_t, 4>, 3> images{{{32, 28, 32, 32}, {32, 28, 32, 64}, {32, 14, 64, 64}}};
  for (const auto& [batch, size, in, out] : images) {
    fmt::print("{:>6} {:>5} {:>5} {:>5}  ", batch, size, in, out);
    const double flops = 18.0 * static_cast<double>(batch * size * size * in * out);
    for (Form form : forms) {
      const bool back = form == Form::input_gradient;
      fmt::print(" {:<22}", shares_of_peak(convolution(form == Form::weight_gradient, batch, size, back ? out : in,
                                                       back ? in : out, host.machine),
                                           {onednn_convolution(form, batch, size, in, out)}, flops, host));
    }
    fmt::print("\n");
    std::fflush(stdout);
  }
}

}  // namespace

int main() {
  const Host host = detect_host();
  if (host.target.cpu.empty()) {
    fmt::print("this processor has no AVX2 and FMA\n");
    return 0;
  }
  fmt::print(
      "{} ({} lanes), fma peak {:.1f} GFLOP/s now, one thread, f32; percent of the peak: nnc / oneDNN / libxsmm\n",
      host.target.cpu, host.machine.lanes(4), fma_peak(host.machine.vector_bytes) / 1e9);
  print_products(host);
  print_convolutions(host);
}
