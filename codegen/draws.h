// Random numbers of neighbours. Philox gives four words at a time, those of four neighbouring columns of a row, so a
// vector that goes along a row in whole groups of four needs a quarter as many counters as it has lanes. What depends
// on the key alone is computed once, what depends on the row alone once a row.
#pragma once

#include "codegen/access.h"

namespace nnc {

/// The column of a draw, where it goes along the vector loop in whole groups of four; nothing otherwise.
std::optional<Affine> column_of_groups(const ScalarProgram& body, const std::vector<BodyInput>& inputs, ScalarId column,
                                       const Nest& nest, std::span<const std::int64_t> extents);

/// What the rounds take of a key, in memory: from there an instruction takes it for all lanes at once.
class DrawKeys {
 public:
  DrawKeys(Emitter& emit, llvm::Value* key);
  llvm::Value* round_key(std::size_t number) const;

 private:
  Emitter& emit_;
  llvm::Value* memory_;
};

/// Draws of a row. Made where key and row are known. Columns are fewer than 2^34 unless `wide`.
class DrawsOfRow {
 public:
  DrawsOfRow(Emitter& emit, const DrawKeys& keys, llvm::Value* row, bool wide);
  /// i64 words of so many columns, `column` the first.
  llvm::Value* words(llvm::Value* column, int lanes) const;

 private:
  llvm::Value* input(std::size_t number, llvm::Value* group) const;

  Emitter& emit_;
  const DrawKeys& keys_;
  llvm::Value *row_, *row_high_;
  bool wide_;
  Carried known_;  ///< the same for all columns
};

}  // namespace nnc
