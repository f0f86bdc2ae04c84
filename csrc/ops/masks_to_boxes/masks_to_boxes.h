// SPDX-License-Identifier: Apache-2.0
// masks_to_boxes: the smallest box around the set pixels of each mask (h, w), as the indices of its first and
// last column and row: (x1, y1, x2, y2) with x2 and y2 inclusive, as torchvision has it. (0, 0, 0, 0) where
// no pixel is set.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

struct MasksToBoxesKernels {
  const char* isa;
  // mask: (h, w), any byte but 0 is set; box: (4,)
  void (*box)(const uint8_t* mask, int64_t h, int64_t w, float* box);
};

PYVISION_KERNELS(MasksToBoxesKernels, masks_to_boxes)

// masks: (n, h, w); boxes: (n, 4)
void masks_to_boxes(const uint8_t* masks, int64_t n, int64_t h, int64_t w, float* boxes);

}  // namespace pyvision
