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

// The ISA in force: PYVISION_ISA when set, else the best supported one.
Isa active_isa();
// Why active_isa() is what it is, for people: "best of scalar, avx2, avx512" or "PYVISION_ISA".
std::string active_isa_reason();
// Forces an ISA by name; throws std::invalid_argument when it is unknown or this CPU lacks it.
void set_isa(const std::string& name, const std::string& reason);
// Reads PYVISION_ISA once, at import.
void init_isa_from_environment();

}  // namespace pyvision
