// What the runtime knows of a model: entries by what they are for, compiled when they are first asked for, and a few
// numbers about them. The driver supplies them; tests write them by hand.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "runtime/abi.h"
#include "runtime/dense_array.h"
#include "runtime/result.h"
#include "runtime/team.h"
#include "runtime/weights.h"

namespace nnc {

enum class EntryKind : std::uint8_t {
  init,             ///< writes every parameter and state but the fitted ones
  fit,              ///< one pass over the raw rows of the fit splits: carries
  fit_finish,       ///< carries -> fitted state
  feed,             ///< raw rows -> columns
  step,             ///< a batch: loss, and every parameter and state updated
  grads,            ///< a batch: loss, and gradients left in a region of their own
  update,           ///< those gradients: every parameter and state updated; with `grads` before it the same as `step`
  pack,             ///< logical arrays in that region: every parameter and state in its layout
  unpack,           ///< every parameter and state: logical arrays in that region
  evaluate,         ///< one pass over the rows of a split: carries
  evaluate_finish,  ///< carries -> loss and metrics
  predict_feed,     ///< raw rows -> the columns that `predict` reads
  predict           ///< columns -> outputs, a row each
};

struct Entry {
  const nnc_entry* code = nullptr;
  int threads = 1;  ///< the most threads that any of its kernels can use
};

struct Programs {
  /// The entry of a kind (and, for fit and evaluate, of the pass) for a number of rows; 1 where rows do not matter.
  std::function<Entry(EntryKind kind, int pass, std::int64_t rows)> entry;
  int fit_passes = 0, evaluate_passes = 0;
  std::map<std::string, double> carry_start;  ///< where a carry does not start from 0 (a maximum: -inf)
};

/// Indices of nnc_call::scalars.
enum class ScalarSlot : std::uint8_t { step, epoch, steps_per_epoch, total_steps, rows };
struct Scalars {
  double values[NNC_SCALARS] = {};
  double& operator[](ScalarSlot slot) { return values[static_cast<std::size_t>(slot)]; }
};

/// Calls entries on a team, with an arena that grows to what the largest of them needs.
class Runner {
 public:
  explicit Runner(int threads) : team_(threads) {}
  int threads() const { return team_.size(); }
  Team& team() { return team_; }
  /// Fills in arena and team; everything else of `call` is the caller's.
  void run(const Entry& entry, nnc_call call);
  /// Call after call in this thread, by nnc_entry::repeat, which the entry must have.
  void repeat(const Entry& entry, nnc_call call, std::int64_t times);

 private:
  Team team_;
  Bytes arena_;
};

/// Rows numbered from 0 that entries are fed from in blocks.
class RowFeeder {
 public:
  virtual ~RowFeeder() = default;
  virtual std::int64_t rows() const = 0;
  /// Sets feeds[i] for each feed slot of the entry, for rows first .. first + count - 1. Valid until the next call.
  virtual void block(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<nnc_feed> feeds) = 0;
};

/// 0, 1, 2, ...: the order of rows that lie one behind the other. At least `count` entries.
const std::uint32_t* identity_order(std::int64_t count);

/// The rows of a block over a whole split: a multiple of the length of a chunk (4096), so that blocks end where chunks
/// do and the bits depend neither on the block nor on how much memory there is.
inline constexpr std::int64_t block_rows = 4096;

struct NamedArray {
  std::string name;
  DenseArray array;
};

/// Runs all passes of a fold over the feeder's rows (kind: fit or evaluate) and its finish; returns the finish's
/// outputs. `seed` is the call's seed. Needs memory for one block only.
std::vector<NamedArray> fold_rows(Runner& runner, const Programs& programs, EntryKind kind, Weights& weights,
                                  RowFeeder& rows, std::uint64_t seed, std::int64_t block = block_rows);

/// Takes what a row-wise entry gives, block by block.
class RowSink {
 public:
  virtual ~RowSink() = default;
  /// Sets outputs[i] to where the entry writes its output i, for rows first .. first + count - 1.
  virtual void place(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<void*> outputs) = 0;
  /// They are written. A problem ends the pass.
  virtual std::optional<Problem> done(std::int64_t count) = 0;
};

/// Runs a row-wise entry (feed, predict_feed or predict) over the feeder's rows.
std::optional<Problem> map_rows(Runner& runner, const Programs& programs, EntryKind kind, Weights& weights,
                                RowFeeder& rows, std::uint64_t seed, RowSink& sink, std::int64_t block = block_rows);

/// The same into memory; each output has all rows.
std::vector<NamedArray> map_rows(Runner& runner, const Programs& programs, EntryKind kind, Weights& weights,
                                 RowFeeder& rows, std::uint64_t seed, std::int64_t block = block_rows);

}  // namespace nnc
