#include "driver/trained.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "runtime/checkpoint.h"
#include "runtime/file.h"
#include "runtime/run_directory.h"

namespace nnc::driver {

namespace fs = std::filesystem;

void TrainedFlags::add_to(CLI::App& command) {
  command.add_option("RUN", source, "a run directory, or a program with --weights")->required();
  command.add_option("MODEL", model, "a program's train block, where it has several");
  command.add_option("--weights", weights, "other weights than the run's best (where it keeps the best) or last")
      ->type_name("FILE");
  command.add_option("--data", data, "where the data are now")->type_name("DIR");
  program.add_to(command);
  compile.add_to(command);
  storage.add_to(command);
}

namespace {

/// A run's weights belong to the very text that they were trained with.
std::optional<Problem> check_source(const std::string& path, const std::string& recorded) {
  auto text = read_file(path);
  if (!text) return text.problem();
  std::string found = sha256({text->data(), text->size()});
  if (found == recorded) return std::nullopt;
  return Problem{.kind = Problem::Kind::data,
                 .message = "the run's program is not the one that it was trained with",
                 .place = {path, 0, 0},
                 .expected = fmt::format("SHA-256 {}, as run.json has it", recorded),
                 .found = fmt::format("SHA-256 {}", found),
                 .notes = {"help: put the original text back; another program can have the weights of a run by "
                           "`nnc eval PROGRAM --weights RUN/last.safetensors`"}};
}

/// The classes that a run remembers must be those that its program asks for.
std::optional<Problem> check_classes(const ClassNames& classes, const DataJob& job, const std::string& run) {
  for (const RawColumn& raw : job.raw) {
    if (!raw.classes) continue;
    const auto known = classes.find(raw.input);
    const bool there = known != classes.end() && !known->second.names.empty();
    const char* lacks = there && raw.missing.by == Missing::By::most_frequent && known->second.missing.empty()
                            ? "missing"
                        : there && raw.unknown.asked() && known->second.unknown.empty() ? "unknown"
                                                                                        : nullptr;
    if (lacks)
      return Problem{.kind = Problem::Kind::data,
                     .message = fmt::format("the record of the run lacks what stands for a value of `{}` that is {}",
                                            raw.input, lacks),
                     .place = {run + "/run.json", 0, 0},
                     .expected = fmt::format("`{}` with a name `{}`", lacks, raw.input),
                     .found = "no such key",
                     .notes = {}};
    if (there) continue;
    return Problem{.kind = Problem::Kind::data,
                   .message = fmt::format("the record of the run lacks the classes of `{}`", raw.input),
                   .place = {run + "/run.json", 0, 0},
                   .expected = fmt::format("`classes` with a list of names `{}`", raw.input),
                   .found = classes.contains(raw.input) ? "an empty list" : "no such key",
                   .notes = {}};
  }
  return std::nullopt;
}

/// The columns of ranges. A record of an earlier nnc has none, and none of a range that --set made.
void take_columns(const ColumnNames& columns, DataJob& job, const Console& console) {
  name_columns(job, columns);
  for (const RawColumn& raw : job.raw)
    if (raw.is_range() && raw.columns.empty())
      return console.note(
          fmt::format("note: the record of the run does not say which columns `{}` stands for: the data "
                      "that it was trained on are looked up for that",
                      range_text(raw)));
}

/// The batch that layouts are chosen for: data are not read for that.
std::int64_t step_rows(const TrainJob& job) {
  return job.batch_size > 0 ? std::min(job.batch_size, block_rows) : block_rows;
}

}  // namespace

Result<ProgramOrigin> origin_of_run(const std::string& run, const RunRecord& record) {
  const std::string folder = run + "/model/";
  if (auto problem = check_source(folder + record.file, record.source_hash)) return *problem;
  for (const auto& [path, hash] : record.imports)
    if (auto problem = check_source(folder + path, hash)) return *problem;
  ProgramOrigin origin{movable(folder + record.file), record.train_block, record.data_folder, {}};
  origin.options.import_root = movable(folder);
  origin.options.overrides = record.set;
  origin.options.double_precision = record.dtype == "f64";
  origin.options.train_block = record.train_block;
  return origin;
}

std::unique_ptr<Trained> Trained::open(const TrainedFlags& flags, const Console& console, Exit& status) {
  auto trained = std::make_unique<Trained>();
  status = Exit::usage;
  auto own = flags.program.elaborate_options(console, flags.model);
  auto compilation = flags.compile.compilation(console, flags.to_run);
  if (!own || !compilation) return nullptr;
  trained->compilation = *compilation;

  const bool is_folder = fs::is_directory(flags.source);
  ProgramOrigin origin{movable(flags.source), flags.model, "", *own};
  if (is_folder) {
    const auto fail = [&](const Problem& problem) {
      console.show(problem);
      status = exit_of(problem);
      return nullptr;
    };
    if (const int parts = parts_of(flags.source); parts > 0) return fail(no_single_run(flags.source, parts));
    if (!is_run(flags.source)) return fail(no_run(flags.source));
    auto record = read_run(flags.source);
    if (!record) return fail(record.problem());
    auto found = origin_of_run(flags.source, *record);
    if (!found) return fail(found.problem());
    origin = *found;
    trained->remember(flags.source, *record);
    if (flags.program.put_on(origin.options, *own)) trained->fingerprints.clear();
  } else if (!fs::exists(flags.source)) {
    Problem problem = no_run(flags.source);
    problem.message = fmt::format("there is no run and no program `{}`", flags.source);
    return console.show(problem), nullptr;
  } else if (auto problem = no_program(flags.source)) {
    problem->notes.insert(problem->notes.begin(), "help: a run is named here, the folder that `nnc train` made");
    console.show(*problem);
    return nullptr;
  } else if (!flags.weights && flags.needs_weights) {
    console.error(fmt::format("`{}` is a program: say with --weights which weights it has", flags.source));
    return nullptr;
  }
  if (flags.weights) trained->weights_path = *flags.weights;
  trained->own_weights = is_folder && !flags.weights;
  if (flags.data) origin.data_folder = *flags.data;
  origin.options.models = flags.models;

  Diagnostics diagnostics;
  std::vector<Elaborated> blocks = elaborate_file(origin.file, origin.options, diagnostics);
  if (diagnostics.has_errors() || !is_folder) console.show(diagnostics);
  status = exit_of(diagnostics);
  if (status != Exit::done) return nullptr;
  status = Exit::wrong;
  if (blocks.size() != 1) {
    console.error(blocks.empty() ? fmt::format("`{}` has no train block", origin.file)
                                 : fmt::format("`{}` has several train blocks: say which one, such as {}", origin.file,
                                               blocks[0].train.name));
    return nullptr;
  }
  trained->block = std::move(blocks[0]);
  trained->file = origin.file;
  trained->options = origin.options;
  trained->data = trained->block.data;
  auto problem = not_blockwise(trained->block);
  if (!problem && trained->classes) problem = check_classes(*trained->classes, trained->data, flags.source);
  if (problem) return console.show(*problem), nullptr;
  if (trained->columns) take_columns(*trained->columns, trained->data, console);
  if (!origin.data_folder.empty()) move_data(trained->data, origin.file, origin.data_folder);
  if (!is_folder) trained->seed = trained->block.train.seed;
  status = Exit::done;
  return trained;
}

void Trained::remember(const std::string& run, const RunRecord& record) {
  classes = record.classes;
  columns = record.columns;
  source_hash = record.source_hash;
  fold = record.fold;
  seed = record.seed;
  rows = record.rows;
  fingerprints = record.fingerprints;
  weights_path = run + "/" + record.weights_file();
  if (record.best && !fs::exists(weights_path)) best_is_absent = true, weights_path = run + "/" + last_weights;
}

Result<TensorFile> Trained::read_weights() const {
  auto tensors = read_safetensors(weights_path);
  if (!tensors || !own_weights) return tensors;
  auto record = record_of(*tensors, weights_path, source_hash);
  if (!record) return record.problem();
  if (best_is_absent)
    if (auto problem = lost_best(weights_path, *record)) return *problem;
  return tensors;
}

void tell_unknown(const RawData& data, const Console& console) {
  for (const UnknownClass& unknown : data.unknown())
    console.note(
        fmt::format("note: {} {} a value of column `{}` that is none of its classes, such as `{}`; `{}` stands for {}",
                    unknown.rows, unknown.rows == 1 ? "row has" : "rows have", unknown.column, unknown.first,
                    unknown.stands, unknown.rows == 1 ? "it" : "them"));
}

void Trained::compare_rows(const RawData& now, const Console& console) const {
  std::vector<std::string> changes;
  for (const auto& [split, count] : rows)
    if (const std::int64_t found = now.rows(split); found >= 0 && found != count)
      changes.push_back(fmt::format("`{}` has {} rows and had {}", split, found, count));
  if (changes.empty()) return;
  console.warning(
      fmt::format("the data have changed since the run: {}. Where splits are dealt from one source, they now "
                  "share rows with those it was trained on",
                  fmt::join(changes, ", ")));
}

void Trained::compare_columns(const SplitColumns& now, const Console& console) const {
  const auto then = fingerprints.find(now.name);
  const auto count = rows.find(now.name);
  if (then == fingerprints.end() || count == rows.end() || count->second != now.rows) return;
  if (fingerprint_text(now) != then->second)
    console.warning(
        fmt::format("the data have changed since the run: `{}` has as many rows, and other values", now.name));
}

Result<ProgramOrigin> program_or_run(const std::string& path, const ElaborateOptions& options,
                                     const ProgramOptions& given) {
  if (!is_run(path)) return ProgramOrigin{path, "", "", options};
  auto record = read_run(path);
  if (!record) return record.problem();
  auto origin = origin_of_run(path, *record);
  if (!origin) return origin;
  given.put_on(origin->options, options);
  return origin;
}

std::vector<Elaborated> read_program_or_run(const std::string& path, const ElaborateOptions& options,
                                            const ProgramOptions& given, const Console& console, Exit& status) {
  auto origin = program_or_run(path, options, given);
  if (origin) return read_program(origin->file, origin->options, console, status);
  console.show(origin.problem());
  status = exit_of(origin.problem());
  return {};
}

const std::vector<std::string>* Trained::classes_of(const ClassNames& known, const std::string& output) const {
  const std::vector<std::string>& outputs = block.train.outputs;
  const auto at = static_cast<std::size_t>(std::ranges::find(outputs, output) - outputs.begin());
  const auto names = known.find(block.train.classes_of_outputs.at(at));
  if (names == known.end()) return nullptr;
  const Node& picked = block.predict[block.predict.outputs.at(at).node];
  const Shape& from = block.predict[picked.operands[0]].type.shape;
  const Extent& values = from[static_cast<std::size_t>(std::get<Reduce>(picked.attributes).axes[0])];
  const bool fits = !values.batched && values.count == static_cast<std::int64_t>(names->second.names.size());
  return fits ? &names->second.names : nullptr;
}

std::optional<Problem> Trained::load() {
  session.emplace(block, compilation, step_rows(block.train));
  programs = session->programs();
  runner.emplace(compilation.threads);
  Entry any = session->entry(EntryKind::evaluate_finish, 0, 1);
  weights.emplace(*any.code);
  auto tensors = read_weights();
  if (!tensors) return tensors.problem();
  return restore(*tensors, weights_path, *weights, own_weights ? Surplus::refused : Surplus::ignored);
}

}  // namespace nnc::driver
