// nnc inspect: what is in a program, a run or a file of weights: parameters with their shapes and figures, the work and
// memory of a step, and, for one row of data, every value that the program names.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "driver/commands.h"
#include "driver/figures.h"
#include "driver/tensor.h"
#include "driver/trained.h"
#include "driver/units.h"
#include "passes/pipeline.h"
#include "runtime/checkpoint.h"
#include "runtime/metrics.h"
#include "runtime/names.h"
#include "runtime/run_directory.h"

namespace nnc::driver {

namespace {

struct InspectFlags {
  TrainedFlags trained;
  std::optional<std::int64_t> row;
  std::string split = "train";
};

/// Least, mean and greatest of the elements that are numbers, and how many are none.
struct Spread {
  double least = INFINITY, greatest = -INFINITY, sum = 0;
  std::int64_t numbers = 0, nans = 0, infinite = 0;
  void add(double value) {
    if (std::isnan(value)) return void(++nans);
    infinite += std::isinf(value);
    least = std::min(least, value), greatest = std::max(greatest, value);
    sum += value, ++numbers;
  }
  double mean() const { return numbers > 0 ? sum / static_cast<double>(numbers) : NAN; }
};

/// Rows of a table whose columns are as wide as what stands in them.
void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
}

std::string type_text(DType dtype, std::span<const std::int64_t> dims) {
  return fmt::format("{}[{}]", name_of(dtype), fmt::join(dims, ", "));
}

std::string brief_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : number_shown(value, DType::f64);
}

/// Few elements as they are, classes with their names; of many the least, the mean and the greatest.
template <class Array>
std::string values_text(const Array& array, const std::vector<std::string>* classes = nullptr) {
  constexpr std::int64_t few = 8;
  std::string text;
  if (array.count() <= few) {
    for (std::int64_t i = 0; i < array.count(); ++i) {
      const double value = array.at(i);
      text += (i == 0 ? "" : "  ") + brief_number(value);
      if (classes && value >= 0 && value < static_cast<double>(classes->size()))
        text += fmt::format(" {}", (*classes)[static_cast<std::size_t>(value)]);
    }
    return text;
  }
  Spread spread;
  for (std::int64_t i = 0; i < array.count(); ++i) spread.add(array.at(i));
  if (spread.numbers > 0)
    text = fmt::format("{} to {}, mean {}", brief_number(spread.least), brief_number(spread.greatest),
                       brief_number(spread.mean()));
  if (spread.nans > 0) text += fmt::format("{}{} NaN", text.empty() ? "" : "; ", spread.nans);
  return text;
}

template <class Array>
std::vector<std::string> cells_of(const std::string& name, const Array& array,
                                  const std::vector<std::string>* classes = nullptr) {
  return {name, type_text(array.dtype, array.dims), values_text(array, classes)};
}

std::vector<std::vector<std::string>> table_of_values() { return {{"name", "type", "values"}}; }

void show_tensors(const TensorFile& file) {
  std::vector<std::vector<std::string>> table = table_of_values();
  for (const NamedArray& tensor : file.tensors) table.push_back(cells_of(tensor.name, tensor.array));
  print_table(table);
}

Exit inspect_weights(const std::string& path, const Console& console) {
  auto file = read_safetensors(path);
  if (!file) return console.show(file.problem()), exit_of(file.problem());
  for (const auto& [key, value] : file->metadata)
    if (!value.empty()) fmt::print("{}: {}\n", key, value);
  fmt::print("\n");
  show_tensors(*file);
  return Exit::done;
}

// ---- a program: what a step takes

Exit inspect_program(const Elaborated& block, const Compilation& compilation) {
  constexpr std::int64_t rows_unless_told = 32;  // where the batch is the whole split, which is not read
  const std::int64_t rows = block.train.batch_size > 0 ? block.train.batch_size : rows_unless_told;
  std::vector<std::vector<std::string>> table{{"name", "type", "elements"}};
  std::int64_t parameters = 0;
  for (const bool states : {false, true})
    for (const Variable& variable : block.variables) {
      if (variable.is_state != states) continue;
      const std::int64_t elements = element_count(variable.type.shape).count;
      parameters += states ? 0 : elements;
      table.push_back(
          {(states ? "state " : "") + variable.path, to_string(variable.type), fmt::format("{}", elements)});
    }
  Session session(block, compilation, rows);
  const Entry step = session.entry(EntryKind::step, 0, rows);
  const nnc_entry& code = *step.code;
  std::uint64_t flops = 0, bytes = 0;
  for (std::uint32_t i = 0; i < code.kernel_count; ++i) flops += code.kernels[i].flops, bytes += code.kernels[i].bytes;
  fmt::print("{}: {} parameters\n", block.train.name, parameters);
  fmt::print("a step of {} {}: {} {}, {} in contractions, {} moved\n", rows, rows == 1 ? "row" : "rows",
             code.kernel_count, code.kernel_count == 1 ? "kernel" : "kernels",
             amount_text(static_cast<double>(flops), "FLOP"), bytes_text(bytes));
  fmt::print("memory: parameters {}, states {}, intermediate values {}\n\n", bytes_text(code.params_bytes),
             bytes_text(code.state_bytes), bytes_text(code.arena_bytes));
  print_table(table);
  return Exit::done;
}

// ---- one row: the graph that evaluates, with every named value handed out

Graph with_named_values(const Graph& graph) {
  Graph named = graph;
  named.outputs.clear();
  std::set<std::string> seen;
  for (NodeId id = 0; id < named.nodes.size(); ++id) {
    const std::string& name = named.nodes[id].origin.name;
    if (name.empty()) continue;
    std::string unique = name;
    for (int i = 2; !seen.insert(unique).second; ++i) unique = fmt::format("{}.{}", name, i);
    named.outputs.push_back({OutputKind::result, unique, id});
  }
  for (const Output& output : graph.outputs)
    if (seen.insert(output.name).second) named.outputs.push_back(output);
  return named;
}

/// The classes that a column of the data block has, or null.
const std::vector<std::string>* names_of_column(const Trained& trained, const std::string& name) {
  for (const Column& column : trained.data.columns)
    if (column.name == name && trained.classes && trained.classes->contains(column.classes_of))
      return &trained.classes->at(column.classes_of).names;
  return nullptr;
}

Exit inspect_row(Trained& trained, const InspectFlags& flags, const Console& console) {
  const auto fail = [&](const Problem& problem) { return console.show(problem), exit_of(problem); };
  if (auto problem = trained.load()) return fail(*problem);
  OpenOptions open;
  open.splits = {flags.split};
  if (trained.classes) open.classes = &*trained.classes;
  open.fold = trained.fold;
  open.storage = flags.trained.storage.storage();
  auto data = RawData::open(trained.data, open);
  if (!data) return fail(data.problem());
  trained.compare_rows(*data, console);
  const std::int64_t rows = data->rows(flags.split);
  if (rows < 0) return console.error(fmt::format("there is no split `{}`", flags.split)), Exit::usage;
  if (*flags.row > rows)
    return console.error(fmt::format("split `{}` has {} rows; there is no row {}", flags.split, rows, *flags.row)),
           Exit::usage;
  auto columns = data->feed(flags.split, EntryKind::feed, *trained.runner, trained.programs, *trained.weights, {}, {});
  if (!columns) return fail(columns.problem());
  trained.compare_columns(*columns, console);
  Environment environment;
  environment.seed = trained.seed;
  environment.scalars["rows"] = 1;
  for (const NamedArray& column : columns->part(*flags.row - 1, 1).columns)
    environment.inputs[column.name] = tensor_of(column.array);
  set_variables(*trained.weights, environment);
  const Graph graph = with_named_values(optimise(trained.block.evaluate));
  const auto values = evaluate(graph, environment, true);
  std::vector<std::vector<std::string>> table = table_of_values();
  for (const Output& output : graph.outputs)
    table.push_back(cells_of(output.name, values.at(output.name), names_of_column(trained, output.name)));
  const Graph predict = optimise(trained.block.predict);
  const auto predicted = evaluate(predict, environment, true);
  for (const Output& output : predict.outputs)
    table.push_back(cells_of("output " + output.name, predicted.at(output.name),
                             trained.classes ? trained.classes_of(*trained.classes, output.name) : nullptr));
  fmt::print("row {} of {}, with training = false\n\n", *flags.row, flags.split);
  print_table(table);
  return Exit::done;
}

// ---- a run

Exit inspect_run(Trained& trained, const std::string& folder, const Console& console) {
  auto record = read_run(folder);
  if (!record) return console.show(record.problem()), exit_of(record.problem());
  auto file = trained.read_weights();
  if (!file) return console.show(file.problem()), exit_of(file.problem());
  auto at = record_of(*file, trained.weights_path, record->source_hash);
  fmt::print("{}: the program {}/model/{}, data in {}\n", record->train_block, folder, record->file,
             record->data_folder);
  std::string rows;
  for (const auto& [split, count] : record->rows)
    rows += fmt::format("{}{} {}", rows.empty() ? "" : ", ", split, count);
  fmt::print("rows: {}; seed {}; {}\n", rows, record->seed, record->dtype);
  for (const auto& [name, value] : record->set) fmt::print("set: {} = {}\n", name, value);
  for (const Column& column : trained.data.columns)
    if (!column.classes_of.empty())
      fmt::print("classes of `{}`: {}\n", column.name, in_list(record->classes.at(column.classes_of).names));
  for (const RawColumn& raw : trained.data.raw)
    if (raw.is_range() && !raw.columns.empty())
      fmt::print("columns of `{}`: {}\n", raw.input.substr(raw.input.find('.') + 1), in_list(raw.columns, 12));
  const auto train = record->rows.find("train");
  const Batches batches(trained.block.train.batch_size, train == record->rows.end() ? 1 : train->second);
  if (at)
    fmt::print("{}: {}{}\n\n", trained.weights_path, place_text(at->state.at, at->state.at.batch == batches.count),
               at->state.best.value
                   ? fmt::format("; best {} in epoch {}", brief_number(*at->state.best.value), at->state.best.epoch)
                   : "");
  show_tensors(*file);
  return Exit::done;
}

Exit inspect(const InspectFlags& flags, const Console& console) {
  const std::string& path = flags.trained.source;
  if (path.ends_with(".safetensors")) return inspect_weights(path, console);
  const bool run = std::filesystem::is_directory(path);
  Exit status = Exit::done;
  if (run || flags.trained.weights) {
    auto trained = Trained::open(flags.trained, console, status);
    if (!trained) return status;
    return flags.row ? inspect_row(*trained, flags, console)
           : run     ? inspect_run(*trained, path, console)
                     : inspect_program(trained->block, trained->compilation);
  }
  if (flags.row) return console.error("--row looks into a run, or a program with --weights"), Exit::usage;
  auto options = flags.trained.program.elaborate_options(console, flags.trained.model);
  auto compilation = flags.trained.compile.compilation(console, true);
  if (!options || !compilation) return Exit::usage;
  const std::vector<Elaborated> blocks = read_program(path, *options, console, status);
  if (status != Exit::done) return status;
  if (blocks.empty()) return console.error(fmt::format("`{}` has no train block", path)), Exit::wrong;
  for (const Elaborated& block : blocks) status = std::max(status, inspect_program(block, *compilation));
  return status;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand(
      "inspect",
      "Shows what is in a program (parameters, work and memory of a step), a run or a file of weights (each tensor's "
      "shape and values: few as they are, of many the range and the mean), and with --row every named value and every "
      "output for one row of the data.");
  command->footer(
      "Examples:\n"
      "  nnc inspect linear.nn\n"
      "  nnc inspect runs/Linear-1\n"
      "  nnc inspect runs/Linear-1 --row 3 --split valid\n"
      "  nnc inspect runs/Linear-1/last.safetensors\n");
  flags->trained.add_to(*command);
  command->get_option("RUN")->description("a program, a run directory, or a .safetensors file");
  command->add_option("--row", flags->row, "every named value for this row of a split, counted from 1")
      ->check(whole_from_one())
      ->type_name("N");
  command->add_option("--split", flags->split, "of which split (default: train)")->type_name("NAME");
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return inspect(*flags, console); }; });
}

}  // namespace nnc::driver
