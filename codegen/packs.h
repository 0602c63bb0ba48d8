// Packs: like computations on single values, done side by side in the lanes of a vector.
//
// The update of a net of nine parameters is nine times one formula on single values, each with three divisions and a
// root. Instructions of one opcode and type make a pack, and so do their operands, lane by lane, down to values that
// are one for all lanes or have to be gathered. What is stored of a pack is taken out of it again. A pack is made where
// it saves more than gathering and taking out cost. Every lane is to the bit what the single instruction was.
//
// Values may lie side by side already: sums of folds in the vector in which they were added, and what is kept from turn
// to turn of a repeated call in the lanes of the pack that computes it. Lanes are then chosen so that nothing moves.
#pragma once

#include <vector>

#include "ir/scalar/program.h"

namespace nnc {

/// Where a single value lies: a lane of a vector of so many lanes. In none where there is no such vector.
struct Home {
  int vector = -1, lane = 0, width = 0;
};

/// What is known of a body's instructions beside the body.
struct SingleValues {
  std::vector<bool> single;        ///< those of one value at one point of the loops, which may be packed
  std::vector<Home> homes;         ///< of inputs that are lanes of vectors
  std::vector<int> reads;          ///< which kept element an input is; -1 where it is none
  std::vector<int> writes;         ///< which one an instruction becomes that is a result for nothing else; -1 for none
  std::vector<bool> wanted_alone;  ///< of every kept element: whether other code wants it as a single value
};

/// Instructions that are one over vectors: lane l is that of members[l]. Lanes that are nobody's repeat a neighbour.
struct Pack {
  std::vector<ScalarId> members;
  std::vector<bool> nobodys;  ///< of every lane
  ScalarId last = 0;  ///< the latest of the members, in whose place the pack is computed: its operands are known there
  bool kept = false;  ///< all members become kept elements, which are then the lanes of one vector
};

struct Packs {
  std::vector<Pack> packs;
  std::vector<int> pack_of;     ///< of every instruction; -1 where it is in none
  std::vector<bool> taken_out;  ///< of every instruction in a pack: whether its single value is wanted
};

/// The packs of a body, of at most so many lanes.
Packs pack_alike(const ScalarProgram& body, const SingleValues& values, int lanes);

}  // namespace nnc
