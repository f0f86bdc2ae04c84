// SPDX-License-Identifier: Apache-2.0
// Facts about one box (x1, y1, x2, y2) that several ops need. For files built for the baseline, not for ISA
// files: an inline function compiled there could be the copy that the linker keeps for all.
#pragma once

#include <cmath>
#include <cstdint>

namespace pyvision {

template <class T>
bool finite_box(const T* box) {
  return std::isfinite(box[0]) && std::isfinite(box[1]) && std::isfinite(box[2]) && std::isfinite(box[3]);
}

template <class T>
T area_of(const T* box) {
  const T w = box[2] - box[0], h = box[3] - box[1];
  return w <= 0 || h <= 0 ? 0 : w * h;
}

// False where an area, a union or a quotient of areas could overflow float32 or lose bits to underflow.
inline bool area_fits_f32(const float* box) {
  constexpr float kLargestCoordinate = 0x1p60f, kSmallestArea = 0x1p-100f;
  const float w = box[2] - box[0], h = box[3] - box[1];
  for (int k = 0; k < 4; ++k)
    if (std::fabs(box[k]) > kLargestCoordinate) return false;
  return w <= 0 || h <= 0 || !(w * h < kSmallestArea);
}

inline bool areas_fit_f32(const float* boxes, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (!area_fits_f32(boxes + 4 * i)) return false;
  return true;
}

}  // namespace pyvision
