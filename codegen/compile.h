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
  /// The entry calls its call's `barrier` before every kernel and at its end, for one thread that takes the time.
  bool watched = false;
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

/// A function of an object file: int SYMBOL(inputs..., outputs..., then what is asked for below, void* work where
/// there is a program), one pointer for each feed and each output in the order of the programs' slots (which may be
/// any), rows dense one after the other. It gives 0, or 1 + i where the i-th obligation is not met by its input. All
/// programs have the same feeds and outputs, and lie over the same parameters and state.
struct ObjectFunction {
  enum class Rows : std::uint8_t {
    blocks,  ///< any number, in blocks; the programs are for falling numbers, the last for one row
    listed,  ///< those that there is a program for; else it gives -1
    none     ///< there is one program, or none, and no such argument
  };
  enum class Weights : std::uint8_t {
    inside,  ///< those of the file, which the function reads
    given,   ///< void* params, void* state
    begun    ///< the same; first they get the file's weights, or zeros where it has none
  };
  enum class Numbers : std::uint8_t {
    none,
    seed,     ///< uint64_t seed
    progress  ///< const uint64_t*: seed, step (from 1), steps of an epoch, steps in all
  };
  std::string symbol;
  std::vector<Program> programs;
  Rows rows = Rows::blocks;  ///< size_t rows
  Weights weights = Weights::inside;
  Numbers numbers = Numbers::none;
  bool arrays = false;  ///< void* arrays: the region in which gradients, or pack's arrays, lie
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
