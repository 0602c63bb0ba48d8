// The tables of an entry (runtime/abi.h): what its regions and slots are, without a line of code.
#pragma once

#include <deque>
#include <memory>

#include "ir/program/program.h"
#include "runtime/abi.h"

namespace nnc {

/// Owns the nnc_entry of a program and everything that it points to. Not movable: the entry holds addresses.
class EntryTables {
 public:
  EntryTables(const Program& program, nnc_function function, nnc_repeated repeat = nullptr);
  EntryTables(const EntryTables&) = delete;
  EntryTables& operator=(const EntryTables&) = delete;
  const nnc_entry& entry() const { return entry_; }

 private:
  const char* keep(const std::string& text) { return texts_.emplace_back(text).c_str(); }
  const std::int64_t* keep(const std::vector<std::int64_t>& numbers) { return numbers_.emplace_back(numbers).data(); }
  const nnc_slot* slots(const Program& program, const std::vector<Slot>& slots);

  std::deque<std::string> texts_;
  std::deque<std::vector<std::int64_t>> numbers_;
  std::deque<std::vector<nnc_slot>> slots_;
  std::vector<nnc_obligation> obligations_;
  std::vector<nnc_kernel> kernels_;
  nnc_entry entry_{};
};

/// Multiplications and additions of a kernel's contractions and of its folds by product; two for an fma. What
/// elementwise work costs is not counted: the bound that steps are measured against is that of the contractions.
std::uint64_t contraction_flops(const Kernel& kernel);
/// All arithmetic of a kernel on floats, in all steps of the loops around it: one for each addition, subtraction,
/// multiplication, division, root, minimum and maximum, two for an fma. An exponential and the like count as what they
/// are computed with.
std::uint64_t arithmetic_flops(const Program& program, std::size_t kernel);

}  // namespace nnc
