// SPDX-License-Identifier: Apache-2.0
// Which instruction sets this CPU has, and which one the kernels use.
#pragma once

#include <string>

namespace pyvision {

// In ascending order: a later one is preferred.
enum class Isa { kScalar, kAvx2, kAvx512 };
constexpr int kIsaCount = 3;

const char* isa_name(Isa isa);
bool isa_supported(Isa isa);

// What a CPU may have beyond AVX-512 F, BW, DQ, VL. A kernel that uses one stands beside that of plain
// AVX-512, which gives the same result.
enum class IsaExtension { kBf16, kVnni, kVpopcntdq };
constexpr int kIsaExtensionCount = 3;

const char* extension_name(IsaExtension extension);
bool extension_supported(IsaExtension extension);
// Whether kernels use it: the CPU has it, AVX-512 is in force, and set_isa did not leave it out.
bool extension_active(IsaExtension extension);

// The ISA in force: PYVISION_ISA when set, else the best supported one.
Isa active_isa();
// Why active_isa() is what it is, for people: "best of scalar, avx2, avx512" or "PYVISION_ISA".
std::string active_isa_reason();
// Forces an ISA by name, with the extensions this CPU has or without any; throws std::invalid_argument when
// it is unknown or this CPU lacks it.
void set_isa(const std::string& name, const std::string& reason, bool extensions = true);
// Reads PYVISION_ISA once, at import.
void init_isa_from_environment();

}  // namespace pyvision
