#include "tests/seeds/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

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

/// Rows of a system stand together, where its first one stands.
std::vector<Cell> by_system(const std::vector<Cell>& cells) {
  std::vector<std::string> systems;
  for (const Cell& cell : cells)
    if (std::ranges::find(systems, cell.system) == systems.end()) systems.push_back(cell.system);
  std::vector<Cell> sorted;
  for (const std::string& system : systems)
    std::ranges::copy_if(cells, std::back_inserter(sorted), [&](const Cell& cell) { return cell.system == system; });
  return sorted;
}

/// What identifies a row, and does not change from run to run.
std::string start_of(const Cell& cell) {
  return fmt::format("| {} | {} | {} |", cell.system, cell.what, cell.published);
}
std::string start_of(const Piece& piece) { return fmt::format("| {} | `{}` |", piece.test, piece.condition); }

constexpr std::string_view systems_head = "| system | figure | published | reached | bounds | published outside |\n",
                           pieces_head = "| test | expectation | published | reached | within |\n";

constexpr std::string_view preface = R"(# The systems of the source material

Made by `./dev seeds`, which trains the programs of examples/ on the material's own data. It fails where a figure leaves its bounds, where a row of this
document is not made any more, and where a published number lies outside the bounds and nothing is said of it.

"Published" is what the material prints, and nothing else; where it prints nothing there is a dash, and the bounds stand alone.

Where a run is determined by its data, bounds are the published figure's last digit, or the rounding of float32. Elsewhere the start, the order of the rows and the held-out tenth are
drawn by chance, and with them every figure; the published one is of a single draw. There the table has the median of twenty runs, of seeds 1 to 20 (of three
or more for the curve's polynomials and for deep nets), and bounds are the middle four fifths of independent runs, with their median. Those are made by
`tests/reference/make_seeds.py` and `make_seeds_deep.py`: textbook formulas in NumPy, in float64, at the material's own hyper-parameters, twenty draws of each
system (a hundred of XOR, thirty of the deep nets on MNIST, ten with the material's start; from five to twelve of what takes minutes; six orders of a gate's rows). A published number outside is
one draw as well: the last column says how far the independent runs reach, and what is known of the reason.

Where not every run gets to the loss at which the material stops, the share of those that do is a row, within three deviations of the independent share, and the other
figures are of those.

"With the material's start": its program draws weights with variance 2 / outputs, holds out the file's first twentieth, and takes batch normalisation's scale and shift along the
sum of a batch's gradients, which is 64 times as far as along their mean. It looks at the loss of the held-out rows every tenth epoch on the arcs and every hundredth on the curve.

A net that starts from zero leaves to chance the order of the rows alone, and the material's programs have only a hundred orders: each epoch seeds NumPy's generator anew,
with a number below 100 that the epoch before has left. `tests/reference/find_order.py` tries all and finds the one that a printed run took. "The material's run, row by
row" is nnc's training in that order, in float64: what is printed is reached to its last digit. Updates of single samples and mini-batches are held to 2, as the material looks
at its loss after every second one.

)";

}  // namespace

std::vector<double> numbers_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<double> numbers;
  for (std::string word; in >> word;) {
    std::size_t end = 0;
    try {
      numbers.push_back(std::stod(word, &end));
    } catch (const std::exception&) {
      return {};
    }
    if (end != word.size()) return {};
  }
  return numbers;
}

bool Cell::published_outside() const {
  const std::vector<double> numbers = numbers_of(published);
  return shown.empty() && numbers.size() == 1 && !(numbers[0] >= least && numbers[0] <= greatest);
}

void Table::near(const std::string& system, const std::string& what, double published, double reached,
                 double tolerance) {
  cells.push_back(
      {system, what, fmt::format("{:.15g}", published), reached, published - tolerance, published + tolerance});
}

Cell& Table::within(const std::string& system, const std::string& what, const std::string& published, double reached,
                    double least, double greatest, std::optional<double> median) {
  return cells.emplace_back(Cell{system, what, published, reached, least, greatest, {}, median});
}

void Table::holds(const std::string& system, const std::string& what, const std::string& published, bool so,
                  const std::string& shown) {
  cells.push_back({system, what, published, so ? 1.0 : 0.0, 1, 1, shown});
}

std::string Table::markdown() const {
  std::string text = fmt::format("{}## Systems\n\n{}| --- | --- | --- | --- | --- | --- |\n", preface, systems_head);
  for (const Cell& cell : by_system(cells))
    text += fmt::format("{} {} | {} | {} |\n", start_of(cell), reached(cell), bounds(cell),
                        cell.published_outside() ? cell.why : "");
  text +=
      "\n## Pieces\n\nWorked numbers and equations: the `test` blocks of the examples (`nnc test examples/*/*.nn`). "
      "\"Reached\" is the left side of each\nexpectation. Of long rows the first values are shown. That a mistake in "
      "shapes is a compile error no such block can hold: it is\nE0301 (`nnc explain E0301`), with its texts in "
      "tests/golden/errors.\n\n";
  text += fmt::format("{}| --- | --- | --- | --- | --- |\n", pieces_head);
  for (const Piece& piece : pieces)
    text += fmt::format("{} {} | {} | {} |\n", start_of(piece), piece.published, piece.reached, piece.within);
  return text;
}

std::vector<std::string> Table::faults() const {
  std::vector<std::string> lines = failures;
  for (const Cell& cell : cells) {
    const std::string row = fmt::format("{}, {}: published {}, reached {}, bounds {}", cell.system, cell.what,
                                        cell.published, reached(cell), bounds(cell));
    if (!cell.holds()) lines.push_back(row);
    if (cell.published_outside() && cell.why.empty())
      lines.push_back(row + ": the published number is outside, and nothing says why");
  }
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

std::vector<std::string> Table::lost_from(const std::string& document) const {
  std::vector<std::string> made = skipped, lines;
  for (const Cell& cell : cells) made.push_back(start_of(cell));
  for (const Piece& piece : pieces) made.push_back(start_of(piece));
  std::istringstream in(document);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("| ") || line.starts_with("| ---")) continue;
    if (line + "\n" == systems_head || line + "\n" == pieces_head) continue;
    if (std::ranges::none_of(made, [&](const std::string& start) { return line.starts_with(start); }))
      lines.push_back(line);
  }
  return lines;
}

}  // namespace nnc::seeds
