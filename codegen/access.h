// Accesses as arithmetic on loop indices, and the loads and stores they become.
//
// The address of an element is a sum of terms, one a loop, so each term is added where its loop's index becomes known:
// an inner loop computes nothing that does not depend on it. Two kinds of buffer have a term that is not linear: the
// row of a feed (looked up in its order) and the column of a panel buffer. An index that the body computes is one loop
// more; its term is added where the element is read or written.
#pragma once

#include <optional>
#include <span>

#include "codegen/emitter.h"

namespace nnc {

/// offset + sum of coefficients[loop] * index of the loop.
struct Affine {
  std::int64_t offset = 0;
  std::vector<std::int64_t> coefficients;

  bool depends(int loop) const { return coefficients[static_cast<std::size_t>(loop)] != 0; }
};

struct AccessForm {
  BufferId buffer = 0;
  Affine flat;                   ///< elements from the buffer's base
  std::optional<Affine> row;     ///< a feed: this row, looked up in its order
  std::optional<Affine> column;  ///< panels: (n / panel) * rows * panel + n % panel further
  std::int64_t panel = 0, panel_rows = 0;

  bool depends(int loop) const {
    return flat.depends(loop) || (row && row->depends(loop)) || (column && column->depends(loop));
  }
};

/// `extents` are the loops that the access's map is over; a loop of extent 1 has no term.
AccessForm access_form(const Program& program, const Access& access, std::span<const std::int64_t> extents);

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
};
/// The sum of a loop's parts.
llvm::Value* index_of(Emitter& emit, const Nest& nest, int loop);

/// An access inside a nest. `enter` is called at each level on the way in and adds the terms known there.
class Element {
 public:
  Element(Emitter& emit, AccessForm form, const Nest& nest);
  void enter(int level);
  bool varying() const { return varying_; }  ///< differs from lane to lane
  int level() const { return level_; }       ///< complete from this level on

  /// The element, or the vector of elements where it varies. Booleans are i1. Lanes past the end are zero or anything.
  llvm::Value* load();
  /// Writes the active lanes. Of a panel's padding, zeros are written.
  void store(llvm::Value* value);

 private:
  enum class Shape { uniform, contiguous, scattered };
  Shape find_shape() const;
  bool depends_on_computed(const Affine& form, bool varying) const;
  bool whole_vectors_fit() const;
  bool by_lane(const Affine& form) const;
  llvm::Value* pointer();
  llvm::Value* lane_pointer(int lane);
  llvm::Value* with_computed(llvm::Value* at, int lane);
  llvm::Value* row_term(llvm::Value* row);
  llvm::Value* column_term(llvm::Value* column);
  llvm::Value* affine(const Affine& form, int lane);
  llvm::Value* load_vector(llvm::Type* element);
  void store_vector(llvm::Value* value);

  Emitter& emit_;
  AccessForm form_;
  const Nest& nest_;
  const Buffer& buffer_;
  llvm::Type* element_;
  bool varying_ = false;
  Shape shape_ = Shape::uniform;
  int level_ = 0;
  std::vector<llvm::Value*> pointers_;  ///< by level; all terms known there, without those of computed indices
};

}  // namespace nnc
