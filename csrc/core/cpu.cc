// SPDX-License-Identifier: Apache-2.0
#include "core/cpu.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace pyvision {
namespace {

std::atomic<Isa> g_active{Isa::kScalar};
std::atomic<bool> g_extensions{true};
std::string g_reason;  // written under the GIL only

std::string supported_names() {
  std::string names;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (isa_supported(isa)) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  return names;
}

}  // namespace

const char* isa_name(Isa isa) {
  static constexpr const char* kNames[kIsaCount] = {"scalar", "avx2", "avx512"};
  return kNames[static_cast<int>(isa)];
}

bool isa_supported(Isa isa) {
  if (isa == Isa::kScalar) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();  // its answers include whether the OS saves the registers
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (isa == Isa::kAvx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

const char* extension_name(IsaExtension extension) {
  static constexpr const char* kNames[kIsaExtensionCount] = {"bf16", "vnni", "vpopcntdq"};
  return kNames[static_cast<int>(extension)];
}

bool extension_supported(IsaExtension extension) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!isa_supported(Isa::kAvx512)) return false;
  if (extension == IsaExtension::kBf16) return __builtin_cpu_supports("avx512bf16");
  if (extension == IsaExtension::kVnni) return __builtin_cpu_supports("avx512vnni");
  return __builtin_cpu_supports("avx512vpopcntdq");
#else
  static_cast<void>(extension);
  return false;
#endif
}

bool extension_active(IsaExtension extension) {
  return active_isa() == Isa::kAvx512 && g_extensions.load(std::memory_order_relaxed) &&
         extension_supported(extension);
}

Isa active_isa() { return g_active.load(std::memory_order_relaxed); }

std::string active_isa_reason() { return g_reason; }

void set_isa(const std::string& name, const std::string& reason, bool extensions) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (name != isa_name(isa) || !isa_supported(isa)) continue;
    g_active.store(isa, std::memory_order_relaxed);
    g_extensions.store(extensions, std::memory_order_relaxed);
    g_reason = reason;
    return;
  }
  throw std::invalid_argument("[" + reason + "] expected an instruction set this CPU has (" +
                              supported_names() + "), got '" + name + "'");
}

void init_isa_from_environment() {
  const char* forced = std::getenv("PYVISION_ISA");
  if (forced != nullptr && *forced != '\0') {
    set_isa(forced, "PYVISION_ISA");
    return;
  }
  int best = kIsaCount - 1;
  while (!isa_supported(static_cast<Isa>(best))) --best;
  set_isa(isa_name(static_cast<Isa>(best)), "best of " + supported_names());
}

}  // namespace pyvision
