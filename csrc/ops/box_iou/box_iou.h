// SPDX-License-Identifier: Apache-2.0
// box_iou: y[i, j] = I / ((A(a_i) + A(b_j)) - I), the intersection over union (Jaccard index) of every pair
// of boxes
//
//   I = max(0, min(a.x2, b.x2) - max(a.x1, b.x1)) * max(0, min(a.y2, b.y2) - max(a.y1, b.y1))
//   A(a) = (a.x2 - a.x1) * (a.y2 - a.y1), and 0 where x2 <= x1 or y2 <= y1; y is 0 where I is 0
//
// Boxes are (x1, y1, x2, y2) in any one unit. A box with a coordinate that is not finite has NaN with every
// box. float32 boxes are computed in float32, except with boxes so large that an area could overflow (a
// coordinate beyond 2^60) or so small that one could underflow (2^-100): those take double.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

struct BoxIouKernels {
  const char* isa;
  // a: (4,), area: of a, b: x1, y1, x2, y2 and area, (m,) each; y: (m,)
  void (*row)(const float* a, float area, const float* const b[5], float* y, int64_t m);
};

PYVISION_KERNELS(BoxIouKernels, box_iou)

// a: (n, 4), b: (m, 4), y: (n, m), all dense. T: float or double.
template <class T>
void box_iou(const T* a, const T* b, T* y, int64_t n, int64_t m);

}  // namespace pyvision
