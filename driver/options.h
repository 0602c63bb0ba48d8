// Options that several sub-commands share, and what they come to.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "driver/console.h"
#include "driver/session.h"
#include "frontend/elaborate.h"
#include "runtime/row_store.h"

namespace nnc::driver {

/// --set, --dtype: how the program is read.
struct ProgramOptions {
  std::vector<std::string> set;  ///< NAME=EXPRESSION
  std::string dtype = "f32";
  const CLI::Option* dtype_option = nullptr;

  /// With `both`, --dtype takes that word too, and `dtype` may be it.
  void add_to(CLI::App& app, bool both = false);
  /// Nothing, with a message shown, where a --set has no `=`.
  std::optional<ElaborateOptions> elaborate_options(const Console& console, const std::string& train_block) const;
  bool gives_dtype() const { return dtype_option != nullptr && dtype_option->count() > 0; }
  /// Puts `own`, which these options came to, on top of what a run remembers. Whether that changes anything.
  bool put_on(ElaborateOptions& run, const ElaborateOptions& own) const;
};

/// --threads, --cpu, --codegen-level: how it is compiled.
struct CompileFlags {
  std::optional<int> threads;
  std::string cpu = "native";
  std::string level = "less";

  void add_to(CLI::App& app);
  /// Nothing, with a message shown, for an unknown CPU, and, where `to_run`, for one whose code cannot run here.
  std::optional<Compilation> compilation(const Console& console, bool to_run) const;
};

/// --stream-over: where rows of data lie.
struct StorageFlags {
  std::int64_t stream_over = 256;  ///< MiB

  void add_to(CLI::App& app);
  /// Rows that are streamed lie in the folder that TMPDIR names.
  Storage storage() const;
};

/// For options that count something.
CLI::Validator whole_from_one();
/// A number within bounds, both of which are allowed; of whole ones no other is.
CLI::Validator whole_between(std::int64_t least, std::int64_t most);
CLI::Validator number_between(double least, double most);
/// For seeds.
CLI::Validator whole_of_64_bits();
/// For laws to leave out, by name.
CLI::Validator law_name();

/// What is given for a program and is a run, a folder, data or another file: what was meant.
std::optional<Problem> no_program(const std::string& path);
/// The train blocks of a file, with all diagnostics shown. `status` is done, or says what kind of error there was.
std::vector<Elaborated> read_program(const std::string& path, const ElaborateOptions& options, const Console& console,
                                     Exit& status);
/// A loss or a metric that cannot be computed over a whole split block by block.
std::optional<Problem> not_blockwise(const Elaborated& block);
/// What a command ends with that got these diagnostics.
Exit exit_of(const Diagnostics& diagnostics);

/// The path by which a file must be elaborated for `move_data`: relative to the working directory, so that paths which
/// the program gives from the root can be told from others.
std::string movable(const std::string& file);

/// Resolves the sources of a data block that was elaborated from `file` (movable) against another folder. Paths that
/// the program gives from the root stay as they are.
void move_data(DataJob& job, const std::string& file, const std::string& folder);

}  // namespace nnc::driver
