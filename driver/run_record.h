// run.json: what a run directory remembers, so that it can be evaluated and used for prediction from anywhere.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "driver/session.h"
#include "runtime/checkpoint.h"
#include "runtime/data.h"
#include "runtime/train.h"

namespace nnc::driver {

inline constexpr const char* version = "0.1.0";

/// Of a run's folder.
inline constexpr const char* last_weights = "last.safetensors";
inline constexpr const char* best_weights = "best.safetensors";

inline constexpr int most_folds = 1'000'000;

/// The train blocks that the command was to train behind this one, and what it said for all of them. The first of them
/// has a record of those behind itself, so that each run answers for the next one alone. That one's folder is noted
/// before it has a record, and that it was begun behind that: whenever the process dies, one of the two is known.
struct Following {
  std::vector<std::string> blocks;
  std::optional<std::uint64_t> seed{};
  std::optional<std::int64_t> epochs{};
  std::optional<std::string> init{};  ///< absolute
  std::string in{};    ///< the folder of the first block, seen from that of this record; "" before it is made
  bool begun = false;  ///< that one has a record, or had one
};

struct RunRecord {
  std::string train_block;
  std::vector<std::string> models;
  std::string file;                                          ///< the source's path below model/
  std::string source_hash;                                   ///< SHA-256 of the source
  std::vector<std::pair<std::string, std::string>> imports;  ///< of each file that it imports: path below model/, hash
  std::string data_folder;  ///< absolute: where relative paths of sources are looked up
  std::vector<std::pair<std::string, std::string>> set;
  std::string dtype = "f32";
  std::uint64_t seed = 0;
  std::int64_t epochs = 0;
  bool best = false;
  bool log_steps = false;
  std::optional<CrossPart> fold;  ///< of a cross-validation
  ClassNames classes;
  ColumnNames columns{};                              ///< of ranges; none in a record of an earlier nnc
  std::map<std::string, std::int64_t> rows;           ///< of each split
  std::map<std::string, std::string> fingerprints{};  ///< of the columns of each split; none where nobody knows

  Following following{};

  std::string weights_file() const { return best ? best_weights : last_weights; }
};

/// Where the files of a program go below model/, in their order: as they lie to each other, so that what is imported by
/// a relative path is found there; below the root where something is imported by a path from the root.
std::vector<std::string> stored_paths(const Elaborated& block);

/// Absolute: where a new run's record says that relative paths of sources are looked up, `data` being --data.
std::string data_folder_of(const std::string& file, const std::optional<std::string>& data);

/// JSON is text: a path that a record would keep, and that is not UTF-8.
std::optional<Problem> path_not_utf8(const std::vector<std::string>& paths);

/// SplitColumns::fingerprint as run.json has it.
std::string fingerprint_text(const SplitColumns& columns);

/// The folder of a part of a cross-validation, from 0, below its own; how many parts there are in a folder, 0 where it
/// is none of a cross-validation.
std::string part_of(const std::string& folder, int index);
int parts_of(const std::string& folder);

/// The folder whose record says what comes behind a run or a cross-validation: of the latter that of its first part.
std::string holder_of(const std::string& run);
/// As seen from the working directory: the folder noted for the block behind, `holder` being that of `record`; "" where
/// there is none.
std::string next_run(const std::string& holder, const RunRecord& record);
/// Blocks behind that have not been begun.
bool waits(const std::string& holder, const RunRecord& record);
/// Notes in the record of `run` that what comes behind it is in the folder `next`, and has a record there if `begun`. A
/// run that was taken away since has nothing to note.
std::optional<Problem> hand_on(const std::string& run, const std::string& next, bool begun);

/// What is given for a run, and is none.
Problem no_run(const std::string& path);
/// What is about one run, and is given the folder of a cross-validation.
Problem no_single_run(const std::string& folder, int parts);

/// Of a run that keeps its best weights and has no file of them: a problem where its last weights, at `path`, know of
/// any. There are none before the first evaluation, or where the figure was never a number.
std::optional<Problem> lost_best(const std::string& path, const CheckpointRecord& last);

/// `outcome` is null while the run is under way.
std::string run_json(const RunRecord& record, const Compilation& compilation, const TrainOutcome* outcome);
Result<RunRecord> read_run(const std::string& folder);

/// "finished", "stopped by its rule", ...: how a run ended.
std::string describe(TrainOutcome::End end);
/// "after epoch 3, step 30"; where that epoch is not done "in epoch 3, after step 25".
std::string place_text(const Cursor& at, bool whole_epoch);

}  // namespace nnc::driver
