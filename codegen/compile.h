// From a program to native code. The only door to LLVM: no other folder sees its headers.
#pragma once

#include <memory>
#include <string>

#include "ir/machine.h"
#include "ir/program/program.h"
#include "runtime/abi.h"

namespace nnc {

enum class CodegenLevel : std::uint8_t { none, less, normal, aggressive };

struct CompileOptions {
  Target target;
  CodegenLevel level = CodegenLevel::less;
};

/// This machine: its CPU name and features, and the Machine whose schedules suit it. Empty name: no AVX2 or FMA here.
struct Host {
  Target target;
  Machine machine;
};
Host detect_host();
/// A target by --cpu NAME ("znver5", "znver3", "x86-64-v3", "native"); a Machine that suits it. Error text where
/// unknown.
struct TargetOrError {
  Host host;
  std::string error;
};
TargetOrError target_named(const std::string& cpu);
/// Whether code for a target can run on this machine.
bool executes_here(const Target& target);

/// Compiled code of one program; the entry stays valid while this lives.
class Compiled {
 public:
  virtual ~Compiled() = default;
  virtual const nnc_entry& entry() const = 0;
};
std::unique_ptr<Compiled> compile(const Program& program, const CompileOptions& options);

/// The stages `llvm` and `asm`, as text.
std::string emit_llvm(const Program& program, const CompileOptions& options);
std::string emit_assembly(const Program& program, const CompileOptions& options);

}  // namespace nnc
