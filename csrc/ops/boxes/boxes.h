// SPDX-License-Identifier: Apache-2.0
// What is done to boxes one by one. Boxes are rows of four, in any one unit:
//   xyxy   (x1, y1, x2, y2), opposite corners
//   xywh   (x1, y1, w, h), w = x2 - x1, h = y2 - y1
//   cxcywh (x1 + w / 2, y1 + h / 2, w, h)
//
// box_convert          from one of these to another
// box_area             (x2 - x1) * (y2 - y1), and 0 where x2 <= x1 or y2 <= y1
// clip_boxes_to_image  x into [0, width], y into [0, height]
//
// NaN coordinates stay NaN.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

enum class BoxFormat : uint8_t { kXyxy, kXywh, kCxcywh };

// x, y: (n, 4); area: (n,). x and y may be the same array.
template <class T>
struct BoxesOf {
  void (*convert)(const T* x, T* y, int64_t n, BoxFormat from, BoxFormat to);
  void (*area)(const T* x, T* area, int64_t n);
  void (*clip)(const T* x, T* y, int64_t n, T width, T height);
};

struct BoxesKernels {
  const char* isa;
  BoxesOf<float> f32;
  BoxesOf<double> f64;
};

PYVISION_KERNELS(BoxesKernels, boxes)

}  // namespace pyvision
