// ./dev seeds: makes docs/seeds.md, and fails where a figure leaves its bounds.
//   seeds             everything, on the material's own data; writes docs/seeds.md
//   seeds --quick     what takes seconds; writes nothing, and docs/seeds.md must have each of its rows
// A row of docs/seeds.md that is not made any more is a fault: what is meant to go is taken out of the document first.
#include <fmt/format.h>

#include <string_view>

#include "tests/seeds/systems.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"

int main(int count, char** arguments) {
  using namespace nnc::seeds;
  const bool quick = count > 1 && std::string_view(arguments[1]) == "--quick";
  if (count > (quick ? 2 : 1)) {
    fmt::print(stderr, "seeds knows --quick alone, not {}\n", arguments[count - 1]);
    return 2;
  }
  const std::filesystem::path data = nnc::test::shared_data("the systems of docs/seeds.md on the material's data");
  if (data.empty() && !quick) return 1;
  Runs runs(data);
  Table table;
  if (runs.has_data())
    add_systems(table, runs, quick);
  else
    table.skipped.push_back("| ");
  add_own_systems(table, runs, quick);
  std::vector<TestedFile> tested;
  for (const std::string& example : all_examples())
    if (auto file = runs.test(example)) tested.push_back(std::move(*file));
  add_pieces(table, known_pieces(), tested);

  const std::filesystem::path document = NNC_SOURCE_DIR "/docs/seeds.md";
  const std::string before = nnc::test::read_file(document);
  int status = 0;
  const auto fault = [&](const std::string& line) { fmt::print(stderr, "{}\n", line), status = 1; };
  for (const std::string& line : table.faults()) fault(line);
  for (const std::string& row : table.lost_from(before)) fault("docs/seeds.md has a row that is gone: " + row);
  if (quick)
    for (const std::string& row : table.not_in(before))
      fault("docs/seeds.md has no row " + row + "; ./dev seeds writes it");
  else
    nnc::test::write_file(document, table.markdown());
  fmt::print("{} figures, {} worked numbers, {}\n", table.cells.size(), table.pieces.size(),
             status == 0 ? "all within their bounds" : "with faults");
  return status;
}
