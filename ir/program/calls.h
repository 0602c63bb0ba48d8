// Elementary functions found again in a body, where they are some thirty instructions: so that a listing says exp(x).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "ir/scalar/program.h"

namespace nnc {

struct ScalarCall {
  std::string_view function;  ///< an op's name
  std::vector<ScalarId> arguments;
};

/// The elementwise op whose scalar program ends in that instruction, the longest where there are several.
std::optional<ScalarCall> call_at(const ScalarProgram& program, ScalarId id);

}  // namespace nnc
