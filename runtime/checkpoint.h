// Weights with the record of where training stood, as a safetensors file: parameters, fitted state and averages of
// parameters ("average/PATH") under their paths, optimizer state under "state/PATH", the cursor, the figures that rules
// have seen and the key of the random numbers as metadata. Logical order throughout, so that a file says nothing of the
// machine that wrote it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/safetensors.h"
#include "runtime/train.h"
#include "runtime/weights.h"

namespace nnc {

/// What a checkpoint says beside the weights.
struct CheckpointRecord {
  TrainState state;
  std::uint64_t seed = 0;
  std::string source_hash;      ///< of the program's text
  std::uint64_t log_bytes = 0;  ///< of metrics.jsonl that belong to it
};

TensorFile checkpoint_of(const Weights& weights, const CheckpointRecord& record);

/// The record of a checkpoint; a problem where the file is none, or another program's.
Result<CheckpointRecord> record_of(const TensorFile& file, const std::string& path, const std::string& source_hash);

/// What a file may hold that the program does not have.
enum class Surplus : std::uint8_t { ignored, refused };

/// Every parameter and state from a checkpoint of the same model; a missing one, one of another shape, and one that is
/// no longer a float, an integer or a boolean (f32 and f64 convert) is a problem.
std::optional<Problem> restore(const TensorFile& file, const std::string& path, Weights& weights,
                               Surplus surplus = Surplus::ignored);

/// Named arrays of a safetensors or an NPZ file, told apart by their first bytes. In an NPZ every integer type that is
/// at most as wide becomes i32, and i64 becomes f64.
Result<TensorFile> read_tensors(const std::string& path);

/// Parameters and the states of layers by path from any such file, element types converted; everything else
/// keeps its value (fitted states are learnt from this run's data), and averages start from the parameters. `notes`
/// gets what only one side has. Another shape, or no match at all, is a problem.
std::optional<Problem> initialise(const TensorFile& file, const std::string& path, Weights& weights,
                                  std::vector<std::string>& notes);

}  // namespace nnc
