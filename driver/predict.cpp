// nnc predict: the outputs of a trained model for rows of a file.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>

#include "driver/commands.h"
#include "driver/kept_files.h"
#include "driver/trained.h"
#include "runtime/file.h"
#include "runtime/metrics.h"
#include "runtime/npy.h"
#include "runtime/unpacked.h"
#include "runtime/zip.h"

namespace nnc::driver {

namespace {

struct PredictFlags {
  TrainedFlags trained;
  std::string input, output = "-", format;
};

enum class Format : std::uint8_t { csv, jsonl, npy, npz };

bool ends_with_any(const std::string& text, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return text.ends_with(ending); });
}

/// What a file holds, by its first bytes, unpacked where it is a gzip file: those of NPY, of a zip archive, two zero
/// bytes of IDX; a CSV file begins with none of these.
Source::Kind kind_of(const std::string& path) {
  if (path == "-") return Source::Kind::csv;
  const std::string head = first_unpacked(path, 6);
  if (head == "\x93NUMPY") return Source::Kind::npy;
  if (head.starts_with("PK\x03\x04")) return Source::Kind::npz;
  return head.starts_with(std::string_view("\0\0", 2)) ? Source::Kind::idx : Source::Kind::csv;
}

/// gzip around NPY or NPZ, which have their own way to pack.
bool is_packed_array(const Source& source) {
  if (source.kind != Source::Kind::npy && source.kind != Source::Kind::npz) return false;
  std::array<char, gzip_mark.size()> head{};
  std::ifstream(source.path, std::ios::binary).read(head.data(), head.size());
  return std::string_view(head.data(), head.size()) == gzip_mark;
}

/// An array has no names: it gives the columns in the order in which the data block reads them, each once.
void columns_in_order(DataJob& job, const std::vector<std::string>& needed, Source& source) {
  for (RawColumn& raw : job.raw) {
    if (std::find(needed.begin(), needed.end(), raw.input) == needed.end()) continue;
    const std::int64_t values = element_count(raw.type.shape).count;
    if (needed.size() == 1 && raw.is_range())
      raw.columns = {fmt::format("{} values", values)};  // it is the whole array
    for (const std::string& column : raw.columns) {
      const auto known = std::find_if(source.columns.begin(), source.columns.end(),
                                      [&](const auto& other) { return other.first == column; });
      if (known != source.columns.end()) continue;
      source.columns.emplace_back(column, source.path);
      source.widths.push_back(values / static_cast<std::int64_t>(raw.columns.size()));
    }
  }
  if (source.kind == Source::Kind::idx) source.widths.clear();
}

/// Whether a file of rows is read by the names of its columns, and some of them only the training data name.
bool lacks_names(const DataJob& job, const std::vector<std::string>& needed, Source::Kind kind) {
  const bool is_one_array = (kind == Source::Kind::npy || kind == Source::Kind::idx) && needed.size() == 1;
  return !is_one_array && std::ranges::any_of(job.raw, [&](const RawColumn& raw) {
    return raw.is_range() && raw.columns.empty() && std::ranges::find(needed, raw.input) != needed.end();
  });
}

/// The data block with the input file as its one source and its one split. Columns that a record does not name are
/// looked up in the training data.
Result<DataJob> job_for_input(const Trained& trained, const std::string& input, const Storage& storage) {
  DataJob job = trained.data;
  Source source;
  std::vector<std::string> needed = trained.session->predict_inputs();
  // Columns that are made would be made again, whatever the file says.
  if (needed.empty())
    return Problem{
        .kind = Problem::Kind::data,
        .message = fmt::format("the rows of `{}` are made by the program, so there is no column to read", job.name),
        .place = {input, 0, 0},
        .expected = {},
        .found = {},
        .notes = {
            "help: predict reads the columns that a data block takes from a file, as in `x: f32[1] = cols(\"x\")`"}};
  source.kind = kind_of(input);
  source.path = input;
  if (is_packed_array(source))
    return Problem{
        .kind = Problem::Kind::data,
        .message = fmt::format("this is an {} file that is packed", source.kind == Source::Kind::npy ? "NPY" : "NPZ"),
        .place = {input, 0, 0},
        .expected = "a CSV or IDX file where it is packed",
        .found = {},
        .notes = {"help: unpack it: `gzip -d`"}};
  if (lacks_names(job, needed, source.kind)) {
    auto names = RawData::read_column_names(job, storage);
    if (!names) return names.problem();
    name_columns(job, *names);
  }
  if (has_arrays(source.kind) && source.kind != Source::Kind::npz) columns_in_order(job, needed, source);
  if (source.kind == Source::Kind::idx && source.columns.size() != 1)
    return Problem{.kind = Problem::Kind::data,
                   .message = fmt::format("an IDX file gives one column, the model reads {}", source.columns.size()),
                   .place = {input, 0, 0},
                   .expected = "a CSV or NPZ file with the columns by name, or an NPY file with all of them",
                   .found = {},
                   .notes = {}};
  source.place = {input, 0, 0};
  Split split;
  split.name = "input";
  job.sources = {source};
  job.splits = {split};
  job.fit = {};
  return job;
}

struct LabelledOutput {
  NamedArray values;
  const std::vector<std::string>* classes = nullptr;
  std::int64_t width() const { return checked_product(std::span(values.array.dims).subspan(1)); }
};

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

/// One element: its class, or the shortest decimal that reads back ("nan" and "inf" as words).
std::string element_text(const LabelledOutput& output, std::int64_t at, bool json) {
  double value = output.values.array.at(at);
  if (output.classes) {
    const std::string& name = (*output.classes)[static_cast<std::size_t>(value)];
    return json ? nlohmann::json(name).dump() : csv_cell(name);
  }
  std::string text = number_text(value, output.values.array.dtype);
  return json ? text : number_shown(value, output.values.array.dtype);
}

std::string csv_header(const std::vector<LabelledOutput>& outputs) {
  std::vector<std::string> names;
  for (const LabelledOutput& output : outputs) {
    if (output.values.array.dims.size() == 1 || output.width() == 1)
      names.push_back(csv_cell(output.values.name));
    else
      for (std::int64_t i = 0; i < output.width(); ++i)
        names.push_back(csv_cell(fmt::format("{}.{}", output.values.name, i)));
  }
  return fmt::format("{}\n", fmt::join(names, ","));
}

std::string csv_rows(const std::vector<LabelledOutput>& outputs, std::int64_t rows) {
  std::string text;
  for (std::int64_t row = 0; row < rows; ++row) {
    const char* comma = "";
    for (const LabelledOutput& output : outputs) {
      for (std::int64_t i = 0; i < output.width(); ++i, comma = ",") {
        text += comma;
        text += element_text(output, row * output.width() + i, false);
      }
    }
    text += '\n';
  }
  return text;
}

std::string as_jsonl(const std::vector<LabelledOutput>& outputs, std::int64_t rows) {
  std::string text;
  for (std::int64_t row = 0; row < rows; ++row) {
    text += '{';
    const char* comma = "";
    for (const LabelledOutput& output : outputs) {
      std::string value = output.classes ? element_text(output, row, true) : json_row_text(output.values.array, row);
      text += fmt::format("{}\"{}\": {}", comma, output.values.name, value);
      comma = ", ";
    }
    text += "}\n";
  }
  return text;
}

/// Outputs of all rows as arrays; classes as their numbers.
std::string as_arrays(const std::vector<LabelledOutput>& outputs, Format format) {
  if (format == Format::npy) return npy_text(outputs.at(0).values.array);
  std::vector<ZipMember> members;
  for (const LabelledOutput& output : outputs)
    members.push_back({output.values.name + ".npy", npy_text(output.values.array)});
  return zip_text(members);
}

/// By --format, else by the output's name, else csv.
Format format_of(const PredictFlags& flags) {
  if (flags.format == "npy" || (flags.format.empty() && flags.output.ends_with(".npy"))) return Format::npy;
  if (flags.format == "jsonl" || (flags.format.empty() && ends_with_any(flags.output, {".jsonl", ".json"})))
    return Format::jsonl;
  if (flags.format == "npz" || (flags.format.empty() && flags.output.ends_with(".npz"))) return Format::npz;
  return Format::csv;
}

/// What the output's name ends in says how it is written; an ending that says something else is refused.
std::optional<Problem> unknown_ending(const PredictFlags& flags) {
  const std::string ending = std::filesystem::path(flags.output).extension().string();
  constexpr std::array<std::string_view, 6> known = {"", ".csv", ".jsonl", ".json", ".npy", ".npz"};
  if (!flags.format.empty() || flags.output.starts_with("/dev/") || std::ranges::find(known, ending) != known.end())
    return std::nullopt;
  return Problem{.kind = Problem::Kind::io,
                 .message = fmt::format("predict does not write `{}` files", ending),
                 .place = {},
                 .expected = {},
                 .found = {},
                 .notes = {"help: name a .csv, .jsonl, .npy or .npz file, or say what it is with --format"}};
}

/// Rows are data, whatever their file is called but this.
std::optional<Problem> program_as_rows(const std::string& input) {
  if (!input.ends_with(".nn")) return std::nullopt;
  return Problem{.kind = Problem::Kind::data,
                 .message = fmt::format("`{}` is a program, and --input is for rows", input),
                 .place = {},
                 .expected = {},
                 .found = {},
                 .notes = {"help: give a CSV, NPY, NPZ or IDX file, or `-` for CSV on standard input"}};
}

bool is_stdin(const std::string& path) {
  struct stat piped{}, named{};
  return ::fstat(STDIN_FILENO, &piped) == 0 && ::stat(path.c_str(), &named) == 0 && piped.st_dev == named.st_dev &&
         piped.st_ino == named.st_ino;
}

/// What the answers would replace: the rows that were asked about, the program, its weights, a file of the run.
std::optional<Problem> replaces_what_is_read(const PredictFlags& flags) {
  std::vector<KeptFile> kept = kept_files(flags.trained.source);
  if (flags.trained.weights) kept.emplace_back(*flags.trained.weights, "the file of the weights");
  if (flags.trained.data) kept.emplace_back(*flags.trained.data, "the data of --data");
  const char* rows = "the file that --input reads";
  if (flags.input != "-")
    kept.emplace_back(flags.input, rows);
  else if (is_stdin(flags.output))
    kept.emplace_back(flags.output, rows);
  std::error_code unknown;
  if (std::filesystem::is_directory(flags.trained.source, unknown))
    kept.emplace_back(std::filesystem::path(flags.trained.source) / "report.html", "a file of the run");
  return replaces(flags.output, "--output", kept);
}

/// Why outputs cannot be written as arrays, or nothing.
std::optional<Problem> not_as_arrays(const std::vector<std::string>& outputs, Format format,
                                     const PredictFlags& flags) {
  Problem problem{.kind = Problem::Kind::io,
                  .message = {},
                  .place = {},
                  .expected = {},
                  .found = {},
                  .notes = {"help: name a .csv, .jsonl or .npz file"}};
  if (format == Format::npy && outputs.size() != 1)
    problem.message =
        fmt::format("an NPY file holds one array, the program has the outputs {}", fmt::join(outputs, ", "));
  else if (flags.output == "-" && ::isatty(STDOUT_FILENO) == 1)
    problem.message = "an array is not for a terminal: say where it goes with --output";
  else
    return std::nullopt;
  return problem;
}

/// Takes the answers block by block: lines are written as they come, arrays when all rows are there.
class AnswerSink : public RowSink {
 public:
  AnswerSink(const Trained& trained, const ClassNames& classes, const PredictFlags& flags, Format format,
             std::int64_t rows)
      : trained_(trained), classes_(classes), format_(format), rows_(rows), to_(flags.output) {}

  void place(const nnc_entry& entry, std::int64_t first, std::int64_t count, std::span<void*> outputs) override {
    first_ = first;
    const bool lines = as_lines();
    if (lines || first == 0) make(entry, lines ? count : rows_);
    for (const nnc_slot& slot : outputs_of(entry)) {
      const auto named = [&](const LabelledOutput& output) { return output.values.name == slot.name; };
      outputs[slot.offset] = std::ranges::find_if(outputs_, named)->values.array.row(lines ? 0 : first);
    }
  }

  std::optional<Problem> done(std::int64_t count) override {
    count_no_numbers(count);
    if (!as_lines()) return std::nullopt;
    if (first_ == 0 && format_ == Format::csv)
      if (auto problem = to_.write(csv_header(outputs_))) return problem;
    return to_.write(format_ == Format::csv ? csv_rows(outputs_, count) : as_jsonl(outputs_, count));
  }

  /// After the last row.
  std::optional<Problem> end() {
    if (!as_lines())
      if (auto problem = to_.write(as_arrays(outputs_, format_))) return problem;
    return to_.end();
  }

  /// Of a file without rows.
  std::optional<Problem> end_without_rows(std::vector<LabelledOutput> outputs) {
    outputs_ = std::move(outputs);
    if (as_lines())
      if (auto problem = to_.write(format_ == Format::csv ? csv_header(outputs_) : "")) return problem;
    return end();
  }

  /// Answers that are no numbers: mostly of rows that are far from those of training.
  void warn_of_no_numbers(const Console& console) const {
    for (const auto& [name, strange] : strange_)
      console.warning(fmt::format("`{}` is no finite number in {} place{}, first in row {} of the input", name,
                                  strange.places, strange.places == 1 ? "" : "s", strange.row + 1));
  }

 private:
  struct Strange {
    std::int64_t places = 0, row = 0;  ///< the first of them
  };

  bool as_lines() const { return format_ == Format::csv || format_ == Format::jsonl; }

  void make(const nnc_entry& entry, std::int64_t rows) {
    outputs_.clear();
    for (const nnc_slot& slot : outputs_of(entry)) {
      std::vector<std::int64_t> dims(slot.dims, slot.dims + slot.rank);
      dims[0] = rows;
      outputs_.push_back(
          {{slot.name, DenseArray(dtype_of(slot), dims)}, trained_.classes_of(classes_, std::string(slot.name))});
    }
  }

  void count_no_numbers(std::int64_t count) {
    for (const LabelledOutput& output : outputs_) {
      const DenseArray& array = output.values.array;
      if (!is_float(array.dtype)) continue;
      const std::int64_t begin = as_lines() ? 0 : first_ * output.width();
      for (std::int64_t i = 0; i < count * output.width(); ++i) {
        if (std::isfinite(array.at(begin + i))) continue;
        Strange& strange = strange_[output.values.name];
        if (strange.places++ == 0) strange.row = first_ + i / output.width();
      }
    }
  }

  const Trained& trained_;
  const ClassNames& classes_;
  Format format_;
  std::int64_t rows_, first_ = 0;
  TextOutput to_;
  std::vector<LabelledOutput> outputs_;  ///< of the block, or of all rows
  std::map<std::string, Strange> strange_;
};

/// The outputs of a file that has a header and nothing else.
std::vector<LabelledOutput> no_rows(const Graph& predict) {
  std::vector<LabelledOutput> outputs;
  for (const Output& output : predict.outputs) {
    const Type& type = predict[output.node].type;
    std::vector<std::int64_t> dims{0};
    for (std::size_t axis = 1; axis < type.shape.size(); ++axis) dims.push_back(type.shape[axis].count);
    outputs.push_back({{output.name, DenseArray(type.dtype, dims)}});
  }
  return outputs;
}

Exit predict_rows(Trained& trained, const PredictFlags& flags, Format format, const Console& console) {
  auto fail = [&](const Problem& problem) { return console.show(problem), exit_of(problem); };
  auto job = job_for_input(trained, flags.input, flags.trained.storage.storage());
  if (!job) return fail(job.problem());
  // An output can only be labelled by classes that are known: a program alone learns them from its own data again.
  ClassNames classes;
  if (trained.classes) {
    classes = *trained.classes;
  } else if (std::any_of(trained.data.raw.begin(), trained.data.raw.end(),
                         [](const RawColumn& raw) { return raw.classes; })) {
    auto own = RawData::open(
        trained.data,
        {.splits = trained.data.fit, .inputs = {}, .classes = nullptr, .storage = flags.trained.storage.storage()});
    if (!own) return fail(own.problem());
    classes = own->classes();
  }
  auto data = RawData::open(*job, {.splits = {},
                                   .inputs = trained.session->predict_inputs(),
                                   .classes = &classes,
                                   .storage = flags.trained.storage.storage(),
                                   .may_be_empty = true});
  if (!data) return fail(data.problem());
  tell_unknown(*data, console);
  AnswerSink sink(trained, classes, flags, format, data->rows("input"));
  if (data->rows("input") == 0) {
    console.note(
        fmt::format("note: {} has no rows", flags.input == "-" ? "standard input" : fmt::format("`{}`", flags.input)));
    if (auto problem = sink.end_without_rows(no_rows(trained.block.predict))) return fail(*problem);
    return Exit::done;
  }
  if (auto problem = data->check(trained.session->input_checks())) return fail(*problem);
  auto columns = data->feed("input", EntryKind::predict_feed, *trained.runner, trained.programs, *trained.weights,
                            trained.session->column_checks(), trained.session->inputs_of_columns());
  if (!columns) return fail(columns.problem());
  ColumnFeeder feeder(*columns);
  if (auto problem =
          map_rows(*trained.runner, trained.programs, EntryKind::predict, *trained.weights, feeder, trained.seed, sink))
    return fail(*problem);
  sink.warn_of_no_numbers(console);
  if (auto problem = sink.end()) return fail(*problem);
  return Exit::done;
}

Exit predict(const PredictFlags& flags, const Console& console) {
  const Format format = format_of(flags);
  if (auto problem = unknown_ending(flags)) return console.show(*problem), exit_of(*problem);
  if (flags.input != "-")
    if (auto problem = unreadable(flags.input)) return console.show(*problem), exit_of(*problem);
  if (auto problem = program_as_rows(flags.input)) return console.show(*problem), exit_of(*problem);
  if (auto problem = replaces_what_is_read(flags)) return console.show(*problem), exit_of(*problem);
  Exit status = Exit::done;
  auto trained = Trained::open(flags.trained, console, status);
  if (!trained) return status;
  if (auto problem = replaces(flags.output, "--output", kept_files(trained->data)))
    return console.show(*problem), exit_of(*problem);
  if (trained->block.predict.outputs.empty()) {
    console.error(fmt::format("train block `{}` has no `output`: predict writes those", trained->block.train.name));
    return Exit::wrong;
  }
  if (format == Format::npy || format == Format::npz)
    if (auto problem = not_as_arrays(trained->block.train.outputs, format, flags))
      return console.show(*problem), exit_of(*problem);
  if (auto problem = trained->load()) return console.show(*problem), exit_of(*problem);
  return predict_rows(*trained, flags, format, console);
}

}  // namespace

void add_predict(CLI::App& app, Action& action) {
  auto flags = std::make_shared<PredictFlags>();
  CLI::App* command = app.add_subcommand("predict",
                                         "Writes the train block's outputs for each row of a file. Columns are found "
                                         "by name, in any order; the target may be absent.");
  command->footer(
      "Examples:\n"
      "  nnc predict runs/Mlp-1 --input mlp.csv\n"
      "  nnc predict runs/Mlp-1 --input mlp.csv --output kinds.npy\n"
      "  nnc predict runs/Mlp-1 --input - --format jsonl < mlp.csv\n");
  flags->trained.add_to(*command);
  command
      ->add_option("--input", flags->input,
                   "a CSV file (also .gz; - for stdin) or an NPZ file with the columns by name, an NPY file with all "
                   "of them side by "
                   "side, or an IDX file (also .gz) for a model that reads one column")
      ->required()
      ->type_name("FILE");
  command->add_option("--output", flags->output, "where to write (default: stdout)")->type_name("FILE");
  command->add_option("--format", flags->format, "default: by the output's name, else csv")
      ->check(CLI::IsMember({"csv", "jsonl", "npy", "npz"}))
      ->type_name("FORMAT");
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return predict(*flags, console); }; });
}

}  // namespace nnc::driver
