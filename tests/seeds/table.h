// Figures side by side: what the source material publishes, and what the examples reach.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace nnc::seeds {

/// A published figure (or what must hold), what was reached, and between which bounds that may lie.
struct Cell {
  std::string system, what, published;
  double reached = 0, least = 0, greatest = 0;
  std::string shown{};             ///< in place of the number reached
  std::optional<double> median{};  ///< of the runs that the bounds are of
  bool holds() const { return reached >= least && reached <= greatest; }
};

/// A row of a `test` block: an expectation, its right side as published, its left side as reached.
struct Piece {
  std::string test, condition, published, reached, within;
  bool holds = false;
};

struct Table {
  std::vector<Cell> cells;
  std::vector<Piece> pieces;

  void near(const std::string& system, const std::string& what, double published, double reached, double tolerance);
  /// `published` in words, or a number with another bound than a distance.
  void within(const std::string& system, const std::string& what, const std::string& published, double reached,
              double least, double greatest, std::optional<double> median = std::nullopt);
  void holds(const std::string& system, const std::string& what, const std::string& published, bool so,
             const std::string& shown);

  /// The whole document.
  std::string markdown() const;
  /// Lines of what left its bounds.
  std::vector<std::string> faults() const;
  /// What a document made earlier says of other rows, or not at all: those of these cells that it does not have.
  std::vector<std::string> not_in(const std::string& document) const;
};

}  // namespace nnc::seeds
