// SPDX-License-Identifier: Apache-2.0
// Boxes whose areas, and their sums and quotients, float32 can hold. For files of every ISA.
#pragma once

namespace pyvision {

constexpr float kLargestCoordinate = 0x1p60f, kSmallestArea = 0x1p-100f;

}  // namespace pyvision
