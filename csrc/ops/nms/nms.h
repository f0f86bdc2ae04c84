// SPDX-License-Identifier: Apache-2.0
// nms: greedy non-maximum suppression. Boxes are visited by falling score, equal scores by rising index; a
// box is kept unless its IoU with a box kept before it (of its own class, for batched_nms) is greater than
// the threshold.
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
// suppresses nor is kept.
//
// Greedy NMS as in Neubeck and Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006; how a grid makes it
// fast is told in kernel-inl.h.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

// Kept boxes of one grid cell, as the vectors read them. Unused lanes hold a box that intersects nothing.
struct alignas(64) NmsBlock {
  static constexpr int kBoxes = 16;  // one AVX-512 register
  float x1[kBoxes], y1[kBoxes], x2[kBoxes], y2[kBoxes], area[kBoxes];
  int32_t count;
  int32_t next;  // block index, -1 ends the list
};

// cells_x * cells_y equal cells over the boxes' bounding rectangle.
struct NmsGrid {
  float origin_x, origin_y;  // the least x1 and y1
  float cells_per_unit_x, cells_per_unit_y;
  int32_t cells_x, cells_y;
};

struct NmsKernels {
  const char* isa;
  // boxes: (n, 4) in order of falling score, finite; threshold: [0, 1]; heads: (cells,) scratch;
  // blocks: scratch for every box in every cell it touches; kept: (n,), receives 0 or 1
  void (*greedy)(const float* boxes, int64_t n, float threshold, const NmsGrid& grid, int32_t* heads,
                 NmsBlock* blocks, uint8_t* kept);
};

PYVISION_KERNELS(NmsKernels, nms)

// boxes: (n, 4), scores: (n,), classes: (n,) or null for one class, threshold: [0, 1], n < 2^31;
// keep: room for n indices. Returns how many were kept; they stand in order of falling score. T: float or
// double.
template <class T>
int64_t nms(const T* boxes, const T* scores, const int64_t* classes, int64_t n, double threshold,
            int64_t* keep);

}  // namespace pyvision
