// SPDX-License-Identifier: Apache-2.0
// nms_rotated: as nms, with rotated boxes (cx, cy, w, h, angle) and the overlap of box_iou_rotated, whose
// values decide here to the bit.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "ops/box_iou_rotated/box_iou_rotated.h"
#include "ops/nms/grid.h"
#include "ops/nms/suppress.h"

namespace pyvision {

// The bounds x1, y1, x2, y2, then the fields of RotatedColumns.
template <class T>
using NmsRotatedBoxes = NmsBlock<T, 4 + RotatedColumns<T>::kFields>;

struct NmsRotatedKernels {
  const char* isa;
  NmsGreedy<float, NmsRotatedBoxes<float>> greedy_f32;  // boxes: (n, NmsRotatedBoxes::kFields)
  NmsGreedy<double, NmsRotatedBoxes<double>> greedy_f64;
};

PYVISION_KERNELS(NmsRotatedKernels, nms_rotated)

// boxes: (n, 5); the rest as nms().
template <class T>
int64_t nms_rotated(const T* boxes, const T* scores, int64_t n, const NmsGroups& groups, double threshold,
                    int64_t* keep);

}  // namespace pyvision
