// SPDX-License-Identifier: Apache-2.0
// Whole or partial vectors by one name: `lanes` is F32::kLanes in the body of a loop and less in its tail.
#pragma once

#include <cstdint>

namespace pyvision::PYVISION_ISA_NS {

inline F32 load_lanes(const float* p, int lanes) {
  return lanes == F32::kLanes ? F32::load(p) : F32::load_n(p, lanes);
}
inline void store_lanes(F32 x, float* p, int lanes) {
  if (lanes == F32::kLanes)
    x.store(p);
  else
    x.store_n(p, lanes);
}

}  // namespace pyvision::PYVISION_ISA_NS
