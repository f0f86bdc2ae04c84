// SPDX-License-Identifier: Apache-2.0
#include "ops/masks_to_boxes/masks_to_boxes.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {

void masks_to_boxes(const uint8_t* masks, int64_t n, int64_t h, int64_t w, float* boxes) {
  const int64_t grain = std::max<int64_t>(1, (1 << 19) / (h * w + 1));  // bytes: some 20 us
  const auto kernel = masks_to_boxes_kernels().box;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) kernel(masks + i * h * w, h, w, boxes + 4 * i);
  });
}

}  // namespace pyvision
