// SPDX-License-Identifier: Apache-2.0
#include "ops/box_iou/box_iou.h"

namespace pyvision::PYVISION_ISA_NS {

inline void box_iou_row(const float* a, float area, const float* const b[5], float* y, int64_t m) {
  const F32 zero = F32::zero(), x1 = F32::set(a[0]), y1 = F32::set(a[1]), x2 = F32::set(a[2]),
            y2 = F32::set(a[3]);
  for (int64_t j = 0; j < m; j += F32::kLanes) {
    const int lanes = static_cast<int>(m - j < F32::kLanes ? m - j : F32::kLanes);
    const auto load = [&](int field) { return F32::load_n(b[field] + j, lanes); };
    const F32 w = max(zero, min(x2, load(2)) - max(x1, load(0)));
    const F32 h = max(zero, min(y2, load(3)) - max(y1, load(1)));
    const F32 intersection = w * h;
    const F32 united = (F32::set(area) + load(4)) - intersection;
    // zero * united is 0, or NaN where an area is
    select(zero < intersection, intersection / united, zero * united).store_n(y + j, lanes);
  }
}

const BoxIouKernels box_iou = {F32::kIsaName, box_iou_row};

}  // namespace pyvision::PYVISION_ISA_NS
