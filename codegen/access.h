// Accesses as arithmetic on loop indices, and the loads and stores they become.
//
// The address of an element is a sum of terms, one a loop, so each term is added where its loop's index becomes known:
// an inner loop computes nothing that does not depend on it. Some terms are not linear: the row of a feed (looked up in
// its order), the column of a panel buffer, and an index that is a quotient. An index that the body computes is one
// loop more; its term is added where the element is read or written.
//
// A load with guards must not touch memory where one fails. Where that is the same for all lanes, the address of a zero
// is taken instead; where it differs along contiguous elements, the load has a mask.
#pragma once

#include <optional>
#include <span>

#include "codegen/emitter.h"

namespace nnc {

/// (offset + sum of coefficients[loop] * index of the loop) / divisor.
struct Affine {
  std::int64_t offset = 0;
  std::vector<std::int64_t> coefficients;
  std::int64_t divisor = 1;

  bool depends(int loop) const { return coefficients[static_cast<std::size_t>(loop)] != 0; }
};

/// Holds where the row's division leaves nothing and 0 <= row < extent.
struct GuardForm {
  Affine row;
  std::int64_t extent = 0;
  bool narrow = false;  ///< no number in it reaches 2^30
};

struct AccessForm {
  BufferId buffer = 0;
  Affine flat;                   ///< elements from the buffer's base
  std::optional<Affine> row;     ///< a feed: this row, looked up in its order
  std::optional<Affine> column;  ///< panels: (n / panel) * rows * panel + n % panel further
  std::int64_t panel = 0, panel_rows = 0;
  std::vector<std::pair<Affine, std::int64_t>> quotients;  ///< rows with a divisor, and the elements between neighbours
  std::vector<GuardForm> guards;

  bool depends(int loop) const;
};

/// `extents` are the loops that the access's map is over; a loop of extent 1 has no term.
AccessForm access_form(const Program& program, const Access& access, std::span<const std::int64_t> extents);

/// Which element of its buffer an access is about, if it is the same one at every point.
std::optional<std::int64_t> only_element(const AccessForm& form);

/// Where an element lies, by the index of each loop: without guards, and where no row has a divisor.
llvm::Value* address_of(Emitter& emit, const AccessForm& form, std::span<llvm::Value* const> indices);

std::vector<GuardForm> guard_forms(const std::vector<Guard>& guards, std::span<const std::int64_t> extents);

/// The loops around a point of code, from the outside in. A loop may be run in two parts whose sum is its index: the
/// first row of a tile and the row in the tile.
struct Nest {
  struct Level {
    int loop = 0;
    llvm::Value* index = nullptr;  ///< of this part; of the first lane, for the vector loop
  };
  /// An index that the body computes.
  struct Computed {
    int level = 0;  ///< where it is known
    bool varying = false;
    llvm::Value* value = nullptr;  ///< i64, or a vector of them where it varies
  };
  std::vector<Level> levels;  ///< level l is levels[l - 1]; level 0 is the kernel's entry
  int first_computed = -1;    ///< the loop that computed[0] is; -1 where there is none
  std::vector<Computed> computed;
  int vector_loop = -1;
  int lanes = 1;   ///< of the vector loop
  int active = 1;  ///< lanes that exist in this iteration; less than `lanes` only in a tail

  /// The computed index that a loop is; nullptr for a loop of the nest.
  const Computed* computed_at(int loop) const {
    return first_computed < 0 || loop < first_computed ? nullptr
                                                       : &computed[static_cast<std::size_t>(loop - first_computed)];
  }
  int level_of(int loop) const;  ///< the level at which the loop's index is complete; 0 where it is always 0
  int level_of(const AccessForm& form, int loops) const;
  /// Whether one of the computed indices, or one that differs from lane to lane, is part of the form.
  bool depends_on_computed(const Affine& form, bool varying) const;
};
/// The sum of a loop's parts.
llvm::Value* index_of(Emitter& emit, const Nest& nest, int loop);
/// The value of an affine form; the vector loop's index is that of `lane`.
llvm::Value* value_of(Emitter& emit, const Nest& nest, const Affine& form, int lane);

/// Guards inside a nest, each asked at the level from which it is known.
class Condition {
 public:
  Condition(Emitter& emit, std::vector<GuardForm> guards, const Nest& nest);
  void enter(int level);
  bool empty() const { return guards_.empty(); }
  bool varying() const;  ///< differs from lane to lane
  int level() const;     ///< known from this level on

  /// i1, or one for each lane where it varies.
  llvm::Value* value();
  /// Of the guards that are the same in all lanes: i1, or null if there are none.
  llvm::Value* uniform();
  /// Of the others: one for each lane, or null if there are none.
  llvm::Value* by_lanes();
  llvm::Value* of_lane(int lane);

 private:
  bool varies(const GuardForm& guard) const;
  int level_of(const GuardForm& guard) const;
  llvm::Value* holds(const GuardForm& guard, llvm::Value* numerator);
  llvm::Value* of_guard(const GuardForm& guard, int lane);
  llvm::Value* numerators(const GuardForm& guard);

  Emitter& emit_;
  std::vector<GuardForm> guards_;
  const Nest& nest_;
  /// Of the guards that are the same in all lanes; not of those that ask for a computed index, which come later.
  std::vector<llvm::Value*> values_;
};

/// An access inside a nest. `enter` is called at each level on the way in and adds the terms known there.
class Element {
 public:
  Element(Emitter& emit, AccessForm form, const Nest& nest);
  void enter(int level);
  bool varying() const { return varying_; }  ///< differs from lane to lane
  int level() const { return level_; }       ///< complete from this level on

  /// The element, or the vector of elements where it varies; zero where a guard fails. Booleans are i1. Lanes past the
  /// end are zero or anything.
  llvm::Value* load();
  /// Writes the active lanes. Of a panel's padding, zeros are written.
  void store(llvm::Value* value);

 private:
  enum class Shape { uniform, contiguous, scattered };
  Shape find_shape() const;
  bool whole_vectors_fit() const;
  bool by_lane(const Affine& form) const;
  llvm::Value** kept() { return kept_at_ ? emit_.kept(form_.buffer, *kept_at_) : nullptr; }
  llvm::Value* pointer();
  llvm::Value* known_pointer();
  llvm::Value* lane_pointer(int lane);
  llvm::Value* with_computed(llvm::Value* at, int lane);
  llvm::Value* row_term(const Affine& row, int lane);
  llvm::Value* affine(const Affine& form, int lane) { return value_of(emit_, nest_, form, lane); }
  llvm::Value* guarded(llvm::Value* pointer, llvm::Value* condition);
  llvm::Value* loaded();
  llvm::Value* load_masked(llvm::Type* type, llvm::Value* at);
  llvm::Value* load_vector(llvm::Type* element);
  void store_vector(llvm::Value* value);

  Emitter& emit_;
  AccessForm form_;
  const Nest& nest_;
  Condition condition_;
  const Buffer& buffer_;
  llvm::Type* element_;
  bool varying_ = false;
  Shape shape_ = Shape::uniform;
  int level_ = 0;
  std::optional<std::int64_t> kept_at_;  ///< of the one element that is read or written in all iterations
  std::vector<llvm::Value*> pointers_;   ///< by level; all terms known there, without those of computed indices
  std::int64_t bytes_ = 0;               ///< from the pointers on, the same at all levels
};

}  // namespace nnc
