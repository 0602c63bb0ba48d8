// Contractions against plain loops with std::fma, bit for bit, in all three forms and all layouts; and the innermost
// loop, read from the assembly text: the fmas, vector loads and broadcasts of the tile and nothing else that matters.
#include <fmt/format.h>

#include <cmath>
#include <random>

#include "ir/program/contraction.h"
#include "tests/support/assembly.h"
#include "tests/support/programs.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

enum class Left { rows, transposed, feed_rows, feed_transposed };
enum class Right { row_major, padded, panels, other_panels };

struct Sizes {
  std::int64_t m, n, k;
};

struct Made {
  Program program;
  BufferId a, b, bias, w, out;
};

/// out[m, n] = max(bias[n] + sum, 0), and w -= 0.01 * sum where `update`; `heavy` lengthens the body past the limit for
/// copies of it.
Made contraction(Sizes s, Left left, Right right, Schedule schedule, DType dtype, bool heavy) {
  Draft draft;
  const ScalarType type = scalar_type(dtype);
  const bool feed = left == Left::feed_rows || left == Left::feed_transposed;
  const bool transposed = left == Left::transposed || left == Left::feed_transposed;
  const Region a_region = feed ? Region::feed : Region::arena;
  Made made{};
  made.a = transposed ? draft.row_major(a_region, dtype, {s.k, s.m})
                      : draft.row_major(a_region, dtype, {s.m, s.k}, feed ? 0 : s.k + 3);
  const std::int64_t panel = std::int64_t{schedule.lanes} * schedule.tile_vectors;
  switch (right) {
    case Right::row_major:
      made.b = draft.row_major(Region::arena, dtype, {s.k, s.n});
      break;
    case Right::padded:
      made.b = draft.row_major(Region::arena, dtype, {s.k, s.n}, (s.n + 31) / 16 * 16);
      break;
    case Right::panels:
      made.b = draft.panels(Region::params, dtype, s.k, s.n, panel);
      break;
    case Right::other_panels:
      made.b = draft.panels(Region::params, dtype, s.k, s.n, 4);
      break;
  }
  made.bias = draft.row_major(Region::params, dtype, {s.n});
  made.w = draft.panels(Region::params, dtype, s.m, s.n, panel);
  made.out = draft.row_major(Region::output, dtype, {s.m, s.n});

  Contract core;
  core.m = s.m;
  core.n = s.n;
  core.k = s.k;
  core.a = transposed ? access(made.a, {1, 0}, 2) : access(made.a, {0, 1}, 2);
  core.b = access(made.b, {0, 1}, 2);
  Stage stage;
  std::vector<std::pair<ScalarType, BodyInput>> inputs;
  inputs.emplace_back(type, CoreValue{});
  inputs.emplace_back(type, access(made.bias, {1}, 2));
  inputs.emplace_back(type, access(made.w, {0, 1}, 2));
  stage.body = body(inputs, [&](std::span<const Scalar> in) {
    ScalarBuilder& b = *in[0].builder;
    Scalar z = in[0] + in[1];
    if (heavy)
      for (int i = 0; i < 12; ++i) z = z / b.constant(1.25 + i, type) + b.constant(0.125 * i, type);
    return std::vector<Scalar>{maximum(z, b.constant(0, type)), in[2] - b.constant(0.01, type) * in[0]};
  });
  stage.stores = {{access(made.out, {0, 1}, 2), 0}, {access(made.w, {0, 1}, 2), 1}};
  Kernel kernel;
  kernel.name = "tile";
  kernel.outer = {s.m, s.n};
  kernel.core = core;
  kernel.stages = {stage};
  kernel.schedule = schedule;
  test::place_work(draft.program, kernel);
  draft.program.kernels = {kernel};
  made.program = draft.program;
  return made;
}

Schedule tile(int rows, int vectors, int lanes, bool panels_outside = true, std::int64_t parallel = 4) {
  Schedule schedule;
  schedule.vector = Schedule::Vector::outer;
  schedule.lanes = lanes;
  schedule.tile_rows = rows;
  schedule.tile_vectors = vectors;
  schedule.panels_outside = panels_outside;
  schedule.parallel = parallel;
  return schedule;
}

Schedule in_turns(Schedule schedule, int steps) {
  schedule.tile_steps = steps;
  return schedule;
}

Schedule in_blocks(Schedule schedule, int tiles, int steps = 0, int packed_for = 0) {
  schedule.block_tiles = tiles;
  schedule.block_k = steps;
  schedule.packed_for = packed_for;
  return schedule;
}

Schedule fetching_ahead(Schedule schedule) {
  schedule.fetch_ahead = true;
  return schedule;
}

Schedule fetching_rows(Schedule schedule, int steps) {
  schedule.fetch_steps = steps;
  return schedule;
}

std::int64_t place_of(const Buffer& buffer, std::int64_t row, std::int64_t column) {
  const Layout& layout = buffer.layout;
  if (layout.kind == Layout::Kind::row_major) return row * layout.strides[0] + column * layout.strides[1];
  return ((column / layout.panel) * buffer.dims[0] + row) * layout.panel + column % layout.panel;
}

/// Windows of images: m counts (image, line, column), k a window's (line, column, channel), or the other way round.
struct Windows {
  std::int64_t images, lines, columns, channels, size, stride;
  bool transposed = false;
  std::int64_t pixel = 0;  ///< elements from one pixel to the next; 0: dense
};

Sizes sizes_of(const Windows& w, std::int64_t n) {
  const std::int64_t places = w.images * w.lines * w.columns, elements = w.size * w.size * w.channels;
  return w.transposed ? Sizes{elements, n, places} : Sizes{places, n, elements};
}

/// The same contraction over windows that overlap in memory.
Made convolution(const Windows& w, std::int64_t n, Right right, Schedule schedule, DType dtype, bool heavy) {
  Made made = contraction(sizes_of(w, n), Left::rows, right, schedule, dtype, heavy);
  Draft draft{made.program};
  const std::vector<std::int64_t> places{w.images, w.lines, w.columns}, window{w.size, w.size, w.channels};
  made.a = draft.row_major(
      Region::arena, dtype,
      {w.images, (w.lines - 1) * w.stride + w.size, (w.columns - 1) * w.stride + w.size, w.channels}, w.pixel);
  const std::size_t place = w.transposed ? 3 : 0, inside = 3 - place;
  Contract& core = *draft.program.kernels[0].core;
  core.rows = w.transposed ? window : places;
  core.steps = w.transposed ? places : window;
  core.a = {made.a,
            {loop_row(place, 6), loop_row(place + 1, 6, w.stride), loop_row(place + 2, 6, w.stride),
             loop_row(inside + 2, 6)}};
  core.a.map[1].coefficients[inside] = core.a.map[2].coefficients[inside + 1] = 1;
  test::place_work(draft.program, draft.program.kernels[0]);
  made.program = draft.program;
  return made;
}

/// The element a(m, k) in memory.
template <class T>
T& element_of_a(const Made& made, Arena& memory, std::int64_t m, std::int64_t k) {
  const Contract& core = *made.program.kernels[0].core;
  const Buffer& buffer = made.program.buffers[made.a];
  std::vector<std::int64_t> loops;
  for (auto [number, extents] : {std::pair{k, core.step_loops()}, {m, core.row_loops()}})
    for (std::size_t i = extents.size(); i-- > 0; number /= extents[i])
      loops.insert(loops.begin(), number % extents[i]);
  std::int64_t at = 0;
  for (std::size_t axis = 0; axis < buffer.dims.size(); ++axis) {
    std::int64_t index = 0;
    for (std::size_t loop = 0; loop < loops.size(); ++loop) index += core.a.map[axis].coefficients[loop] * loops[loop];
    if (buffer.region == Region::feed && axis == 0) index = memory.orders[0][static_cast<std::size_t>(index)];
    at += index * buffer.layout.strides[axis];
  }
  return memory.at<T>(made.a)[at];
}

template <class T>
void check_made(const Made& made, Sizes s, bool heavy, unsigned threads) {
  Arena memory(made.program);
  const auto buffer = [&](BufferId id) -> const Buffer& { return made.program.buffers[id]; };
  std::vector<T> a(static_cast<std::size_t>(s.m * s.k)), b(static_cast<std::size_t>(s.k * s.n));
  fill(a.data(), a.size(), 1);
  fill(b.data(), b.size(), 2);
  std::memset(memory.params.data(), 0, memory.params.size());
  fill(memory.at<T>(made.bias), static_cast<std::size_t>(s.n), 3);
  if (buffer(made.a).region == Region::feed) std::ranges::reverse(memory.orders[0]);
  const auto each_of_a = [&](auto&& visit) {
    for (std::int64_t m = 0; m < s.m; ++m)
      for (std::int64_t k = 0; k < s.k; ++k)
        visit(element_of_a<T>(made, memory, m, k), a[static_cast<std::size_t>(m * s.k + k)]);
  };
  each_of_a([](T& there, T value) { there = value; });
  each_of_a([](T there, T& value) { value = there; });  // windows that overlap share elements
  for (std::int64_t k = 0; k < s.k; ++k)
    for (std::int64_t n = 0; n < s.n; ++n)
      memory.at<T>(made.b)[place_of(buffer(made.b), k, n)] = b[static_cast<std::size_t>(k * s.n + n)];
  T* w = memory.at<T>(made.w);
  for (std::int64_t m = 0; m < s.m; ++m)
    for (std::int64_t n = 0; n < s.n; ++n) w[place_of(buffer(made.w), m, n)] = static_cast<T>(m + 2 * n);

  const auto compiled = compile(made.program, host_options());
  memory.run(compiled->entry(), threads);
  std::size_t wrong = memory.guards_intact() ? 0 : 1;
  for (std::int64_t m = 0; m < s.m; ++m)
    for (std::int64_t n = 0; n < s.n; ++n) {
      T sum = 0;
      for (std::int64_t k = 0; k < s.k; ++k)
        sum = std::fma(a[static_cast<std::size_t>(m * s.k + k)], b[static_cast<std::size_t>(k * s.n + n)], sum);
      T z = sum + memory.at<T>(made.bias)[n];
      if (heavy)
        for (int i = 0; i < 12; ++i) z = z / static_cast<T>(1.25 + i) + static_cast<T>(0.125 * i);
      wrong += !same(memory.at<T>(made.out)[m * s.n + n], z > 0 ? z : T(0));
      wrong += !same(w[place_of(buffer(made.w), m, n)], static_cast<T>(m + 2 * n) - static_cast<T>(0.01) * sum);
    }
  const std::int64_t panel = buffer(made.w).layout.panel;
  for (std::int64_t m = 0; m < s.m; ++m)
    for (std::int64_t n = s.n; n < (s.n + panel - 1) / panel * panel; ++n)
      wrong += !same(w[place_of(buffer(made.w), m, n)], T(0));
  INFO(print(made.program) << "heavy " << heavy << ", " << threads << " threads");
  CHECK(wrong == 0);
}

/// Several threads share tiles, and then panels.
template <class T>
void check(Made made, Sizes s, bool heavy, unsigned threads) {
  check_made<T>(made, s, heavy, threads);
  if (threads == 1) return;
  Kernel& kernel = made.program.kernels[0];
  kernel.schedule.shared = Schedule::Shared::panels;
  test::place_work(made.program, kernel);
  check_made<T>(made, s, heavy, threads);
}

template <class T>
void check(Sizes s, Left left, Right right, Schedule schedule, bool heavy, unsigned threads) {
  check<T>(contraction(s, left, right, schedule, dtype_of<T>, heavy), s, heavy, threads);
}

template <class T>
void check(const Windows& windows, std::int64_t n, Right right, Schedule schedule, bool heavy, unsigned threads) {
  check<T>(convolution(windows, n, right, schedule, dtype_of<T>, heavy), sizes_of(windows, n), heavy, threads);
}

/// The heights of a convolution's tiles, tallest first.
void check_inner_loops(const std::string& cpu, const Windows& windows, std::int64_t n, Right right, DType dtype,
                       const std::vector<int>& heights) {
  const TargetOrError found = target_named(cpu);
  REQUIRE(found.error.empty());
  const Machine& machine = found.host.machine;
  const Schedule schedule =
      in_turns(tile(machine.tile_rows, machine.tile_vectors, machine.lanes(size_of(dtype))), machine.tile_steps);
  const int turn = machine.tile_steps;
  const Made made = convolution(windows, n, right, schedule, dtype, false);
  for (CodegenLevel level : {CodegenLevel::less, CodegenLevel::normal}) {
    const std::string assembly = emit_assembly(made.program, {.target = found.host.target, .level = level});
    const std::vector<InnerLoop> loops = innermost_loops(assembly);
    CAPTURE(cpu, windows.columns, windows.transposed, loops.size());
    REQUIRE(loops.size() == heights.size());
    for (std::size_t i = 0; i < loops.size(); ++i) {
      INFO(fmt::format("fma {} loads {} broadcasts {} stack {} calls {}; height {}", loops[i].fma,
                       loops[i].vector_loads, loops[i].broadcasts, loops[i].stack, loops[i].calls, heights[i]));
      CHECK(loops[i] ==
            InnerLoop{turn * heights[i] * machine.tile_vectors, turn * machine.tile_vectors, turn * heights[i], 0, 0});
    }
  }
}

void check_inner_loops(const std::string& cpu, Left left, Right right, Sizes s, DType dtype, bool heavy) {
  const TargetOrError found = target_named(cpu);
  REQUIRE(found.error.empty());
  const Machine& machine = found.host.machine;
  const int lanes = machine.lanes(size_of(dtype));
  const int turn = machine.tile_steps;
  const Made made =
      contraction(s, left, right, in_turns(tile(machine.tile_rows, machine.tile_vectors, lanes), turn), dtype, heavy);
  for (CodegenLevel level : {CodegenLevel::less, CodegenLevel::normal}) {
    const std::string assembly = emit_assembly(made.program, {.target = found.host.target, .level = level});
    const std::vector<InnerLoop> loops = innermost_loops(assembly);
    const std::int64_t tiles = (s.m + machine.tile_rows - 1) / machine.tile_rows;
    const int rows = static_cast<int>(s.m / tiles);
    const int vectors = machine.tile_vectors;
    INFO(cpu << " " << static_cast<int>(left) << " " << static_cast<int>(right) << " heavy " << heavy << "\n"
             << (loops.empty() ? assembly : ""));
    REQUIRE(loops.size() == (s.m % tiles == 0 ? 1U : 2U));
    const auto expected = [&](int height) {
      return InnerLoop{turn * height * vectors, turn * vectors, turn * height, 0, 0};
    };
    for (std::size_t i = 0; i < loops.size(); ++i) {
      const int height = loops.size() == 2 && i == 0 ? rows + 1 : rows;
      INFO(fmt::format("fma {} loads {} broadcasts {} stack {} calls {}; height {}", loops[i].fma,
                       loops[i].vector_loads, loops[i].broadcasts, loops[i].stack, loops[i].calls, height));
      CHECK(loops[i] == expected(height));
    }
  }
}

int occurrences(std::string_view word, const std::string& text) {
  int count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("contractions are exact", "[codegen]") {
  for (Sizes s :
       {Sizes{1, 1, 1}, {1, 16, 5}, {5, 10, 3}, {6, 16, 40}, {13, 33, 17}, {17, 40, 1}, {12, 7, 9}, {31, 64, 33}})
    for (Left left : {Left::rows, Left::transposed})
      for (Right right : {Right::row_major, Right::padded, Right::panels, Right::other_panels})
        for (bool heavy : {false, true}) {
          check<float>(s, left, right, tile(6, 2, 8), heavy, 1);
          check<double>(s, left, right, tile(6, 2, 4, false), heavy, 2);
        }
}

TEST_CASE("contractions by any machine's schedule", "[codegen]") {
  for (Sizes s : {Sizes{5, 10, 3}, {29, 70, 17}, {128, 33, 20}, {150, 9, 3}})
    for (Schedule schedule : {tile(14, 2, 16), tile(6, 2, 8, false), tile(5, 2, 4), tile(3, 4, 1), tile(1, 1, 8)})
      for (unsigned threads : {1U, 2U, 3U, 5U}) {
        check<float>(s, Left::rows, Right::panels, schedule, false, threads);
        check<float>(s, Left::transposed, Right::row_major, schedule, true, threads);
      }
}

TEST_CASE("contractions in blocks of rows and of steps", "[codegen]") {
  for (Sizes s : {Sizes{5, 10, 3}, {29, 70, 17}, {128, 33, 20}})
    for (Schedule schedule :
         {in_blocks(tile(6, 2, 8), 2), in_blocks(tile(6, 2, 8), 1, 4), in_blocks(tile(14, 2, 16), 3, 17),
          in_blocks(tile(5, 2, 4, false), 2, 1), in_blocks(tile(3, 4, 1), 40, 5)})
      for (unsigned threads : {1U, 3U})
        for (bool heavy : {false, true}) {
          check<float>(s, Left::rows, Right::panels, schedule, heavy, threads);
          check<float>(s, Left::transposed, Right::row_major, schedule, heavy, threads);
          check<float>(s, Left::feed_transposed, Right::other_panels, schedule, heavy, threads);
        }
  check<float>({3, 9, 0}, Left::rows, Right::row_major, in_blocks(tile(6, 2, 8), 1, 4), false, 1);
}

TEST_CASE("contractions whose left operand is copied tile by tile", "[codegen]") {
  for (Sizes s : {Sizes{5, 10, 3}, {29, 70, 17}, {107, 33, 20}, {128, 96, 9}})
    for (Schedule schedule :
         {in_blocks(tile(6, 2, 8), 2, 4, 3), in_blocks(tile(6, 1, 8), 40, 7, 32), in_blocks(tile(14, 2, 16), 3, 17, 2),
          in_blocks(tile(5, 2, 4, false), 17, 1, 1), in_blocks(tile(3, 4, 1), 20, 5, 4)})
      for (unsigned threads : {1U, 3U})
        for (bool heavy : {false, true}) {
          check<float>(s, Left::transposed, Right::row_major, schedule, heavy, threads);
          check<float>(s, Left::feed_transposed, Right::panels, schedule, heavy, threads);
          check<float>(s, Left::rows, Right::padded, schedule, heavy, threads);  // which is not copied
          if (schedule.lanes <= 8) check<double>(s, Left::transposed, Right::padded, schedule, heavy, threads);
        }
}

TEST_CASE("contractions that fetch ahead are exact, and read and write no further", "[codegen]") {
  for (Sizes s : {Sizes{5, 10, 30}, {29, 70, 17}, {107, 33, 20}, {40, 96, 64}})
    for (Schedule schedule : {tile(6, 2, 8), in_turns(tile(14, 2, 16), 4), in_blocks(tile(5, 2, 4), 3),
                              in_blocks(tile(6, 2, 8), 2, 4, 3), in_turns(in_blocks(tile(14, 1, 16), 3, 8), 2)})
      for (unsigned threads : {1U, 3U})
        for (bool heavy : {false, true}) {
          check<float>(s, Left::rows, Right::panels, fetching_ahead(schedule), heavy, threads);
          check<float>(s, Left::transposed, Right::padded, fetching_ahead(schedule), heavy, threads);
        }
}

TEST_CASE("contractions in blocks that take whole sums", "[codegen]") {
  for (Sizes s : {Sizes{5, 10, 30}, {29, 70, 17}, {107, 33, 20}, {30, 40, 300}})  // of 300 steps b is copied too
    for (Schedule schedule :
         {in_blocks(tile(6, 2, 8), 2, 300, 3), in_blocks(tile(6, 1, 8), 40, 300), in_blocks(tile(14, 2, 16), 1, 300, 9),
          fetching_ahead(in_turns(in_blocks(tile(5, 2, 4), 3, 300, 2), 2))})
      for (unsigned threads : {1U, 3U})
        for (bool heavy : {false, true}) {
          check<float>(s, Left::transposed, Right::row_major, schedule, heavy, threads);
          check<float>(s, Left::feed_transposed, Right::panels, schedule, heavy, threads);
          check<float>(s, Left::rows, Right::padded, schedule, heavy, threads);
        }
}

TEST_CASE("contractions by schedules drawn at random", "[codegen]") {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    std::mt19937_64 random(seed);
    const auto draw = [&](int low, int high) {
      return low + static_cast<int>(random() % static_cast<std::uint64_t>(high - low + 1));
    };
    const bool wide = draw(0, 3) == 0, whole = draw(0, 1) == 0;  // elements; sums
    const Sizes s{draw(1, 150), draw(1, 100), draw(0, 1) == 0 ? draw(257, 300) : draw(1, 60)};
    const int lanes = 1 << draw(0, wide ? 3 : 4), k = static_cast<int>(s.k);
    Schedule schedule = in_turns(tile(draw(1, 16), draw(1, 4), lanes, true, draw(1, 5)), draw(1, 4));
    schedule = in_blocks(schedule, draw(1, 6), whole ? k : draw(1, k), draw(0, 3) == 0 ? 0 : draw(1, 12));
    schedule.fetch_ahead = draw(0, 1) == 0;
    schedule.fetch_steps = draw(0, 1) == 0 ? 0 : draw(1, 20);
    schedule.shared = draw(0, 1) == 0 ? Schedule::Shared::panels : Schedule::Shared::tiles;
    const Left left = draw(0, 2) == 0 ? Left::feed_transposed : Left::transposed;
    const Right right = draw(0, 2) == 0 ? Right::panels : Right::row_major;
    const bool heavy = draw(0, 2) == 0;
    const Made made = contraction(s, left, right, schedule, wide ? DType::f64 : DType::f32, heavy);
    const auto threads = static_cast<unsigned>(draw(1, 5));
    CAPTURE(seed);
    wide ? check_made<double>(made, s, heavy, threads) : check_made<float>(made, s, heavy, threads);
  }
}

TEST_CASE("contractions over rows of a feed", "[codegen]") {
  for (Sizes s : {Sizes{1, 8, 3}, {29, 20, 17}})
    for (Left left : {Left::feed_rows, Left::feed_transposed})
      for (Schedule schedule : {tile(14, 2, 16), tile(6, 2, 8)})
        check<float>(s, left, Right::panels, schedule, false, 2);
}

TEST_CASE("a contraction over nothing is zero", "[codegen]") {
  check<float>({3, 9, 0}, Left::rows, Right::row_major, tile(6, 2, 8), false, 1);
}

TEST_CASE("the innermost loop is the tile and nothing else", "[codegen]") {
  for (const char* cpu : {"znver3", "znver5"})
    for (DType dtype : {DType::f32, DType::f64})
      for (bool heavy : {false, true}) {
        const Sizes s{84, 256, 300};  // whole tiles of both machines
        check_inner_loops(cpu, Left::rows, Right::panels, s, dtype, heavy);
        check_inner_loops(cpu, Left::transposed, Right::row_major, s, dtype, heavy);
        check_inner_loops(cpu, Left::transposed, Right::padded, s, dtype, heavy);
        check_inner_loops(cpu, Left::rows, Right::row_major, s, dtype, heavy);
        check_inner_loops(cpu, Left::rows, Right::panels, {128, 256, 300}, dtype, heavy);  // two heights
      }
}

TEST_CASE("blocks and copies of any size take little stack", "[codegen]") {
  for (const char* cpu : {"znver3", "znver5"}) {
    const TargetOrError target = target_named(cpu);
    REQUIRE(target.error.empty());
    for (const Schedule& schedule : {in_blocks(tile(14, 2, 16), 40, 512, 32), in_blocks(tile(6, 2, 8), 100, 2000)}) {
      const Made made = contraction({800, 1024, 2000}, Left::transposed, Right::row_major, schedule, DType::f32, true);
      const std::int64_t frame = largest_frame(emit_assembly(made.program, {.target = target.host.target}));
      CHECK((0 < frame && frame < 16 << 10));
    }
  }
}

TEST_CASE("an innermost loop fetches its part of what the tile replaces") {
  const TargetOrError target = target_named("znver5");
  REQUIRE(target.error.empty());
  for (const auto& [k, fetches] : {std::pair<std::int64_t, int>{300, 1}, {56, 1}, {54, 2}, {16, 2}}) {  // of 28 lines
    const Schedule schedule = fetching_ahead(in_turns(tile(14, 2, 16, true, 4), 2));
    const Made made = contraction({140, 256, k}, Left::rows, Right::panels, schedule, DType::f32, false);
    for (CodegenLevel level : {CodegenLevel::less, CodegenLevel::normal}) {
      const auto loops = innermost_loops(emit_assembly(made.program, {.target = target.host.target, .level = level}));
      CAPTURE(k, loops.size());
      REQUIRE(loops.size() == 1);
      CHECK(loops[0] == InnerLoop{56, 4, 28, 0, 0, fetches});
    }
  }
}

TEST_CASE("an innermost loop over copied rows is the tile, and fetches between its two steps", "[codegen]") {
  const TargetOrError target = target_named("znver5");
  REQUIRE(target.error.empty());
  for (const int steps : {300, 128}) {  // whole sums, and parts
    const Schedule schedule = fetching_ahead(in_turns(in_blocks(tile(14, 2, 16), 4, steps, 8), 2));
    const Made made = contraction({140, 256, 300}, Left::transposed, Right::padded, schedule, DType::f32, false);
    const std::string assembly = emit_assembly(made.program, {.target = target.host.target});
    const auto loops = innermost_loops(assembly);
    CAPTURE(steps, loops.size());
    REQUIRE(loops.size() == 1);
    CHECK(loops[0] == InnerLoop{56, 4, 28, 0, 0, 1});
    // The second step's vectors of b are loaded after what the turn fetches.
    const std::size_t fetched = assembly.find("prefetchw");
    REQUIRE(fetched != std::string::npos);
    const std::size_t turn = assembly.rfind("\n.LBB", fetched);
    CHECK(occurrences("vfmadd", assembly.substr(turn, fetched - turn)) == 28);
  }
}

TEST_CASE("a tile fetches some lines of what the next panel copies, however narrow that is", "[codegen]") {
  const TargetOrError target = target_named("znver3");
  REQUIRE(target.error.empty());
  for (const auto& [vectors, steps, lines] : {std::tuple{1, 128, 16}, {2, 128, 16}, {2, 10, 5}, {4, 128, 16}}) {
    const Schedule schedule = fetching_ahead(in_blocks(tile(6, vectors, 8, true, 1), 2, steps, 4));
    const Made made = contraction({12, 128, 200}, Left::transposed, Right::row_major, schedule, DType::f32, false);
    CAPTURE(vectors, steps);  // accumulators go to the first cache
    CHECK(occurrences("prefetcht1", emit_assembly(made.program, {.target = target.host.target})) == lines);
  }
}

TEST_CASE("tiles of windows fetch rows some steps ahead, and once a run their part of the next block", "[codegen]") {
  const TargetOrError target = target_named("znver5");
  REQUIRE(target.error.empty());
  const Windows weights{32, 28, 28, 32, 3, 1, true};
  // Of a run, 60 lines of an image and 112 of b are shared by 24 tiles of two panels, or a thread's quarter of them.
  for (const auto& [parallel, part] : {std::pair{1, 2 + 3}, {4, 5 + 10}}) {
    const Schedule schedule = in_turns(in_blocks(tile(14, 2, 16, true, parallel), 64, 192), 4);
    const Made made =
        convolution(weights, 64, Right::row_major, fetching_rows(fetching_ahead(schedule), 12), DType::f32, false);
    const std::string assembly = emit_assembly(made.program, {.target = target.host.target});
    const auto loops = innermost_loops(assembly);
    REQUIRE(loops.size() == 1);
    CHECK(loops[0] == InnerLoop{96, 8, 48, 0, 0, 4});
    CHECK(occurrences("prefetch", assembly) == 4 + part);
  }
}

TEST_CASE("blocks of steps are whole runs, and whole images where these are little longer", "[codegen]") {
  for (const auto& [size, steps] : {std::pair<std::int64_t, std::int64_t>{28, 168}, {14, 196}, {13, 169}, {8, 192}}) {
    const Windows weights{4, size, size, 8, 3, 1, true};
    const Made made =
        convolution(weights, 64, Right::row_major, in_blocks(tile(14, 2, 16), 64, 192), DType::f32, false);
    CAPTURE(size);
    CHECK(work_of(made.program, made.program.kernels[0]).steps == steps);
  }
}

TEST_CASE("contractions over windows of images are exact", "[codegen]") {
  // Tiles that lie in a line of an image, that are several lines, that wrap round; strides, padded pixels, one channel.
  for (Windows w : {Windows{2, 3, 4, 3, 3, 1},
                    {1, 5, 7, 1, 2, 1},
                    {3, 2, 6, 4, 3, 2},
                    {2, 3, 5, 3, 2, 3, false, 5},
                    {1, 1, 9, 2, 1, 1},
                    {2, 4, 3, 5, 3, 1, false, 16}})
    for (bool transposed : {false, true})
      for (Schedule schedule :
           {tile(6, 2, 8), tile(14, 2, 16, false), tile(5, 1, 4), tile(3, 2, 1), in_blocks(tile(6, 2, 8), 2, 7),
            in_blocks(tile(5, 2, 4), 1, 1), in_turns(tile(14, 2, 16), 4), fetching_ahead(in_turns(tile(5, 2, 4), 3)),
            in_turns(in_blocks(tile(5, 2, 4), 2, 6), 2),
            fetching_rows(fetching_ahead(in_turns(in_blocks(tile(5, 2, 4), 2, 6), 2)), 3)}) {
        w.transposed = transposed;
        check<float>(w, 11, Right::panels, schedule, false, 1);
        check<float>(w, 33, Right::row_major, schedule, true, 3);
        check<double>(w, 8, Right::other_panels, schedule, false, 2);
      }
}

TEST_CASE("the innermost loop of a convolution is the tile and nothing else", "[codegen]") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const Windows large{32, 28, 28, 32, 3, 1}, odd{16, 8, 8, 16, 3, 1};
    check_inner_loops("znver5", large, 64, Right::panels, dtype, {14});
    check_inner_loops("znver3", large, 64, Right::panels, dtype, {6, 5});
    check_inner_loops("znver5", odd, 64, Right::panels, dtype, {12, 11});  // tiles wrap round
    check_inner_loops("znver3", odd, 64, Right::panels, dtype, {6, 5});
    Windows weights = large;
    weights.transposed = true;
    check_inner_loops("znver5", weights, 64, Right::row_major, dtype, {12});
    check_inner_loops("znver3", weights, 64, Right::row_major, dtype, {6});
  }
}
