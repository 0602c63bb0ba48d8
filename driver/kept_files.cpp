#include "driver/kept_files.h"

#include <fmt/format.h>

#include "driver/run_record.h"

namespace nnc::driver {

namespace fs = std::filesystem;

std::vector<KeptFile> kept_files(const std::string& program_or_run) {
  std::error_code unknown;
  if (!fs::is_directory(program_or_run, unknown)) return {{program_or_run, "the program"}};
  std::vector<KeptFile> kept;
  for (const char* file : {last_weights, best_weights, "run.json", "metrics.jsonl", "profile.json"})
    kept.emplace_back(fs::path(program_or_run) / file, "a file of the run");
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(program_or_run) / "model", unknown))
    kept.emplace_back(entry.path(), "a file of the run");
  return kept;
}

std::vector<KeptFile> kept_files(const DataJob& data) {
  std::vector<KeptFile> kept;
  for (const Source& source : data.sources) {
    if (!source.path.empty()) kept.emplace_back(source.path, "data that the program trains on");
    for (const auto& [column, path] : source.columns) kept.emplace_back(path, "data that the program trains on");
  }
  return kept;
}

std::optional<Problem> replaces(const std::string& output, const std::string& option,
                                const std::vector<KeptFile>& kept) {
  std::error_code unknown;
  if (output == "-" || !fs::is_regular_file(output, unknown)) return std::nullopt;
  for (const auto& [path, what] : kept)
    if (fs::equivalent(path, output, unknown))
      return Problem{.kind = Problem::Kind::io,
                     .message = fmt::format("{} is {}, which would be lost", option, what),
                     .place = {output, 0, 0},
                     .expected = {},
                     .found = {},
                     .notes = {"help: write to another file"}};
  return std::nullopt;
}

}  // namespace nnc::driver
