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

/// This machine: its CPU name and features, and the Machine whose schedules suit it.
struct Host {
  Target target;
  Machine machine;
};
Host detect_host();
/// A target by --cpu NAME ("znver5", "znver3", "x86-64-v3", "x86-64", "native"); a Machine that suits it. Error text
/// where unknown.
struct TargetOrError {
  Host host;
  std::string error;
};
TargetOrError target_named(const std::string& cpu);
/// Whether code for a target can run on this machine.
bool executes_here(const Target& target);
/// Whether a target has instructions that multiply and add with one rounding. Where it has none they are computed from
/// others, to the same bits, and contractions are slower by more than ten times.
bool has_fma(const Target& target);

/// Compiled code of one program; the entry stays valid while this lives.
class Compiled {
 public:
  virtual ~Compiled() = default;
  virtual const nnc_entry& entry() const = 0;
};
std::unique_ptr<Compiled> compile(const Program& program, const CompileOptions& options);

/// A function of an object file: int SYMBOL(inputs..., outputs..., size_t rows, void* work), one pointer for each feed
/// and each output in the order of the programs' slots, rows dense one after the other. It works through any number of
/// rows in blocks; its results' bits do not depend on them. It gives 0, or 1 + i where the i-th obligation is not met
/// by its input. All programs have the same feeds and outputs, and lie over the same parameters and state.
struct ObjectFunction {
  std::string symbol;
  std::vector<Program> programs;  ///< for falling numbers of rows, the last for one row
};
/// An entry as the JIT has it, for those who fill in nnc_call themselves: void SYMBOL(const nnc_call*).
struct ObjectEntry {
  std::string symbol;
  Program program;
};
/// Functions with the weights that they read: bytes of the regions as the programs' slots lay them out.
struct ObjectFile {
  std::vector<ObjectFunction> functions;
  std::vector<std::byte> params = {}, state = {};
  std::vector<ObjectEntry> entries = {};
};
/// Bytes of `work` that a function needs, whatever the number of rows and wherever `work` begins.
std::uint64_t work_bytes(const ObjectFunction& function);
/// An ELF object for x86-64 that needs nothing but memcpy, memmove and memset.
std::string emit_object(const ObjectFile& file, const CompileOptions& options);

/// The stages `llvm` and `asm`, as text.
std::string emit_llvm(const Program& program, const CompileOptions& options);
std::string emit_assembly(const Program& program, const CompileOptions& options);

}  // namespace nnc
