// Which processor this is and what it may execute. LLVM reads CPUID; whether the operating system keeps the wide
// registers (XCR0) is checked here as well, since code for registers that it does not keep would be silently wrong.
#include <cpuid.h>
#include <fmt/format.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/TargetParser/Host.h>

#include "codegen/compile.h"
#include "codegen/target.h"

namespace nnc {

namespace {

std::uint64_t enabled_register_state() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned osxsave = 1U << 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & osxsave) == 0) return 0;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}
bool keeps_256_bit_registers() { return (enabled_register_state() & 0x6) == 0x6; }
bool keeps_512_bit_registers() { return (enabled_register_state() & 0xe6) == 0xe6; }

bool starts_with(llvm::StringRef text, llvm::StringRef prefix) { return text.starts_with(prefix); }

/// Whether code generation may use the feature by itself: vector and bit instructions, not those of the system.
bool may_be_generated(llvm::StringRef feature) {
  for (const char* family :
       {"avx", "sse", "ssse", "fma", "bmi", "f16c", "gfni", "popcnt", "lzcnt", "movbe", "xop", "tbm"})
    if (starts_with(feature, family)) return true;
  return false;
}

llvm::StringMap<bool> host_features() {
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  for (auto& feature : features) {
    const bool wide = starts_with(feature.getKey(), "avx512") || starts_with(feature.getKey(), "avx10");
    if (starts_with(feature.getKey(), "avx") && !keeps_256_bit_registers()) feature.second = false;
    if (wide && !keeps_512_bit_registers()) feature.second = false;
  }
  return features;
}

std::unique_ptr<llvm::MCSubtargetInfo> subtarget(const Target& target) {
  initialise_llvm();
  std::string error;
  const llvm::Triple triple("x86_64-unknown-linux-gnu");
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, error);
  return std::unique_ptr<llvm::MCSubtargetInfo>(found->createMCSubtargetInfo(triple, target.cpu, target.features));
}

/// The schedules that suit a target: by the registers that it has.
Machine machine_for(const Target& target) {
  const auto info = subtarget(target);
  if (info->checkFeatures("+avx512f,+avx512vl,+avx512bw,+avx512dq")) return machine_avx512();
  return info->checkFeatures("+avx2,+fma") ? machine_avx2() : machine_sse2();
}

}  // namespace

Host detect_host() {
  const llvm::StringMap<bool> features = host_features();
  std::string text;
  std::vector<std::string> names;
  for (const auto& feature : features) names.push_back((feature.second ? "+" : "-") + feature.getKey().str());
  std::sort(names.begin(), names.end());  // the map has no order of its own
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  Host host{.target = {.cpu = llvm::sys::getHostCPUName().str(), .features = text}, .machine = {}};
  host.machine = machine_for(host.target);
  return host;
}

TargetOrError target_named(const std::string& cpu) {
  if (cpu == "native") return {detect_host(), ""};
  const Target target{.cpu = cpu, .features = ""};
  const auto info = subtarget({.cpu = "x86-64", .features = ""});
  if (!info->isCPUStringValid(cpu))
    return {{}, fmt::format("unknown processor '{}'; try native, x86-64, x86-64-v3, x86-64-v4, znver3 or znver5", cpu)};
  return {{.target = target, .machine = machine_for(target)}, ""};
}

bool has_fma(const Target& target) { return subtarget(target)->checkFeatures("+fma"); }

bool executes_here(const Target& target) {
  const auto info = subtarget(target);
  for (const auto& feature : host_features())
    if (!feature.second && may_be_generated(feature.getKey()) && info->checkFeatures("+" + feature.getKey().str()))
      return false;
  return true;
}

}  // namespace nnc
