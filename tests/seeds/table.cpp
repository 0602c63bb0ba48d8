#include "tests/seeds/table.h"

#include <fmt/format.h>

#include <cmath>

namespace nnc::seeds {

namespace {

std::string number(double value) { return fmt::format("{:.9g}", value); }

std::string bounds(const Cell& cell) {
  if (!cell.shown.empty()) return "holds";
  if (cell.least == cell.greatest) return number(cell.least);
  if (std::isinf(cell.greatest)) return "at least " + number(cell.least);
  if (std::isinf(cell.least)) return "at most " + number(cell.greatest);
  if (cell.median) return fmt::format("{:.6g} .. {:.6g}, median {:.6g}", cell.least, cell.greatest, *cell.median);
  return number(cell.least) + " .. " + number(cell.greatest);
}

std::string reached(const Cell& cell) { return cell.shown.empty() ? number(cell.reached) : cell.shown; }

/// What identifies a row, and does not change from run to run.
std::string start_of(const Cell& cell) {
  return fmt::format("| {} | {} | {} |", cell.system, cell.what, cell.published);
}
std::string start_of(const Piece& piece) { return fmt::format("| {} | `{}` |", piece.test, piece.condition); }

}  // namespace

void Table::near(const std::string& system, const std::string& what, double published, double reached,
                 double tolerance) {
  cells.push_back(
      {system, what, fmt::format("{:.15g}", published), reached, published - tolerance, published + tolerance});
}

void Table::within(const std::string& system, const std::string& what, const std::string& published, double reached,
                   double least, double greatest, std::optional<double> median) {
  cells.push_back({system, what, published, reached, least, greatest, {}, median});
}

void Table::holds(const std::string& system, const std::string& what, const std::string& published, bool so,
                  const std::string& shown) {
  cells.push_back({system, what, published, so ? 1.0 : 0.0, 1, 1, shown});
}

std::string Table::markdown() const {
  std::string text =
      "# The systems of the source material\n\n"
      "Made by `./dev seeds`, which trains the programs of examples/ on the material's own data and fails where a "
      "figure leaves its bounds.\n\n"
      "Where a run is determined by its data, bounds are the published figure's last digit. Elsewhere the start, the "
      "order of the rows and the held-out tenth are\ndrawn by chance, and with them every figure; the published one is "
      "of a single draw. There the table has the median of twenty runs, of seeds 1 to 20 (of "
      "five\nfor the curve's polynomials and for deep nets), and bounds are the middle four fifths of independent "
      "runs, with their "
      "median. Those are made by "
      "`tests/reference/make_seeds.py`:\ntextbook formulas in NumPy, in float64, at the material's own "
      "hyper-parameters, twenty draws of each system (a hundred of XOR, twelve of king county). Where\nnot every run "
      "gets to the loss at which the material stops, the share of those that do is a row, within three deviations of "
      "the independent share, and the\nother figures are of those.\n\n"
      "## Systems\n\n| system | figure | published | reached | bounds |\n| --- | --- | --- | --- | --- |\n";
  for (const Cell& cell : cells) text += fmt::format("{} {} | {} |\n", start_of(cell), reached(cell), bounds(cell));
  text +=
      "\n## Pieces\n\nWorked numbers and equations: the `test` blocks of the examples (`nnc test examples/*/*.nn`), "
      "the right side of "
      "each expectation beside what\nits left side comes to. Of long rows the first values are shown.\n\n"
      "| test | expectation | published | reached | within |\n| --- | --- | --- | --- | --- |\n";
  for (const Piece& piece : pieces)
    text += fmt::format("{} {} | {} | {} |\n", start_of(piece), piece.published, piece.reached, piece.within);
  return text;
}

std::vector<std::string> Table::faults() const {
  std::vector<std::string> lines;
  for (const Cell& cell : cells)
    if (!cell.holds())
      lines.push_back(fmt::format("{}, {}: published {}, reached {}, bounds {}", cell.system, cell.what, cell.published,
                                  reached(cell), bounds(cell)));
  for (const Piece& piece : pieces)
    if (!piece.holds)
      lines.push_back(fmt::format("{}: `{}`: published {}, reached {}", piece.test, piece.condition, piece.published,
                                  piece.reached));
  return lines;
}

std::vector<std::string> Table::not_in(const std::string& document) const {
  std::vector<std::string> lines;
  const auto look = [&](const std::string& start) {
    if (document.find("\n" + start) == std::string::npos) lines.push_back(start);
  };
  for (const Cell& cell : cells) look(start_of(cell));
  for (const Piece& piece : pieces) look(start_of(piece));
  return lines;
}

}  // namespace nnc::seeds
