#include "driver/options.h"

#include <fmt/format.h>

#include <filesystem>

namespace nnc::driver {

namespace fs = std::filesystem;

void ProgramOptions::add_to(CLI::App& app) {
  app.add_option("--set", set, "give a `const` another value; may stand several times")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  app.add_option("--dtype", dtype, "compute in f32 (as written) or f64")
      ->check(CLI::IsMember({"f32", "f64"}))
      ->type_name("f32|f64");
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
    options.overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return options;
}

void CompileFlags::add_to(CLI::App& app) {
  app.add_option("--threads", threads, "threads to run on (NNC_THREADS; else all that this process may use)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  app.add_option("--cpu", cpu, "compile for this processor: native, znver5, znver3, x86-64-v3, ...")->type_name("NAME");
  app.add_option("--codegen-level", level, "how long code generation may take")
      ->check(CLI::IsMember({"none", "less", "default", "aggressive"}))
      ->type_name("none|less|default|aggressive");
}

std::optional<Compilation> CompileFlags::compilation(const Console& console, bool to_run) const {
  Compilation made;
  TargetOrError target = cpu == "native" ? TargetOrError{detect_host(), ""} : target_named(cpu);
  if (!target.error.empty()) {
    console.error(target.error);
    return std::nullopt;
  }
  made.host = target.host;
  if (to_run && (made.host.target.cpu.empty() || !executes_here(made.host.target))) {
    console.error(cpu == "native" ? "nnc needs an x86-64 processor with AVX2 and FMA; this machine has none"
                                  : fmt::format("this machine cannot run code for `{}`", cpu));
    return std::nullopt;
  }
  made.level = level == "none"      ? CodegenLevel::none
               : level == "default" ? CodegenLevel::normal
               : level == "less"    ? CodegenLevel::less
                                    : CodegenLevel::aggressive;
  made.threads = threads ? *threads : console.environment_threads ? *console.environment_threads : available_threads();
  if (made.threads < 1) {
    console.error("NNC_THREADS must be a number from 1");
    return std::nullopt;
  }
  return made;
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

Exit exit_of(const Diagnostics& diagnostics) {
  if (!diagnostics.has_errors()) return Exit::done;
  for (const Diagnostic& diagnostic : diagnostics.all())
    if (diagnostic.code == Code::file_unreadable) return Exit::usage;
  return Exit::wrong;
}

std::vector<Elaborated> read_program(const std::string& path, const ElaborateOptions& options, const Console& console,
                                     Exit& status) {
  Diagnostics diagnostics;
  std::vector<Elaborated> blocks = elaborate_file(path, options, diagnostics);
  console.show(diagnostics);
  status = exit_of(diagnostics);
  return blocks;
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
