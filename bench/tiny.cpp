// Steps of tiny nets (bench/tiny/*.nn, f64) beside the same steps in C (bench/tiny/twins.c), in one process, by turns:
// nanoseconds a step, the best of many runs. Prints figures and fails nothing.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string>

#include "driver/session.h"
#include "driver/workload.h"
#include "passes/pipeline.h"
#include "runtime/measure.h"

using namespace nnc;

extern "C" {
#define TWIN(name, label)                                                     \
  double name##_alone(double* p, const double* x, const label* y, long rows); \
  double name##_with_loss(double* p, const double* x, const label* y, long rows);
TWIN(linear, double)
TWIN(logistic, double)
TWIN(xor, double)
TWIN(curve, double)
TWIN(softmax, std::int32_t)
#undef TWIN
}

namespace {

/// A step in C: parameters, the first rows of the columns, and how many of them.
using Twin = double (*)(double* p, const double* x, const void* y, long rows);

template <auto function, class Label>
double call(double* p, const double* x, const void* y, long rows) {
  return function(p, x, static_cast<const Label*>(y), rows);
}

struct Net {
  const char* name;
  Twin with_loss, alone;
};

#define NET(name, label) {#name, call<name##_with_loss, label>, call<name##_alone, label>}
constexpr std::array<Net, 5> nets{
    {NET(linear, double), NET(logistic, double), NET(xor, double), NET(curve, double), NET(softmax, std::int32_t)}};
#undef NET

constexpr double run_seconds = 2e-3;
constexpr int runs = 25;

/// The best time of a call of `work`, which makes `steps` steps, among runs of so many seconds; a run at a time.
class Best {
 public:
  template <class Work>
  void run(std::int64_t steps, const Work& work) {
    const double begin = seconds_now();
    double now = begin;
    std::int64_t done = 0;
    do {
      work();
      done += steps;
      now = seconds_now();
    } while (now - begin < run_seconds);
    best_ = std::min(best_, (now - begin) / static_cast<double>(done));
  }
  double nanoseconds() const { return 1e9 * best_; }

 private:
  double best_ = INFINITY;
};

void measure(const Net& net, std::int64_t rows, const Host& host) {
  ElaborateOptions options;
  options.double_precision = true;
  Diagnostics diagnostics;
  const std::string file = fmt::format("{}/{}.nn", NNC_TINY_NETS, net.name);
  const std::vector<Elaborated> blocks = elaborate_file(file, options, diagnostics);
  if (blocks.size() != 1) return fmt::print("{} cannot be read\n", file);
  driver::Session session(blocks[0], {.host = host}, rows);
  const Program program = session.lower_graph(optimise(blocks[0].step), EntryKind::step, rows);
  const auto code = compile(program, {.target = host.target});
  driver::Workload work(code->entry(), session);
  Runner runner(1);

  const bool x_first = std::string_view(code->entry().feeds[0].name) == "x";
  const DenseArray &x = work.columns()[x_first ? 0 : 1], &y = work.columns()[x_first ? 1 : 0];
  Best ours, with_loss, alone;
  for (int i = 0; i < runs; ++i) {
    work.restart();
    ours.run(work.times(), [&] { work.run(runner, 1); });
    for (const auto& [twin, best] : {std::pair{net.with_loss, &with_loss}, {net.alone, &alone}}) {
      double p[32] = {0.1, -0.2, 0.3, -0.4, 0.5, -0.1, 0.2, -0.3, 0.4, -0.5, 0.1};
      volatile double loss = 0;
      best->run(work.times(), [&] {
        for (std::int64_t step = 0; step < work.times(); ++step)
          loss = twin(p, reinterpret_cast<const double*>(x.row(step * rows)), y.row(step * rows), rows);
      });
    }
  }
  fmt::print("{:<10} {:>5}   {:>8.1f} {:>8.1f} {:>8.1f}   {:>5.2f} {:>5.2f}   {:>7}\n", net.name, rows,
             ours.nanoseconds(), with_loss.nanoseconds(), alone.nanoseconds(),
             ours.nanoseconds() / with_loss.nanoseconds(), ours.nanoseconds() / alone.nanoseconds(),
             program.kernels.size());
}

}  // namespace

int main() {
  const Host host = detect_host();
  fmt::print("{}; ns a step, best of {} runs; C: {}\n", host.target.cpu, runs, NNC_C_COMPILER);
  fmt::print("{:<10} {:>5}   {:>8} {:>8} {:>8}   {:>5} {:>5}   {:>7}\n", "net", "rows", "nnc", "C + loss", "C", "ratio",
             "ratio", "kernels");
  for (const Net& net : nets)
    for (const std::int64_t rows : {1, 10, 200}) measure(net, rows, host);
}
