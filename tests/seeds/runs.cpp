#include "tests/seeds/runs.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "tests/seeds/order.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"

namespace nnc::seeds {

namespace fs = std::filesystem;
using nlohmann::json;
using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::text_lines;
using nnc::test::write_file;

namespace {

/// Files that examples name, and which of the material's they stand for.
const std::map<std::string, std::string> same_columns = {{"linear/servers.csv", "seeds/ch04_servers.csv"},
                                                         {"house/houses.csv", "seeds/ch05_house_price.csv"},
                                                         {"logistic/cities.csv", "seeds/ch06_chu_han.csv"},
                                                         {"softmax/kingdoms.csv", "seeds/ch07_three_kingdoms.csv"}};

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

/// The program with other lines in its data block.
std::string with_data(const std::string& program, const std::string& block, const std::string& lines) {
  const std::string head = "\ndata " + block + " {\n";
  const std::size_t begin = program.find(head);
  const std::size_t end = program.find("\n}", begin);
  if (begin == std::string::npos || end == std::string::npos) throw std::runtime_error("no data block " + block);
  return program.substr(0, begin) + head + lines + program.substr(end);
}

/// The program with other settings in a train block, each `name = value`; without those of an empty value.
std::string with_settings(const std::string& program, const std::string& block,
                          const std::map<std::string, std::string>& settings) {
  std::istringstream in(program);
  std::string text;
  bool inside = false, found = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("train "))
      inside = line.starts_with("train " + block + " on ") || line.ends_with(" as " + block + " {");
    const bool ends = inside && line == "}";
    if (ends)
      for (const auto& [name, value] : settings)
        if (!value.empty()) text += "  " + name + " = " + value + "\n";
    found |= inside;
    if (!inside || std::ranges::none_of(
                       settings, [&](const auto& setting) { return line.starts_with("  " + setting.first + " = "); }))
      text += line + "\n";
    if (ends) inside = false;
  }
  if (!found) throw std::runtime_error("no train block " + block);
  return text;
}

}  // namespace

Runs::Runs(fs::path data) : data_(data.empty() ? data : fs::absolute(data)), real_(scratch_.path() / "real") {
  fs::copy(NNC_SOURCE_DIR "/examples", scratch_.path() / "examples", fs::copy_options::recursive);
  if (data_.empty()) return;
  for (const auto& [example, file] : same_columns) {
    fs::create_directories((real_ / example).parent_path());
    fs::create_symlink(data_ / file, real_ / example);
  }
  for (const auto& folder : fs::directory_iterator(scratch_.path() / "examples"))
    fs::create_directories(real_ / folder.path().filename());
}

Run Runs::train(const std::string& example, const std::string& block, const TrainOptions& options) {
  const fs::path folder = fs::path("examples") / fs::path(example).parent_path();
  std::string program = read_file(scratch_.path() / "examples" / example);
  for (const auto& [name, lines] : options.data)
    program = with_data(program, name, replaced(lines, "DATA", data_.string()));
  for (const auto& [what, with] : options.replace) program = replaced(program, what, with);
  if (!options.settings.empty()) program = with_settings(program, block, options.settings);
  const std::string name = "run" + std::to_string(++number_);
  write_file(scratch_.path() / folder / (name + ".nn"), program);
  std::string arguments = "train " + (folder / (name + ".nn")).string() + " " + block + " --threads 1 --out " + name;
  if (options.data.empty() && options.real && has_data())
    arguments += " --data " + (real_ / fs::path(example).parent_path()).string();
  const auto trained = run_nnc(arguments + " " + options.more, scratch_.path());
  Run run;
  run.status = trained.status;
  run.messages = trained.err;
  run.folder = scratch_.path() / name;
  if (!fs::exists(run.folder / "run.json")) throw std::runtime_error(arguments + "\n" + trained.err);
  const json record = json::parse(read_file(run.folder / "run.json"));
  run.epoch = record.at("epoch");
  run.step = record.at("step");
  run.stopped = trained.err.find("stopped by `stop`") != std::string::npos;
  run.weights = nnc::test::read_weights(run.folder / "last.safetensors");
  if (run.status == 0) run.figures = evaluate(run);
  return run;
}

fs::path Runs::in_order(const std::string& file, std::uint32_t drawn, std::size_t count) {
  std::vector<std::string> rows = text_lines(read_file(data_ / file));
  const std::string head = rows.front();
  rows.erase(rows.begin());
  MaterialOrder order(drawn, rows.size());
  std::string text = head + "\n";
  for (std::size_t left = count; left > 0;)
    for (const std::size_t row : order.next())
      if (left > 0) text += rows[row] + "\n", --left;
  const fs::path ordered = scratch_.path() / ("rows" + std::to_string(++number_) + ".csv");
  write_file(ordered, text);
  return ordered;
}

std::map<std::string, json> Runs::evaluate(const Run& run) {
  std::map<std::string, json> figures;
  for (const json& line : json_lines(run_nnc("eval " + run.folder.string() + " --json", scratch_.path()).out))
    figures.emplace(line.at("split").get<std::string>(), line);
  return figures;
}

std::vector<std::string> Runs::predict(const Run& run, const std::string& rows) {
  write_file(scratch_.path() / "rows.csv", rows);
  const auto predicted = run_nnc("predict " + run.folder.string() + " --input rows.csv", scratch_.path());
  if (predicted.status != 0) throw std::runtime_error(predicted.err);
  std::vector<std::string> lines = text_lines(predicted.out);
  lines.erase(lines.begin());
  return lines;
}

std::optional<TestedFile> Runs::test(const std::string& example) {
  if (read_file(scratch_.path() / "examples" / example).find("\ntest \"") == std::string::npos) return std::nullopt;
  const auto tested = run_nnc("test examples/" + example + " --json", scratch_.path());
  return TestedFile{example, tested.status, json_lines(tested.out)};
}

double Runs::train_all(const std::string& example) {
  const auto seconds = [] {
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    const auto of = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
  };
  std::string arguments = "train examples/" + example + " --threads 1";
  // The pictures are no part of the examples.
  if (needs_pictures(example))
    arguments += " --data " + (data_ / (example.starts_with("fashion") ? "fashion-mnist" : "mnist")).string();
  const double before = seconds();
  const auto trained = run_nnc(arguments, scratch_.path());
  if (trained.status != 0 && trained.status != 3) throw std::runtime_error(arguments + "\n" + trained.err);
  return seconds() - before;
}

bool needs_pictures(const std::string& example) {
  return example.starts_with("mnist/") || example == "fashion/fashion.nn";
}

std::vector<std::string> all_examples() {
  std::vector<std::string> found;
  const fs::path folder = NNC_SOURCE_DIR "/examples";
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".nn") found.push_back(fs::relative(entry.path(), folder).string());
  std::sort(found.begin(), found.end());
  return found;
}

std::string held_out(const std::string& name, const std::string& seed) {
  return fmt::format(
      "  train, valid = split(csv(\"DATA/seeds/{}_train.csv\"), 0.9, 0.1, seed = {})\n  test = "
      "csv(\"DATA/seeds/{}_test.csv\")\n",
      name, seed.substr(seed.rfind(' ') + 1), name);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values.at((values.size() - 1) / 2) + values.at(values.size() / 2)) / 2;
}

std::vector<Run> several(bool quick, int count, const std::function<Run(const std::string& seed)>& run) {
  std::vector<Run> runs;
  for (int seed = 1; seed <= (quick ? 3 : count); ++seed) runs.push_back(run(" --seed " + std::to_string(seed)));
  return runs;
}

double median(const std::vector<Run>& runs, const std::function<double(const Run&)>& figure) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(figure(run));
  return median(std::move(values));
}

}  // namespace nnc::seeds
