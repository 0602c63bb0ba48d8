// Packs: like computations on single values, done side by side in the lanes of a vector.
//
// The update of a net of nine parameters is nine times one formula on single values, each with three divisions and a
// root. Instructions of one opcode and type make a pack, and so do their operands, lane by lane, down to values that
// are one for all lanes or have to be gathered. What is stored of a pack is taken out of it again. A pack is made where
// it saves more than gathering and taking out cost. Every lane is to the bit what the single instruction was.
#pragma once

#include <vector>

#include "ir/scalar/program.h"

namespace nnc {

/// Instructions that are one over vectors: lane l is that of members[l]. Lanes that are left over repeat the last one.
struct Pack {
  std::vector<ScalarId> members;
  ScalarId last = 0;  ///< the latest of the members, in whose place the pack is computed: its operands are known there
};

struct Packs {
  std::vector<Pack> packs;
  std::vector<int> pack_of;     ///< of every instruction; -1 where it is in none
  std::vector<bool> taken_out;  ///< of every instruction in a pack: whether its single value is wanted
};

/// The packs of a body, of at most so many lanes. `single` are the instructions that may be packed: those of one value
/// at one point of the loops.
Packs pack_alike(const ScalarProgram& body, const std::vector<bool>& single, int lanes);

}  // namespace nnc
