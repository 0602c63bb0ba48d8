// Loop nests and folds: hand-written programs against plain loops that follow the definition of the orders word by
// word.
#include <fmt/format.h>

#include <cmath>

#include "tests/support/programs.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

// ---- the orders, as docs/architecture.md defines them

template <class T>
T step(FoldOp op, T sum, T value, T factor) {
  return op == FoldOp::product ? std::fma(value, factor, sum) : sum + value;
}

/// Over an index space outer x inner of which `inner` is the last axis of extent > 1 (outer = 1: a single axis).
template <class T>
double total(FoldOp op, Order order, const T* x, const T* y, std::int64_t outer, std::int64_t inner, double start) {
  if (op == FoldOp::product && order == Order::serial) {
    T sum = 0;
    for (std::int64_t i = 0; i < outer * inner; ++i) sum = std::fma(x[i], y[i], sum);
    return sum;
  }
  const std::int64_t chunk = outer > 1 && inner > 1 ? 256 * inner : 4096;
  const int lanes = order == Order::lanes ? (sizeof(T) == 8 ? 8 : 16) : 1;
  double sum_of_chunks = start;
  for (std::int64_t begin = 0; begin < outer * inner; begin += chunk) {
    std::vector<T> lane(static_cast<std::size_t>(lanes), T(0));
    for (std::int64_t i = begin; i < std::min(begin + chunk, outer * inner); ++i) {
      const std::int64_t along = inner > 1 ? i % inner : i;
      T& sum = lane[static_cast<std::size_t>(along % lanes)];
      sum = step(op, sum, x[i], y[i]);
    }
    for (int width = lanes / 2; width >= 1; width /= 2)
      for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
    sum_of_chunks += static_cast<double>(lane[0]);
  }
  return sum_of_chunks;
}

std::vector<Scalar> itself(std::span<const Scalar> in) { return {in[0]}; }
std::vector<Scalar> both(std::span<const Scalar> in) { return {in[0], in[1]}; }

Fold fold_of(FoldOp op, Order order, DType dtype, DType result) {
  Fold fold;
  fold.op = op;
  fold.order = order;
  fold.dtype = dtype;
  fold.result = result;
  fold.factor = 1;  // the second result; sums do not look at it
  return fold;
}

struct FoldCase {
  FoldOp op;
  Order order;
  std::vector<std::int64_t> inner;
  std::int64_t rows;
  Schedule::Vector vector;
  int lanes;
  bool carry;
};

/// result[row] = fold over inner of x[row, inner...] (and y), by compiled code.
template <class T>
std::vector<double> run_fold(const FoldCase& c, const std::vector<T>& x, const std::vector<T>& y, unsigned threads) {
  Draft draft;
  std::vector<std::int64_t> dims{c.rows};
  std::vector<std::size_t> axes{0};
  for (std::int64_t extent : c.inner) dims.push_back(extent), axes.push_back(axes.size());
  const bool across = c.vector == Schedule::Vector::outer;
  // Vectorised over the outer loop, rows lie along the last axis.
  std::vector<std::int64_t> stored = dims;
  std::vector<std::size_t> stored_axes = axes;
  if (across) std::rotate(stored.begin(), stored.begin() + 1, stored.end());
  if (across) std::rotate(stored_axes.begin(), stored_axes.begin() + 1, stored_axes.end());
  const BufferId a = draft.row_major(Region::arena, dtype_of<T>, stored);
  const BufferId b = draft.row_major(Region::arena, dtype_of<T>, stored);
  const BufferId carry = draft.row_major(Region::carry, DType::f64, {c.rows});
  const BufferId out = draft.row_major(Region::output, c.carry ? DType::f64 : dtype_of<T>, {c.rows});

  Stage fold;
  fold.inner = c.inner;
  std::vector<std::pair<ScalarType, BodyInput>> inputs;
  for (BufferId id : {a, b}) inputs.emplace_back(scalar_of<T>, access(id, stored_axes, axes.size()));
  fold.body = body(inputs, both);
  fold.folds = {fold_of(c.op, c.order, dtype_of<T>, c.carry ? DType::f64 : dtype_of<T>)};
  if (c.carry) fold.folds[0].carry = access(carry, {0}, axes.size());
  Stage store;
  const ScalarType result_type = c.carry ? ScalarType::f64 : scalar_of<T>;
  store.body = body({{result_type, FoldResult{0, 0}}}, itself);
  store.stores = {{access(out, {0}, 1), 0}};
  Kernel kernel;
  kernel.name = "fold";
  kernel.outer = {c.rows};
  kernel.stages = {fold, store};
  kernel.schedule.vector = c.vector;
  kernel.schedule.lanes = c.lanes;
  kernel.schedule.parallel = 3;
  draft.program.kernels = {kernel};

  Arena memory(draft.program);
  const std::size_t n = x.size(), per_row = n / static_cast<std::size_t>(c.rows);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = i / per_row, column = i % per_row;
    const std::size_t at = across ? column * static_cast<std::size_t>(c.rows) + row : i;
    memory.at<T>(a)[at] = x[i];
    memory.at<T>(b)[at] = y[i];
  }
  for (std::int64_t row = 0; row < c.rows; ++row) memory.at<double>(carry)[row] = 0.25 * static_cast<double>(row) + 0.1;
  const auto compiled = compile(draft.program, host_options());
  memory.run(compiled->entry(), threads);
  CHECK(memory.guards_intact());
  std::vector<double> results;
  for (std::int64_t row = 0; row < c.rows; ++row) {
    results.push_back(c.carry ? memory.at<double>(out)[row] : static_cast<double>(memory.at<T>(out)[row]));
    if (c.carry) CHECK(same(memory.at<double>(carry)[row], results.back()));
  }
  return results;
}

FoldCase fold_case(FoldOp op, Order order, std::vector<std::int64_t> inner, std::int64_t rows, Schedule::Vector vector,
                   int lanes, bool carry = false) {
  return {op, order, std::move(inner), rows, vector, lanes, carry};
}

template <class T>
void check_fold(const FoldCase& c, unsigned threads = 1) {
  std::int64_t per_row = 1;
  for (std::int64_t extent : c.inner) per_row *= extent;
  std::vector<T> x(static_cast<std::size_t>(c.rows * per_row)), y(x.size());
  fill(x.data(), x.size(), 1);
  fill(y.data(), y.size(), 2);
  if (!x.empty()) x[x.size() / 2] = static_cast<T>(-0.0);
  const std::vector<double> found = run_fold<T>(c, x, y, threads);
  const std::int64_t outer = c.inner.size() > 1 ? c.inner[0] : 1;
  const std::int64_t inner = outer > 0 ? per_row / outer : 0;
  for (std::int64_t row = 0; row < c.rows; ++row) {
    const T* values = x.data() + row * per_row;
    const T* factors = y.data() + row * per_row;
    const double start = c.carry ? 0.25 * static_cast<double>(row) + 0.1 : 0.0;
    double expected = total(c.op, c.order, values, factors, outer, inner, start);
    if (!c.carry) expected = static_cast<double>(static_cast<T>(expected));
    INFO(fmt::format("op {} order {} inner {} x {} rows {} row {} vector {} lanes {}", static_cast<int>(c.op),
                     static_cast<int>(c.order), outer, inner, c.rows, row, static_cast<int>(c.vector), c.lanes));
    CHECK(same(found[static_cast<std::size_t>(row)], expected));
  }
}

}  // namespace

TEST_CASE("folds along the vector loop, in lanes", "[codegen]") {
  for (FoldOp op : {FoldOp::sum, FoldOp::product})
    for (std::int64_t n : {1, 2, 15, 16, 17, 31, 255, 256, 257, 4095, 4096, 4097, 8192, 8200}) {
      check_fold<float>(fold_case(op, Order::lanes, {n}, 3, Schedule::Vector::inner, 8));
      check_fold<double>(fold_case(op, Order::lanes, {n}, 3, Schedule::Vector::inner, 4));
    }
}

namespace {

/// The sums of `count` columns of `n` elements each, or of their products with the next column, by as many folds of one
/// stage. One column is of -0, and the products of the two after it are -0, too small for anything else.
template <class T>
void check_folds_side_by_side(FoldOp op, std::size_t count, std::int64_t n, int lanes) {
  Draft draft;
  std::vector<BufferId> columns, results;
  std::vector<std::pair<ScalarType, BodyInput>> values, sums;
  Stage folds, store;
  folds.inner = {n};
  for (std::size_t i = 0; i < count; ++i) {
    columns.push_back(draft.row_major(Region::arena, dtype_of<T>, {n}));
    results.push_back(draft.row_major(Region::output, dtype_of<T>, {1}));
    values.emplace_back(scalar_of<T>, access(columns[i], {0}, 1));
    folds.folds.push_back(fold_of(op, Order::lanes, dtype_of<T>, dtype_of<T>));
    folds.folds[i].value = static_cast<ScalarId>(i);
    folds.folds[i].factor = static_cast<ScalarId>((i + 1) % count);
    sums.emplace_back(scalar_of<T>, FoldResult{0, static_cast<std::uint16_t>(i)});
    store.stores.push_back({Access{results[i], {AffineRow{}}}, static_cast<ScalarId>(i)});
  }
  const auto all = [](std::span<const Scalar> in) { return std::vector<Scalar>(in.begin(), in.end()); };
  folds.body = body(values, all);
  store.body = body(sums, all);
  Kernel kernel;
  kernel.name = "folds";
  kernel.stages = {folds, store};
  kernel.schedule.vector = Schedule::Vector::inner;
  kernel.schedule.lanes = lanes;
  draft.program.kernels = {kernel};

  Arena memory(draft.program);
  for (std::size_t i = 0; i < count; ++i)
    fill(memory.at<T>(columns[i]), static_cast<std::size_t>(n), static_cast<unsigned>(i + 1));
  memory.at<T>(columns[0])[0] = static_cast<T>(-0.0);
  const T tiny = std::numeric_limits<T>::min();
  for (std::size_t i = 1; i < std::min<std::size_t>(count, 4); ++i)
    std::fill_n(memory.at<T>(columns[i]), n, i == 1 ? static_cast<T>(-0.0) : i == 2 ? tiny : -tiny);
  const auto compiled = compile(draft.program, host_options());
  memory.run(compiled->entry(), 1);
  CHECK(memory.guards_intact());
  for (std::size_t i = 0; i < count; ++i) {
    INFO(fmt::format("fold {} of {}, {} elements, {} lanes", i, count, n, lanes));
    const T* column = memory.at<T>(columns[i]);
    const double expected = total<T>(op, Order::lanes, column, memory.at<T>(columns[(i + 1) % count]), 1, n, 0.0);
    CHECK(same(static_cast<double>(memory.at<T>(results[i])[0]), static_cast<double>(static_cast<T>(expected))));
  }
}

}  // namespace

TEST_CASE("folds of one stage are added up side by side, each in its own order", "[codegen]") {
  for (FoldOp op : {FoldOp::sum, FoldOp::product})
    for (std::size_t count : {1, 2, 3, 4, 5, 8, 9, 10, 17})
      for (std::int64_t n : {1, 4, 5, 8, 10, 16, 21, 64})
        for (int lanes : {2, 4, 8, 16}) {
          check_folds_side_by_side<float>(op, count, n, lanes);
          check_folds_side_by_side<double>(op, count, n, lanes);
        }
}

TEST_CASE("folds of two axes go in chunks of 256 rows", "[codegen]") {
  for (FoldOp op : {FoldOp::sum, FoldOp::product})
    for (Order order : {Order::serial, Order::lanes})
      for (std::int64_t outer : {2, 255, 256, 257, 513})
        for (std::int64_t inner : {2, 8, 15, 17, 33}) {
          check_fold<float>(fold_case(op, order, {outer, inner}, 2, Schedule::Vector::inner, 8));
          check_fold<float>(fold_case(op, order, {outer, inner}, 11, Schedule::Vector::outer, 8));
          check_fold<double>(fold_case(op, order, {outer, inner}, 2, Schedule::Vector::none, 1));
        }
}

TEST_CASE("folds beside the vector loop", "[codegen]") {
  for (FoldOp op : {FoldOp::sum, FoldOp::product})
    for (Order order : {Order::serial, Order::lanes})
      for (std::int64_t n : {1, 7, 8, 9, 15, 16, 17, 20, 31, 33, 47, 64, 100, 257, 4095, 4097, 8200})
        for (std::int64_t rows : {1, 7, 8, 19}) {
          check_fold<float>(fold_case(op, order, {n}, rows, Schedule::Vector::outer, 8), 2);
          check_fold<double>(fold_case(op, order, {n}, rows, Schedule::Vector::outer, 4));
          check_fold<float>(fold_case(op, order, {n}, rows, Schedule::Vector::none, 1), 3);
        }
}

TEST_CASE("folds carry their totals", "[codegen]") {
  for (Schedule::Vector vector : {Schedule::Vector::inner, Schedule::Vector::outer, Schedule::Vector::none})
    for (std::int64_t n : {1, 17, 4097}) {
      const Order order = vector == Schedule::Vector::outer ? Order::serial : Order::lanes;
      check_fold<float>(fold_case(FoldOp::sum, order, {n}, 5, vector, vector == Schedule::Vector::none ? 1 : 8, true));
      check_fold<double>(
          fold_case(FoldOp::product, Order::lanes, {n}, 5, vector, vector == Schedule::Vector::none ? 1 : 4, true));
    }
}

namespace {

/// A row softmax in four stages: maximum, exp and its sum, quotient; and the argmax.
Program softmax(std::int64_t rows, std::int64_t classes, Schedule schedule, std::array<BufferId, 3>& ids) {
  Draft draft;
  const BufferId z = draft.row_major(Region::feed, DType::f32, {rows, classes});
  const BufferId e = draft.row_major(Region::arena, DType::f32, {rows, classes});
  const BufferId out = draft.row_major(Region::output, DType::f32, {rows, classes});
  const BufferId best = draft.row_major(Region::output, DType::i32, {rows});
  const auto f32 = ScalarType::f32;
  Stage maximum;
  maximum.inner = {classes};
  maximum.body = body({{f32, access(z, {0, 1}, 2)}}, [](auto in) { return std::vector<Scalar>{in[0]}; });
  maximum.folds = {fold_of(FoldOp::maximum, Order::serial, DType::f32, DType::f32)};
  Stage where = maximum;
  where.folds = {fold_of(FoldOp::argmax, Order::serial, DType::f32, DType::i32)};
  Stage sum;
  sum.inner = {classes};
  sum.body = body({{f32, access(z, {0, 1}, 2)}, {f32, FoldResult{0, 0}}},
                  [](auto in) { return std::vector<Scalar>{scalar::exp(in[0] - in[1])}; });
  sum.folds = {fold_of(FoldOp::sum, Order::lanes, DType::f32, DType::f32)};
  sum.stores = {{access(e, {0, 1}, 2), 0}};
  Stage quotient;
  quotient.inner = {classes};
  quotient.body = body({{f32, access(e, {0, 1}, 2)}, {f32, FoldResult{2, 0}}},
                       [](auto in) { return std::vector<Scalar>{in[0] / in[1]}; });
  quotient.stores = {{access(out, {0, 1}, 2), 0}};
  Stage store_best;
  store_best.body = body({{ScalarType::i32, FoldResult{1, 0}}}, [](auto in) { return std::vector<Scalar>{in[0]}; });
  store_best.stores = {{access(best, {0}, 1), 0}};
  Kernel kernel;
  kernel.name = "softmax";
  kernel.outer = {rows};
  kernel.stages = {maximum, where, sum, quotient, store_best};
  kernel.schedule = schedule;
  draft.program.kernels = {kernel};
  ids = {z, out, best};
  return draft.program;
}

float native_exp(float x) {
  ScalarBuilder builder;
  const Scalar in = builder.input(ScalarType::f32);
  const Scalar out = scalar::exp(in);
  const ScalarProgram program = std::move(builder).finish(std::span(&out, 1));
  float result = 0;
  const void* from = &x;
  void* to = &result;
  interpret(program, std::span(&from, 1), std::span(&to, 1), 1);
  return result;
}

}  // namespace

TEST_CASE("stages of a row: maximum, argmax, sum of exp, quotient", "[codegen]") {
  for (std::int64_t classes : {1, 10, 16, 17, 40})
    for (Schedule::Vector vector : {Schedule::Vector::inner, Schedule::Vector::outer, Schedule::Vector::none}) {
      const std::int64_t rows = 13;
      std::array<BufferId, 3> ids{};
      const Program program = softmax(
          rows, classes, {.vector = vector, .lanes = vector == Schedule::Vector::none ? 1 : 8, .parallel = 2}, ids);
      Arena memory(program);
      float* z = memory.at<float>(ids[0]);
      fill(z, static_cast<std::size_t>(rows * classes), 5);
      for (std::int64_t c = 0; c < classes; ++c) z[3 * classes + c] = 2.0f;    // ties: the first
      z[5 * classes + classes / 2] = std::numeric_limits<float>::quiet_NaN();  // the first NaN
      z[6 * classes] = -std::numeric_limits<float>::infinity();
      for (std::int64_t c = 0; c < classes; ++c) z[7 * classes + c] = -1.0f - static_cast<float>(c);  // below any zero
      std::reverse(memory.orders[0].begin(), memory.orders[0].end());
      const auto compiled = compile(program, host_options());
      memory.run(compiled->entry(), 2);
      for (std::int64_t row = 0; row < rows; ++row) {
        const float* x = z + (rows - 1 - row) * classes;
        float m = -std::numeric_limits<float>::infinity();
        int best = 0;
        for (int c = 0; c < classes; ++c) {
          if (std::isnan(m)) break;
          if (std::isnan(x[c]) || x[c] > m) m = x[c], best = c;
        }
        std::vector<float> lane(16, 0.0f), e;
        for (std::int64_t c = 0; c < classes; ++c) {
          e.push_back(native_exp(x[c] - m));
          lane[static_cast<std::size_t>(c % 16)] += e.back();
        }
        for (std::size_t width = 8; width >= 1; width /= 2)
          for (std::size_t i = 0; i < width; ++i) lane[i] += lane[i + width];
        INFO(fmt::format("row {} of {} classes, vector {}", row, classes, static_cast<int>(vector)));
        CHECK(memory.at<std::int32_t>(ids[2])[row] == best);
        for (std::int64_t c = 0; c < classes; ++c)
          CHECK(same(memory.at<float>(ids[1])[row * classes + c], e[static_cast<std::size_t>(c)] / lane[0]));
      }
    }
}

TEST_CASE("maps gather, scatter, shift, pad and read scalars and constants", "[codegen]") {
  for (int lanes : {1, 4, 8, 16})
    for (std::int64_t columns : {1, 5, 16, 33})
      for (unsigned threads : {1U, 2U, 3U}) {
        const std::int64_t rows = 7;
        Draft draft;
        const BufferId x = draft.row_major(Region::arena, DType::f32, {columns, rows});  // read transposed
        const BufferId w = draft.panels(Region::params, DType::f32, rows, columns, 16);
        const BufferId bias =
            draft.constant(DType::f32, {columns}, std::vector<double>(static_cast<std::size_t>(columns), 0.5));
        const BufferId rate = draft.row_major(Region::scalars, DType::f64, {});
        const BufferId out = draft.row_major(Region::output, DType::f32, {rows, columns});
        const BufferId flag = draft.row_major(Region::output, DType::boolean, {columns, rows});  // written transposed
        const BufferId padded = draft.row_major(Region::arena, DType::f32, {rows, columns}, (columns + 31) / 16 * 16);
        const BufferId number = draft.row_major(Region::output, DType::f64, {rows, columns});
        draft.program.buffers[rate].offset = 2;
        const auto f32 = ScalarType::f32, f64 = ScalarType::f64, i64 = ScalarType::i64;
        Stage stage;
        stage.body = body({{f32, access(x, {1, 0}, 2)},
                           {f32, access(w, {0, 1}, 2)},
                           {f32, access(bias, {1}, 2)},
                           {f64, Access{rate, {}}},
                           {i64, LoopIndex{1}},
                           {i64, LoopIndex{0}},
                           {i64, CallValue{CallValue::Which::row_offset}}},
                          [](auto in) {
                            const Scalar y = in[0] * convert(in[3], ScalarType::f32) + in[2];
                            const Scalar at = int_add(
                                int_mul(int_add(in[5], in[6]), in[0].builder->bits(100, ScalarType::i64)), in[4]);
                            return std::vector<Scalar>{y, less(in[1], in[0]), y + in[1], convert(at, ScalarType::f64)};
                          });
        stage.stores = {{access(out, {0, 1}, 2), 0},
                        {access(flag, {1, 0}, 2), 1},
                        {access(w, {0, 1}, 2), 2},
                        {access(padded, {0, 1}, 2), 0},
                        {access(number, {0, 1}, 2), 3}};
        Kernel kernel;
        kernel.name = "map";
        kernel.outer = {rows, columns};
        kernel.stages = {stage};
        kernel.schedule = {
            .vector = lanes > 1 ? Schedule::Vector::outer : Schedule::Vector::none, .lanes = lanes, .parallel = 4};
        Kernel after = kernel;  // reads what the first wrote, on other threads: the barrier
        after.outer = {rows, columns};
        const BufferId copy = draft.row_major(Region::output, DType::f32, {rows, columns});
        after.stages[0].body = body({{f32, Access{padded, {loop_row(0, 2, -1, rows - 1), loop_row(1, 2)}}}},
                                    [](auto in) { return std::vector<Scalar>{in[0]}; });
        after.stages[0].stores = {{access(copy, {0, 1}, 2), 0}};
        draft.program.kernels = {kernel, after};

        Arena memory(draft.program);
        memory.scalars[2] = 0.3;
        memory.row_offset = 1000;
        fill(memory.at<float>(x), static_cast<std::size_t>(rows * columns), 1);
        std::memset(memory.params.data(), 0, memory.params.size());
        const auto panel_at = [&](std::int64_t k, std::int64_t n) { return ((n / 16) * rows + k) * 16 + n % 16; };
        float* panel = memory.at<float>(w);
        for (std::int64_t k = 0; k < rows; ++k)
          for (std::int64_t n = 0; n < columns; ++n) panel[panel_at(k, n)] = static_cast<float>(k - n);
        const auto compiled = compile(draft.program, host_options());
        memory.run(compiled->entry(), threads);
        CHECK(memory.guards_intact());
        std::size_t wrong = 0;
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t c = 0; c < columns; ++c) {
            const float in = memory.at<float>(x)[c * rows + r], before = static_cast<float>(r - c);
            const float y = in * 0.3f + 0.5f;
            wrong += !same(memory.at<float>(out)[r * columns + c], y);
            wrong += memory.at<std::uint8_t>(flag)[c * rows + r] != (before < in ? 1 : 0);
            wrong += !same(panel[panel_at(r, c)], y + before);
            wrong += !same(memory.at<float>(copy)[(rows - 1 - r) * columns + c], y);
            wrong += memory.at<double>(number)[r * columns + c] != static_cast<double>((r + 1000) * 100 + c);
          }
        for (std::int64_t r = 0; r < rows; ++r)  // the panels' padding stays zero
          for (std::int64_t c = columns; c < (columns + 15) / 16 * 16; ++c) wrong += !same(panel[panel_at(r, c)], 0.0f);
        INFO(fmt::format("{} lanes, {} columns, {} threads", lanes, columns, threads));
        CHECK(wrong == 0);
      }
}

TEST_CASE("nothing to do is done", "[codegen]") {
  check_fold<float>(fold_case(FoldOp::sum, Order::lanes, {0}, 2, Schedule::Vector::inner, 8));
  check_fold<float>(fold_case(FoldOp::sum, Order::serial, {4, 0}, 2, Schedule::Vector::none, 1));
}

// All threads of the team added to the one parameter.
TEST_CASE("a kernel of one point is run by one thread, also where the schedule asks for more", "[codegen]") {
  Draft draft;
  const BufferId parameter = draft.row_major(Region::params, DType::f64, {1});
  Stage stage;
  stage.body = body({{ScalarType::f64, access(parameter, {0}, 1)}}, [](std::span<const Scalar> in) {
    return std::vector<Scalar>{in[0] + in[0].builder->constant(1, ScalarType::f64)};
  });
  stage.stores = {{access(parameter, {0}, 1), 0}};
  Kernel kernel;
  kernel.name = "count";
  kernel.outer = {1};
  kernel.stages = {stage};
  kernel.schedule.parallel = 3;
  draft.program.kernels = {kernel};
  const auto compiled = compile(draft.program, host_options());
  Arena memory(draft.program);
  *memory.at<double>(parameter) = 0;
  for (int call = 0; call < 100; ++call) memory.run(compiled->entry(), 3);
  CHECK(*memory.at<double>(parameter) == 100);
}
