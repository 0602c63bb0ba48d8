// What the schedule chooses for contractions: who shares which pieces, what is copied and where that lies, what is
// fetched.
#include <algorithm>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/program/contraction.h"
#include "passes/lowering.h"
#include "passes/passes.h"
#include "tests/support/mlp_graph.h"
#include "tests/support/share_all.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

TEST_CASE("an update whose moments leave the second cache fetches what it replaces") {
  LowerOptions options;
  options.rows = 128;
  const auto fetching = [&](const Machine& machine, std::int64_t inputs) {
    options.machine = machine;
    std::size_t found = 0;
    for (const Kernel& kernel : lower(mlp_step({inputs, 256, 10}, true), "step", options).kernels)
      found += kernel.schedule.fetch_ahead ? 1 : 0;
    return found;
  };
  CHECK(fetching(machine_avx512(), 576) == 1);  // three times 0.6 MB, and less than 1 MB without the moments
  CHECK(fetching(machine_avx512(), 300) == 0);
  CHECK(fetching(machine_avx2(), 576) == 0);  // which fetches nothing
}

TEST_CASE("threads share all that is worth a barrier, where some kernel is worth a team") {
  const auto pieces = [](const std::vector<std::int64_t>& widths, int threads) {
    LowerOptions options;
    options.machine = machine_avx512();
    options.rows = 128;
    options.threads = threads;
    std::map<std::int64_t, std::int64_t> by_columns;  // of contractions: the pieces of the first
    for (const Kernel& kernel : lower(mlp_step(widths, true), "step", options).kernels)
      if (kernel.core) by_columns.try_emplace(kernel.core->n, kernel.schedule.parallel);
    return by_columns;
  };
  CHECK(pieces({784, 256, 128, 10}, 2) == std::map<std::int64_t, std::int64_t>{{10, 2}, {128, 2}, {256, 2}});
  CHECK(pieces({784, 256, 128, 10}, 1) == std::map<std::int64_t, std::int64_t>{{10, 1}, {128, 1}, {256, 1}});
  // As large as the head above, and alone: no team.
  CHECK(pieces({128, 10}, 2) == std::map<std::int64_t, std::int64_t>{{10, 1}});
}

/// How threads share the products with a parameter of this size, and its update.
using Pieces = std::pair<std::int64_t, Schedule::Shared>;
std::multiset<Pieces> pieces_of(const Program& program, std::int64_t rows, std::int64_t columns) {
  std::multiset<Pieces> pieces;
  for (const Kernel& kernel : program.kernels)
    if (kernel.core && kernel.core->n == columns && (kernel.core->m == rows || kernel.core->k == rows))
      pieces.emplace(kernel.schedule.parallel, kernel.schedule.shared);
  return pieces;
}

TEST_CASE("a product with a parameter and its update have pieces of the same panels, for any number of threads") {
  const auto step = [](std::int64_t rows, const Machine& machine, int threads) {
    LowerOptions options;
    options.machine = machine;
    options.rows = rows;
    options.threads = threads;
    return lower(mlp_step({784, 384, 10}, true), "step", options);
  };
  const auto twice = [](std::int64_t pieces, Schedule::Shared shared) {
    return std::multiset<Pieces>{{pieces, shared}, {pieces, shared}};
  };
  for (const Machine& machine : {machine_avx512(), machine_avx2()})
    for (int threads = 2; threads <= 12; ++threads) {
      CAPTURE(machine.name, threads);
      CHECK(pieces_of(step(128, machine, threads), 784, 384) == twice(threads, Schedule::Shared::panels));
      // More than twice as many rows as columns: activations are more than the parameter.
      CHECK(pieces_of(step(1024, machine, threads), 784, 384) == twice(threads, Schedule::Shared::tiles));
    }
  CHECK_THAT(print(step(128, machine_avx512(), 3)), Catch::Matchers::Contains("3 pieces of panels"));
}

TEST_CASE("rows of a batch that a result for the caller has are rows, as those of an activation") {
  // 100 steps of k are fewer than twice the 64 columns, 512 rows are more: of two pieces, tiles are as even as panels.
  for (const std::int64_t batch : {128, 512}) {
    LowerOptions options;
    options.machine = machine_avx2();
    options.machine.tile_rows = 4;
    options.rows = batch;
    options.threads = 2;
    Builder b("layer");
    const Value x = b.leaf(Op::input, "x", f32(rows({100})));
    const Value w = b.leaf(Op::param, "W", f32(fixed({100, 64})));
    b.output(OutputKind::result, "y", b.dot(x, w, {1}, {0}));
    const Program program = lower(assign_order(std::move(b).finish()), "predict", options);
    const auto shared = batch == 128 ? Schedule::Shared::panels : Schedule::Shared::tiles;
    CHECK(pieces_of(program, 100, 64) == std::multiset<Pieces>{{2, shared}});
  }
}

TEST_CASE("the rows of a feed that a product meets are shared in the tiles that they run in") {
  // A panel of one vector would have tiles of 28 rows, of which 24 make one; with a pointer each there are three of 8.
  LowerOptions options;
  options.machine = machine_avx512();
  options.rows = 24;
  options.threads = 2;
  const auto pieces = [&](double scale) {
    Builder b("layer");
    const Value x = b.leaf(Op::input, "x", f32(rows({4000})));
    const Value w = b.leaf(Op::param, "W", f32(fixed({4000, 16})));
    b.output(OutputKind::result, "y", b.dot(scale == 1 ? x : x * scale, w, {1}, {0}));
    const Program program = lower(assign_order(std::move(b).finish()), "predict", options);
    REQUIRE(verify(program) == "");
    return pieces_of(program, 24, 16);
  };
  CHECK(pieces(1) == std::multiset<Pieces>{{2, Schedule::Shared::tiles}});
  CHECK(pieces(2) == std::multiset<Pieces>{{2, Schedule::Shared::panels}});  // copied, of one tile as of one panel
}

TEST_CASE("what sums over the rows of a batch has these rows, wherever the sums go") {
  // Of 100 x 64 numbers: 128 steps of k are no more than twice the columns, 512 are more, whatever m is.
  const auto shared = [](std::int64_t batch, OutputKind kind, bool total) {
    LowerOptions options;
    options.machine = machine_avx2();
    options.rows = batch;
    options.threads = 2;
    Builder b("pass");
    const Value x = b.leaf(Op::input, "x", f32(rows({100}))), z = b.leaf(Op::input, "z", f32(rows({64})));
    const Value sums = b.dot(x * 2.0, z, {0}, {0});
    b.output(kind, "sums", total ? sums + b.leaf(Op::carry, "sums", f32(fixed({100, 64}))) : sums);
    const Program program = lower(assign_order(std::move(b).finish()), "pass", options);
    REQUIRE(verify(program) == "");
    return pieces_of(program, 100, 64);
  };
  const std::multiset<Pieces> panels{{2, Schedule::Shared::panels}}, tiles{{2, Schedule::Shared::tiles}};
  for (const auto& [kind, total] : {std::pair(OutputKind::update, true), std::pair(OutputKind::result, false)}) {
    CHECK(shared(128, kind, total) == panels);
    CHECK(shared(512, kind, total) == tiles);
  }
}

/// W - Xᵀ·dZ, by so many rows; X is no feed itself, whose rows are copied by another rule.
Program update_program(std::int64_t inputs, std::int64_t columns, std::int64_t batch, const Machine& machine,
                       int threads) {
  LowerOptions options;
  options.machine = machine;
  options.rows = batch;
  options.threads = threads;
  Builder b("update");
  const Value x = b.leaf(Op::input, "x", f32(rows({inputs}))), dz = b.leaf(Op::input, "dz", f32(rows({columns})));
  const Value w = b.leaf(Op::param, "W", f32(fixed({inputs, columns})));
  b.output(OutputKind::update, "W", w - b.dot(x * 2.0, dz, {0}, {0}));
  Program program = lower(assign_order(std::move(b).finish()), "step", options);
  REQUIRE(verify(program) == "");
  return program;
}

std::size_t contraction_of(const Program& program) {
  const auto kernel = std::ranges::find_if(program.kernels, [](const Kernel& some) { return some.core.has_value(); });
  REQUIRE(kernel != program.kernels.end());
  return static_cast<std::size_t>(kernel - program.kernels.begin());
}

Schedule update_schedule(std::int64_t inputs, std::int64_t columns, std::int64_t batch, const Machine& machine,
                         int threads) {
  const Program program = update_program(inputs, columns, batch, machine, threads);
  return program.kernels[contraction_of(program)].schedule;
}

TEST_CASE("what a contraction in blocks copies lies in the arena, a row for each piece") {
  const Program sound = update_program(784, 512, 1024, machine_avx512(), 2);
  const std::size_t kernel = contraction_of(sound);
  const std::optional<BufferId> work = sound.kernels[kernel].work;
  REQUIRE(work);
  CHECK(sound.kernels[kernel].schedule.parallel == 2);
  CHECK(sound.buffers[*work].dims == std::vector<std::int64_t>{2, work_of(sound, sound.kernels[kernel]).elements()});
  CHECK(sound.buffers[*work].offset + sound.buffers[*work].bytes <= sound.arena_bytes);
  CHECK(print(sound).find("  work in ") != std::string::npos);

  const auto broken = [&](auto&& change) {
    Program program = sound;
    change(program, program.kernels[kernel]);
    return verify(program);
  };
  CHECK(broken([](Program&, Kernel& at) { at.work.reset(); }).find("no memory to work in") != std::string::npos);
  CHECK(broken([](Program&, Kernel& at) { at.schedule.parallel = 3; }).find("is not what its pieces work in") !=
        std::string::npos);
  CHECK(broken([](Program&, Kernel& at) { ++at.schedule.block_tiles; }).find("is not what its pieces work in") !=
        std::string::npos);
  CHECK(broken([](Program& program, Kernel& at) {
          program.buffers[*at.work].offset = program.buffers[at.core->a.buffer].offset;
        }) != "");
  CHECK(broken([](Program& program, Kernel& at) {
          at.schedule.lanes = 32;
          place_work(program, at);
        }).find("vectors longer than a line") != std::string::npos);
  const Program small = update_program(784, 512, 128, machine_avx512(), 2);
  CHECK(!small.kernels[contraction_of(small)].work);
}

TEST_CASE("threads that share panels keep a copy of each once") {
  LowerOptions options;
  options.machine = machine_avx512();
  options.rows = 512;
  const auto kept = [&](int threads) {
    options.threads = threads;
    const Program program = lower(mlp_step({784, 1024, 1024}, true), "step", options);
    REQUIRE(verify(program) == "");
    for (const Kernel& kernel : program.kernels) {
      const ContractionWork work = work_of(program, kernel);
      if (!work.keeps_panels) continue;
      CHECK(kernel.schedule.parallel == threads);
      CHECK((threads == 1 || kernel.schedule.shared == Schedule::Shared::panels));
      return work.panels * kernel.schedule.parallel;
    }
    FAIL("no panels are kept");
    return std::int64_t{0};
  };
  CHECK(kept(1) == 512 * 1024);
  CHECK(kept(2) == 512 * 1024);
  CHECK(kept(3) == 11 * 3 * 512 * 32);  // of 32 panels
}

TEST_CASE("what is copied in blocks lies side by side, or verify says so") {
  const auto broken = [](std::int64_t inputs, auto&& change) {
    Program program = update_program(inputs, 512, 512, machine_avx512(), 1);
    Kernel& kernel = program.kernels[contraction_of(program)];
    program.buffers[kernel.core->b.buffer].layout = {Layout::Kind::row_major, {512, 1}};  // instead of panels
    place_work(program, kernel);
    REQUIRE(work_of(program, kernel).copies_rows);
    REQUIRE(work_of(program, kernel).copies_panels);
    REQUIRE(verify(program) == "");
    change(*kernel.core);
    return verify(program);
  };
  using Catch::Matchers::Contains;
  // Square ones, so that every element is still inside.
  CHECK_THAT(broken(784, [](Contract& core) { std::swap(core.b.map[0], core.b.map[1]); }),
             Contains("columns of b do not go along its last axis, where blocks copy them"));
  CHECK_THAT(broken(784, [](Contract& core) { core.b.map[0].coefficients = {0, 1}; }),
             Contains("columns of b do not go along its last axis, where blocks copy them"));
  CHECK_THAT(broken(512, [](Contract& core) { core.a.map[0].coefficients = {1, 0}; }),
             Contains("rows of a do not go along its last axis, where blocks copy them"));
}

TEST_CASE("a feed's rows are copied by steps where sums are long") {
  LowerOptions options;
  options.machine = machine_avx512();
  const auto schedule = [&](std::int64_t batch) {
    options.rows = batch;
    const Program program = lower(mlp_step({784, 128, 10}, true), "step", options);
    REQUIRE(verify(program) == "");
    for (const Kernel& kernel : program.kernels)
      if (kernel.core && kernel.core->m == 784) return kernel.schedule;
    FAIL("no gradient of the first weights");
    return Schedule();
  };
  CHECK(schedule(128).block_k == 128);
  CHECK(schedule(128).packed_for == 4);
  CHECK(schedule(4000).packed_for == 4);
  CHECK((0 < schedule(4000).block_k && schedule(4000).block_k < 513));
  CHECK(schedule(4000).block_tiles > 1);
}

TEST_CASE("a feed is copied for threads only where each has few panels of it") {
  const auto copied = [](std::int64_t batch, std::int64_t columns, int threads) {
    LowerOptions options;
    options.machine = machine_avx512();
    options.rows = batch;
    options.threads = threads;
    const Program program = lower(mlp_step({784, columns, 10}, true), "step", options);
    for (const Kernel& kernel : program.kernels)
      if (kernel.core && kernel.core->m == 784) return program.buffers[kernel.core->a.buffer].region == Region::arena;
    FAIL("no gradient of the first weights");
    return false;
  };
  CHECK(!copied(128, 256, 2));
  CHECK(copied(128, 256, 4));  // two panels for each thread: none of them copies for itself
  CHECK(!copied(128, 64, 4));  // two in all, which none would copy
  // Of many rows threads share tiles, and each tile's rows meet all panels.
  CHECK(copied(512, 256, 4));
  CHECK(!copied(513, 256, 4));
  CHECK(!copied(1024, 256, 4));
}

TEST_CASE("a weight's gradient fetches ahead from one second cache on, other products from two") {
  const auto fetches = [](std::int64_t columns, std::int64_t batch, const Machine& machine) {
    return update_schedule(784, columns, batch, machine, 1).fetch_ahead;
  };
  CHECK(fetches(256, 128, machine_avx512()));  // 1.3 MB
  CHECK(!fetches(128, 128, machine_avx512()));
  CHECK(!fetches(256, 128, machine_avx2()));  // which fetches nothing
  LowerOptions options;
  options.machine = machine_avx512();
  options.rows = 128;
  for (const Kernel& kernel : lower(mlp_step({784, 256, 10}, false), "step", options).kernels)
    if (kernel.core) CHECK(kernel.schedule.fetch_ahead == (kernel.core->m == 784));
}

TEST_CASE("rows are copied for whole sums of 192 to 512 steps, by steps where there are more") {
  const auto copied = [](std::int64_t batch, const Machine& machine) {
    return update_schedule(784, 512, batch, machine, 1);
  };
  for (const std::int64_t batch : {192, 512}) {
    const Schedule whole = copied(batch, machine_avx512());
    CHECK(whole.block_k == batch);
    CHECK(whole.packed_for == 16);
    CHECK(whole.panels_outside);
  }
  Machine without = machine_avx512();
  without.copy_rows = false;
  CHECK(copied(192, without).packed_for == 0);
  CHECK(copied(512, without).block_k < 512);
  CHECK(copied(191, machine_avx512()).packed_for == 0);
  const Schedule by_steps = copied(513, machine_avx512());
  CHECK(by_steps.packed_for == 16);
  CHECK((0 < by_steps.block_k && by_steps.block_k < 513));
  // A block's copy is at most three eighths of the second cache, unless that is less than a tile's.
  for (const std::int64_t cache : {128 << 10, 4 << 10}) {
    Machine small = machine_avx512();
    small.l2_bytes = cache;
    const Schedule whole = copied(192, small);
    CHECK(whole.block_k == 192);
    CHECK((whole.block_tiles == 1 || whole.block_tiles * whole.tile_rows * 192 * 4 <= cache * 3 / 8));
    CHECK(whole.block_tiles == (cache == 4 << 10 ? 1 : 4));
  }
}

TEST_CASE("rows are copied where each thread has enough panels for the copy") {
  const auto packed_for = [](std::int64_t columns, std::int64_t batch, int threads, Schedule::Shared shared) {
    const Schedule schedule = update_schedule(784, columns, batch, machine_avx512(), threads);
    CAPTURE(columns, batch, threads);
    CHECK((schedule.shared == shared));
    CHECK(schedule.parallel == threads);
    return schedule.packed_for;
  };
  // Whole sums: from eight panels of a thread on.
  CHECK(packed_for(512, 192, 2, Schedule::Shared::panels) == 8);
  CHECK(packed_for(512, 192, 4, Schedule::Shared::panels) == 0);
  CHECK(packed_for(256, 512, 2, Schedule::Shared::panels) == 0);
  // By steps: from two on.
  CHECK(packed_for(512, 1024, 8, Schedule::Shared::panels) == 2);
  CHECK(packed_for(512, 1024, 16, Schedule::Shared::panels) == 0);
  // Where threads share tiles, each of these meets all panels.
  CHECK(packed_for(512, 4096, 4, Schedule::Shared::tiles) == 16);
}

/// A product, or the gradient of a weight, whose rows lie in memory of the program.
Schedule schedule_of_product(std::int64_t m, std::int64_t n, std::int64_t k, bool gradient, const Machine& machine,
                             int threads = 1) {
  Contract core;
  core.m = m, core.n = n, core.k = k;
  const AffineRow row{.coefficients = {1, 0}}, step{.coefficients = {0, 1}};
  core.a.map = gradient ? std::vector{step, row} : std::vector{row, step};
  core.b.map = {row, step};
  Schedule schedule;
  schedule.parallel = threads;
  shape_tiles(core, 4, machine, schedule);
  order_tiles(core, 4, false, machine, schedule);
  return schedule;
}

TEST_CASE("products go by equal parts of k that the first cache holds, in equal blocks, and fetch nothing") {
  const Machine machine = machine_avx512();
  for (const std::int64_t k : {256, 512, 700, 784, 1000, 1024, 1536, 5000}) {
    const Schedule schedule = schedule_of_product(1024, 1024, k, false, machine);
    const std::int64_t step = std::int64_t{schedule.tile_rows} * 4;
    CAPTURE(k);
    CHECK(schedule.fetch_ahead == false);
    CHECK((schedule.block_tiles == 4 || schedule.block_tiles * k * step <= machine.l2_bytes * 2 / 3));
    CHECK((schedule.block_k > 0) == (4 * k * step > 3 * machine.l1_bytes));
    if (schedule.block_k == 0) continue;
    CHECK(schedule.block_k % schedule.tile_steps == 0);
    CHECK((schedule.block_k - schedule.tile_steps) * step <= machine.l1_bytes * 2 / 3);
  }
  CHECK(schedule_of_product(1024, 1024, 1024, false, machine_avx2()).block_k == 0);  // 97% of the peak as it is
  const Schedule cube = schedule_of_product(1024, 1024, 1024, false, machine_avx512());
  CHECK((cube.block_k == 512 && cube.block_tiles == 11));  // 74 tiles in seven blocks
  // All rows that the second cache holds are one block: b is read once. Of a thread's tiles there are fewer.
  CHECK(schedule_of_product(200, 3000, 1000, false, machine_avx512()).block_tiles == 15);
  CHECK(schedule_of_product(200, 3000, 1000, false, machine_avx512(), 2).block_tiles == 8);
  CHECK(schedule_of_product(300, 3000, 1000, false, machine_avx512()).block_tiles == 11);
}

TEST_CASE("rows of a feed and of memory are copied alike, in equal blocks: whole sums and long ones") {
  const Machine machine = machine_avx512();
  const Schedule memory = schedule_of_product(784, 256, 512, true, machine);
  CHECK((memory.packed_for == 8 && memory.block_k == 512 && memory.fetch_steps == 0 && memory.tile_steps == 2));
  CHECK(memory.block_tiles * memory.tile_rows * 512 * 4 <= machine.l2_bytes * 3 / 8);
  LowerOptions options;
  options.machine = machine;
  options.rows = 512;
  const Program program = lower(mlp_step({784, 256, 10}, true), "step", options);
  const auto fed =
      std::ranges::find_if(program.kernels, [](const Kernel& kernel) { return kernel.core && kernel.core->m == 784; });
  REQUIRE(fed != program.kernels.end());
  CHECK(fed->schedule.packed_for == memory.packed_for);
  CHECK(fed->schedule.block_k == memory.block_k);
  CHECK(fed->schedule.tile_steps == machine.tile_steps);
  const Schedule by_steps = schedule_of_product(1024, 1024, 1024, true, machine);
  CHECK((by_steps.block_k == 128 && by_steps.packed_for == 32 && by_steps.tile_steps == 2));
  CHECK(by_steps.block_tiles == 74);                                                // all rows in one block
  CHECK(schedule_of_product(2048, 512, 1024, true, machine).block_tiles == 74);     // 147 tiles in two
  CHECK(schedule_of_product(2048, 512, 1024, true, machine, 4).block_tiles == 37);  // of a thread's 37
}

TEST_CASE("a product of a feed's rows is cut into blocks of the tiles that it runs in") {
  for (const auto& [rows, tiles] :
       {std::pair{200, 19}, {512, 16}, {1024, 19}}) {  // all 19; a third of 47, a fifth of 94
    LowerOptions options;
    options.machine = machine_avx512();
    options.rows = rows;
    const Program program = lower(mlp_step({784, 256, 10}, true), "step", options);
    const auto fed = std::ranges::find_if(program.kernels, [&](const Kernel& kernel) {
      return kernel.core && program.buffers[kernel.core->a.buffer].region == Region::feed && kernel.core->k == 784;
    });
    CAPTURE(rows);
    REQUIRE(fed != program.kernels.end());
    CHECK(fed->schedule.tile_rows == row_tiles(program, *fed).tallest());
    CHECK(fed->schedule.block_tiles == tiles);
    CHECK(fed->schedule.block_k == 0);  // eleven rows of 784 leave a quarter of the first cache
  }
}

/// Images of 16x16 under windows of 3x3: the product, or the gradient of its weights.
Schedule schedule_of_windows(std::int64_t images, std::int64_t channels, std::int64_t n, bool weights,
                             const Machine& machine) {
  const std::vector<std::int64_t> places{images, 14, 14}, window{3, 3, channels};
  Contract core;
  core.m = weights ? 9 * channels : images * 196;
  core.k = weights ? images * 196 : 9 * channels;
  core.n = n;
  core.rows = weights ? window : places;
  core.steps = weights ? places : window;
  const std::size_t place = weights ? 3 : 0, inside = 3 - place;
  const auto row = [](std::size_t loop, std::size_t other) {
    AffineRow made{.coefficients = std::vector<std::int64_t>(6)};
    made.coefficients[loop] = made.coefficients[other] = 1;
    return made;
  };
  core.a.map = {row(place, place), row(place + 1, inside), row(place + 2, inside + 1), row(inside + 2, inside + 2)};
  core.b.map = {AffineRow{.coefficients = {1, 0}}, AffineRow{.coefficients = {0, 1}}};
  Schedule schedule;
  shape_tiles(core, 4, machine, schedule);
  order_tiles(core, 4, false, machine, schedule);
  return schedule;
}

TEST_CASE("the gradient of a convolution's weights fetches rows ahead, and keeps all its tiles in a block") {
  const auto schedule_of = [](std::int64_t images, bool weights, const Machine& machine) {
    return schedule_of_windows(images, 64, 64, weights, machine);
  };
  const Schedule large = schedule_of(32, true, machine_avx512());
  CHECK(large.fetch_steps > 0);
  CHECK(large.fetch_ahead);
  CHECK(large.packed_for == 0);  // windows are not copied
  CHECK(large.tile_steps == machine_avx512().tile_steps);
  CHECK(large.block_tiles * large.tile_rows >= 576);
  CHECK(large.block_k > 0);
  CHECK(schedule_of(4, true, machine_avx512()).fetch_steps > 0);  // in the second cache
  CHECK(schedule_of(4, true, machine_avx512()).fetch_ahead == false);
  CHECK(schedule_of(32, false, machine_avx512()).fetch_steps == 0);  // each row is read as it lies
  CHECK(schedule_of(32, true, machine_avx2()).fetch_steps == 0);
}

TEST_CASE("products of windows with long sums keep many tiles in a block") {
  for (const std::int64_t channels : {256, 512}) {
    const Schedule schedule = schedule_of_windows(16, channels, 256, false, machine_avx512());
    CAPTURE(channels);
    CHECK((schedule.block_k > 0 && schedule.block_k < 9 * channels));
    CHECK(schedule.block_tiles > 16);
  }
}
