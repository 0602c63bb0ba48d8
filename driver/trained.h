// A model with its weights, ready to evaluate or predict: from a run directory, or from a program and a file of
// weights.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "driver/options.h"
#include "driver/run_record.h"
#include "runtime/result.h"
#include "runtime/safetensors.h"

namespace nnc::driver {

struct TrainedFlags {
  std::string source;  ///< a run directory or a program
  std::string model;   ///< a program's train block, where it has several
  std::optional<std::string> weights, data;
  ProgramOptions program;
  CompileFlags compile;
  StorageFlags storage;
  bool to_run = true;         ///< the code must be of this machine
  bool models = false;        ///< block.models is wanted
  bool needs_weights = true;  ///< a program is refused without --weights

  void add_to(CLI::App& command);
};

/// What to elaborate, and against which folder the data are looked up.
struct ProgramOrigin {
  std::string file, train_block, data_folder;
  ElaborateOptions options;
};

/// The program of a run, whose text must be the one that it was trained with.
Result<ProgramOrigin> origin_of_run(const std::string& run, const RunRecord& record);

/// A program as it is, or that of a run with what the run has set; `options`, which `given` came to, go on top.
Result<ProgramOrigin> program_or_run(const std::string& path, const ElaborateOptions& options,
                                     const ProgramOptions& given);
/// Its train blocks, as `read_program` gives them.
std::vector<Elaborated> read_program_or_run(const std::string& path, const ElaborateOptions& options,
                                            const ProgramOptions& given, const Console& console, Exit& status);

/// Says which values are no classes and which class stands for them.
void tell_unknown(const RawData& data, const Console& console);

/// Everything that eval and predict share. Errors have been shown where it is null; `status` says which kind.
struct Trained {
  Elaborated block;
  std::string file;  ///< what `block` was elaborated from, and how
  ElaborateOptions options;
  DataJob data;  ///< with paths resolved
  Compilation compilation;
  std::optional<ClassNames> classes;   ///< a run's
  std::optional<ColumnNames> columns;  ///< a run's
  std::string source_hash;             ///< a run's
  std::optional<CrossPart> fold;       ///< a run's
  std::uint64_t seed = 0;
  std::map<std::string, std::int64_t> rows;  ///< of each split; a run's
  std::map<std::string, std::string>
      fingerprints;             ///< of its columns; where the program is the run's, with its settings
  std::string weights_path;     ///< empty: there are none
  bool own_weights = false;     ///< the run's, which fit its program exactly
  bool best_is_absent = false;  ///< of a run that keeps its best weights; `weights_path` are its last ones

  std::optional<Session> session;
  Programs programs;
  std::optional<Runner> runner;
  std::optional<Weights> weights;

  static std::unique_ptr<Trained> open(const TrainedFlags& flags, const Console& console, Exit& status);
  /// The file of weights; a run's own must be a checkpoint of its program.
  Result<TensorFile> read_weights() const;
  /// Compiles nothing yet but chooses layouts, then reads the weights.
  std::optional<Problem> load();
  /// The names of the classes that an output picks from, as the program says, where it has as many; else null.
  const std::vector<std::string>* classes_of(const ClassNames& known, const std::string& output) const;
  /// Warns where splits that are open have other numbers of rows than the run had: then rows were dealt out anew, and a
  /// split may hold what another was trained on.
  void compare_rows(const RawData& now, const Console& console) const;
  /// Warns where a split has as many rows as then, and others.
  void compare_columns(const SplitColumns& now, const Console& console) const;

 private:
  void remember(const std::string& run, const RunRecord& record);
};

}  // namespace nnc::driver
