// A lowered program: the kernels of one entry point for one number of rows, the buffers they read and write, where each
// lies, and how each is to be run on a machine. A value: printed by `--stage fused`, verified, and compiled by codegen.
//
// A kernel is a nest: an outer domain whose points are independent (threads share it out), and stages that run one
// after the other at each outer point. A map is one stage, a softmax row is three; an epilogue is the stages after
// `core`. Kernels run in order; a row of them is the body of a serial loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ir/graph.h"
#include "ir/machine.h"
#include "ir/scalar/program.h"

namespace nnc {

using BufferId = std::uint32_t;

/// The memory a buffer lies in; each is a pointer of nnc_call (runtime/abi.h).
enum class Region : std::uint8_t {
  params,    ///< parameters, in the layout the training step wants; offset in bytes
  state,     ///< model and optimizer state; offset in bytes
  grads,     ///< gradients between the entries grads and update; offset in bytes
  carry,     ///< totals that a fold over a whole split takes from block to block; offset in bytes
  arena,     ///< intermediate values; offset in bytes; undefined at entry
  feed,      ///< rows of a data column, through nnc_feed; offset = index of the feed; row r is at order[r]
  output,    ///< results for the caller, dense row-major; offset = index of the output
  scalars,   ///< run-time numbers (f64); offset = index in nnc_call::scalars
  constant,  ///< data inside the module; see Buffer::values
};

/// Where element (i0, i1, ...) of a buffer lies, in elements from its start.
///   row_major: sum of i_d * strides[d] (strides may be padded).
///   panels (rank 2, [K, N]): ((n / panel) * K + k) * panel + n % panel; N is padded to whole panels.
///   transposed panels of W are an ordinary panel buffer of type [N, K] with a kernel that fills it.
struct Layout {
  enum class Kind : std::uint8_t { row_major, panels };
  Kind kind = Kind::row_major;
  std::vector<std::int64_t> strides;
  std::int64_t panel = 0;
  bool operator==(const Layout&) const = default;
};

/// Where a buffer lies that is a part of another one: it begins at row (row + index of `loop`) mod rows, along the
/// first axis of `of`; without a loop at `row`. At each step of a loop it is another place, so the kernels of one step
/// are those of all.
struct Part {
  BufferId of = 0;  ///< an earlier buffer, dense
  std::int64_t row = 0;
  std::optional<std::uint32_t> loop = {};  ///< index into Program::loops; its kernels alone use the buffer
  bool operator==(const Part&) const = default;
};

struct Buffer {
  std::string name;
  DType dtype{};
  std::vector<std::int64_t> dims;
  Layout layout;
  Region region{};
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;     ///< with padding; the padding of a params or state buffer holds zeros
  std::vector<double> values;  ///< constants only
  bool padded_rows = false;    ///< whole vectors of the last axis may be read and written past its end (arena padding)
  std::optional<Part> part = {};  ///< then region and offset are those of the buffer that holds it
};

/// index of a buffer axis = (offset + sum of coefficient[j] * loop[j]) / divisor; the loops are Kernel::outer, then
/// Stage::inner, then the indices that the stage's body computes (Body::indices), each like a loop over as many steps
/// as it has values. The division leaves nothing wherever the index is used: a guard stands before a row with a
/// divisor.
struct AffineRow {
  std::int64_t offset = 0;
  std::vector<std::int64_t> coefficients;
  std::int64_t divisor = 1;
  bool operator==(const AffineRow&) const = default;
};
/// Holds at the points where the row's division leaves nothing and 0 <= row < extent: inside of what is padded, in one
/// of the pieces that are joined.
struct Guard {
  AffineRow row;
  std::int64_t extent = 0;
  bool operator==(const Guard&) const = default;
};
/// A load where a guard does not hold gives zero and touches no memory. Stores have no guards.
struct Access {
  BufferId buffer = 0;
  std::vector<AffineRow> map;  ///< one row for each axis of the buffer
  std::vector<Guard> guards = {};
  bool operator==(const Access&) const = default;
};

/// The least and the greatest numerator of a row over a nest (0, 0 where the nest has no point).
struct RowReach {
  std::int64_t low = 0, high = 0;
};
RowReach reach_of(const AffineRow& row, const std::vector<std::int64_t>& loops);
/// Whether guards hold at a point of the nest.
bool holds(const std::vector<Guard>& guards, const std::vector<std::int64_t>& point);

// What an input of a stage's body is.
struct FoldResult {
  std::uint16_t stage = 0, fold = 0;
  bool operator==(const FoldResult&) const = default;
};
struct LoopIndex {
  std::uint16_t loop = 0;
  bool operator==(const LoopIndex&) const = default;
};  ///< i64 value of a loop's index
struct CoreValue {
  bool operator==(const CoreValue&) const = default;
};  ///< the contraction's element at (m, n)
/// A number of the call, i64: nnc_call::seed, step or row_offset.
struct CallValue {
  enum class Which : std::uint8_t { seed, step, row_offset } which{};
  bool operator==(const CallValue&) const = default;
};
/// The number of a stream of random numbers, i64: not a constant of the body, since kernels that differ in it alone can
/// be one function.
struct RandomStream {
  std::uint64_t number = 0;
  bool operator==(const RandomStream&) const = default;
};
/// Whether all guards hold: a boolean.
struct Inside {
  std::vector<Guard> guards;
  bool operator==(const Inside&) const = default;
};
using BodyInput = std::variant<Access, FoldResult, LoopIndex, CoreValue, CallValue, RandomStream, Inside>;

/// An index that the body computes before the accesses that depend on it: i64, 0 <= value < extent. That it cannot be
/// outside is seen in the code: the value is clamped there (clamped_index), whatever was fed.
struct ComputedIndex {
  ScalarId value = 0;  ///< index into Body::program.results
  std::int64_t extent = 0;
  bool operator==(const ComputedIndex&) const = default;
};

struct Body {
  ScalarProgram program;
  std::vector<BodyInput> inputs;  ///< program.inputs[i] is described by inputs[i]
  std::vector<ComputedIndex> indices = {};
  bool operator==(const Body&) const = default;
};

/// Whether an instruction is an i32 clamped to 0 ... extent - 1 and made an i64.
bool is_clamped_index(const ScalarProgram& program, ScalarId instruction, std::int64_t extent);

enum class FoldOp : std::uint8_t {
  sum,      ///< value
  product,  ///< fma(value, factor, accumulator): a small dot
  maximum,  ///< value; exact in any order
  argmax    ///< value; i32 index of the first greatest along the one inner loop (a NaN is the greatest)
};

/// A reduction of the body's values over all inner loops of its stage. With `carry` the f64 total (or the maximum)
/// starts from, and is the new value for, that buffer; otherwise from +0 (-inf). See docs/architecture.md, "Order of
/// additions".
struct Fold {
  FoldOp op{};
  Order order = Order::serial;
  DType dtype{};        ///< of the accumulated values; the total of chunks is f64
  DType result{};       ///< of FoldResult; f64 where a carry is kept
  ScalarId value = 0;   ///< index into Body::program.results
  ScalarId factor = 0;  ///< product only
  std::optional<Access> carry;
  bool operator==(const Fold&) const = default;
};

struct Store {
  Access to;
  ScalarId value = 0;  ///< index into Body::program.results
  bool add = false;    ///< the value is added to the element that is there, point after point of the inner loops
  bool operator==(const Store&) const = default;
};

/// Loops over `inner` (row-major), evaluates the body at each point, feeds the folds, writes the stores.
/// In a stage with folds `inner` holds the reduced axes of extent other than 1 in order, or {1} if there is none: so
/// with one loop a chunk is 4096 elements, with more it is 256 indices of the first loop, and a lane is the last loop's
/// index. All inputs of a point are read before its stores are written. What a stage stores, only later stages of the
/// same outer point may read in the same kernel; a buffer that is read and written at once (an update in place) has one
/// map for both. A store at a computed index may meet an element again and again within an outer point, never from two.
struct Stage {
  std::vector<std::int64_t> inner;
  Body body;
  std::vector<Fold> folds;
  std::vector<Store> stores;
  bool operator==(const Stage&) const = default;
};

/// The value at (m, n) is sum over k of a(m, k) * b(k, n): one accumulator, fma, k ascending from +0 (Order::serial).
/// The kernel's outer domain is {m, n}; a's map is over loops (m, k), b's over (k, n). Products of a stack go one after
/// the other: then the outer domain is {stack, m, n}, and the maps are over (stack, m, k) and (stack, k, n).
/// Where a's elements lie in windows of an image, m counts the points of several loops in row-major order, `rows`
/// (image, line, column), and k those of `steps` (the window's line and column, channel); a's map is then over
/// (rows..., steps...). Empty: the one loop m, the one loop k.
/// What lowering promises: a is row-major; b has rank 2 and is indexed [k, n], row-major with unit stride along n or in
/// panels; b lies in no feed, a in one only without windows and stacks. In a stack b has one axis more in front and is
/// row-major. Exactly one stage follows, with no inner loops and no folds.
struct Contract {
  Access a, b;
  std::int64_t m = 0, n = 0, k = 0;
  std::vector<std::int64_t> rows = {}, steps = {};
  bool operator==(const Contract&) const = default;

  std::vector<std::int64_t> row_loops() const { return rows.empty() ? std::vector{m} : rows; }
  std::vector<std::int64_t> step_loops() const { return steps.empty() ? std::vector{k} : steps; }
};

/// How a kernel runs; never what it computes. Chosen by the pass `schedule` from Machine.
struct Schedule {
  /// Which loop is vectorised: the last outer one (every stage's inner loops are then scalar loops, folds keep a vector
  /// of accumulators, those in lanes one for each lane), or each stage's last inner one (folds are lanes; without inner
  /// loops are scalar), or none. With `core`: outer. Accesses need not be contiguous along the vectorised loop.
  enum class Vector : std::uint8_t { outer, inner, none };
  Vector vector = Vector::none;
  int lanes = 1;               ///< elements of a vector in this kernel
  int widest_bytes = 0;        ///< of the registers that its code uses; 0: as wide as there are
  int tile_rows = 0;           ///< contraction: MR; M is split evenly into tiles of at most this many rows
  int tile_vectors = 0;        ///< contraction: NR
  int tile_steps = 1;          ///< contraction: steps of k in a turn of the innermost loop, or a divisor of that
  bool panels_outside = true;  ///< contraction: loop over column panels outside, row tiles inside
  int block_tiles = 0;  ///< contraction: all columns for so many tiles of rows, then for the next; 0: for all at once
  int block_k = 0;      ///< contraction: a block's tiles go through so many steps of k before the next steps; 0: all
  int packed_for =
      0;  ///< contraction, with block_k: a's steps are copied, tile by tile, once for so many panels; 0: not
  bool fetch_ahead = false;   ///< contraction: a tile's steps fetch what it replaces and what later tiles meet
  int fetch_steps = 0;        ///< contraction: a's rows are fetched so many steps of k before they are met; 0: not
  std::int64_t parallel = 1;  ///< pieces into which threads share the outer domain; 1: one thread runs it
  enum class Shared : std::uint8_t { tiles, panels, stack };
  Shared shared = Shared::tiles;  ///< contraction: of what pieces consist: tiles of rows, panels of columns, products
  bool operator==(const Schedule&) const = default;
};

struct Kernel {
  std::string name;
  std::vector<std::int64_t> outer;
  std::optional<Contract> core;
  std::vector<Stage> stages;
  Schedule schedule;
  std::optional<BufferId> work;  ///< of a contraction in blocks: a row for each piece (contraction.h)
  std::vector<NodeId> origin;    ///< the graph nodes it computes
  std::uint32_t line = 0;
  bool operator==(const Kernel&) const = default;
};

/// The kernels first ... end - 1 run one after the other, `steps` times. The loop's index goes from 0 up, or backwards
/// from steps - 1 down. Loops lie inside of one another or apart. What a step needs of the one before lies in memory: a
/// carry has two rows, which steps read and write by turns, or one for each step where all its values are wanted.
struct SerialLoop {
  std::size_t first = 0, end = 0;
  std::int64_t steps = 1;
  bool backwards = false;
  bool holds(std::size_t kernel) const { return first <= kernel && kernel < end; }
};

/// A named place of a region that files and callers know: parameters, state, feeds, outputs.
struct Slot {
  std::string name;
  BufferId buffer = 0;
};

struct Program {
  std::string entry;  ///< "step", "grads", "update", "evaluate", ...
  std::int64_t rows = 0;
  std::vector<Buffer> buffers;
  std::vector<Kernel> kernels;    ///< in order; a barrier stands between two
  std::vector<SerialLoop> loops;  ///< over kernels, by their first one, outer ones before inner ones
  std::vector<Slot> params, state, grads, carry, feeds, outputs;
  std::vector<Obligation> obligations;
  std::uint64_t params_bytes = 0, state_bytes = 0, grads_bytes = 0, carry_bytes = 0, arena_bytes = 0;
};

/// The buffer whose memory a buffer is a part of in the end; itself where it is none.
BufferId whole_of(const Program& program, BufferId buffer);
/// Kernels and loops in their order: kernel(k) for a kernel, loop(l, step) for a loop, where step() walks through its
/// body.
void walk(const Program& program, const std::function<void(std::size_t)>& kernel,
          const std::function<void(std::uint32_t, const std::function<void()>&)>& loop);
/// The program of one kernel, in the loops around it, over the same buffers.
Program alone(const Program& program, std::size_t kernel);
/// The loops around a kernel, from the outside in: indices into Program::loops.
std::vector<std::uint32_t> loops_around(const Program& program, std::size_t kernel);

/// The text of `--stage fused`: every buffer with its layout and place, every kernel with its loops and bodies.
std::string print(const Program& program);
/// What is wrong with a program, or empty: accesses in range, results before uses, buffers inside regions and disjoint
/// while both live, stages' inputs typed, folds' order set.
std::string verify(const Program& program);

}  // namespace nnc
