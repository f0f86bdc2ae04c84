// SPDX-License-Identifier: Apache-2.0
// mask_nms: nms by the intersection over union of masks (n, pixels), bytes of which any but 0 is set. An
// empty mask overlaps nothing.
#pragma once

#include <cstdint>

#include "ops/nms/suppress.h"

namespace pyvision {

// masks: (n, pixels); the rest as nms(). T: float or double.
template <class T>
int64_t mask_nms(const uint8_t* masks, int64_t pixels, const T* scores, int64_t n, const NmsGroups& groups,
                 double threshold, int64_t* keep);

}  // namespace pyvision
