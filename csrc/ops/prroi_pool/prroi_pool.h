// SPDX-License-Identifier: Apache-2.0
// Precise RoI Pooling (Jiang et al. 2018, "Acquisition of Localization Confidence for Accurate Object
// Detection"): a bin is the exact mean of the bilinear surface over its area,
//
//   out = integral over [y_a, y_b] x [x_a, x_b] of sum over pixels q of
//           max(0, 1 - |y - q_y|) max(0, 1 - |x - q_x|) map[q]   dy dx   /   ((y_b - y_a) (x_b - x_a))
//
// for the PH x PW equal bins of box * spatial_scale. The centre of the first pixel is (0, 0); pixels outside
// are 0. The mean of an empty bin is 0. It is differentiable by the boxes as well.
//
// Arrays are dense. T: float or double.
#pragma once

#include "roi/roi.h"

namespace pyvision {

// out: (K, bins, C), or (K, C, bins) where the maps are planar.
template <class T>
void prroi_pool(const RoiGrid& grid, const RoiMaps<const T>& maps, const RoiBoxes<T>& boxes, T* out);
// No maps are planar here. inputs: the maps; grad: as out; maps, grad_boxes (K, 5): what they get, the
// images' indices 0
template <class T>
void prroi_pool_backward(const RoiGrid& grid, const RoiMaps<const T>& inputs, const RoiBoxes<T>& boxes,
                         const T* grad, const RoiMaps<T>& maps, T* grad_boxes);

}  // namespace pyvision
