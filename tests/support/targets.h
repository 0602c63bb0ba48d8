// What compiled tests run on.
#pragma once

#include <vector>

#include "codegen/compile.h"

namespace nnc::test {

/// What this processor executes: its own instructions first, then those of the general levels; the last one has no
/// fused multiplication and addition.
inline const std::vector<Target>& targets() {
  static const std::vector<Target> all = [] {
    std::vector<Target> found{detect_host().target};
    for (const char* name : {"x86-64-v4", "x86-64-v3", "x86-64"})
      if (const TargetOrError named = target_named(name); executes_here(named.host.target))
        found.push_back(named.host.target);
    return found;
  }();
  return all;
}

}  // namespace nnc::test
