#include "driver/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "ir/nearest.h"
#include "passes/blockwise.h"
#include "passes/laws.h"
#include "passes/pipeline.h"

namespace nnc::driver {

namespace fs = std::filesystem;

void ProgramOptions::add_to(CLI::App& app, bool both) {
  app.add_option("--set", set, "give a `const` another value; may stand several times")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  std::vector<std::string> types{"f32", "f64"};
  if (both) types.emplace_back("both");
  const std::string help = "compute in f32 (as written) or f64";
  dtype_option = app.add_option("--dtype", dtype, both ? help + ", or once in each" : help)
                     ->check(CLI::IsMember(types))
                     ->type_name(fmt::format("{}", fmt::join(types, "|")));
}

std::optional<ElaborateOptions> ProgramOptions::elaborate_options(const Console& console,
                                                                  const std::string& train_block) const {
  ElaborateOptions options;
  options.double_precision = dtype == "f64";
  options.train_block = train_block;
  for (const std::string& text : set) {
    std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      console.error(fmt::format("--set takes NAME=VALUE, not `{}`", text));
      return std::nullopt;
    }
    if (text.find_first_not_of(" \t", equals + 1) == std::string::npos) {
      console.error(fmt::format("--set gives `{}` no value: it takes NAME=VALUE, such as `{}=0.1`",
                                text.substr(0, equals), text.substr(0, equals)));
      return std::nullopt;
    }
    options.overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return options;
}

bool ProgramOptions::put_on(ElaborateOptions& run, const ElaborateOptions& own) const {
  run.overrides.insert(run.overrides.end(), own.overrides.begin(), own.overrides.end());
  const bool other_type = gives_dtype() && run.double_precision != own.double_precision;
  if (other_type) run.double_precision = own.double_precision;
  return other_type || !own.overrides.empty();
}

void CompileFlags::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "threads to run on (NNC_THREADS; else all that this process may use)")
      ->check(whole_between(1, most_threads))
      ->type_name("N");
  app.add_option("--cpu", cpu, "compile for this processor: native, znver5, znver3, x86-64-v3, x86-64 (slow), ...")
      ->type_name("NAME");
  app.add_option("--codegen-level", level, "how long code generation may take")
      ->check(CLI::IsMember({"none", "less", "default", "aggressive"}))
      ->type_name("none|less|default|aggressive");
}

std::optional<Compilation> CompileFlags::compilation(const Console& console, bool to_run) const {
  Compilation made;
  TargetOrError target = target_named(cpu);
  if (!target.error.empty()) {
    console.error(target.error);
    return std::nullopt;
  }
  made.host = target.host;
  if (to_run && !executes_here(made.host.target)) {
    console.error(fmt::format("this machine cannot run code for `{}`", cpu));
    return std::nullopt;
  }
  made.level = level == "none"      ? CodegenLevel::none
               : level == "default" ? CodegenLevel::normal
               : level == "less"    ? CodegenLevel::less
                                    : CodegenLevel::aggressive;
  made.threads = threads ? *threads : available_threads();
  return made;
}

void StorageFlags::add_to(CLI::App& app) {
  app.add_option(
         "--stream-over", stream_over,
         "data files larger than this are streamed: their rows lie in files, without a name in TMPDIR where they are "
         "made, not in memory (default: 256)")
      ->check(whole_between(0, 1 << 30))
      ->type_name("MIB");
}

Storage StorageFlags::storage() const {
  Storage storage;
  storage.stream_over = static_cast<std::uint64_t>(stream_over) << 20;
  if (const auto folder = environment_variable("TMPDIR"); !folder.empty()) storage.folder = folder;
  return storage;
}

CLI::Validator whole_from_one() {
  return CLI::Validator(
      [](std::string& text) {
        bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        bool fits = digits && text.size() <= 18 && std::stoll(text) >= 1;
        return fits ? std::string() : fmt::format("expected a whole number from 1, found `{}`", text);
      },
      "");
}

namespace {

/// `kind` and the bounds stand in the help, as CLI11 writes them.
template <class T>
CLI::Validator between(T least, T most, std::string_view kind, std::string_view named) {
  return CLI::Validator(
      [=](std::string& text) {
        T value{};
        auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool read = fault == std::errc() && end == text.data() + text.size();
        if (read && least <= value && value <= most) return std::string();
        return fmt::format("expected {} from {} to {}, found `{}`", named, least, most, text);
      },
      fmt::format("{} in [{} - {}]", kind, least, most));
}

}  // namespace

CLI::Validator whole_between(std::int64_t least, std::int64_t most) {
  return between(least, most, "INT", "a whole number");
}

CLI::Validator number_between(double least, double most) { return between(least, most, "FLOAT", "a number"); }

CLI::Validator whole_of_64_bits() {
  return CLI::Validator(
      [](std::string& text) {
        std::uint64_t value = 0;
        auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (fault == std::errc() && end == text.data() + text.size()) return std::string();
        return fmt::format("expected a whole number from 0 to {}, found `{}`", UINT64_MAX, text);
      },
      "");
}

CLI::Validator law_name() {
  return CLI::Validator(
      [](std::string& text) {
        std::vector<std::string> names;
        for (auto laws : {stabilise_laws(), simplify_laws()})
          for (const Law& law : laws) names.emplace_back(law.name);
        if (std::find(names.begin(), names.end(), text) != names.end()) return std::string();
        return fmt::format("there is no law `{}`; there are {}{}", text, fmt::join(names, ", "),
                           or_did_you_mean(text, names));
      },
      "");
}

Exit exit_of(const Diagnostics& diagnostics) {
  if (!diagnostics.has_errors()) return Exit::done;
  for (const Diagnostic& diagnostic : diagnostics.all())
    if (diagnostic.code == Code::file_unreadable) return Exit::usage;
  return Exit::wrong;
}

std::optional<Problem> no_program(const std::string& path) {
  Problem problem{.kind = Problem::Kind::io, .message = {}, .place = {}, .expected = {}, .found = {}, .notes = {}};
  std::error_code ignored;
  if (fs::exists(path + "/run.json", ignored)) {
    problem.message = fmt::format("`{}` is a run, not a program", path);
    problem.notes = {fmt::format("help: its program is in {}; `nnc train --resume {}` goes on with it",
                                 shell_word(path + "/model"), shell_word(path))};
    return problem;
  }
  if (fs::is_directory(path, ignored)) {
    problem.message = fmt::format("`{}` is a folder, not a program", path);
    for (const auto& entry : fs::directory_iterator(path, ignored))
      if (entry.path().extension() == ".nn") problem.notes.push_back(entry.path().string());
    std::ranges::sort(problem.notes);
    if (problem.notes.size() > 1) problem.notes = {"help: say which of its programs is meant"};
    if (problem.notes.size() == 1 && problem.notes[0].ends_with(".nn"))
      problem.notes[0] = fmt::format("help: did you mean `{}`?", problem.notes[0]);
    if (problem.notes.empty()) problem.notes = {"help: the name of a program ends in .nn, and none is in it"};
    return problem;
  }
  const std::string kind = fs::path(path).extension().string();
  if (kind == ".nn" || !fs::exists(path, ignored)) return std::nullopt;
  if (kind.empty() && !fs::is_regular_file(path, ignored)) return std::nullopt;
  const std::string name = fs::path(path).filename().string();
  problem.kind = Problem::Kind::data;
  if (kind == ".csv" || kind == ".npy" || kind == ".npz" || name.ends_with(".csv.gz")) {
    problem.message = fmt::format("`{}` holds data, and this is for a program, which reads them", path);
    const std::string reader = kind == ".gz" ? "csv" : kind.substr(1);
    problem.notes = {
        fmt::format("help: in a program: `{}`; `nnc new` lists programs to begin with",
                    kind == ".npy" ? fmt::format("npy(x = \"{}\")", name) : fmt::format("{}(\"{}\")", reader, name))};
  } else if (kind == ".safetensors") {
    problem.message = fmt::format("`{}` holds weights, and this is for a program", path);
    problem.notes = {"help: `--weights FILE` and `--init FILE` stand beside a program; `nnc inspect` looks into it"};
  } else {
    problem.message = fmt::format("`{}` is no program: the name of a program ends in .nn", path);
    problem.notes = {"help: `nnc new` lists programs to begin with"};
  }
  return problem;
}

std::vector<Elaborated> read_program(const std::string& path, const ElaborateOptions& options, const Console& console,
                                     Exit& status) {
  if (auto problem = no_program(path))
    return console.show(*problem), status = exit_of(*problem), std::vector<Elaborated>();
  Diagnostics diagnostics;
  std::vector<Elaborated> blocks = elaborate_file(path, options, diagnostics);
  console.show(diagnostics);
  status = exit_of(diagnostics);
  for (const Elaborated& block : blocks)
    if (auto problem = not_blockwise(block)) console.show(*problem), status = std::max(status, Exit::wrong);
  return blocks;
}

std::optional<Problem> not_blockwise(const Elaborated& block) {
  auto fault = why_not_blockwise(optimise(block.evaluate));
  if (!fault) return std::nullopt;
  const bool is_loss = std::ranges::find(block.train.losses, fault->output) != block.train.losses.end();
  Problem problem{.kind = Problem::Kind::data,
                  .message = fmt::format(
                      "{} cannot be computed over a whole split",
                      is_loss ? fmt::format("the {}", fault->output) : fmt::format("the metric `{}`", fault->output)),
                  .place = block.train.place,
                  .expected = "sums, means or maxima over the rows",
                  .found = fmt::format("`{}`{}: {}", fault->op,
                                       fault->line ? fmt::format(" in line {}", fault->line) : "", fault->why),
                  .notes = {"note: a split is read in blocks of rows, from which only sums and maxima can be joined"}};
  return problem;
}

namespace {

/// `from` is relative, so what is absolute was written so.
std::string moved(const std::string& path, const fs::path& from, const std::string& to) {
  if (fs::path(path).is_absolute()) return path;
  fs::path written = from.empty() ? fs::path(path) : fs::path(path).lexically_relative(from);
  return (fs::path(to) / written).lexically_normal().string();
}

}  // namespace

std::string movable(const std::string& file) { return fs::proximate(file).string(); }

void move_data(DataJob& job, const std::string& file, const std::string& folder) {
  fs::path from = fs::path(file).parent_path().lexically_normal();
  for (Source& source : job.sources) {
    if (!source.path.empty()) source.path = moved(source.path, from, folder);
    for (auto& [name, path] : source.columns) path = moved(path, from, folder);
  }
}

}  // namespace nnc::driver
