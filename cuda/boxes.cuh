// SPDX-License-Identifier: Apache-2.0
// Boxes (x1, y1, x2, y2) on the device, in the arithmetic of csrc/ops/boxes/geometry.h and csrc/ops/nms.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pyvision::cuda {

template <class T>
struct Box {
  T x1, y1, x2, y2;
};

// Two loads: its alignment is that of T alone.
template <class T>
__device__ Box<T> load_box(const T* boxes, int64_t i) {
  return {boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]};
}

template <class T>
__device__ T area_of(const Box<T>& b) {
  const T w = b.x2 - b.x1, h = b.y2 - b.y1;
  return w <= 0 || h <= 0 ? T{0} : w * h;
}

template <class T>
__device__ bool is_finite(const Box<T>& b) {  // x - x is 0 for finite x alone
  return b.x1 - b.x1 == 0 && b.y1 - b.y1 == 0 && b.x2 - b.x2 == 0 && b.y2 - b.y2 == 0;
}

// IoU(a, b) > limit. A degenerate box's intersection is empty.
template <class T>
__device__ bool overlap(const Box<T>& a, const Box<T>& b, T limit) {
  const T w = max(T{0}, min(a.x2, b.x2) - max(a.x1, b.x1));
  const T h = max(T{0}, min(a.y2, b.y2) - max(a.y1, b.y1));
  const T intersection = w * h, united = (area_of(a) + area_of(b)) - intersection;
  // I / U > t implies I > t U, hence I >= t U rounded: most pairs need no division.
  return intersection > 0 && limit * united <= intersection && intersection / united > limit;
}

// Whether float32 could lose an area to overflow or underflow.
__device__ inline bool needs_double(const Box<float>& b) {
  constexpr float kLargestCoordinate = 0x1p60f, kSmallestArea = 0x1p-100f;
  const bool far = fabsf(b.x1) > kLargestCoordinate || fabsf(b.y1) > kLargestCoordinate ||
                   fabsf(b.x2) > kLargestCoordinate || fabsf(b.y2) > kLargestCoordinate;
  const float w = b.x2 - b.x1, h = b.y2 - b.y1;
  return far || (w > 0 && h > 0 && w * h < kSmallestArea);
}
__device__ inline bool needs_double(const Box<double>&) { return false; }

// IoU(a, b), in double where float32 could lose an area.
template <class T>
__device__ T iou(const Box<T>& a, const Box<T>& b) {
  if (needs_double(a) || needs_double(b)) {
    return static_cast<T>(iou<double>({a.x1, a.y1, a.x2, a.y2}, {b.x1, b.y1, b.x2, b.y2}));
  }
  const T w = max(T{0}, min(a.x2, b.x2) - max(a.x1, b.x1));
  const T h = max(T{0}, min(a.y2, b.y2) - max(a.y1, b.y1));
  const T intersection = w * h;
  return intersection > 0 ? intersection / ((area_of(a) + area_of(b)) - intersection) : T{0};
}

}  // namespace pyvision::cuda
