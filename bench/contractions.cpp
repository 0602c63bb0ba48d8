// Contractions as generated code, in the three forms of a training step, beside oneDNN and libxsmm where these are
// installed, by turns: shares of this processor's fma peak, which is measured between them; of each the best. With
// `alone` no peak is measured, each runs by itself for a while, as a program that does nothing else: GFLOP/s. Takes a
// minute and a half, prints figures and fails nothing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <memory>
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
  const auto rows = [&](std::int64_t m, std::int64_t n) {
    return draft.row_major(Region::arena, f32, {m, n}, padded_row(n, 4));
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
  shape_tiles(core, 4, machine, kernel.schedule);
  order_tiles(core, 4, false, machine, kernel.schedule);
  test::place_work(draft.program, kernel);
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
  shape_tiles(core, 4, machine, schedule);
  order_tiles(core, 4, false, machine, schedule);
  draft.program.kernels[0].schedule = schedule;
  test::place_work(draft.program, draft.program.kernels[0]);
  return std::move(draft.program);
}

constexpr int passes = 8;
constexpr double seconds_of_pass = 0.35, seconds_of_sample = 1e-4;   // a cell's
constexpr double seconds_of_stretch = 0.06, seconds_of_part = 2e-3;  // of one work that runs alone

/// Something to measure: our code, and the same by the peers. They run by turns, samples as short as they can be, in
/// passes over all cells: what others do on the machine lasts seconds, and should meet every cell and none always. An
/// untimed call goes before each sample, so that operands are as near as their size allows, and not where the work
/// before left them.
class Cell {
 public:
  Cell(const Program& program, const std::vector<PeerWork>& peers, double flops, const Host& host)
      : compiled_(compile(program, {.target = host.target})),
        memory_(std::make_unique<Arena>(program)),
        flops_(flops),
        moments_(1 + peers.size()) {
    fill(memory_->params.as<float>(), memory_->params.size() / 4, 1);
    fill(memory_->arena.as<float>(), memory_->arena.size() / 4, 2);
    works_.push_back([this] { memory_->run(compiled_->entry()); });
    works_.insert(works_.end(), peers.begin(), peers.end());
  }
  Cell(Cell&&) = delete;

  void measure(double seconds, Team& alone, int vector_bytes) {
    const double end = seconds_now() + seconds;
    do {
      for (std::size_t i = 0; i < works_.size(); ++i) {
        if (!works_[i]) continue;
        works_[i]();
        const double before = fma_peak(alone, vector_bytes, DType::f32, seconds_of_sample);
        const int repeats = std::max(1, static_cast<int>(seconds_of_sample * before / flops_));
        const double begin = seconds_now();
        for (int repeat = 0; repeat < repeats; ++repeat) works_[i]();
        const double taken = (seconds_now() - begin) / repeats;
        const double after = fma_peak(alone, vector_bytes, DType::f32, seconds_of_sample);
        moments_[i].push_back({taken, std::max(before, after)});
      }
    } while (seconds_now() < end);
  }

  /// Each of our code and oneDNN for a stretch, in parts whose times are kept; the first part finds the clock and the
  /// caches as the other left them, and does not count.
  void run_alone() {
    for (std::size_t i = 0; i < std::min<std::size_t>(2, works_.size()); ++i) {
      if (!works_[i]) continue;
      const double end = seconds_now() + seconds_of_stretch;
      for (bool counts = false; !counts || seconds_now() < end; counts = true) {
        const double begin = seconds_now();
        int runs = 0;
        do {
          works_[i]();
          ++runs;
        } while (seconds_now() - begin < seconds_of_part);
        if (counts) moments_[i].push_back({(seconds_now() - begin) / runs, 0});
      }
    }
  }

  /// GFLOP/s of each that ran alone, the middle of the quarter of its parts that took least: "199.1 / 170.7".
  std::string speeds() const {
    std::string text;
    for (std::size_t i = 0; i < std::min<std::size_t>(2, works_.size()); ++i)
      text += (text.empty() ? "" : " / ") +
              (moments_[i].empty() ? std::string("-")
                                   : fmt::format("{:.1f}", flops_ / undisturbed(moments_[i]).seconds / 1e9));
    return text;
  }

  /// The greatest of those beside each of the works, so that their shares are to each other as their speeds are. A work
  /// of less than half another's speed does not count: it leaves the processor with a clock that no dense code has.
  double peak() const {
    double least = INFINITY, greatest = 0;
    for (const std::vector<Moment>& moments : moments_)
      if (!moments.empty()) least = std::min(least, undisturbed(moments).seconds);
    for (const std::vector<Moment>& moments : moments_)
      if (const Moment moment = undisturbed(moments); moment.seconds <= 2 * least)
        greatest = std::max(greatest, moment.peak);
    return greatest;
  }
  /// Percent of the peak that each reaches: "97.1 / 86.2 / -".
  std::string shares() const {
    std::string text;
    for (const std::vector<Moment>& moments : moments_)
      text += (text.empty() ? "" : " / ") +
              (moments.empty() ? std::string("-")
                               : fmt::format("{:.1f}", 100 * flops_ / undisturbed(moments).seconds / peak()));
    return text;
  }

 private:
  std::unique_ptr<Compiled> compiled_;
  std::unique_ptr<Arena> memory_;
  double flops_;
  std::vector<PeerWork> works_;
  std::vector<std::vector<Moment>> moments_;
};

constexpr std::array<Form, 3> forms{Form::forward, Form::input_gradient, Form::weight_gradient};
constexpr std::array<std::array<std::int64_t, 3>, 8> layers{{{128, 784, 256},
                                                             {128, 256, 128},
                                                             {128, 128, 10},
                                                             {128, 512, 512},
                                                             {32, 784, 256},
                                                             {10, 784, 256},
                                                             {512, 784, 256},
                                                             {1024, 1024, 1024}}};
constexpr std::array<std::array<std::int64_t, 4>, 3> images{{{32, 28, 32, 32}, {32, 28, 32, 64}, {32, 14, 64, 64}}};

/// The cells of the two tables, row by row.
std::deque<Cell> cells_of(const Host& host) {
  std::deque<Cell> cells;
  for (const auto& [batch, in, out] : layers)
    for (Form form : forms)
      cells.emplace_back(
          contraction(form, batch, in, out, host.machine),
          std::vector<PeerWork>{onednn_product(form, batch, in, out), libxsmm_product(form, batch, in, out)},
          2.0 * static_cast<double>(batch * in * out), host);
  for (const auto& [batch, size, in, out] : images)
    for (Form form : forms) {
      const bool back = form == Form::input_gradient;
      cells.emplace_back(
          convolution(form == Form::weight_gradient, batch, size, back ? out : in, back ? in : out, host.machine),
          std::vector<PeerWork>{onednn_convolution(form, batch, size, in, out)},
          18.0 * static_cast<double>(batch * size * size * in * out), host);
    }
  return cells;
}

void print(const std::deque<Cell>& cells, std::string (Cell::*figures)() const) {
  std::size_t cell = 0;
  const auto print_row = [&] {
    for (std::size_t form = 0; form < forms.size(); ++form) fmt::print(" {:<22}", (cells[cell++].*figures)());
    fmt::print("\n");
  };
  fmt::print("{:>6} {:>5} {:>5}   {:<22} {:<22} {:<22}\n", "batch", "in", "out", "X.W", "dZ.Wt", "Xt.dZ");
  for (const auto& [batch, in, out] : layers) fmt::print("{:>6} {:>5} {:>5}  ", batch, in, out), print_row();
  fmt::print("\n3x3 convolutions of padded images\n{:>6} {:>5} {:>5} {:>5}   {:<22} {:<22} {:<22}\n", "batch", "size",
             "in", "out", "X.W", "dZ.Wt", "Xt.dZ");
  for (const auto& [batch, size, in, out] : images)
    fmt::print("{:>6} {:>5} {:>5} {:>5}  ", batch, size, in, out), print_row();
}

}  // namespace

int main(int argc, char** argv) {
  const bool alone_asked = argc > 1 && std::string(argv[1]) == "alone";
  if (argc > (alone_asked ? 2 : 1)) {
    fmt::print(stderr, "usage: bench_contractions [alone]\n");
    return 2;
  }
  const Host host = detect_host();
  if (host.target.cpu.empty()) {
    fmt::print("this processor has no AVX2 and FMA\n");
    return 0;
  }
  std::deque<Cell> cells = cells_of(host);
  if (alone_asked) {
    for (int pass = 0; pass < passes; ++pass)
      for (Cell& cell : cells) cell.run_alone();
    fmt::print("{} ({} lanes), one thread, f32, each by itself for a while; GFLOP/s: nnc / oneDNN\n", host.target.cpu,
               host.machine.lanes(4));
    print(cells, &Cell::speeds);
    return 0;
  }
  Team alone(1);
  for (int pass = 0; pass < passes; ++pass)
    for (Cell& cell : cells) cell.measure(seconds_of_pass, alone, host.machine.vector_bytes);
  double least = INFINITY, most = 0;
  for (const Cell& cell : cells) least = std::min(least, cell.peak()), most = std::max(most, cell.peak());
  fmt::print(
      "{} ({} lanes), fma peak {:.1f} to {:.1f} GFLOP/s, one thread, f32; percent of the peak: nnc / oneDNN / "
      "libxsmm\n",
      host.target.cpu, host.machine.lanes(4), least / 1e9, most / 1e9);
  print(cells, &Cell::shares);
}
