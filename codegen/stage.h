// One stage of a kernel as code: its body, its inner loops, its folds, its stores.
//
// Every instruction of a body is emitted once, at the level of the nest where its inputs are known, so what does not
// change in a loop is not computed in it. The levels of a stage are those of the kernel's outer loops, then one at
// which the stage begins (what earlier stages stored or folded is known there), then its inner loops.
#pragma once

#include "codegen/access.h"
#include "codegen/division.h"
#include "codegen/draws.h"
#include "codegen/packs.h"
#include "codegen/scalar.h"

namespace nnc {

/// What a fold gave, for the stages after it.
struct FoldValue {
  llvm::Value* value = nullptr;
  bool varying = false;
  Home home;
};
using FoldValues = std::vector<std::vector<FoldValue>>;  ///< [stage][fold]

/// Whether loops over so many points are written out, which take so many instructions then.
bool worth_writing_out(std::int64_t points, std::int64_t instructions);

class StageEmitter {
 public:
  /// `outer` are the levels of the kernel's loops; the vector loop of `outer`, if any, is one of them.
  /// With `vectorise_inner` the last inner loop is the vector loop instead, where the stage's folds allow it.
  StageEmitter(Emitter& emit, const Kernel& kernel, std::size_t stage, const Nest& outer, bool vectorise_inner,
               FoldValues& folds);
  StageEmitter(const StageEmitter&) = delete;
  StageEmitter& operator=(const StageEmitter&) = delete;

  /// Enters a level of the outer loops: sets its index and emits what is known from there on.
  void enter(int level, llvm::Value* index);
  /// Keeps what is known at level 0 in memory, from where every entry of level 1 fetches it again. For kernels whose
  /// registers are all taken by an inner loop between the two levels.
  void park();
  void set_active(int lanes) { nest_.active = lanes; }
  void set_core(llvm::Value* value) { core_ = value; }
  /// Runs the stage at a point of the outer loops.
  void run();

  /// Instructions of one evaluation of the body, loads and stores included.
  int cost() const;
  /// Of all evaluations at one point of the outer loops.
  std::int64_t work() const;

 private:
  enum class FoldPlace : std::uint8_t {
    across,        ///< one accumulator (a vector of them where the value varies)
    along,         ///< the vector loop is folded: accumulators are lanes
    lane_by_lane,  ///< Order::lanes, but another loop is vectorised or none: each lane's points by themselves
    in_memory      ///< the same where that would be too much code: an array of accumulators
  };
  struct FoldPlan {
    FoldPlace place{};
    bool chunked = false;
    bool varying = false;
    int order_lanes = 1;            ///< L of Order::lanes
    int present_lanes = 0;          ///< where it is chunked: of them, those that get elements; others may be anything
    int memory_lanes = 1;           ///< in_memory: those that get elements; the rest would stay +0
    int first = 0, count = 0;       ///< its accumulators among the carried values
    int total = -1;                 ///< its f64 total among the carried values, after all accumulators
    llvm::Value* memory = nullptr;  ///< in_memory
    std::optional<Element> carry;
  };

  int begin_level() const { return outer_levels_ + 1; }
  int inner_level(std::size_t i) const { return outer_levels_ + 2 + static_cast<int>(i); }

  void choose_vector_loop(bool vectorise_inner);
  void plan_levels();
  void plan_input(std::size_t id);
  void note_index(std::size_t id);
  void plan_folds();
  void plan_packs();
  void plan_draws();
  void plan_divisors();
  SingleValues single_values() const;
  int kept_number(const Access& access) const;
  void plan_homes();
  std::int64_t steps_of_chunk() const;
  bool sum_is_total() const;
  bool sums_side_by_side() const;
  int level_of_input(const BodyInput& input) const;
  bool stored_in_kernel(BufferId buffer) const;

  void enter_level(int level);
  void fetch_parked();
  void emit_body_instruction(std::size_t id);
  void emit_single(std::size_t id);
  void prepare_draws(std::size_t known);
  llvm::Value* emit_draw(std::size_t id);
  bool has_reciprocal(std::size_t division) const;
  void note_reciprocal(ScalarId divisor, const Reciprocal& reciprocal);
  llvm::Value* emit_operation(const ScalarInstruction& x, std::span<llvm::Value*> operands, int lanes);
  void emit_pack(std::size_t number);
  llvm::Value* vector_of(const std::vector<ScalarId>& members, const std::vector<bool>& nobodys);
  llvm::Value* emit_input(std::size_t id);
  llvm::Value* uniform_or_vector(ScalarId id, bool vector);
  /// The instruction of one of the body's results.
  ScalarId result(ScalarId number) const { return body_.results[number]; }
  void write_stores();

  Carried run_inner(std::size_t depth, llvm::Value* begin, llvm::Value* end, const Carried& carried);
  bool written_out(std::size_t depth, llvm::Value* begin, llvm::Value* end) const;
  Carried run_point(const Carried& carried);
  Carried run_chunk_points(const Carried& carried, llvm::Value* begin, llvm::Value* end);
  Carried run_chunk(const Carried& state, llvm::Value* begin, llvm::Value* end);
  Carried run_only_chunk(const Carried& state, std::int64_t length);
  Carried run_chunks(const Carried& state);

  llvm::Type* fold_type(const FoldPlan& plan, const Fold& fold) const;
  Carried first_accumulators();
  Carried first_totals();
  void clear_memory(bool all);
  void accumulate(std::size_t fold, Carried& carried);
  llvm::Value* accumulate_lanes(std::size_t fold, llvm::Value* accumulator);
  void accumulate_in_memory(std::size_t fold);
  bool goes_lane_by_lane() const;
  bool lanes_written_out() const;
  std::int64_t points() const;
  Carried sum_of_lanes(int first, int stride, llvm::Value* begin, llvm::Value* end);
  Carried run_lanes(const std::vector<int>& lanes, std::size_t depth, llvm::Value* begin, llvm::Value* end,
                    const Carried& carried);
  Carried run_lanes_at(const std::vector<int>& lanes, llvm::Value* index, const Carried& carried);
  Carried join_lanes(const Carried& low, const Carried& high);
  void accumulate_argmax(std::size_t fold, Carried& carried);
  bool adds_to_zero(std::size_t fold) const;
  bool tail_adds_zeros(std::size_t fold) const;
  llvm::Value* step(std::size_t fold, llvm::Value* accumulator, llvm::Value* value, llvm::Value* factor);
  llvm::Value* chunk_sum(std::size_t fold, const Carried& carried);
  Carried sums_of_only_chunk(const Carried& carried);
  void finish_folds(const Carried& state);
  llvm::Value* memory_lane(std::size_t fold, llvm::Value* lane);

  Emitter& emit_;
  const Kernel& kernel_;
  const Stage& stage_;
  const ScalarProgram body_;  ///< what is known in it computed
  FoldValues& fold_values_;
  std::size_t index_ = 0;
  Nest nest_;
  int outer_levels_ = 0;
  int loops_ = 0;  ///< of the kernel and of the stage, and computed indices
  std::vector<std::int64_t> extents_;
  std::vector<int> inner_;  ///< loops of extent other than 1, from the outside in
  std::vector<std::optional<Element>> input_places_;
  std::vector<std::optional<Condition>> input_conditions_;
  std::vector<Element> store_places_;
  std::vector<int> levels_;  ///< of each instruction
  std::vector<bool> varying_;
  std::vector<bool> splatted_;  ///< a uniform value that a varying one uses
  std::vector<llvm::Value*> values_, splats_;
  /// A draw of neighbours in a row. Its row is begun where `row` and `key` are both known.
  struct Draw {
    ScalarId id = 0, row = 0, key = 0;
    Affine column;
    std::unique_ptr<DrawsOfRow> of_row = nullptr;
  };
  std::vector<Draw> draws_;
  std::map<ScalarId, std::unique_ptr<DrawKeys>> draw_keys_;  ///< by the instruction that is the key
  Packs packs_;
  std::vector<llvm::Value*> pack_values_;
  std::vector<std::pair<ScalarId, llvm::Value*>> parked_;  ///< and where it is
  struct Divisor {
    Reciprocal single, lanes;  ///< as it is computed; in all lanes
    Carried parked;            ///< where the parts of it are
  };
  std::map<ScalarId, Divisor> divisors_;  ///< values by whose reciprocals vectors are multiplied
  std::vector<FoldPlan> folds_;
  bool lane_by_lane_ = false;  ///< all folds
  int accumulators_ = 0;       ///< carried values before the totals
  llvm::Value* core_ = nullptr;
};

}  // namespace nnc
