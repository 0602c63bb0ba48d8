// The pieces of the source material: which expectation of which test block shows each, and what the material prints of
// it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/seeds/table.h"

namespace nnc::seeds {

struct KnownPiece {
  std::string file;       ///< below examples/
  std::string test;       ///< the block's title
  std::string condition;  ///< as it stands behind `expect`
  std::string published;  ///< the material's numbers, or what it says; "-" where the expectation is ours
};
const std::vector<KnownPiece>& known_pieces();

/// What `nnc test --json` says of a file.
struct TestedFile {
  std::string file;
  int status = 0;
  std::vector<nlohmann::json> blocks;
};

/// A row for each piece. It fails where the test does, where a published number is not reached to its last digit, and
/// where the expectation is gone; so does a file whose tests do not end well, and an expectation that is no piece.
void add_pieces(Table& table, const std::vector<KnownPiece>& known, const std::vector<TestedFile>& tested);

}  // namespace nnc::seeds
