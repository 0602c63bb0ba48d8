// nnc train: trains each block of a file, or goes on with a run.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <utility>

#include "driver/commands.h"
#include "driver/trained.h"
#include "driver/training.h"
#include "runtime/file.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

/// Options that would make another run of the one that is to go on, which has all of that already.
std::optional<std::string> not_when_going_on(const TrainFlags& flags) {
  if (flags.seed) return "--seed";
  if (flags.init) return "--init";
  if (!flags.program.set.empty()) return "--set";
  if (flags.program.gives_dtype()) return "--dtype";
  if (!flags.model.empty()) return "MODEL";
  if (flags.cv) return "--cv";
  if (flags.out && *flags.out != *flags.resume) return "another --out";
  return std::nullopt;
}

Problem not_in_a_run(const std::string& option, const std::string& run) {
  return {
      .kind = Problem::Kind::io,
      .message = fmt::format("{} cannot change a run that goes on (--resume)", option),
      .place = {},
      .expected = {},
      .found = {},
      .notes = {fmt::format("help: without it the run goes on as it was begun; `nnc train PROGRAM --init {}` begins "
                            "another with its weights",
                            shell_word((std::filesystem::path(run) / last_weights).string()))}};
}

/// Where a program is named beside --resume, it must be the one of the run.
std::optional<Problem> check_program(const TrainFlags& flags, const RunRecord& record) {
  if (flags.file.empty()) return std::nullopt;
  auto text = read_file(flags.file);
  if (!text) return text.problem();
  if (sha256({text->data(), text->size()}) == record.source_hash) return std::nullopt;
  return Problem{
      .kind = Problem::Kind::data,
      .message = fmt::format("this is not the program of the run `{}`", *flags.resume),
      .place = {flags.file, 0, 0},
      .expected = fmt::format("the text of {}/model/{}", *flags.resume, record.file),
      .found = "another",
      .notes = {fmt::format("help: `nnc train --resume {}` goes on with the program as it was", *flags.resume)}};
}

/// Mean and deviation (of a sample) of each figure over the parts.
std::string summary(const std::string& train_block, const std::vector<SplitFigures>& parts, bool json) {
  std::string text =
      json ? fmt::format("{{\"schema\": \"nnc.cv.1\", \"train\": \"{}\", \"folds\": {}", train_block, parts.size())
           : fmt::format("valid, over {} parts:", parts.size());
  const char* comma = "";
  for (std::size_t i = 0; i < parts[0].figures.size(); ++i) {
    const NamedArray& figure = parts[0].figures[i];
    if (figure.array.count() != 1) continue;  // a matrix has no one mean
    double mean = 0, squares = 0;
    for (const SplitFigures& part : parts) mean += part.figures[i].array.at(0) / static_cast<double>(parts.size());
    for (const SplitFigures& part : parts) squares += std::pow(part.figures[i].array.at(0) - mean, 2);
    const double deviation = std::sqrt(squares / static_cast<double>(parts.size() - 1));
    if (json)
      text += fmt::format(", \"{}\": {{\"mean\": {}, \"deviation\": {}}}", figure.name, number_text(mean, DType::f64),
                          number_text(deviation, DType::f64));
    else
      text += fmt::format("{} {} {:.6g} ± {:.2g}", std::exchange(comma, ","), figure.name, mean, deviation);
  }
  return json ? text + "}" : text;
}

/// The figures that a part is judged by.
void add_valid(const Training& training, std::vector<SplitFigures>& parts) {
  for (const SplitFigures& figures : training.figures())
    if (figures.split == "valid") parts.push_back(figures);
}

/// What the command line said when the parts were begun.
TrainFlags as_begun(TrainFlags flags, const RunRecord& record) {
  flags.seed = record.seed;
  if (!flags.epochs) flags.epochs = record.epochs;
  if (!flags.data) flags.data = record.data_folder;
  for (const auto& [name, value] : record.set) flags.program.set.push_back(name + "=" + value);
  flags.program.dtype = record.dtype;
  flags.log_steps |= record.log_steps;
  return flags;
}

Exit train_blocks(const std::vector<Elaborated>& blocks, TrainFlags flags, const Compilation& compilation,
                  const Console& console);

std::string blocks_text(const std::vector<std::string>& blocks, const char* one, const char* more) {
  return fmt::format("train block{} {} {}", blocks.size() == 1 ? "" : "s", fmt::join(blocks, ", "),
                     blocks.size() == 1 ? one : more);
}

/// Of train blocks that were to be trained and will not be: `run` is the one that says they come behind it, "" where
/// there is none. One that was interrupted has said how to go on, and one that diverged does not go on.
void tell_not_begun(const std::vector<std::string>& blocks, const std::string& run, Exit status,
                    const Console& console) {
  if (blocks.empty()) return;
  std::string how;
  if (static_cast<int>(status) > 128)
    how = "; the command above goes on with the one that was stopped, and begins what comes behind it";
  else if (status != Exit::diverged && !run.empty())
    how = fmt::format("; {}`nnc train --resume {}` begins {}", status == Exit::done ? "" : "with that put right, ",
                      shell_word(run), blocks.size() == 1 ? "it" : "them");
  console.note("note: " + blocks_text(blocks, "was not begun", "were not begun") + how);
}

/// Where the blocks behind a run are that have been begun: each run says where the next one is.
void tell_begun(std::string run, RunRecord record, const Console& console) {
  for (std::string holder = holder_of(run); !record.following.blocks.empty(); holder = holder_of(run)) {
    const std::vector<std::string> blocks = record.following.blocks;
    if (waits(holder, record)) return tell_not_begun(blocks, run, Exit::done, console);
    run = next_run(holder, record);
    console.note(
        fmt::format("note: train block {} was begun in {}; `nnc train --resume {}` goes on with it if it was stopped",
                    blocks.front(), run, shell_word(run)));
    auto next = read_run(holder_of(run));
    if (!next || next->following.blocks.size() >= blocks.size()) return;  // taken away since, or another
    record = std::move(*next);
  }
}

/// Trains what was to be trained behind a run that is done now, as the command said that began it, or says where it is.
Exit train_following(const std::string& run, const RunRecord& record, TrainFlags flags, const Compilation& compilation,
                     const Console& console) {
  const std::string holder = holder_of(run);
  const std::vector<std::string>& names = record.following.blocks;
  if (!waits(holder, record)) return tell_begun(run, record, console), Exit::done;
  if (!flags.dry_run)
    console.note("note: " +
                 blocks_text(names, "was not begun before, and follows now", "were not begun before, and follow now"));
  auto origin = origin_of_run(holder, record);
  if (!origin) return console.show(origin.problem()), exit_of(origin.problem());
  flags = as_begun(std::move(flags), record);
  flags.resume = flags.out = std::nullopt;
  if (const std::string made = next_run(holder, record); !made.empty()) flags.out = made;  // and left without a record
  flags.behind = run;
  flags.file = origin->file;
  flags.seed = record.following.seed;
  flags.epochs = record.following.epochs;
  flags.init = record.following.init;
  if (record.fold) flags.cv = record.fold->of;
  Exit status = Exit::done;
  std::vector<Elaborated> blocks;
  for (const std::string& name : names) {
    origin->options.train_block = name;
    for (Elaborated& block : read_program(origin->file, origin->options, console, status))
      blocks.push_back(std::move(block));
    if (status != Exit::done) return tell_not_begun(names, run, status, console), status;
  }
  return train_blocks(blocks, std::move(flags), compilation, console);
}

/// A cross-validation goes on: parts that were begun go on, those that were not are begun as the first one was.
Exit resume_parts(TrainFlags flags, const Compilation& compilation, const Console& console) {
  const auto fail = [&](const Problem& problem) { return console.show(problem), exit_of(problem); };
  const std::string folder = *flags.resume;
  auto record = read_run(part_of(folder, 0));
  if (!record) return fail(record.problem());
  if (!record->fold)
    return console.error(fmt::format("`{}/part-1` is no part of a cross-validation", folder)), Exit::wrong;
  auto origin = origin_of_run(part_of(folder, 0), *record);
  if (!origin) return fail(origin.problem());
  flags.file = origin->file;
  Exit status = Exit::done;
  const std::vector<Elaborated> blocks = read_program(origin->file, origin->options, console, status);
  if (status != Exit::done) return status;
  const TrainFlags as_new = as_begun(flags, *record);
  std::vector<SplitFigures> parts;
  const std::vector<std::string>& following = record->following.blocks;
  for (int index = 0; index < record->fold->of; ++index) {
    const std::string path = part_of(folder, index);
    console.note(fmt::format("part {} of {}", index + 1, record->fold->of));
    std::optional<StoppedRun> stopped;
    TrainFlags own = is_run(path) ? flags : as_new;
    own.resume = own.out = path;
    if (is_run(path)) {
      auto opened = StoppedRun::open(path);
      if (!opened) return fail(opened.problem());
      stopped.emplace(std::move(*opened));
    }
    Training training(blocks.at(0), own, compilation, console, stopped ? &*stopped : nullptr);
    if (!stopped) training.set_fold(index, record->fold->of);
    const Exit result = training.run();
    if (result != Exit::done) {
      if (waits(part_of(folder, 0), *record)) tell_not_begun(following, folder, result, console);
      return result;
    }
    add_valid(training, parts);
  }
  fmt::print("{}\n", summary(record->train_block, parts, flags.json));
  return train_following(folder, *record, flags, compilation, console);
}

/// The folder of the parts.
std::string cross_validation_of(const std::string& part) {
  std::filesystem::path path = std::filesystem::path(part).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // it ended with a slash
  return path.has_parent_path() ? path.parent_path().string() : (path / "..").lexically_normal().string();
}

Exit resume(TrainFlags flags, const Console& console) {
  const auto fail = [&](const Problem& problem) { return console.show(problem), exit_of(problem); };
  if (auto option = not_when_going_on(flags)) return console.show(not_in_a_run(*option, *flags.resume)), Exit::usage;
  auto compilation = flags.compile.compilation(console, true);
  if (!compilation) return Exit::usage;
  watch_signals();
  if (parts_of(*flags.resume) > 0) return resume_parts(std::move(flags), *compilation, console);
  if (!is_run(*flags.resume)) return fail(no_run(*flags.resume));
  auto stopped = StoppedRun::open(*flags.resume);
  if (!stopped) return fail(stopped.problem());
  if (auto problem = check_program(flags, stopped->record)) return fail(*problem);
  auto origin = origin_of_run(*flags.resume, stopped->record);
  if (!origin) return fail(origin.problem());
  flags.file = origin->file;
  Exit status = Exit::done;
  std::vector<Elaborated> blocks = read_program(origin->file, origin->options, console, status);
  if (status != Exit::done) return status;
  const RunRecord record = stopped->record;
  status = Training(blocks.at(0), flags, *compilation, console, &*stopped).run();
  if (record.fold || status != Exit::done) {  // what follows is behind all parts
    const std::string run = record.fold ? cross_validation_of(*flags.resume) : *flags.resume;
    if (waits(*flags.resume, record)) tell_not_begun(record.following.blocks, run, status, console);
    return status;
  }
  return train_following(*flags.resume, record, flags, *compilation, console);
}

/// How a train block ended, and the folder that was made for it, "" where there is none.
struct BlockEnd {
  Exit status;
  std::string run;
};

/// Each part is a run of its own below one folder, which `eval`, `predict` and `--resume` take like any other.
BlockEnd cross_validate(const Elaborated& block, TrainFlags flags, const Compilation& compilation,
                        const Console& console) {
  const auto fail = [&](const Problem& problem) { return console.show(problem), BlockEnd{exit_of(problem), ""}; };
  auto folder = flags.dry_run ? Result<std::string>(std::string()) : make_run_folder(block.train.name, flags.out);
  if (!folder) return fail(folder.problem());
  if (!flags.dry_run && !flags.behind.empty())
    if (auto problem = hand_on(flags.behind, *folder, false)) return fail(*problem);
  std::vector<SplitFigures> parts;
  for (int index = 0; index < *flags.cv; ++index) {
    console.note(fmt::format("part {} of {}", index + 1, *flags.cv));
    flags.out = part_of(*folder, index);
    Training training(block, flags, compilation, console, nullptr);
    training.set_fold(index, *flags.cv);
    const Exit result = training.run();
    if (result != Exit::done) return {result, *folder};
    add_valid(training, parts);
    flags.following.clear(), flags.behind.clear();  // the first part answers for what comes behind all of them
  }
  if (!flags.dry_run) fmt::print("{}\n", summary(block.train.name, parts, flags.json));
  return {Exit::done, *folder};
}

BlockEnd train_block(const Elaborated& block, const TrainFlags& flags, const Compilation& compilation,
                     const Console& console) {
  if (flags.cv) return cross_validate(block, flags, compilation, console);
  Training training(block, flags, compilation, console, nullptr);
  const Exit status = training.run();
  return {status, training.path()};
}

/// One behind the other, up to one that is not done.
Exit train_blocks(const std::vector<Elaborated>& blocks, TrainFlags flags, const Compilation& compilation,
                  const Console& console) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    flags.following.clear();
    for (std::size_t behind = i + 1; behind < blocks.size(); ++behind)
      flags.following.push_back(blocks[behind].train.name);
    const BlockEnd end = train_block(blocks[i], flags, compilation, console);
    const bool begun = !end.run.empty() && is_run(holder_of(end.run));
    if (end.status != Exit::done && !begun && !flags.behind.empty())
      flags.following.insert(flags.following.begin(), blocks[i].train.name);
    if (end.status != Exit::done)
      return tell_not_begun(flags.following, begun ? end.run : flags.behind, end.status, console), end.status;
    flags.behind = end.run, flags.out = std::nullopt;
  }
  return Exit::done;
}

Exit train_file(TrainFlags flags, const Console& console) {
  if (flags.resume) return resume(std::move(flags), console);
  if (flags.file.empty()) return console.error("say which program, or which run to go on with: --resume"), Exit::usage;
  auto options = flags.program.elaborate_options(console, flags.model);
  auto compilation = flags.compile.compilation(console, true);
  if (!options || !compilation) return Exit::usage;
  if (flags.data) flags.file = movable(flags.file);
  Exit status = Exit::done;
  std::vector<Elaborated> blocks = read_program(flags.file, *options, console, status);
  if (status != Exit::done) return status;
  if (blocks.empty()) return console.error(fmt::format("`{}` has no train block", flags.file)), Exit::wrong;
  if (!flags.dry_run) {
    std::vector<std::string> kept = stored_paths(blocks.front());
    kept.push_back(data_folder_of(flags.file, flags.data));
    if (flags.init && blocks.size() > 1) kept.push_back(std::filesystem::absolute(*flags.init).string());
    if (auto problem = path_not_utf8(kept)) return console.show(*problem), exit_of(*problem);
  }
  if (blocks.size() > 1 && flags.out) return console.error("--out is for one train block: say which one"), Exit::usage;
  watch_signals();
  return train_blocks(blocks, std::move(flags), *compilation, console);
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = app.add_subcommand("train",
                                         "Trains and leaves a run directory (runs/NAME-N) with weights, metrics and "
                                         "all it takes to evaluate and predict.");
  command->footer(
      "Examples:\n"
      "  nnc train linear.nn\n"
      "  nnc train mlp.nn --set hidden=64 --epochs 20 --seed 2 --out run2\n"
      "  nnc train mlp.nn --init runs/Mlp-1/last.safetensors --epochs 5\n"
      "  nnc train mlp.nn --cv 5                 mean and deviation of the figures over five parts\n"
      "  nnc train --resume runs/Mlp-1           go on where the run, or the cross-validation, was stopped\n");
  command->add_option("FILE", flags->file, "the program");
  command->add_option("MODEL", flags->model,
                      "one train block: its `as` name or its model (default: all, in file order)");
  command->add_option("--out", flags->out, "the run directory")->type_name("DIR");
  command->add_option("--data", flags->data, "where the data are (default: beside the program)")->type_name("DIR");
  command
      ->add_option("--resume", flags->resume,
                   "go on with this run, as if it had not been stopped: same bits; with --epochs, for longer")
      ->type_name("DIR");
  command->add_option("--init", flags->init, "start from the parameters of this safetensors or NPZ file, by path")
      ->type_name("FILE");
  command->add_option("--epochs", flags->epochs, "instead of the program's `epochs`")
      ->check(whole_from_one())
      ->type_name("N");
  command->add_option("--max-steps", flags->max_steps, "stop after so many steps, those of this command")
      ->check(whole_from_one())
      ->type_name("N");
  command->add_option("--seed", flags->seed, "instead of the program's `seed`")
      ->check(whole_of_64_bits())
      ->type_name("N");
  command
      ->add_option("--cv", flags->cv,
                   "cross-validation: deal the rows of `train` and `valid` out in K parts and validate on each in turn")
      ->check(whole_between(2, most_folds))
      ->type_name("K");
  command->add_option("--save-every", flags->save_every, "least time between two checkpoints (default: 2)")
      ->check(number_between(0, 1e9))
      ->type_name("SECONDS");
  command->add_flag("--dry-run", flags->dry_run, "read the data, compile, say what would be trained, and stop");
  command->add_flag("--log-steps", flags->log_steps, "a line in metrics.jsonl for every step too");
  command->add_flag("--profile", flags->profile, "at the end, what a step takes, kernel by kernel");
  command->add_flag("--json", flags->json, "epochs and results as JSON lines on stdout");
  flags->program.add_to(*command);
  flags->compile.add_to(*command);
  flags->storage.add_to(*command);
  command->callback(
      [flags, &action] { action = [flags](const Console& console) { return train_file(*flags, console); }; });
}

}  // namespace nnc::driver
