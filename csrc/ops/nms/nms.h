// SPDX-License-Identifier: Apache-2.0
// nms: greedy non-maximum suppression. Boxes are visited by falling score, equal scores by rising index; a
// box is kept unless its IoU with a box kept before it (of its own image and class, for batched_nms) is
// greater than the threshold.
//
//   IoU(a, b) = I / ((A(a) + A(b)) - I)
//   I = max(0, min(a.x2, b.x2) - max(a.x1, b.x1)) * max(0, min(a.y2, b.y2) - max(a.y1, b.y1))
//   A(a) = (a.x2 - a.x1) * (a.y2 - a.y1), and 0 where x2 <= x1 or y2 <= y1: such a box has IoU 0 with every
//   box
//
// Boxes are (x1, y1, x2, y2) in any one unit. Every operation rounds to the boxes' own type, in the order
// written: then the comparison has one right answer, which every ISA gives, and it is torchvision's. Only
// float32 boxes whose areas could leave float32's range (a coordinate beyond 2^60, an area under 2^-100) are
// decided in double. A box with a NaN score or a coordinate that is not finite is dropped: it neither
// suppresses nor is kept. At most max_output boxes are kept per image: the first in this order.
//
// Greedy NMS as in Neubeck and Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006; how a grid makes it
// fast is told in grid-inl.h, and what comes before it where boxes crowd in nms.cc.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "ops/nms/grid.h"
#include "ops/nms/suppress.h"

namespace pyvision {

template <class T>
using NmsBoxes = NmsBlock<T, 5>;  // the bounds, and the area

// A few boxes that are kept. With share = t / (1 + t), I > share * (A(a) + A(b)) is IoU > t in exact numbers;
// the slack, on top of the share, is more than rounding can take from an IoU in float32.
struct NmsLeaders {
  static constexpr int kMost = 128;  // held against more, the others would lose what they save
  static constexpr float kSlack = 0x1p-18f;
  int count = 0;
  float share;
  float box[kMost][5];  // x1, y1, x2, y2, share * area
};

struct NmsKernels {
  const char* isa;
  NmsGreedy<float, NmsBoxes<float>> greedy_f32;  // boxes: (n, 4), finite; threshold: [0, 1]
  NmsGreedy<double, NmsBoxes<double>> greedy_f64;
  // left: ((n + 63) / 64,) words, bit i % 64 of word i / 64 for box i, 0 where a leader suppresses the box or
  // it is not finite; a leader that suppresses it by a hair may not be seen. begin: a multiple of 64. Returns
  // false where float32 may not decide about one of the boxes: then `left` means nothing.
  bool (*thin)(const float* boxes, int64_t begin, int64_t end, const NmsLeaders& leaders, uint64_t* left);
};

PYVISION_KERNELS(NmsKernels, nms)

// boxes: (n, 4), scores: (n,), threshold: [0, 1], n < 2^31; keep: room for n indices. Returns how many were
// kept; they stand by image, then by falling score. T: float or double.
template <class T>
int64_t nms(const T* boxes, const T* scores, int64_t n, const NmsGroups& groups, double threshold,
            int64_t* keep);

}  // namespace pyvision
