// SPDX-License-Identifier: Apache-2.0
// The limits of brief.h.
#pragma once

#include <cstdint>

namespace pyvision {

constexpr int kBriefMaxTests = 512;
constexpr int kBriefRadius = 15;     // of the patch, before it is rotated
constexpr int64_t kBriefReach = 22;  // 15 sqrt(2), rounded up: keypoints keep this far from the border

}  // namespace pyvision
