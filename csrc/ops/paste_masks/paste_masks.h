// SPDX-License-Identifier: Apache-2.0
// paste_masks: the square masks (n, m, m) that Mask R-CNN predicts within boxes (x1, y1, x2, y2), in pixels,
// enlarged to the image (n, h, w):
//   - a mask gets a border of `padding` zeros, its box grows by (m + 2 padding) / m about its centre, corners
//   are
//     truncated to integers (X1, Y1, X2, Y2);
//   - the bordered mask, resized bilinearly (align_corners false) to (Y2 - Y1 + 1, X2 - X1 + 1) pixels, at
//   least one
//     each, is laid at (X1, Y1); every other pixel of the image is 0.
// The result is that value, or whether it exceeds a threshold. Source: torchvision's paste_masks_in_image,
// whose order of float32 operations this keeps; products and sums are not fused, so that every ISA gives the
// same result.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

// Where an output row or column reads: an index into the bordered mask, and the weight of the next one.
struct PasteTap {
  int32_t index;
  float weight;
};

struct PasteMasksKernels {
  const char* isa;
  // y[x] = (1 - weight) * row[index] + weight * row[index + 1] by taps[x]; row: one element longer than it
  // has values; taps, y: (n,)
  void (*widen)(const float* row, const PasteTap* taps, float* y, int64_t n);
  // y[x] = (1 - weight) * top[x] + weight * bottom[x]; all (n,)
  void (*blend)(const float* top, const float* bottom, float weight, float* y, int64_t n);
  // y[x] = 1 where that is greater than the threshold, else 0
  void (*blend_above)(const float* top, const float* bottom, float weight, float threshold, uint8_t* y,
                      int64_t n);
};

PYVISION_KERNELS(PasteMasksKernels, paste_masks)

// Whether m is of 1 to 2^20 and padding of 0 to 2^20.
bool paste_sizes_fit(int64_t m, int64_t padding);

// Truncated corners of an enlarged box must lie within this, so that sizes fit and positions mean something.
constexpr float kPasteLargest = 0x1p30f;

// Whether every box is finite and, enlarged, within kPasteLargest. boxes: (n, 4)
bool paste_boxes_fit(const float* boxes, int64_t n, int64_t m, int64_t padding);

// masks: (n, m, m), boxes: (n, 4) that fit, y: (n, h, w), zeros; m >= 1, padding >= 0. T: float, which gets
// the value, or uint8_t, which gets 1 where it is greater than the threshold, itself not negative.
template <class T>
void paste_masks(const float* masks, const float* boxes, T* y, int64_t n, int64_t m, int64_t padding,
                 int64_t h, int64_t w, float threshold);

}  // namespace pyvision
