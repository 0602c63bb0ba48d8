// What a training step takes, kernel by kernel, where it was trained: profile.json in the run's folder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "driver/session.h"

namespace nnc::driver {

struct KernelWork {
  std::string name;
  std::uint32_t line = 0;
  std::uint64_t flops = 0;       ///< all arithmetic (arithmetic_flops)
  std::uint64_t contracted = 0;  ///< of these those of contractions
  std::uint64_t bytes = 0;
  double nanoseconds = 0;  ///< the shortest of all steps that were timed
};

struct StepProfile {
  std::int64_t rows = 0, steps = 0;  ///< of a batch; that were timed
  std::string cpu;
  std::uint64_t params_bytes = 0, state_bytes = 0, arena_bytes = 0;
  std::vector<KernelWork> kernels;
};

/// Runs steps of `rows` rows, of initial weights and columns of random numbers, on one thread for about a fiftieth of a
/// second; the times of a kernel within a loop are added up. A step of very many kernels is not compiled again for
/// this: its `steps` are 0.
StepProfile profile_step(Session& session, const Compilation& compilation, std::int64_t rows);

/// Schema "nnc.profile.1".
/// In lines with so many blanks a level, or in one line where `indent` is -1.
std::string json_of(const StepProfile& profile, int indent = 1);
/// A line for each kernel, the longest first.
std::string text_of(const StepProfile& profile);
/// Nothing where it is no such record.
std::optional<StepProfile> profile_of(const nlohmann::ordered_json& json);

}  // namespace nnc::driver
