// The innermost loops of contractions, read from assembly text: what a step of k executes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

namespace nnc::test {

struct InnerLoop {
  int fma = 0, vector_loads = 0, broadcasts = 0, stack = 0, calls = 0, fetches = 0;
  bool operator==(const InnerLoop&) const = default;
};

inline bool has(const std::string& line, const std::string& part) { return line.find(part) != std::string::npos; }

/// Blocks of assembly that end in a jump to their own beginning and contain an fma.
inline std::vector<InnerLoop> innermost_loops(const std::string& assembly) {
  std::vector<InnerLoop> loops;
  std::istringstream text(assembly);
  std::string line, label;
  InnerLoop now;
  while (std::getline(text, line)) {
    if (line.starts_with(".L") && has(line, ":")) {
      label = line.substr(0, line.find(':'));
      now = {};
      continue;
    }
    const std::string code = line.substr(0, line.find('#'));
    const bool memory = has(code, "(");
    if (has(code, "vfmadd")) {
      ++now.fma;
      if (memory) ++(has(code, "{1to") ? now.broadcasts : now.vector_loads);
    } else if (has(code, "vbroadcast") && memory) {
      ++now.broadcasts;
    } else if ((has(code, "vmov") || has(code, "vmaskmov")) && memory) {
      ++now.vector_loads;
    }
    if (has(code, "(%rsp")) ++now.stack;  // no frame pointer: %rbp is a register like any other
    if (has(code, "prefetch")) ++now.fetches;
    if (has(code, "call")) ++now.calls;
    if (has(code, "\tj") && has(code, label) && !label.empty() && now.fma > 0) {
      loops.push_back(now);
      now = {};
    }
  }
  return loops;
}

/// The most bytes of stack that a function of the text takes for itself, pushed registers aside.
inline std::int64_t largest_frame(const std::string& assembly) {
  std::int64_t largest = 0;
  std::istringstream text(assembly);
  for (std::string line; std::getline(text, line);)
    if (const auto at = line.find("subq\t$"); at != std::string::npos && has(line, ", %rsp"))
      largest = std::max<std::int64_t>(largest, std::stoll(line.substr(at + 6)));
  return largest;
}

}  // namespace nnc::test
