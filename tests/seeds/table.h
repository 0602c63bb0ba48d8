// Figures side by side: what the source material publishes, and what the examples reach.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace nnc::seeds {

/// What the material publishes ("-" where it has no figure), what was reached, and between which bounds that may lie.
struct Cell {
  std::string system, what, published;
  double reached = 0, least = 0, greatest = 0;
  std::string shown{};             ///< in place of the number reached
  std::optional<double> median{};  ///< of the runs that the bounds are of
  std::string why{};               ///< where a published number lies outside the bounds: how that comes
  bool holds() const { return reached >= least && reached <= greatest; }
  /// Whether the published figure is a number that lies outside.
  bool published_outside() const;
};

/// A row of a `test` block: an expectation, what the material says of it, its left side as reached.
struct Piece {
  std::string test, condition, published, reached, within;
  bool holds = false;
};

/// The numbers of a text that has nothing else in it; empty for words.
std::vector<double> numbers_of(const std::string& text);

struct Table {
  std::vector<Cell> cells;
  std::vector<Piece> pieces;
  std::vector<std::string> failures;  ///< what is no figure and went wrong
  std::vector<std::string> skipped;   ///< how rows begin that this run did not make: "| deep nets |"

  void near(const std::string& system, const std::string& what, double published, double reached, double tolerance);
  /// `published` in words, or a number with another bound than a distance.
  Cell& within(const std::string& system, const std::string& what, const std::string& published, double reached,
               double least, double greatest, std::optional<double> median = std::nullopt);
  void holds(const std::string& system, const std::string& what, const std::string& published, bool so,
             const std::string& shown);

  /// The whole document.
  std::string markdown() const;
  /// Lines of what left its bounds, and of published numbers outside them that nobody explains.
  std::vector<std::string> faults() const;
  /// Rows of these that a document made earlier does not have.
  std::vector<std::string> not_in(const std::string& document) const;
  /// Rows of a document made earlier that are not among these, though they were not skipped.
  std::vector<std::string> lost_from(const std::string& document) const;
};

}  // namespace nnc::seeds
