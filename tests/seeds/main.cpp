// ./dev seeds: makes docs/seeds.md, and fails where a figure leaves its bounds.
//   seeds             everything, on the material's own data; writes docs/seeds.md
//   seeds --quick     what takes seconds; writes nothing, and docs/seeds.md must have each of its rows
#include <fmt/format.h>

#include <string_view>

#include "tests/seeds/systems.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"

int main(int count, char** arguments) {
  using namespace nnc::seeds;
  const bool quick = count > 1 && std::string_view(arguments[1]) == "--quick";
  const std::filesystem::path data = nnc::test::shared_data("the systems of docs/seeds.md on the material's data");
  if (data.empty() && !quick) return 1;
  Runs runs(data);
  Table table;
  if (runs.has_data()) add_systems(table, runs, quick);
  add_own_systems(table, runs, quick);
  add_pieces(table, runs);
  int status = 0;
  for (const std::string& line : table.faults()) fmt::print(stderr, "{}\n", line), status = 1;
  const std::filesystem::path document = NNC_SOURCE_DIR "/docs/seeds.md";
  if (!quick) {
    nnc::test::write_file(document, table.markdown());
  } else {
    for (const std::string& row : table.not_in(nnc::test::read_file(document)))
      fmt::print(stderr, "docs/seeds.md has no row {}; ./dev seeds writes it\n", row), status = 1;
  }
  fmt::print("{} figures, {} worked numbers, {}\n", table.cells.size(), table.pieces.size(),
             status == 0 ? "all within their bounds" : "with faults");
  return status;
}
