// SPDX-License-Identifier: Apache-2.0
// Facts about one box (x1, y1, x2, y2) that several ops need. For files built for the baseline, not for ISA
// files: an inline function compiled there could be the copy that the linker keeps for all.
#pragma once

#include <cmath>
#include <cstdint>

#include "ops/boxes/range.h"

namespace pyvision {

template <class T>
bool finite_box(const T* box) {
  // What is not finite leaves NaN.
  return (box[0] - box[0]) + (box[1] - box[1]) + (box[2] - box[2]) + (box[3] - box[3]) == 0;
}

template <class T>
T area_of(const T* box) {
  const T w = box[2] - box[0], h = box[3] - box[1];
  return w <= 0 || h <= 0 ? 0 : w * h;
}

// False where an area, a union or a quotient of areas could overflow float32 or lose bits to underflow.
inline bool area_fits_f32(const float* box) {
  const float w = box[2] - box[0], h = box[3] - box[1];
  bool fits = !((w > 0) & (h > 0) & (w * h < kSmallestArea));
  for (int k = 0; k < 4; ++k) fits &= !(std::fabs(box[k]) > kLargestCoordinate);
  return fits;
}

inline bool areas_fit_f32(const float* boxes, int64_t n) {
  int64_t fit = 0;  // counted without a branch: most often all do
  for (int64_t i = 0; i < n; ++i) fit += area_fits_f32(boxes + 4 * i);
  return fit == n;
}

}  // namespace pyvision
